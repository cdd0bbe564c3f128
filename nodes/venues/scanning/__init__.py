"""Frames of venues read by compiled code, where they are in a usual form. Pure."""
