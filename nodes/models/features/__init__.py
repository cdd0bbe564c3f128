"""Microstructure features of the literature as small numba functions over a record of state; docs/features.md has the table."""
