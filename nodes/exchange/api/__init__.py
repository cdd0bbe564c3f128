"""What clients may ask of the local venue, and its answers: operations, limits, streams. Pure."""
