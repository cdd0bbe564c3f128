"""The coverage ledger: what is known of every stored interval."""
