"""The order session at a venue: sends intents, reports what became of them, reconciles."""
