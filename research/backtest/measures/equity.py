"""The equity curve: what was gained since the start, fees paid, with what is held valued at the mid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.measure import Measure, undefined
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.measures.profit import no_sum_why
from tickmesh.research.backtest.result import BacktestResult


@dataclass(frozen=True)
class EquityCurve:
    """Equity at moments, in order of time: `time_ns` int64 (n,); `equity`, `gross`, `net` float64 (n,), in quote currency.

    `gross` is the worth of all positions without their signs, `net` with them.
    """

    time_ns: np.ndarray
    equity: np.ndarray
    gross: np.ndarray
    net: np.ndarray


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall of equity from its highest value before, and the longest time below a former one.

    Times are ns; None where there was no fall, `recovered_ns` also where the equity was not back at the end.
    """

    depth: Measure
    peak_ns: int | None = None
    trough_ns: int | None = None
    recovered_ns: int | None = None
    longest_ns: int = 0
    longest_open: bool = False  # whether the longest one was still going on at the end


def instruments_dealt(result: BacktestResult) -> list[int]:
    """Places of the instruments that were held or dealt at any time."""
    dealt = set(np.unique(result.fills["instrument"]).tolist())
    return sorted(dealt | {place for place, name in enumerate(result.instruments) if result.initial.get(name, 0.0)})


def no_curve_why(result: BacktestResult, mids: Mapping[str, Mids]) -> str:
    """Why there is no equity curve; "" where there is one."""
    names = [result.instruments[place] for place in instruments_dealt(result)]
    missing = [name for name in names if not len(mids[name].mid)]
    if missing:
        return f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no quotes, so what is held has no worth"
    return no_sum_why(result, set(names))


def equity_at(result: BacktestResult, mids: Mapping[str, Mids], time_ns: np.ndarray) -> EquityCurve:
    """Equity at these moments (int64, rising), after all fills up to and at them. Where there is a curve (`no_curve_why`)."""
    equity, gross, net = np.zeros(len(time_ns)), np.zeros(len(time_ns)), np.zeros(len(time_ns))
    for place in instruments_dealt(result):
        name = result.instruments[place]
        own = result.fills[result.fills["instrument"] == place]
        after = np.searchsorted(own["time_ns"], time_ns, "right")
        signed = own["side"] * own["quantity"]
        cash = np.concatenate(([0.0], np.cumsum(-signed * own["price"] - own["fee"])))
        initial = result.initial.get(name, 0.0)
        held = initial + np.concatenate(([0.0], np.cumsum(signed)))
        worth = held[after] * mids[name].valuing(time_ns)
        equity += cash[after] + worth - initial * mids[name].mid[0]
        gross += np.abs(worth)
        net += worth
    return EquityCurve(time_ns, equity, gross, net)


def equity_at_changes(result: BacktestResult, mids: Mapping[str, Mids]) -> EquityCurve:
    """Equity at the start, at every fill and every change of a mid, and at the end: nothing lies between two of its points."""
    moments = [np.array([result.start_ns, result.end_ns]), result.fills["time_ns"]]
    moments += [mids[result.instruments[place]].time_ns for place in instruments_dealt(result)]
    times = np.unique(np.concatenate(moments))
    return equity_at(result, mids, times[(times >= result.start_ns) & (times <= result.end_ns)])


def equity_at_intervals(result: BacktestResult, mids: Mapping[str, Mids], interval_ns: int) -> EquityCurve:
    """Equity at the start and at the end of each whole interval; what is left after the last whole one is not in it."""
    count = (result.end_ns - result.start_ns) // interval_ns
    return equity_at(result, mids, result.start_ns + np.arange(count + 1) * interval_ns)


def drawdown(curve: EquityCurve) -> Drawdown:
    """The drawdown of a curve whose first point is the start."""
    highest = np.maximum.accumulate(curve.equity)
    below = highest - curve.equity
    trough = int(np.argmax(below))
    if below[trough] <= 0.0:
        return Drawdown(Measure(0.0))
    at_high = np.flatnonzero(below <= 0.0)
    peak = int(at_high[np.searchsorted(at_high, trough) - 1])
    later = at_high[at_high > trough]
    edges = np.append(at_high, len(below))  # between two of them the equity is below the first, or they are neighbours
    apart = np.flatnonzero(np.diff(edges) > 1)
    begin = curve.time_ns[edges[apart]]
    end = curve.time_ns[np.minimum(edges[apart + 1], len(below) - 1)]
    longest = int(np.argmax(end - begin))
    still_open = bool(edges[apart + 1][longest] == len(below))
    recovered = int(curve.time_ns[later[0]]) if len(later) else None
    depth = Measure(float(below[trough]))
    return Drawdown(
        depth, int(curve.time_ns[peak]), int(curve.time_ns[trough]), recovered, int((end - begin)[longest]), still_open
    )


def time_weighted(curve: EquityCurve, values: np.ndarray) -> Measure:
    """The mean over time of values that hold from each point of the curve to the next."""
    lasted = np.diff(curve.time_ns).astype(np.float64)
    if not lasted.sum():
        return undefined("no time passed")
    return Measure(float(values[:-1] @ lasted / lasted.sum()))
