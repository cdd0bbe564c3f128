"""The archive: immutable files of the log's events, day by day, and what is known of them."""
