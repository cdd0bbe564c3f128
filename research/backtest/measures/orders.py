"""What became of orders: how many were filled, how much of them, as maker or taker, and how long it took."""

from dataclasses import dataclass

import numpy as np

from tickmesh.bus.schema import Status
from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined
from tickmesh.research.backtest.measures.profit import no_sum_why, strategy_name
from tickmesh.research.backtest.result import BacktestResult

HOUR_NS = 3_600_000_000_000
COMPLETE = 1.0 - 1e-9  # of an order's quantity: sums of floats leave crumbs


@dataclass(frozen=True)
class FillRates:
    """Orders of a strategy, an instrument, or ("" and "") all. Rates are of orders that the venue did not reject.

    `any_fill`, `complete`: shares of orders; `quantity`: of what was ordered, valued at the arrival mid; `maker`: of what was
    dealt.
    """

    instrument: str
    strategy: str
    orders: int
    rejected: int
    any_fill: Measure
    complete: Measure
    quantity: Measure
    maker: Measure


@dataclass(frozen=True)
class TimeToFill:
    """Seconds from an order's arrival at the venue to its first fill.

    `filled` orders have one: their median and 95th percentile are of those alone, and too short for the others. `median` counts
    orders that ended unfilled as not filled until then: E. L. Kaplan, P. Meier, JASA 53 (1958).
    """

    orders: int
    filled: int
    filled_median: Measure
    filled_95: Measure
    median: Measure


def filled_quantities(result: BacktestResult) -> np.ndarray:
    """The sum of each order's fills, float64 (orders,), in the order of `result.orders`."""
    ids, places = np.unique(result.orders["order"], return_inverse=True)
    by_id = np.zeros(len(ids))
    np.add.at(by_id, np.searchsorted(ids, result.fills["order"]), result.fills["quantity"])
    found: np.ndarray = by_id[places]
    return found


def fill_rates(result: BacktestResult) -> tuple[FillRates, ...]:
    """A row for all orders; where there are several strategies or instruments, one for each of them too."""
    filled = filled_quantities(result)
    rows = [_rates(result, filled, "", "")]
    if len(result.strategies) > 1:
        rows += [_rates(result, filled, "", strategy_name(result, place)) for place in range(len(result.strategies))]
    if len(result.instruments) > 1:
        rows += [_rates(result, filled, name, "") for name in result.instruments]
    return tuple(rows)


def _chosen(result: BacktestResult, rows: np.ndarray, instrument: str, strategy: str) -> np.ndarray:
    chosen = np.ones(len(rows), bool)
    if instrument:
        chosen &= rows["instrument"] == result.instruments.index(instrument)
    if strategy:
        chosen &= rows["strategy"] == result.strategies.index(strategy)
    return chosen


def _rates(result: BacktestResult, filled: np.ndarray, instrument: str, strategy: str) -> FillRates:
    chosen = _chosen(result, result.orders, instrument, strategy)
    accepted = chosen & (result.orders["status"] != Status.Rejected)
    orders, filled = result.orders[accepted], filled[accepted]
    count = len(orders)
    nothing = "there are no orders that the venue took"
    used = {result.instruments[place] for place in np.unique(orders["instrument"])}
    why = no_sum_why(result, used)
    mid = orders["arrival_mid"]
    price = np.where(np.isfinite(mid) & (mid > 0.0), mid, orders["price"])
    unpriced = "" if np.all(price > 0.0) else "an order has neither an arrival mid nor a price"
    if why or (unpriced and len(used) > 1):
        quantity = undefined(why or unpriced)
    else:
        price = np.ones(count) if unpriced else price  # of one instrument quantities add up as they are
        quantity = ratio(float(filled @ price), float(orders["quantity"] @ price), nothing)
    fills = result.fills[_chosen(result, result.fills, instrument, strategy)]
    dealt = fills["price"] * fills["quantity"]
    maker = undefined(why) if why else ratio(float(dealt[fills["maker"]].sum()), float(dealt.sum()), "there are no fills")
    return FillRates(
        instrument, strategy, int(chosen.sum()), int(chosen.sum()) - count,
        ratio(int((filled > 0.0).sum()), count, nothing),
        ratio(int((filled >= orders["quantity"] * COMPLETE).sum()), count, nothing), quantity, maker,
    )  # fmt: skip


def first_fills(result: BacktestResult) -> np.ndarray:
    """When each order was first filled, int64 ns (orders,); 0 where it was not."""
    ids, first = np.unique(result.fills["order"], return_index=True)
    found = np.zeros(len(result.orders), np.int64)
    if len(ids):
        place = np.minimum(np.searchsorted(ids, result.orders["order"]), len(ids) - 1)
        has = ids[place] == result.orders["order"]
        found[has] = result.fills["time_ns"][first[place[has]]]
    return found


def time_to_fill(result: BacktestResult) -> TimeToFill:
    """How long orders that arrived at the venue waited for their first fill."""
    orders, first = result.orders, first_fills(result)
    arrived = (orders["arrived_ns"] > 0) & (orders["status"] != Status.Rejected)
    orders, first = orders[arrived], first[arrived]
    filled = first > 0
    ended = np.where(orders["ended_ns"] > 0, orders["ended_ns"], result.end_ns)
    lasted = np.maximum(np.where(filled, first, ended) - orders["arrived_ns"], 0) / 1e9
    if not filled.any():
        no = undefined("no order was filled")
        return TimeToFill(len(orders), 0, no, no, no)
    median, late = np.quantile(lasted[filled], (0.5, 0.95))
    return TimeToFill(
        len(orders), int(filled.sum()), Measure(float(median)), Measure(float(late)), survival_median(lasted, filled)
    )


def survival_median(lasted: np.ndarray, ended: np.ndarray) -> Measure:
    """The Kaplan–Meier median of times (float64 (n,)): those not `ended` (bool (n,)) lasted at least so long."""
    order = np.lexsort((~ended, lasted))
    at_risk = np.arange(len(order), 0, -1)
    alive = np.cumprod(np.where(ended[order], 1.0 - 1.0 / at_risk, 1.0))
    reached = np.flatnonzero(alive <= 0.5 + 1e-12)
    if not len(reached):
        return undefined("fewer than half of the orders would be filled, however long they waited")
    return Measure(float(lasted[order][reached[0]]))


def by_hour(result: BacktestResult) -> tuple[tuple[int, int], ...]:
    """(orders sent, of them filled in part or whole) in each hour of the day, UTC, without rejected ones: 24 of them."""
    taken = result.orders["status"] != Status.Rejected
    hours = result.orders["sent_ns"][taken] // HOUR_NS % 24
    sent = np.bincount(hours, minlength=24)
    filled = np.bincount(hours[filled_quantities(result)[taken] > 0.0], minlength=24)
    return tuple(zip(sent.tolist(), filled.tolist()))
