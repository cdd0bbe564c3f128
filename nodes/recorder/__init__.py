"""Writes the log into the recent store and the archive, seals and prunes days, and releases log segments that are archived."""
