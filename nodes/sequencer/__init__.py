"""Puts what producers publish into one totally ordered, durable log."""
