"""Alerts as troubles that begin and end, and the words for them."""
