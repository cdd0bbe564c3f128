"""The recent store: the last hours, by topic, seq and time (LMDB)."""
