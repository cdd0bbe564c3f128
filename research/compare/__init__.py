"""Live orders beside a backtest of the same time: what was reproduced, why the rest was not, and which settings fit best."""
