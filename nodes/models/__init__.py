"""One numba kernel per file, and what kernels are made of. Importing this package imports no numba."""
