"""Websocket and REST clients, what they may spend (pacing, budgets), addresses, and the clock of a venue."""
