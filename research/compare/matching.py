"""Each live order beside the simulated one: what both filled at the same prices, how they differ, and why."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import OrderType, Status
from tickmesh.research.backtest.live_orders import LiveOrder
from tickmesh.research.compare.simulated import SimulatedOrders

LATE_NS = 1_000_000  # an order that arrived at the simulated venue by more than this earlier or later met another book
BPS = 1e4

# Why an order was not reproduced, in the order in which they are looked for.
REASONS = {
    "mesh_down": "a process of trading was not there, so it never reached the venue",
    "not_sent": "the session did not send it in time, or was refused",
    "coverage": "trades or books of its time are missing in the recording",
    "latency": "it arrived at another time",
    "post_only": "it would have traded at one of the two venues, and was rejected there",
    "price_moved": "what it took stood at another price, or was gone",
    "open_before": "it was open as the backtest began, and went on as it did live",
    "decided": "the executor ordered otherwise, since something was filled otherwise before",
    "queue": "its place in the queue: one of the two was reached, or reached by more",
}


class VenueResult(NamedTuple):
    """What one venue made of an order. `price`: the mean of its fills, NaN without; `slippage_bp`: against the mid as it was
    sent, above 0 a cost, NaN without; times ns of the log, 0 where there is none."""

    status: str
    filled: float
    price: float
    first_fill_ns: int
    slippage_bp: float


NOTHING = VenueResult("", 0.0, np.nan, 0, np.nan)


@dataclass(frozen=True)
class ComparedOrder:
    """One order, live and simulated. `same`: the quantity that both filled at the same prices. `outcome`: "same", "other",
    "only_live", "only_backtest" (one of the two has fills) or "unfilled"; `reason`: of REASONS, "" without a difference."""

    instrument: str
    strategy: str
    client_order_id: str
    side: int
    type: str
    price: float
    quantity: float
    sent_ns: int
    live: VenueResult
    backtest: VenueResult
    same: float
    outcome: str
    reason: str

    @property
    def later_ns(self) -> int | None:
        """By how much the simulated first fill came later than the live one; None where there are not both."""
        first = self.backtest.first_fill_ns, self.live.first_fill_ns
        return first[0] - first[1] if all(first) else None


def compared(simulated: SimulatedOrders, lost_ns: Iterable[tuple[int, int]]) -> list[ComparedOrder]:
    """Compares the orders that reached the venue. `lost_ns`: [begin, end] of what the recording of the instrument lacks."""
    lost, found = list(lost_ns), []
    by_order = np.argsort(simulated.fills["order"], kind="stable")
    edges = np.searchsorted(simulated.fills["order"][by_order], np.arange(len(simulated.orders) + 1))
    for place, order in enumerate(simulated.orders):
        fills = simulated.fills[by_order[edges[place] : edges[place + 1]]]
        found.append(_compare(simulated, order, simulated.rows[place], fills, float(simulated.mids[place]), lost))
    return found


def not_sent(
    orders: Iterable[LiveOrder], down: Sequence[tuple[int, int, str]], price: float, lots: float
) -> list[ComparedOrder]:
    """The orders that never reached the venue: there is nothing to compare, but why they did not."""
    found = []
    for order in orders:
        away = any(begin_ns <= order.sent_ns <= end_ns for begin_ns, end_ns, _ in down)
        live = NOTHING._replace(status=Status(order.status).name)
        found.append(compared_order(order, price, lots, live, NOTHING, 0.0, "unfilled", "mesh_down" if away else "not_sent"))
    return found


def _compare(
    simulated: SimulatedOrders, order: LiveOrder, row: np.void, fills: np.ndarray, mid: float,
    lost: Sequence[tuple[int, int]],
) -> ComparedOrder:  # fmt: skip
    price, lots = simulated.price, simulated.lots
    had, got = live_lots(order), simulated_lots(fills, price, lots)
    live = live_result(order, mid, price, lots)
    backtest = simulated_result(int(order.intent["side"]), row, fills, mid, price, lots)
    same = (had & got).total()
    outcome = "unfilled" if not had and not got else "only_backtest" if not had else "only_live" if not got else "other"
    if had and had == got:
        outcome = "same"
    reason = "" if had == got else reason_of(order, row, fills, lost)
    return compared_order(order, price, lots, live, backtest, same * lots, outcome, reason)


def live_lots(order: LiveOrder) -> Counter[int]:
    """What was filled live: lots by price in ticks."""
    had = Counter[int]()
    for one in order.fills:
        had[one.price_ticks] += one.lots
    return had


def simulated_lots(fills: np.ndarray, price: float, lots: float) -> Counter[int]:
    """What result.FILL rows are: lots by price in ticks. `price`, `lots`: what a tick and a lot are worth."""
    got = Counter[int]()
    for one in fills:
        got[round(float(one["price"]) / price)] += round(float(one["quantity"]) / lots)
    return got


def live_result(order: LiveOrder, mid: float, price: float, lots: float) -> VenueResult:
    """What the live venue made of an order. `mid`: in ticks, as it was sent."""
    first_ns = min((one.at_ns for one in order.fills), default=0)
    return _result(order.status, live_lots(order), first_ns, int(order.intent["side"]), mid, price, lots)


def simulated_result(side: int, row: np.void, fills: np.ndarray, mid: float, price: float, lots: float) -> VenueResult:
    """What the simulated venue made of an order: its result.ORDER row and its result.FILL rows."""
    first_ns = int(fills["time_ns"][0]) if len(fills) else 0
    return _result(int(row["status"]), simulated_lots(fills, price, lots), first_ns, side, mid, price, lots)


def _result(status: int, fills: Counter[int], first_ns: int, side: int, mid: float, price: float, lots: float) -> VenueResult:
    total = fills.total()
    mean = sum(ticks * quantity for ticks, quantity in fills.items()) / total if total else np.nan
    slippage = side * (mean - mid) / mid * BPS if mid > 0.0 else np.nan
    return VenueResult(Status(status).name, total * lots, mean * price, first_ns, slippage)


def compared_order(
    order: LiveOrder,
    price: float,
    lots: float,
    live: VenueResult,
    backtest: VenueResult,
    same: float,
    outcome: str,
    reason: str,
) -> ComparedOrder:
    """A row of a comparison. `price`, `lots`: what a tick and a lot are worth."""
    intent = order.intent
    return ComparedOrder(
        order.subject, order.strategy, bytes(intent["client_order_id"]).decode(), int(intent["side"]),
        OrderType(int(intent["order_type"])).name, int(intent["price_ticks"]) * price, int(intent["quantity_lots"]) * lots,
        order.sent_ns, live, backtest, same, outcome, reason,
    )  # fmt: skip


def reason_of(order: LiveOrder, row: np.void, fills: np.ndarray, lost: Sequence[tuple[int, int]]) -> str:
    """Why both differ, a name of REASONS."""
    ends = [order.arrived_ns, order.canceled_ns, int(row["ended_ns"]), *(one.at_ns for one in order.fills)]
    if any(begin_ns <= max(ends) and end_ns >= order.arrived_ns for begin_ns, end_ns in lost):
        return "coverage"
    if abs(int(row["arrived_ns"]) - order.arrived_ns) > LATE_NS:
        return "latency"
    if (order.status == Status.Rejected) != (row["status"] == Status.Rejected):
        return "post_only"
    took = any(not one.maker for one in order.fills), bool((~fills["maker"]).any())
    if any(took) or not order.rests:
        return "price_moved"
    return "queue"
