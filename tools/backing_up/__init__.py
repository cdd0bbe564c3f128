"""How `mesh backup` makes a whole, restorable copy of a mesh that runs, and finds those that were made before."""
