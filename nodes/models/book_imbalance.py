"""Imbalance of the best quantities, and the weighted mid price.

I = (B − A) ÷ (B + A) with B, A the quantities at the best bid and ask; the fair price is
(bid·A + ask·B) ÷ (A + B), which leans towards the side that is about to be eaten. That is the weighted mid, the first
approximation of the micro-price (S. Stoikov, "The micro-price: a high-frequency estimator of future prices",
Quantitative Finance 18:12, 2018); the micro-price itself adds a correction that is estimated from history.
The imbalance predicts the next move: Cont, Kukanov, Stoikov, "The price impact of order book events", Journal of
Financial Econometrics 12:1, 2014.

The value is I smoothed over time: the past weighs 2^(−silence ÷ half life), the new quote the rest, so the first quote
after a silence counts alone. A quote with an empty side gives no value, and, like a gap in the quotes, forgets what was
smoothed.
"""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.interface import GAP, QUOTE, Floats, Parameter, Records
from tickmesh.nodes.models.signal_rule import SIGNAL_RULE, signal_due

KINDS = (Kind.quote,)
HORIZON_NS = 1_000_000_000
PARAMETERS = {
    "half_life_ms": Parameter(50.0, 0.0, 3.6e6, "of the smoothing; 0: none"),
    **SIGNAL_RULE,
}


def forgotten_after_s(parameters: dict[str, float]) -> float:
    """Sixty half lives, when nothing is left of the past in a float64; ten minutes at least, for the signals."""
    return max(0.06 * parameters["half_life_ms"], 600.0)


LOOKBACK_S = forgotten_after_s


STATE = np.dtype(
    [
        ("known", "<i8"),  # 1: `smoothed` holds
        ("quote_ns", "<i8"),
        ("smoothed", "<f8"),  # as of quote_ns
        ("published_value", "<f8"),
        ("published_ns", "<i8"),
    ]
)


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives the smoothed imbalance of the best quantities as signals; arguments as in interface.py."""
    s = state[0]
    p = parameters[0]
    half_life_ns = p.half_life_ms * 1e6
    n = 0
    for r in range(count):
        row = rows[r]
        if row.kind == GAP:
            if row.stream == QUOTE:
                s.known = 0
            continue
        if row.kind != QUOTE:
            continue
        for i in range(row.first, row.first + row.count):
            q = quotes[i]
            if q.bid_lots <= 0 or q.ask_lots <= 0 or q.bid_ticks <= 0 or q.ask_ticks <= 0:
                s.known = 0
                continue
            bid_lots = float(q.bid_lots)
            ask_lots = float(q.ask_lots)
            imbalance = (bid_lots - ask_lots) / (bid_lots + ask_lots)
            if s.known == 0 or half_life_ns == 0.0:
                s.smoothed = imbalance
            else:
                s.smoothed = imbalance + (s.smoothed - imbalance) * decay(row.seq_ns - s.quote_ns, half_life_ns)
            s.known = 1
            s.quote_ns = row.seq_ns
        if s.known == 0:
            continue
        if signal_due(s.smoothed, row.seq_ns, s.published_value, s.published_ns,
               p.step, p.threshold, p.interval_ms * 1e6, p.repeat_ms * 1e6):  # fmt: skip
            q = quotes[row.first + row.count - 1]
            s.published_value = s.smoothed
            s.published_ns = row.seq_ns
            spread_ticks = float(q.ask_ticks - q.bid_ticks)
            weight = float(q.bid_lots) / (float(q.bid_lots) + float(q.ask_lots))
            out[n].row = r
            out[n].value = s.smoothed
            out[n].price = (float(q.bid_ticks) + spread_ticks * weight) * units[0]
            out[n].reference_ticks = (q.bid_ticks + q.ask_ticks) // 2
            n += 1
    return n
