"""Trials of a sweep: each combination of parameters over all its periods and instruments, and what of the best one is luck."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from tickmesh.research.backtest.measures import ratios
from tickmesh.research.backtest.measures.measure import Measure, measured, undefined
from tickmesh.research.sweep.store import StoredPart

SUMMED = ("orders", "fills", "trips")


class TrialSummary(NamedTuple):
    """One combination of parameters. Money is in quote currency; ratios are annualised, of gains of all parts in order of time.

    parts, failed   how many it has, and of them without an answer
    net, worst, best   profit in all, and of the worst and the best part
    gaining         the share of parts that gained
    drawdown        the deepest fall of what was gained, looked at at the ends of intervals
    probabilistic, deflated   the probabilities that the true Sharpe ratio is above 0, and above the best that luck gives
    """

    parameters: dict[str, Any]
    parts: int
    failed: int
    net: Measure
    worst: Measure
    best: Measure
    gaining: Measure
    sharpe: Measure
    drawdown: Measure
    probabilistic: Measure
    deflated: Measure
    orders: int
    fills: int
    trips: int


class _Trial(NamedTuple):
    summary: TrialSummary
    sharpe: Measure  # of one interval
    intervals: int
    shape: tuple[float, float]


def summaries(
    rows: Iterable[StoredPart], interval_ns: int, made: int, hopeless: set[tuple[str, int]]
) -> tuple[list[TrialSummary], Measure, int]:
    """(trials, the best first; the annualised Sharpe ratio of the best by luck; how many trials that counts).

    `rows`: those of a trial one after the other; a trial's gains are held, no more. `made`: how many trials were made in all,
    as far as is known. `hopeless`: (instrument, start) of parts that no trial has an answer for: they are left out of all.
    """
    found = [_trial(list(own), interval_ns, hopeless) for _, own in groupby(rows, key=lambda row: row.parameters)]
    known = [one.sharpe.value for one in found if one.sharpe.value is not None]
    trials = max(made, len(found))
    luck = ratios.highest_by_luck(known, trials)
    out = []
    for one in found:
        deflated = luck
        if one.sharpe.value is None:
            deflated = one.sharpe
        elif luck.value is not None:
            deflated = ratios.probability_above(one.sharpe.value, luck.value, one.intervals, *one.shape)
        out.append(one.summary._replace(deflated=deflated))
    out.sort(key=lambda one: (one.sharpe.value is None, -(one.sharpe.value or 0.0), -(one.net.value or 0.0)))
    return out, ratios.annualised(luck, interval_ns), trials


def _trial(rows: Sequence[StoredPart], interval_ns: int, hopeless: set[tuple[str, int]]) -> _Trial:
    done = [row for row in rows if not row.error]
    lost = len([row for row in rows if row.error and (row.instrument, row.start_ns) not in hopeless])
    nets = [row.measures["net"] for row in done]
    gains, why = _gains(done)
    if lost:
        why = f"{lost} of {len(rows)} parts failed, which others have not"
    counted = [float(one) for one in nets if one is not None]
    money = undefined(why) if why and not counted else undefined("no part has an answer")
    net = measured(sum(counted)) if counted and len(counted) == len(done) and not why else money
    if why:
        net = undefined(why)
    sharpe = undefined(why) if why else ratios.sharpe(gains)
    shape = ratios.shape(gains) if sharpe.value is not None else (0.0, 0.0)
    probabilistic = ratios.probability_above(sharpe.value, 0.0, len(gains), *shape) if sharpe.value is not None else sharpe
    curve = np.concatenate([[0.0], np.cumsum(gains)])
    summary = TrialSummary(
        rows[0].parameters, len(rows), len(rows) - len(done), net,
        measured(min(counted)) if counted else money, measured(max(counted)) if counted else money,
        measured(sum(one > 0 for one in counted) / len(counted)) if counted else money,
        ratios.annualised(sharpe, interval_ns),
        undefined(why) if why else measured(float((np.maximum.accumulate(curve) - curve).max())), probabilistic,
        undefined("not yet"), *(sum(int(row.measures[name] or 0) for row in done) for name in SUMMED),
    )  # fmt: skip
    return _Trial(summary, sharpe, len(gains), shape)


def _gains(done: Sequence[StoredPart]) -> tuple[np.ndarray, str]:
    """(what all instruments together gained in each interval, in order of time; why that is not defined, or "")."""
    if not done:
        return np.zeros(0), "no part has an answer"
    currencies = sorted({row.currency for row in done if row.currency})
    if len(currencies) > 1:
        return np.zeros(0), f"the instruments are quoted in {' and '.join(currencies)}, which do not add up"
    parts = []
    for _, own in groupby(sorted(done, key=lambda row: row.start_ns), key=lambda row: row.start_ns):
        each = [row.gains for row in own]
        if len({len(one) for one in each}) > 1:
            return np.zeros(0), "a part has no equity curve: an instrument of it has no quotes"
        parts.append(np.sum(each, axis=0))
    return np.concatenate(parts), ""


def best_and_worst(trials: Sequence[TrialSummary], count: int) -> Iterator[TrialSummary | None]:
    """The first and the last so many, None between them where some are left out."""
    if len(trials) <= 2 * count:
        yield from trials
        return
    yield from trials[:count]
    yield None
    yield from trials[-count:]
