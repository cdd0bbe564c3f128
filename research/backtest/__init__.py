"""A backtest: recorded data through models, the executor's own step and a simulated venue."""
