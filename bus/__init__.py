"""What processes say to one another, and the file that remembers it. Imports nothing else of tickmesh."""
