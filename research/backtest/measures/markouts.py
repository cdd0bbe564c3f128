"""Markouts: what a fill was worth some time later, by the mid; what of that the spread brought, and what the market took back.

R. D. Huang, H. R. Stoll: Dealer versus auction markets, Journal of Financial Economics 41 (1996): the realised spread is the
effective spread less what the price moved against whoever quoted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.bootstrap import pooled, ratio_of_sums, with_interval
from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.measures.profit import no_sum_why
from tickmesh.research.backtest.result import BacktestResult

HORIZONS_NS = (100_000_000, 1_000_000_000, 5_000_000_000, 10_000_000_000, 60_000_000_000)
BPS = 1e4


@dataclass(frozen=True)
class Markout:
    """Markouts of `fills` fills after `horizon_ns`, in basis points of what was dealt, weighted by worth, before fees.

    `mean` = `spread` − `adverse`: the mid before the fill against its price, less the move of the mid against the fill since.
    `after_end` fills have none, since the data ends before; `unquoted` ones, since no quote stood before them.
    """

    horizon_ns: int
    fills: int
    after_end: int
    unquoted: int
    mean: Measure
    spread: Measure
    adverse: Measure


@dataclass(frozen=True)
class MarkoutCurve:
    """Markouts at all horizons of `all`, `maker` or `taker` fills; `fees` in basis points of what was dealt."""

    of: str
    fees: Measure
    points: tuple[Markout, ...]


def mids_after(result: BacktestResult, mids: Mapping[str, Mids], horizon_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """(mid just before each fill, mid of the last quote at or before fill + horizon), float64 (fills,).

    NaN where no quote stood before the fill; the second also where fill + horizon is after the end.
    """
    fills = result.fills
    before, after = np.full(len(fills), np.nan), np.full(len(fills), np.nan)
    for place, name in enumerate(result.instruments):
        own = np.flatnonzero(fills["instrument"] == place)
        times = fills["time_ns"][own]
        before[own] = mids[name].before(times)
        after[own] = np.where(times + horizon_ns <= result.end_ns, mids[name].at(times + horizon_ns), np.nan)
    after[np.isnan(before)] = np.nan
    return before, after


def markout_curves(
    result: BacktestResult, mids: Mapping[str, Mids], seed: int | None, horizons_ns: tuple[int, ...] = HORIZONS_NS
) -> tuple[MarkoutCurve, ...]:
    """Markouts of all fills, of those as maker and of those as taker; with bootstrap intervals by blocks.

    Windows of neighbouring fills overlap, so a block has at least the mean number of fills in one window.
    """
    fills = result.fills
    chosen = {"all": np.ones(len(fills), bool), "maker": fills["maker"], "taker": ~fills["maker"]}
    why = no_sum_why(result, {result.instruments[place] for place in np.unique(fills["instrument"])})
    found = [(horizon, *mids_after(result, mids, horizon)) for horizon in horizons_ns]
    curves = []
    for name, mask in chosen.items():
        own = fills[mask]
        nothing = why or ("there are no fills" if name == "all" else f"there are no fills as {name}")
        dealt = float((own["price"] * own["quantity"]).sum())
        fees = undefined(why) if why else ratio(float(own["fee"].sum()) * BPS, dealt, nothing)
        points = tuple(_markout(own, before[mask], after[mask], horizon, seed, nothing) for horizon, before, after in found)
        points = tuple(_without_sums(point, why) for point in points) if why else points
        curves.append(MarkoutCurve(name, fees, points))
    return tuple(curves)


def _without_sums(point: Markout, why: str) -> Markout:
    no = undefined(why)
    return Markout(point.horizon_ns, point.fills, point.after_end, point.unquoted, no, no, no)


def _markout(
    fills: np.ndarray, before: np.ndarray, after: np.ndarray, horizon_ns: int, seed: int | None, nothing: str
) -> Markout:
    known = ~np.isnan(after)
    unquoted = int(np.isnan(before).sum())
    after_end = len(fills) - unquoted - int(known.sum())
    own, before, after = fills[known], before[known], after[known]
    dealt = own["price"] * own["quantity"]
    signed = own["side"] * own["quantity"] * BPS
    gained, kept, against = signed * (after - own["price"]), signed * (before - own["price"]), signed * (before - after)
    if not len(fills):
        why = nothing
    elif after_end:
        why = f"the data ends within {horizon_ns / 1e9:g} s of every fill that had a quote before it"
    else:
        why = "no quote stood before any fill"
    overlap = (
        float(np.mean(np.searchsorted(own["time_ns"], own["time_ns"] + horizon_ns, "right") - np.arange(len(own))))
        if len(own)
        else 1.0
    )

    def mean(values: np.ndarray) -> Measure:
        columns, group = pooled(np.column_stack((values, dealt)))
        found = ratio(float(values.sum()), float(dealt.sum()), why)
        return with_interval(found, columns, ratio_of_sums, seed, overlap / group)

    return Markout(horizon_ns, len(own), after_end, unquoted, mean(gained), mean(kept), mean(against))
