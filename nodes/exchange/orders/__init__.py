"""Accounts and orders at the local venue, and what is reported of them. Pure."""
