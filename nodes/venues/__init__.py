"""Venue adapters, one module each, without I/O. What each has: adapter.py; which there are: table.py; how to add one:
docs/new-venue.md."""
