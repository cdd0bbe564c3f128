"""Watches the processes, restarts the dead at once and the wrong within a budget."""
