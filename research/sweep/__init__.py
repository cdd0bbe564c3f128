"""A sweep: backtests, or bars, of parameters × periods × instruments in parallel, kept so that nothing is computed twice."""
