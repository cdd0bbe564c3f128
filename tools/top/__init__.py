"""`mesh top`: processes, topics, positions, orders and alerts on a terminal, as they change, with keys to act."""
