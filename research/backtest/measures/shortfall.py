"""Implementation shortfall: what dealing cost against the mid at which the signal asked for it.

A. F. Perold: The implementation shortfall, Journal of Portfolio Management 14 (1988); the parts as in R. Kissell, M. Glantz:
Optimal Trading Strategies (2003).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.bootstrap import pooled, ratio_of_sums, with_interval
from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.measures.profit import no_sum_why
from tickmesh.research.backtest.result import BacktestResult

PARTS = ("delay", "waiting", "spread", "fees", "opportunity")
SAME = 1.0 + 1e-9  # quantities that are sums of floats
BPS = 1e4


@dataclass(frozen=True)
class Shortfall:
    """Costs (above 0) of what was wanted, in quote currency, and `total` in basis points of its worth at the arrival mid.

    `parents`: parent orders, each with all that was sent for it; `unpriced` ones have no arrival mid, or a fill without
    a quote before it, and are left out. The parts add up to `total`.
    """

    parents: int
    unpriced: int
    wanted: Measure
    delay: Measure
    waiting: Measure
    spread: Measure
    fees: Measure
    opportunity: Measure
    total: Measure
    total_bps: Measure


def parents_of(orders: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """The number of the parent that each order belongs to, int64 (orders,), from 0 in order of its first order.

    An order without one (`parent` −1: results of before have none) continues the one before it of its strategy, instrument and
    side, where that has the same arrival mid, ended before it was sent, and left at least its quantity unfilled: so a reprice
    by cancel and new order has one parent.
    """
    numbered = orders["parent"] >= 0
    found = np.zeros(len(orders), np.int64)
    found[numbered] = orders["parent"][numbered]
    alone = np.flatnonzero(~numbered)
    found[alone] = _chained(orders[alone], filled[alone]) + (found.max(initial=-1) + 1)
    _, first, number = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _chained(orders: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Parents guessed from the orders alone, int64 (orders,)."""
    found = np.zeros(len(orders), np.int64)
    going: dict[tuple[int, int, int], tuple[int, float, float, int]] = {}  # → (parent, arrival mid, left, ended)
    count = 0
    names = ["instrument", "strategy", "side", "sent_ns", "ended_ns", "quantity", "arrival_mid"]
    for place, (row, done) in enumerate(zip(orders[names].tolist(), filled.tolist())):
        instrument, strategy, side, sent_ns, ended_ns, quantity, mid = row
        key = instrument, strategy, side
        parent, same_mid, left, before_ns = going.get(key, (0, 0.0, 0.0, 0))
        if not (same_mid == mid and 0 < before_ns <= sent_ns and quantity <= left * SAME):
            parent, left, count = count, quantity, count + 1
        going[key] = parent, mid, left - done, ended_ns
        found[place] = parent
    return found


def shortfall(result: BacktestResult, mids: Mapping[str, Mids], filled: np.ndarray, seed: int | None) -> Shortfall:
    """The implementation shortfall of all orders; `filled`: float64 (orders,), the sum of each one's fills."""
    orders = result.orders
    if not len(orders):
        return _nothing(0, 0, "there are no orders")
    why = no_sum_why(result, {result.instruments[place] for place in np.unique(orders["instrument"])})
    parent = parents_of(orders, filled)
    count = int(parent.max()) + 1
    parts = _parts(result, mids, parent, filled, count)
    known = np.all(np.isfinite(parts), axis=1)
    if why or not known.any():
        return _nothing(count, int(count - known.sum()), why or "no order has an arrival mid and quotes for its fills")
    parts = parts[known]
    wanted, costs = parts[:, 0], parts[:, 1:]
    total = costs.sum(axis=1)
    columns, _ = pooled(np.column_stack((total * BPS, wanted)))
    in_bps = with_interval(
        ratio(float(total.sum()) * BPS, float(wanted.sum()), "nothing was wanted"), columns, ratio_of_sums, seed
    )
    delay, waiting, spread, fees, opportunity = (Measure(float(one)) for one in costs.sum(axis=0))
    asked, cost = Measure(float(wanted.sum())), Measure(float(total.sum()))
    return Shortfall(count, int(count - known.sum()), asked, delay, waiting, spread, fees, opportunity, cost, in_bps)


def _parts(result: BacktestResult, mids: Mapping[str, Mids], parent: np.ndarray, filled: np.ndarray, count: int) -> np.ndarray:
    """Each parent's worth, then PARTS; float64 (count, 6), NaN where something has no price."""
    orders, fills = result.orders, result.fills
    by_id = np.argsort(orders["order"], kind="stable")
    of_fill = by_id[np.searchsorted(orders["order"][by_id], fills["order"])]
    _, first = np.unique(parent, return_index=True)
    last = len(parent) - 1 - np.unique(parent[::-1], return_index=True)[1]
    arrived = np.where(orders["arrived_ns"] > 0, orders["arrived_ns"], orders["sent_ns"])
    ended = np.where(orders["ended_ns"] > 0, orders["ended_ns"], result.end_ns)
    at_arrival, at_end = np.full(len(orders), np.nan), np.full(len(orders), np.nan)
    before = np.full(len(fills), np.nan)
    for place, name in enumerate(result.instruments):
        own, dealt = orders["instrument"] == place, fills["instrument"] == place
        at_arrival[own] = mids[name].at(arrived[own])
        at_end[own] = mids[name].at(ended[own])
        before[dealt] = mids[name].before(fills["time_ns"][dealt])
    asked = np.where(orders["arrival_mid"] > 0.0, orders["arrival_mid"], np.nan)

    def summed(of_each_fill: np.ndarray) -> np.ndarray:
        return np.bincount(parent[of_fill], of_each_fill, count)

    signed = fills["side"] * fills["quantity"]
    done = np.bincount(parent, filled, count)
    wanted = np.where(orders["parent"][first] >= 0, np.maximum(orders["parent_wanted"][first], done), orders["quantity"][first])
    left = wanted - done
    left[left <= wanted * (SAME - 1.0)] = 0.0
    missed = np.where(left > 0.0, left * orders["side"][first] * (at_end[last] - asked[first]), 0.0)
    return np.column_stack((
        wanted * asked[first],
        summed(signed * (at_arrival[of_fill] - asked[of_fill])),
        summed(signed * (before - at_arrival[of_fill])),
        summed(signed * (fills["price"] - before)),
        summed(fills["fee"]),
        missed,
    ))  # fmt: skip


def _nothing(count: int, unpriced: int, why: str) -> Shortfall:
    return Shortfall(count, unpriced, *(undefined(why) for _ in range(len(PARTS) + 3)))
