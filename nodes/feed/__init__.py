"""One line of a venue: its connections, what it receives, and what it asks over REST."""
