"""How any node runs: step by step over the log, alone or hosted by the sequencer."""
