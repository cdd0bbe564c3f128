"""Signed trade flow, decayed: who has been the aggressor lately, and how strongly for this market.

F = Σ side·quantity·2^(−age ÷ fast), A the same without the sign, S = Σ quantity·2^(−age ÷ slow).
The value is F ÷ max(A, S·fast÷slow): the second term is what A is on average, so one small trade after a silence is
weak, and the value falls back to 0 when nothing is traded. |F| ≤ A, so it lies in −1…+1.
Sum of signed trades as a predictor: F. Lillo and J. D. Farmer, "The long memory of the efficient market", Studies in
Nonlinear Dynamics & Econometrics 8:3, 2004; J. Hasbrouck, "Measuring the information content of stock trades",
Journal of Finance 46:1, 1991.

Quotes give the reference price and the passing of time. A gap in the trades empties the sums; repaired trades come too
late to be news and are left out.
"""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.interface import GAP, QUOTE, REPAIRED, TRADE, Floats, Parameter, Records
from tickmesh.nodes.models.signal_rule import SIGNAL_RULE, signal_due

KINDS = (Kind.trade, Kind.quote)
HORIZON_NS = 1_000_000_000
PARAMETERS = {
    "fast_ms": Parameter(500.0, 1.0, 3.6e6, "half life of the flow"),
    "slow_ms": Parameter(30_000.0, 1.0, 8.64e7, "half life of the usual activity that the flow is measured by"),
    **SIGNAL_RULE,
}


def forgotten_after_s(parameters: dict[str, float]) -> float:
    """Sixty half lives of the slowest sum, when nothing is left of it in a float64; ten minutes at least, for the signals."""
    return max(0.06 * max(parameters["slow_ms"], parameters["fast_ms"]), 600.0)


LOOKBACK_S = forgotten_after_s


STATE = np.dtype(
    [
        ("time_ns", "<i8"),  # the sums are as of here
        ("flow", "<f8"),  # F, lots
        ("activity", "<f8"),  # A, lots
        ("usual", "<f8"),  # S, lots
        ("reference_ticks", "<i8"),  # mid of the last quote, rounded down; 0 unknown
        ("published_value", "<f8"),
        ("published_ns", "<i8"),
    ]
)


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives the decayed flow of signed trades as signals; arguments as in interface.py."""
    s = state[0]
    p = parameters[0]
    fast_ns = p.fast_ms * 1e6
    slow_ns = p.slow_ms * 1e6
    share = p.fast_ms / p.slow_ms
    n = 0
    for r in range(count):
        row = rows[r]
        if row.kind == GAP:
            if row.stream == TRADE:
                s.flow = 0.0
                s.activity = 0.0
                s.usual = 0.0
            elif row.stream == QUOTE:
                s.reference_ticks = 0
            continue
        if row.kind == TRADE and row.flags & REPAIRED:
            continue
        if row.kind != TRADE and row.kind != QUOTE:
            continue
        if row.seq_ns > s.time_ns:
            fast = decay(row.seq_ns - s.time_ns, fast_ns)
            s.flow *= fast
            s.activity *= fast
            s.usual *= decay(row.seq_ns - s.time_ns, slow_ns)
            s.time_ns = row.seq_ns
        if row.kind == TRADE:
            for i in range(row.first, row.first + row.count):
                lots = float(trades[i].quantity_lots)
                s.flow += trades[i].side * lots
                s.activity += lots
                s.usual += lots
        else:
            q = quotes[row.first + row.count - 1]
            s.reference_ticks = 0
            if q.bid_lots > 0 and q.ask_lots > 0:
                s.reference_ticks = (q.bid_ticks + q.ask_ticks) // 2
        scale = max(s.activity, s.usual * share)
        if scale <= 0.0:
            continue
        value = s.flow / scale
        if signal_due(value, row.seq_ns, s.published_value, s.published_ns,
               p.step, p.threshold, p.interval_ms * 1e6, p.repeat_ms * 1e6):  # fmt: skip
            s.published_value = value
            s.published_ns = row.seq_ns
            out[n].row = r
            out[n].value = value
            out[n].price = np.nan
            out[n].reference_ticks = s.reference_ticks
            n += 1
    return n
