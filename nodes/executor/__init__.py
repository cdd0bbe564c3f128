"""Turns signals into intents: state, sizes, risk. A pure function of the log, and the node around it."""
