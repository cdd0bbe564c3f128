"""What the parents of one style came to, in basis points of their worth, with what chance alone would make of it.

Slippage: how much worse than the arrival price (the mid when the signal came) what was filled was filled, of its value.
Implementation shortfall: what a parent cost beside the paper trade at the arrival price: slippage, fees, and the price that the
rest has at the end, of the worth wanted. Source: A. Perold, "The Implementation Shortfall: Paper versus Reality", 1988.
Intervals: percentile bootstrap over parents, 95 %. Source: B. Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from tickmesh.tools.simulation.trial import ParentOutcome

BP = 1e4
RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


class Figure(msgspec.Struct):
    """A value and its interval. None: there is nothing to say it of."""

    value: float | None
    low: float | None = None
    high: float | None = None


class StyleFigures(msgspec.Struct):
    """One style in one scenario. Shares of what was wanted, or filled; all else in basis points, above 0 is worse."""

    style: str
    parents: int
    orders: int
    filled: Figure  # share of the quantity wanted
    maker: Figure  # share of the value filled
    slippage_bp: Figure
    fees_bp: Figure  # of the value filled
    shortfall_bp: Figure
    beside_market_bp: Figure  # shortfall less that of market orders, parent by parent


def shortfalls(outcomes: Sequence[ParentOutcome]) -> np.ndarray:
    """The implementation shortfall of each parent, in basis points of what it was worth at arrival."""
    rows = np.array([(o.side, o.arrival * o.wanted, o.filled_value + o.rest_value, o.fees) for o in outcomes]).reshape(-1, 4)
    side, worth, paid, fees = rows.T
    return np.asarray((side * (paid - worth) + fees) / worth * BP)


def measure(style: str, outcomes: Sequence[ParentOutcome], market: Sequence[ParentOutcome], seed: int) -> StyleFigures:
    """The figures of a style; `market`: the same parents by market orders. The same seed gives the same intervals."""
    rows = np.array([
        (o.wanted, o.filled, o.filled_value, o.maker_value, o.fees, o.side * (o.filled_value - o.arrival * o.filled))
        for o in outcomes
    ]).reshape(-1, 6)  # fmt: skip
    own = shortfalls(outcomes)
    both = min(len(outcomes), len(market))
    chance = np.random.default_rng(seed)
    picks = chance.integers(0, max(len(outcomes), 1), (RESAMPLES, len(outcomes)))
    wanted, filled, value, maker, fees, slipped = rows.T
    return StyleFigures(
        style, len(outcomes), sum(one.orders for one in outcomes), _ratio(filled, wanted, picks), _ratio(maker, value, picks),
        _ratio(slipped, value, picks, BP), _ratio(fees, value, picks, BP), _mean(own, picks),
        _mean(own[:both] - shortfalls(market)[:both], chance.integers(0, max(both, 1), (RESAMPLES, both))),
    )  # fmt: skip


def _ratio(above: np.ndarray, below: np.ndarray, picks: np.ndarray, unit: float = 1.0) -> Figure:
    """The quotient of two sums."""
    if not below.sum():
        return Figure(None)
    tops, bottoms = above[picks].sum(axis=1), below[picks].sum(axis=1)
    there = bottoms > 0
    low, high = np.percentile(tops[there] / bottoms[there], INTERVAL) * unit
    return Figure(float(above.sum() / below.sum() * unit), float(low), float(high))


def _mean(values: np.ndarray, picks: np.ndarray) -> Figure:
    if not len(values):
        return Figure(None)
    low, high = np.percentile(values[picks].mean(axis=1), INTERVAL)
    return Figure(float(values.mean()), float(low), float(high))
