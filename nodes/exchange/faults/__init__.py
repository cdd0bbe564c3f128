"""Faults that the local venue commits on demand, as decisions about one frame or request. Pure."""
