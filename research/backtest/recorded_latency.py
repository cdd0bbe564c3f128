"""The latency of the orders in a recording: from what caused them until the venue had them, and back to the log."""

from tickmesh.bus.config import Config
from tickmesh.nodes.exchange.market.latency import InterpolatedLatency
from tickmesh.research.backtest.live_orders import read_live_orders
from tickmesh.storage.query.times import ReadError

MS = 1e6


def recorded_latency(config: Config, subjects: tuple[str, ...]) -> InterpolatedLatency:
    """Reads what orders of these instruments took, at the times of what caused them. Raises ReadError where there are none.

    From the event that an order's signal is about, as a backtest's executor answers at once where a mesh has three processes
    and their ways. When the venue had an order is read from the trades around it (live_orders.py).
    """
    rows = [
        (one.cause_ns, (one.arrived_ns - one.cause_ns) / MS, max(one.answered_ns - one.arrived_ns, 0) / MS)
        for one in read_live_orders(config, subjects).orders
        if one.arrived_ns
    ]
    if not rows:
        raise ReadError(
            f"no order on {', '.join(subjects)} was recorded, so there is no latency to take; say one in ms, like 5 or 5,3"
        )
    return InterpolatedLatency(rows)
