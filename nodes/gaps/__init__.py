"""The life of a gap, shared by sequencer and backfill."""
