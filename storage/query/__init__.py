"""What a person asks of what is stored: events, arrays, frames, bars, coverage, exports."""
