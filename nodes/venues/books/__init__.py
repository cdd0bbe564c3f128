"""The rules that keep a book in step with its venue, one a file. Pure."""
