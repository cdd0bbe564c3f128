"""What is kept: the recent store, the archive, what is known of it, and what a person asks of it."""
