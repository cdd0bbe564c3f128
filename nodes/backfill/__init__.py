"""Asks venues for the trades that no line brought, and publishes them flagged REPAIRED, or says why they are lost."""
