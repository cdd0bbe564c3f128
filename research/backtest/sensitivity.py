"""Several backtests side by side: what hangs on latency, queue model and fees, and what of the best one is luck."""

from collections.abc import Mapping
from dataclasses import dataclass

from tickmesh.research.backtest.measures import ratios
from tickmesh.research.backtest.measures.activity import chosen_interval
from tickmesh.research.backtest.measures.measure import Measure, measured, undefined
from tickmesh.research.backtest.report import BacktestReport, plain, summarize
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.stored import ResultError

# What `settings` has of what came of a backtest: it differs with everything, and nobody has set it
OUTCOMES = frozenset(("events", "signals", "wakes", "rejected", "refused", "market_volume"))


@dataclass(frozen=True)
class TrialFigures:
    """One backtest among several. `settings`: those in which they differ, as text; `change`: of `net` against the first one.

    `probabilistic` and `deflated`: the probabilities that its true Sharpe ratio is above 0, and above the best that luck gives.
    """

    name: str
    coverage: tuple[str, ...]
    settings: Mapping[str, str]
    net: Measure
    change: Measure
    sharpe: Measure
    drawdown: Measure
    fills: int
    any_fill: Measure
    maker: Measure
    markout: Measure  # of all fills after 1 s, in basis points
    shortfall: Measure  # in basis points
    probabilistic: Measure
    deflated: Measure


@dataclass(frozen=True)
class SideBySide:
    """Backtests in the order given. `trials`: how many were tried in all.

    `by_luck`: the annualised Sharpe ratio to be expected of the best of so many without skill.
    """

    interval_ns: int
    trials: int
    by_luck: Measure
    varied: tuple[str, ...]
    rows: tuple[TrialFigures, ...]
    notes: tuple[str, ...]


def side_by_side(
    results: Mapping[str, BacktestResult], interval_ns: int | None = None, trials: int | None = None
) -> SideBySide:
    """Sets results beside each other, by name. The first is what others are compared with.

    `interval_ns`: of gains; None: as suits the shortest of them. `trials`: how many were tried in all, with those thrown away;
    None: those given. Raises ResultError where there is none, or `trials` is fewer than those given.
    """
    if not results:
        raise ResultError("there is no backtest to compare")
    trials = len(results) if trials is None else trials
    if trials < len(results):
        raise ResultError(f"{trials} trials: at least the {len(results)} that are given were made")
    interval_ns = interval_ns or chosen_interval(min(one.end_ns - one.start_ns for one in results.values()))
    reports = {name: summarize(one, interval_ns, seed=None) for name, one in results.items()}
    flat = {name: _flat(plain(one.settings)) for name, one in reports.items()}
    keys = dict.fromkeys(key for one in flat.values() for key in one if key.partition(".")[0] not in OUTCOMES)
    varied = tuple(key for key in keys if len({one.get(key, "") for one in flat.values()}) > 1)
    first = next(iter(reports.values()))
    sharpes = [one.performance.sharpe_interval.value for one in reports.values()]
    known = [one for one in sharpes if one is not None]
    rows = tuple(
        _row(name, one, {key: flat[name].get(key, "") for key in varied}, first, known, trials) for name, one in reports.items()
    )
    by_luck = ratios.annualised(ratios.highest_by_luck(known, trials), interval_ns)
    return SideBySide(interval_ns, trials, by_luck, varied, rows, tuple(_notes(reports, len(known))))


def _row(
    name: str, report: BacktestReport, settings: Mapping[str, str], first: BacktestReport, sharpes: list[float], trials: int
) -> TrialFigures:
    net, change = report.in_all.net, _less(report.in_all.net, first.in_all.net)
    own = report.performance
    deflated = ratios.deflated_sharpe(report.gains, sharpes, trials) if own.sharpe_interval.value is not None else own.sharpe
    rates = report.fill_rates[0]
    markout = next(one.mean for one in report.markouts[0].points if one.horizon_ns == 1_000_000_000)
    return TrialFigures(
        name, report.coverage, settings, net, change, own.sharpe, own.drawdown.depth, report.in_all.fills, rates.any_fill,
        rates.maker, markout, report.shortfall.total_bps, own.probabilistic, deflated,
    )  # fmt: skip


def _less(one: Measure, other: Measure) -> Measure:
    if one.value is None or other.value is None:
        return undefined(one.why or other.why)
    return measured(one.value - other.value)


def _notes(reports: Mapping[str, BacktestReport], known: int) -> list[str]:
    notes = []
    if len({(one.start_ns, one.end_ns) for one in reports.values()}) > 1:
        notes.append("They are of different times: their differences are not of their settings alone.")
    if len({one.instruments for one in reports.values()}) > 1:
        notes.append("They are of different instruments: their differences are not of their settings alone.")
    if known < len(reports):
        notes.append(f"{len(reports) - known} have no Sharpe ratio, and are not in what luck gives.")
    if 2 <= known < 10:
        notes.append(f"How much the Sharpe ratios vary is known from {known} alone: the deflated ones are rough.")
    return notes


def _flat(settings: object, before: str = "") -> dict[str, str]:
    """Settings as text, maps within maps with a dot between their names."""
    if not isinstance(settings, Mapping):
        return {before: str(settings)}
    found: dict[str, str] = {}
    for name, one in settings.items():
        found |= _flat(one, f"{before}.{name}" if before else str(name))
    return found
