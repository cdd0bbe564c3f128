"""Spans of the log or of the archive as arrays, one row an event and no object for it: what kernels are given offline."""
