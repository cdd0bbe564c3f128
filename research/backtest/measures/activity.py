"""How much was dealt, how much was held, and what the equity did: figures of the whole backtest."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures import ratios
from tickmesh.research.backtest.measures.bootstrap import with_interval
from tickmesh.research.backtest.measures.equity import (
    Drawdown,
    EquityCurve,
    drawdown,
    equity_at_intervals,
    no_curve_why,
    time_weighted,
)
from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.measures.profit import no_sum_why
from tickmesh.research.backtest.measures.round_trips import RESIDUE
from tickmesh.research.backtest.result import BacktestResult

DAY_NS = 86_400_000_000_000
INTERVALS_NS = tuple(seconds * 1_000_000_000 for seconds in (86_400, 14_400, 3_600, 600, 60, 10, 1))
INTERVALS_MIN = 100  # the longest interval of which there are so many is taken
INTERVALS_MAX = 100_000


@dataclass(frozen=True)
class Performance:
    """Reward and risk, of gains in `intervals` whole intervals of `interval_ns`; ratios are annualised with 365 days.

    `sharpe_interval` is that of one interval; `probabilistic`: the probability that the true one is above 0; `autocorrelation`:
    of neighbouring gains. `gained_a_day` is in quote currency.
    """

    interval_ns: int
    intervals: int
    gained_a_day: Measure
    sharpe: Measure
    sharpe_interval: Measure
    sortino: Measure
    calmar: Measure
    probabilistic: Measure
    skewness: Measure
    kurtosis: Measure
    autocorrelation: Measure
    drawdown: Drawdown


@dataclass(frozen=True)
class Exposure:
    """Worth of what is held, weighted by time, in quote currency; `in_market`: the share of time in which anything is held."""

    mean_gross: Measure
    highest_gross: Measure
    mean_net: Measure
    in_market: Measure


@dataclass(frozen=True)
class Turnover:
    """Worth dealt (bought and sold), in quote currency; `times_held`: dealt a day ÷ mean gross exposure."""

    dealt: Measure
    dealt_a_day: Measure
    times_held: Measure


def chosen_interval(span_ns: int) -> int:
    """The longest of INTERVALS_NS that a span has INTERVALS_MIN of; the shortest where it has of none."""
    return next((one for one in INTERVALS_NS if span_ns // one >= INTERVALS_MIN), INTERVALS_NS[-1])


def gains(result: BacktestResult, mids: Mapping[str, Mids], interval_ns: int) -> np.ndarray:
    """What each whole interval gained, float64; empty where there is no equity curve."""
    if no_curve_why(result, mids):
        return np.zeros(0)
    return np.diff(equity_at_intervals(result, mids, interval_ns).equity)


def performance(
    result: BacktestResult, mids: Mapping[str, Mids], changes: EquityCurve | None, interval_ns: int, seed: int | None
) -> Performance:
    """Reward and risk of the whole; `changes`: the curve at all changes, None where there is none."""
    if changes is None:
        no = undefined(no_curve_why(result, mids))
        return Performance(interval_ns, 0, no, no, no, no, no, no, no, no, no, Drawdown(no))
    each = gains(result, mids, interval_ns)
    deepest = drawdown(changes)
    one = ratios.sharpe(each)
    column = each[:, None]
    by_day = DAY_NS / interval_ns
    mean = with_interval(ratio(float(each.sum()), len(each), "there is no whole interval"), column, _means, seed)
    sharpe = with_interval(one, column, _sharpes, seed)
    sortino = with_interval(ratios.sortino(each), column, _sortinos, seed)
    calmar = ratios.calmar(float(changes.equity[-1]), result.end_ns - result.start_ns, deepest.depth)
    skewness = kurtosis = autocorrelation = undefined(one.why)
    if one.value is not None:
        skewness, kurtosis = (Measure(value) for value in ratios.shape(each))
        autocorrelation = ratios.autocorrelation(each)
    return Performance(
        interval_ns, len(each), mean.times(by_day), ratios.annualised(sharpe, interval_ns), one,
        ratios.annualised(sortino, interval_ns), calmar, ratios.probabilistic_sharpe(each), skewness, kurtosis,
        autocorrelation, deepest,
    )  # fmt: skip


def _means(sampled: np.ndarray) -> np.ndarray:
    found: np.ndarray = sampled[:, :, 0].mean(axis=1)
    return found


def _sharpes(sampled: np.ndarray) -> np.ndarray:
    values = sampled[:, :, 0]
    deviation = values.std(axis=1, ddof=1)
    vary = deviation > 1e-12 * np.abs(values).max(axis=1)
    found: np.ndarray = np.divide(values.mean(axis=1), deviation, out=np.full(len(values), np.nan), where=vary)
    return found


def _sortinos(sampled: np.ndarray) -> np.ndarray:
    values = sampled[:, :, 0]
    below = np.sqrt(np.mean(np.minimum(values, 0.0) ** 2, axis=1))
    found: np.ndarray = np.divide(values.mean(axis=1), below, out=np.full(len(values), np.nan), where=below > 0.0)
    return found


def exposure(result: BacktestResult, mids: Mapping[str, Mids], changes: EquityCurve | None) -> Exposure:
    """What was held over the time of the backtest."""
    if changes is None:
        no = undefined(no_curve_why(result, mids))
        return Exposure(no, no, no, no)
    largest = float(changes.gross.max())
    held = (changes.gross > RESIDUE * largest).astype(np.float64)
    return Exposure(
        time_weighted(changes, changes.gross),
        Measure(largest),
        time_weighted(changes, changes.net),
        time_weighted(changes, held),
    )


def turnover(result: BacktestResult, mean_gross: Measure) -> Turnover:
    """What was dealt. `mean_gross`: the mean worth of what was held."""
    fills = result.fills
    why = no_sum_why(result, {result.instruments[place] for place in np.unique(fills["instrument"])})
    if why:
        no = undefined(why)
        return Turnover(no, no, no)
    dealt = float((fills["price"] * fills["quantity"]).sum())
    a_day = ratio(dealt * DAY_NS, result.end_ns - result.start_ns, "no time passed")
    if mean_gross.value is None or a_day.value is None:
        return Turnover(Measure(dealt), a_day, undefined(mean_gross.why or a_day.why))
    return Turnover(Measure(dealt), a_day, ratio(a_day.value, mean_gross.value, "nothing was held"))
