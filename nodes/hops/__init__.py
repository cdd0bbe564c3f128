"""The hops between a venue's event and our order: computed from the log's events, and counted by size."""
