"""What a backtest gives: its fills, its orders, the best quotes they met, and what a person must know to repeat it.

Times are nanoseconds of the log (UTC); prices and quantities are floats in the instrument's units."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# fee in quote currency; side +1 buy, −1 sell
FILL = np.dtype(
    [("time_ns", "<i8"), ("order", "<i8"), ("instrument", "<i4"), ("strategy", "<i4"), ("side", "i1"), ("maker", "?"),
     ("price", "<f8"), ("quantity", "<f8"), ("fee", "<f8")]
)  # fmt: skip
# arrival_mid: the mid when the parent's signal asked for it; type, status: the numbers of bus/schema; ended_ns 0: still open
# parent: number of the parent order that it is a child of, −1: of none; parent_wanted: what that wanted in all, at the end
# cause_seq, parent_seq: `seq` in the recording of what caused it, and of what its parent's signal is about; 0: none
ORDER = np.dtype(
    [("order", "<i8"), ("instrument", "<i4"), ("strategy", "<i4"), ("side", "i1"), ("type", "<i4"), ("status", "<i4"),
     ("sent_ns", "<i8"), ("arrived_ns", "<i8"), ("ended_ns", "<i8"), ("price", "<f8"), ("quantity", "<f8"), ("filled", "<f8"),
     ("arrival_mid", "<f8"), ("parent", "<i8"), ("parent_wanted", "<f8"), ("cause_seq", "<i8"), ("parent_seq", "<i8")]
)  # fmt: skip
QUOTE_MARK = np.dtype([("time_ns", "<i8"), ("bid", "<f8"), ("ask", "<f8")])  # best quotes, in order of time


@dataclass(frozen=True)
class BacktestResult:
    instruments: tuple[str, ...]  # subjects, "binance.BTCUSDT"; fills["instrument"] is a place in it
    strategies: tuple[str, ...]
    start_ns: int
    end_ns: int
    fills: np.ndarray  # FILL, in order of time
    orders: np.ndarray  # ORDER, in order of sent_ns
    marks: Mapping[str, np.ndarray]  # subject → QUOTE_MARK (thinned to changes of the best prices)
    initial: Mapping[str, float]  # subject → position at the start
    settings: Mapping[str, object]  # latency, queue model, fees, seed, models with hash: what a person must know to repeat it
    coverage: tuple[str, ...]  # sentences about missing intervals, () = everything there; the report's first line
