"""What the recorder decides without I/O."""
