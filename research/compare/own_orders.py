"""A recording without our own orders: books and quotes as they would have been had we only watched.

A level that was recorded while an order of ours rested in it has that order in it; who sends the same order again would queue
behind itself. Trades stay: what others gave us they would have given whoever stood there.
"""

from collections.abc import Sequence

import numpy as np

from tickmesh.bus.schema import Status
from tickmesh.research.backtest.live_orders import LiveOrder
from tickmesh.research.backtest.tape import MarketTape
from tickmesh.research.backtest.venue_kernel import BOOK, QUOTE

NEVER_NS = (1 << 63) - 1


def without_own(tape: MarketTape, orders: Sequence[LiveOrder], slot: int) -> MarketTape:
    """Gives the tape with what these orders of one instrument had resting taken off its levels and quotes, least 0.

    `slot`: the instrument's place in the tape. A price at which only we stood stays the quote's price, with no quantity.
    """
    market = tape.market
    rows, quotes, levels = market.rows, market.quotes.copy(), market.levels.copy()
    times, places = _records(rows[(rows["what"] == BOOK) & (rows["slot"] == slot)])
    shown, of_quote = _records(rows[(rows["what"] == QUOTE) & (rows["slot"] == slot)])
    for one in orders:
        begin_ns, end_ns = one.arrived_ns, resting_until(one)
        side, price = int(one.intent["side"]), int(one.intent["price_ticks"])
        first, last = np.searchsorted(times, (begin_ns, end_ns), "right")
        own = np.arange(first, last)[(levels["side"][places[first:last]] == side)]
        own = own[levels["price_ticks"][places[own]] == price]
        _take_off(levels, "quantity_lots", places[own], left_at(one, times[own]))
        name = "bid" if side > 0 else "ask"
        first, last = np.searchsorted(shown, (begin_ns, end_ns), "right")
        own = np.arange(first, last)[quotes[f"{name}_ticks"][of_quote[first:last]] == price]
        _take_off(quotes, f"{name}_lots", of_quote[own], left_at(one, shown[own]))
    return tape._replace(market=market._replace(quotes=quotes, levels=levels))


def resting_until(order: LiveOrder) -> int:
    """Until when (ns of the log) an order stood in the book; its arrival for one that did not."""
    if order.filled_lots >= order.lots:
        return max([order.arrived_ns, *(one.at_ns for one in order.fills)])
    if order.canceled_ns:
        return order.canceled_ns
    if order.is_open:
        return NEVER_NS
    return max(order.ended_ns, order.arrived_ns) if order.rests and order.status == Status.Expired else order.arrived_ns


def left_at(order: LiveOrder, times_ns: np.ndarray) -> np.ndarray:
    """What of an order was not filled at these times, i8."""
    done = _steps([(one.at_ns, one.lots) for one in order.fills], times_ns)
    wanted, less = int(order.intent["quantity_lots"]), []
    for at_ns, lots in order.reduced:
        less.append((at_ns, wanted - lots))
        wanted = lots
    left: np.ndarray = np.maximum(int(order.intent["quantity_lots"]) - done - _steps(less, times_ns), 0)
    return left


def _steps(changes: list[tuple[int, int]], times_ns: np.ndarray) -> np.ndarray:
    """What changes (when, by how much; in order of time) add up to at these times, i8."""
    sums = np.concatenate([[0], np.cumsum([by for _, by in changes])]).astype("i8")
    found: np.ndarray = sums[np.searchsorted(np.array([at_ns for at_ns, _ in changes], "i8"), times_ns, "right")]
    return found


def _take_off(records: np.ndarray, name: str, places: np.ndarray, lots: np.ndarray) -> None:
    records[name][places] = np.maximum(records[name][places] - lots, 0)


def _records(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(when, where) of each record that these rows point to."""
    counts = rows["count"]
    starts = np.cumsum(counts) - counts
    return np.repeat(rows["seq_ns"], counts), np.repeat(rows["first"] - starts, counts) + np.arange(int(counts.sum()))
