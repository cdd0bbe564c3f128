"""The local venue: a market, accounts and orders, faults on demand, and the servers that clients speak to."""
