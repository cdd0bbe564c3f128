"""What `mesh replay` is made of: the recorded events through the same steps again, compared, or on a bus again."""
