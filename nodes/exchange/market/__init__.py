"""The market of the local venue: synthetic traders or a replayed capture, matching, candles. Pure."""
