"""How steps and nodes are run: alone, or hosted in the sequencer's process."""
