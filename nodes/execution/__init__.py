"""What the executor is made of: orders, position, risk, styles. No clock, no file, no socket."""
