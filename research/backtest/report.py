"""The report of a backtest: every measure of docs/backtest-report.md, as one frozen object, as a map and on a terminal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from tickmesh.bus.schema import Status
from tickmesh.research.backtest.measures.activity import (
    DAY_NS,
    INTERVALS_MAX,
    Exposure,
    Performance,
    Turnover,
    chosen_interval,
    exposure,
    performance,
    turnover,
)
from tickmesh.research.backtest.measures.capacity import Capacity, capacity, volatility
from tickmesh.research.backtest.measures.equity import (
    equity_at_changes,
    equity_at_intervals,
    instruments_dealt,
    no_curve_why,
)
from tickmesh.research.backtest.measures.markouts import MarkoutCurve, markout_curves
from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.backtest.measures.mids import Mids, mids_of
from tickmesh.research.backtest.measures.orders import (
    FillRates,
    TimeToFill,
    by_hour,
    fill_rates,
    filled_quantities,
    time_to_fill,
)
from tickmesh.research.backtest.measures.profit import (
    MatchedBook,
    ProfitRow,
    currencies,
    matched_books,
    no_sum_why,
    profit_rows,
)
from tickmesh.research.backtest.measures.round_trips import ROUND_TRIP
from tickmesh.research.backtest.measures.shortfall import Shortfall, shortfall
from tickmesh.research.backtest.measures.trips import TripFigures, trip_figures
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.stored import ResultError, check

SCHEMA_VERSION = 1  # of `as_dict`
SHORT_DAYS = 30.0  # a ratio of less is annualised by a factor that makes chance look like skill


@dataclass(frozen=True)
class BacktestReport:
    """What a backtest says of itself. `coverage`: what data is missing; `notes`: what else a reader has to know.

    `profit`: by strategy and instrument, sums, and the last row in all. `hours`: (orders sent, of them filled) by hour of the
    day, UTC. `fifo_trips`, `average_trips` (dtype ROUND_TRIP), `time_ns` and `equity` (at ends of whole intervals) are arrays.
    """

    coverage: tuple[str, ...]
    notes: tuple[str, ...]
    instruments: tuple[str, ...]
    strategies: tuple[str, ...]
    start_ns: int
    end_ns: int
    settings: Mapping[str, object]
    seed: int | None
    profit: tuple[ProfitRow, ...]
    performance: Performance
    exposure: Exposure
    turnover: Turnover
    trips: tuple[TripFigures, ...]
    fill_rates: tuple[FillRates, ...]
    time_to_fill: TimeToFill
    hours: tuple[tuple[int, int], ...]
    markouts: tuple[MarkoutCurve, ...]
    shortfall: Shortfall
    capacity: tuple[Capacity, ...]
    fifo_trips: np.ndarray = field(repr=False, compare=False)
    average_trips: np.ndarray = field(repr=False, compare=False)
    time_ns: np.ndarray = field(repr=False, compare=False)
    equity: np.ndarray = field(repr=False, compare=False)

    @property
    def in_all(self) -> ProfitRow:
        """The row of all strategies and instruments."""
        return self.profit[-1]

    @property
    def gains(self) -> np.ndarray:
        """What each whole interval gained, float64."""
        return np.diff(self.equity)


def all_mids(result: BacktestResult) -> dict[str, Mids]:
    """Mid prices of every instrument of a result."""
    return {name: mids_of(result.marks.get(name)) for name in result.instruments}


def summarize(
    result: BacktestResult,
    interval_ns: int | None = None,
    seed: int | None = 1,
    market_volume: Mapping[str, float] | None = None,
) -> BacktestReport:
    """Computes the report of a result.

    `interval_ns`: of the gains that ratios are made of; None: the longest of 1 d … 1 s of which there are 100. `seed`: of the
    bootstrap's intervals; None: without them. `market_volume`: what the market traded in the time of the backtest, in quote
    currency by subject, for the capacity (else the setting of this name). Raises ResultError where the result contradicts
    itself or the interval does not suit.
    """
    check(result)
    span_ns = result.end_ns - result.start_ns
    interval_ns = chosen_interval(span_ns) if interval_ns is None else interval_ns
    if interval_ns <= 0 or span_ns // interval_ns > INTERVALS_MAX:
        raise ResultError(
            f"an interval of {interval_ns} ns: it has to be above 0, and {span_ns / 1e9:g} s may have {INTERVALS_MAX} at most; "
            "take a longer one"
        )
    mids = all_mids(result)
    books = matched_books(result, mids)
    profit = tuple(profit_rows(result, mids, books))
    changes = None if no_curve_why(result, mids) else equity_at_changes(result, mids)
    filled = filled_quantities(result)
    held = exposure(result, mids, changes)
    no_sum = no_sum_why(result, {result.instruments[place] for place in instruments_dealt(result)})
    fifo = _closed([book.fifo.trips for book in books])
    average = _closed([book.average.trips for book in books])
    even = equity_at_intervals(result, mids, interval_ns) if changes is not None else None
    return BacktestReport(
        coverage=result.coverage,
        notes=tuple(_notes(result, mids, books, interval_ns, filled)),
        instruments=result.instruments,
        strategies=result.strategies,
        start_ns=result.start_ns,
        end_ns=result.end_ns,
        settings=result.settings,
        seed=seed,
        profit=profit,
        performance=performance(result, mids, changes, interval_ns, seed),
        exposure=held,
        turnover=turnover(result, held.mean_gross),
        trips=(trip_figures("fifo", fifo, no_sum, seed), trip_figures("average", average, no_sum, seed)),
        fill_rates=fill_rates(result),
        time_to_fill=time_to_fill(result),
        hours=by_hour(result),
        markouts=markout_curves(result, mids, seed),
        shortfall=shortfall(result, mids, filled, seed),
        capacity=tuple(_capacities(result, mids, profit, interval_ns, market_volume)),
        fifo_trips=fifo,
        average_trips=average,
        time_ns=even.time_ns if even is not None else np.zeros(0, np.int64),
        equity=even.equity if even is not None else np.zeros(0),
    )


def _closed(parts: list[np.ndarray]) -> np.ndarray:
    trips = np.concatenate([np.zeros(0, ROUND_TRIP), *parts])
    return trips[np.argsort(trips["closed_ns"], kind="stable")]


def _capacities(
    result: BacktestResult,
    mids: Mapping[str, Mids],
    profit: tuple[ProfitRow, ...],
    interval_ns: int,
    given: Mapping[str, float] | None,
) -> list[Capacity]:
    setting = result.settings.get("market_volume")
    volumes = given if given is not None else setting if isinstance(setting, Mapping) else {}
    days = (result.end_ns - result.start_ns) / DAY_NS
    found = []
    for place in instruments_dealt(result):
        name = result.instruments[place]
        own = result.fills[result.fills["instrument"] == place]
        net = next(row.net for row in reversed(profit) if row.instrument == name)
        a_day = volatility(mids[name], result.start_ns, result.end_ns, interval_ns)
        traded = volumes.get(name)
        dealt = float((own["price"] * own["quantity"]).sum())
        found.append(capacity(name, dealt, net, None if traded is None else float(traded), a_day, days))
    return found


def _notes(
    result: BacktestResult, mids: Mapping[str, Mids], books: list[MatchedBook], interval_ns: int, filled: np.ndarray
) -> list[str]:
    """What a reader has to know beside the figures."""
    days = (result.end_ns - result.start_ns) / DAY_NS
    notes = []
    if days < SHORT_DAYS:
        notes.append(f"Ratios are annualised from {days:.3g} days: their intervals say how little that proves.")
    if rest := (result.end_ns - result.start_ns) % interval_ns:
        notes.append(f"The last {rest / 1e9:g} s are no whole interval, and in no ratio.")
    for name, one in mids.items():
        if one.dropped:
            notes.append(
                f"{name}: {one.dropped} quotes with an empty or crossed side are passed over; the mid before them stands."
            )
        if not len(one.mid):
            notes.append(f"{name} has no quotes.")
    dealt = [result.instruments[place] for place in instruments_dealt(result)]
    if len(dealt) > 1 and not set(dealt) <= set(currencies(result)):
        notes.append(
            "Sums take all instruments to be quoted in one currency: the setting quote_currency does not name them all."
        )
    if any(result.initial.get(name, 0.0) for name in dealt) and len(result.strategies) > 1:
        notes.append("What was held at the start is nobody's, (none): there are several strategies.")
    if wrong := int((np.abs(filled - result.orders["filled"]) > 1e-9 * result.orders["quantity"]).sum()):
        notes.append(f"Of {wrong} orders the fills do not add up to `filled`; the fills are counted.")
    if still_open := int((result.orders["ended_ns"] == 0).sum()):
        notes.append(f"{still_open} orders were open at the end.")
    if unknown := int((result.orders["status"] == Status.Unknown).sum()):
        notes.append(f"Of {unknown} orders it is not known what became of them.")
    return notes


def as_dict(report: BacktestReport) -> dict[str, Any]:
    """The report as `--json` prints it (docs/backtest-report.md): maps, lists, text, numbers and None.

    A measure is a map with `value`, with `why` where that is None, and with `low` and `high` where it has an interval.
    """
    trips = ("fifo_trips", "average_trips")
    found: dict[str, Any] = {"schema": SCHEMA_VERSION}
    return found | {one.name: plain(getattr(report, one.name)) for one in fields(report) if one.name not in trips}


def plain(value: object) -> Any:
    """A value as JSON has it; a number that is not finite is None."""
    if isinstance(value, Measure):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
