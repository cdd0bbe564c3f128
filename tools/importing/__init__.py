"""History that others recorded, read from their files and archived: one format a file, what they share, how it is laid down."""
