"""What backfill decides with: which ids are missing, what to ask for next, what a page of history proves. No I/O."""
