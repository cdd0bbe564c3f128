"""Websocket and REST clients, and what they may spend: pacing, budgets, addresses."""
