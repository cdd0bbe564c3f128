"""How columns lie in an HDF5 file."""
