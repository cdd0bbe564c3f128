"""What the sequencer decides with: which line's event is the first of its id. No I/O."""
