"""Figures of round trips: how often they gain, how much, and how long they last."""

from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.bootstrap import pooled, ratio_of_sums, with_interval
from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined


@dataclass(frozen=True)
class TripFigures:
    """Round trips that are over, `by` "fifo" or "average" cost. Money is in quote currency, after fees; a win is above 0.

    `profit_factor`: what was won ÷ what was lost.
    """

    by: str
    trips: int
    hit_rate: Measure
    profit_factor: Measure
    mean: Measure
    mean_win: Measure
    mean_loss: Measure
    held_s: Measure


def trip_figures(by: str, trips: np.ndarray, no_sum: str, seed: int | None) -> TripFigures:
    """Figures of trips (dtype ROUND_TRIP, in order of closing). `no_sum`: why their money does not add up, or ""."""
    net = trips["gross"] - trips["fees"]
    count = len(trips)
    none = "no round trip is over"
    if np.isnan(net).any():
        no_sum = no_sum or "what was held at the start has no price"
    hit = _with_interval(ratio(int((net > 0.0).sum()), count, none), net > 0.0, seed)
    held = ratio(float((trips["closed_ns"] - trips["opened_ns"]).sum()) / 1e9, count, none)
    if no_sum or not count:
        no = undefined(no_sum or none)
        return TripFigures(by, count, undefined(no_sum) if np.isnan(net).any() else hit, no, no, no, no, held)
    won, lost = net[net > 0.0], net[net < 0.0]
    return TripFigures(
        by, count, hit, ratio(float(won.sum()), -float(lost.sum()), "no round trip lost"),
        _with_interval(ratio(float(net.sum()), count, none), net, seed),
        ratio(float(won.sum()), len(won), "no round trip gained"),
        ratio(float(lost.sum()), len(lost), "no round trip lost"), held,
    )  # fmt: skip


def _with_interval(mean: Measure, values: np.ndarray, seed: int | None) -> Measure:
    columns, _ = pooled(np.column_stack((values.astype(np.float64), np.ones(len(values)))))
    return with_interval(mean, columns, ratio_of_sums, seed)
