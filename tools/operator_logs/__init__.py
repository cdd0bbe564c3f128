"""The files in run/logs, which supervisord writes and rotates, as entries: one process's, or all of them by time."""
