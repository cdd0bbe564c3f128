"""Made of features of the library: which side of the touch is heavier, and where orders have gone lately; −1 sell … +1 buy.

The value is the mean of the queue imbalance and of the order-flow imbalance against its usual size (docs/features.md).
"""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.order_flow import ORDER_FLOW, ofi, ofi_gap, ofi_quote
from tickmesh.nodes.models.features.touch import TOUCH, mid, queue_imbalance, touch_gap, touch_quote, weighted_mid
from tickmesh.nodes.models.interface import GAP, QUOTE, Floats, Parameter, Records
from tickmesh.nodes.models.signal_rule import SIGNAL_RULE, signal_due

KINDS = (Kind.quote,)  # what it is given: any of quote, trade, depth; gaps come anyhow
HORIZON_NS = 1_000_000_000  # how far ahead its value looks; 0: not stated
PARAMETERS = {  # [[models]] parameters = { half_life_ms = 500.0 }: default, least, most, meaning
    "half_life_ms": Parameter(500.0, 1.0, 8.64e7, "of the order flow"),
    "usual_ms": Parameter(60_000.0, 1.0, 8.64e7, "half life of its usual size"),
    **SIGNAL_RULE,  # step, threshold, interval_ms, repeat_ms: when a value is published
}
STATE = np.dtype(  # all that it remembers of one instrument; a feature's record is a part of it
    [
        ("touch", TOUCH),
        ("order_flow", ORDER_FLOW),
        ("usual", "<f8"),  # mean |order-flow imbalance|, lots
        ("quote_ns", "<i8"),
        ("published_value", "<f8"),
        ("published_ns", "<i8"),
    ]
)


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives the mean of both imbalances as signals; arguments as in nodes/models/interface.py."""
    s = state[0]
    p = parameters[0]
    half_life_ns = p.half_life_ms * 1e6
    n = 0  # signals so far
    for r in range(count):
        row = rows[r]
        now_ns = row.seq_ns  # time is the log's: no clock
        if row.kind == GAP and row.stream == QUOTE:  # quotes are missing: forget what hung on them
            touch_gap(s.touch)
            ofi_gap(s.order_flow)
        if row.kind != QUOTE:
            continue
        for i in range(row.first, row.first + row.count):
            q = quotes[i]
            touch_quote(s.touch, now_ns, q.bid_ticks, q.bid_lots, q.ask_ticks, q.ask_lots)
            ofi_quote(s.order_flow, now_ns, half_life_ns, q.bid_ticks, q.bid_lots, q.ask_ticks, q.ask_lots)
        flow = ofi(s.order_flow, now_ns, half_life_ns)
        heavier = queue_imbalance(s.touch)
        if np.isnan(flow) or np.isnan(heavier):  # not known yet
            continue
        kept = decay(now_ns - s.quote_ns, p.usual_ms * 1e6) if s.usual > 0.0 else 0.0
        s.usual = abs(flow) + (s.usual - abs(flow)) * kept
        s.quote_ns = now_ns
        value = heavier
        if s.usual > 0.0:
            value = 0.5 * (heavier + flow / (abs(flow) + s.usual))
        if signal_due(value, now_ns, s.published_value, s.published_ns,
               p.step, p.threshold, p.interval_ms * 1e6, p.repeat_ms * 1e6):  # fmt: skip
            s.published_value = value
            s.published_ns = now_ns
            out[n].row = r  # the event that causes it
            out[n].value = value
            out[n].price = weighted_mid(s.touch) * units[0]  # what it thinks the price is; np.nan for nothing
            out[n].reference_ticks = np.int64(mid(s.touch))
            n += 1
    return n
