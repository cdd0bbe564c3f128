"""What the adapters of venues have in common: decimals, times, the writer of events. Pure."""
