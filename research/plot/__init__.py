"""What a market looked like: every trade with bid and ask, spread, volume, coverage, our orders; as a picture or a page."""
