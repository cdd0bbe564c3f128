"""Execution styles: what to do next about a parent order, from itself and what is seen of the market."""
