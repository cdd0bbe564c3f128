"""Live orders beside a backtest of the same time: what was reproduced, why the rest was not, and which settings fit best."""

EVERY = "5s"  # so often a whole backtest begins anew; an order of the default settings lives for 2 s at most
