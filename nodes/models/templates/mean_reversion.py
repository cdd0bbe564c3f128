"""Expects the mid to come back to its recent mean: −1 far above it … +1 far below.

z = (mid − mean) ÷ deviation, both decayed by time; the value is −z ÷ `wide`, within −1 … +1.
"""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.touch import is_whole
from tickmesh.nodes.models.interface import GAP, QUOTE, Floats, Parameter, Records
from tickmesh.nodes.models.signal_rule import SIGNAL_RULE, signal_due

KINDS = (Kind.quote,)  # what it is given: any of quote, trade, depth; gaps come anyhow
HORIZON_NS = 10_000_000_000  # how far ahead its value looks; 0: not stated
PARAMETERS = {  # [[models]] parameters = { half_life_ms = 5000.0 }: default, least, most, meaning
    "half_life_ms": Parameter(30_000.0, 1.0, 8.64e7, "of mean and deviation"),
    "wide": Parameter(3.0, 0.1, 100.0, "so many deviations are a value of 1"),
    **SIGNAL_RULE,  # step, threshold, interval_ms, repeat_ms: when a value is published
}
STATE = np.dtype(  # all that it remembers of one instrument; zeros at the start of the log
    [
        ("known", "<i8"),  # 1: there is a mean
        ("quote_ns", "<i8"),
        ("mean", "<f8"),  # of the mid, ticks
        ("variance", "<f8"),
        ("published_value", "<f8"),
        ("published_ns", "<i8"),
    ]
)


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives the distance from the mean as signals; arguments as in nodes/models/interface.py."""
    s = state[0]
    p = parameters[0]
    n = 0  # signals so far
    for r in range(count):
        row = rows[r]
        if row.kind == GAP and row.stream == QUOTE:  # quotes are missing: forget what hung on them
            s.known = 0
        if row.kind != QUOTE:
            continue
        q = quotes[row.first + row.count - 1]  # an event may have several records; the last one stands
        if not is_whole(q.bid_ticks, q.bid_lots, q.ask_ticks, q.ask_lots):
            continue
        mid = 0.5 * float(q.bid_ticks + q.ask_ticks)
        if s.known == 0:
            s.known = 1
            s.mean = mid
            s.variance = 0.0
        away = mid - s.mean
        kept = decay(row.seq_ns - s.quote_ns, p.half_life_ms * 1e6)  # time is the log's: row.seq_ns, no clock
        s.mean = mid - away * kept
        s.variance = kept * (s.variance + (1.0 - kept) * away * away)
        s.quote_ns = row.seq_ns
        deviation = np.sqrt(s.variance)
        value = 0.0
        if deviation > 0.0:
            value = min(max(-(mid - s.mean) / (deviation * p.wide), -1.0), 1.0)
        if signal_due(value, row.seq_ns, s.published_value, s.published_ns,
               p.step, p.threshold, p.interval_ms * 1e6, p.repeat_ms * 1e6):  # fmt: skip
            s.published_value = value
            s.published_ns = row.seq_ns
            out[n].row = r  # the event that causes it
            out[n].value = value
            out[n].price = s.mean * units[0]  # what it thinks the price is; np.nan for nothing
            out[n].reference_ticks = (q.bid_ticks + q.ask_ticks) // 2
            n += 1
    return n
