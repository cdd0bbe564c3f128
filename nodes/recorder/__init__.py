"""Writes the log into the recent store and the archive, and makes the archive tidy."""
