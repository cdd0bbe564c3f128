"""Runs one kernel of nodes/models over the log, and publishes its signals."""
