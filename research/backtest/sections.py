"""The tables of a report, with what each figure is in a sentence: the same on a terminal and on the page."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.equity import Drawdown
from tickmesh.research.backtest.measures.markouts import MarkoutCurve
from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.backtest.report import BacktestReport
from tickmesh.research.backtest.sensitivity import SideBySide

IN_ALL = "in all"
NOT_DEFINED = "not defined"


@dataclass(frozen=True)
class ReportTable:
    """One table: cells as text; `terms` explains its figures; `reasons`: why cells are not defined, as "(1) …" in them."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    terms: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]


class _Cells:
    """Writes measures as text and collects why some are not defined."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def text(self, measure: Measure, factor: float = 1.0, unit: str = "") -> str:
        """A measure with its interval in brackets."""
        if measure.value is None:
            if measure.why not in self.reasons:
                self.reasons.append(measure.why)
            return f"{NOT_DEFINED} ({self.reasons.index(measure.why) + 1})"
        text = number(measure.value * factor) + unit
        if measure.low is not None and measure.high is not None:
            text += f" [{number(measure.low * factor)}, {number(measure.high * factor)}]"
        return text

    def percent(self, measure: Measure) -> str:
        """A share as per cent."""
        return self.text(measure, 100.0, " %")

    def section(
        self, title: str, headers: Iterable[str], rows: Iterable[tuple[str, ...]], terms: Iterable[tuple[str, str]]
    ) -> ReportTable:
        """The table of what was written since the last one."""
        reasons, self.reasons = tuple(self.reasons), []
        return ReportTable(title, tuple(headers), tuple(rows), tuple(terms), reasons)


def number(value: float) -> str:
    """A number for a person: five digits, without an exponent where it can be."""
    if value == 0.0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-6:
        return f"{value:.4g}"
    return f"{value:,.{max(0, min(10, 4 - int(np.floor(np.log10(size)))))}f}"


def time_text(ns: int) -> str:
    """A time in UTC, to the millisecond."""
    return f"{np.datetime64(ns, 'ns').astype('datetime64[ms]')!s}Z"


def span_text(ns: float) -> str:
    """A length of time: 1.5 h."""
    for unit, size in (("d", 86400e9), ("h", 3600e9), ("min", 60e9)):
        if ns >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns / 1e9:.4g} s"


def sections(report: BacktestReport) -> list[ReportTable]:
    """All tables of a report, in order."""
    return [
        _profit(report),
        _performance(report),
        _held(report),
        _trips(report),
        _orders(report),
        _markouts(report),
        _shortfall(report),
        _capacity(report),
    ]


def _profit(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    rows = []
    for row in report.profit:
        money = (row.net, row.realised, row.unrealised, row.fees, row.realised_fifo, row.unrealised_fifo)
        position = "" if row.position is None else number(row.position)
        names = row.strategy or IN_ALL, row.instrument or IN_ALL
        rows.append((*names, *(cells.text(one) for one in money), position, str(row.fills)))
    terms = (
        ("net", "Realised + unrealised − fees, in quote currency: what the equity gained from start to end."),
        ("realised", "Of what is closed: exit less average cost of what was held, before fees."),
        ("unrealised", "Of what is held at the end: its worth at the last mid less its average cost."),
        ("fees", "What the venue took; below 0 it paid."),
        ("FIFO", "The same profit divided as if what was bought first is sold first."),
        ("position", "Held at the end, in the instrument's units; below 0 it is short."),
    )
    headers = (
        "strategy", "instrument", "net", "realised", "unrealised", "fees", "realised FIFO", "unrealised FIFO", "position",
        "fills",
    )  # fmt: skip
    return cells.section("Profit and loss", headers, rows, terms)


def _performance(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    one = report.performance
    fall = one.drawdown
    rows = (
        ("gained a day", cells.text(one.gained_a_day)),
        ("Sharpe ratio", cells.text(one.sharpe)),
        ("Sortino ratio", cells.text(one.sortino)),
        ("Calmar ratio", cells.text(one.calmar)),
        ("probabilistic Sharpe", cells.percent(one.probabilistic)),
        ("skewness", cells.text(one.skewness)),
        ("kurtosis", cells.text(one.kurtosis)),
        ("autocorrelation", cells.text(one.autocorrelation)),
        ("drawdown", cells.text(fall.depth)),
        ("drawdown from, to, until", _fall_text(fall)),
        ("longest below a high", _longest_text(fall)),
    )
    interval = span_text(one.interval_ns)
    each = NOT_DEFINED if one.sharpe_interval.value is None else number(one.sharpe_interval.value)
    terms = (
        ("gained a day", f"The mean gain of {one.intervals} intervals of {interval}, as of a day."),
        (
            "Sharpe ratio",
            f"Mean ÷ standard deviation of the gains of {interval}, annualised by the root of the intervals in 365 days. "
            f"Of one interval it is {each}.",
        ),
        ("Sortino ratio", "As Sharpe, by the root mean square of losses alone."),
        ("Calmar ratio", "What a year gains at this pace ÷ the deepest drawdown."),
        (
            "probabilistic Sharpe",
            "Of a true Sharpe ratio above 0, by the shape of the gains.",
        ),
        ("skewness", "Below 0: large losses are more usual than large gains."),
        ("kurtosis", "3 for a normal distribution; above: rare, large gains and losses."),
        ("autocorrelation", "Of neighbouring gains. Far from 0 the annualised ratios mislead."),
        ("drawdown", "The deepest fall of the equity from its highest value before, at any change of a price."),
        ("longest below a high", "The longest time until a former high was reached again."),
        ("[low, high]", "An interval that holds the true value in 95 of 100 cases, by the stationary bootstrap."),
    )
    return cells.section("Reward and risk", ("figure", "value"), rows, terms)


def _fall_text(fall: Drawdown) -> str:
    if fall.peak_ns is None or fall.trough_ns is None:
        return "none"
    until = "not recovered" if fall.recovered_ns is None else time_text(fall.recovered_ns)
    return f"{time_text(fall.peak_ns)}, {time_text(fall.trough_ns)}, {until}"


def _longest_text(fall: Drawdown) -> str:
    return span_text(fall.longest_ns) + (", not over at the end" if fall.longest_open else "")


def _held(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    held, dealt = report.exposure, report.turnover
    rows = (
        ("mean exposure, gross", cells.text(held.mean_gross)),
        ("highest exposure, gross", cells.text(held.highest_gross)),
        ("mean exposure, net", cells.text(held.mean_net)),
        ("time in the market", cells.percent(held.in_market)),
        ("turnover", cells.text(dealt.dealt)),
        ("turnover a day", cells.text(dealt.dealt_a_day)),
        ("turnover a day ÷ exposure", cells.text(dealt.times_held)),
    )
    terms = (
        ("exposure, gross", "Worth of all positions at the mid, without their signs; means are over time."),
        ("exposure, net", "The same with signs: near 0 the strategy bets on neither side."),
        ("time in the market", "The share of time in which anything was held."),
        ("turnover", "Price × quantity of all fills, bought and sold."),
    )
    return cells.section("Exposure and turnover", ("figure", "value"), rows, terms)


def _trips(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    names = {"fifo": "first in, first out", "average": "flat to flat"}
    rows = []
    for one in report.trips:
        money = (one.mean, one.mean_win, one.mean_loss)
        held = cells.text(one.held_s)
        rows.append((names[one.by], str(one.trips), cells.percent(one.hit_rate), cells.text(one.profit_factor),
                     *(cells.text(each) for each in money), held))  # fmt: skip
    terms = (
        ("first in, first out", "Each exit with the oldest entries that are left: a trip for each pair of fills."),
        ("flat to flat", "From leaving zero to being back there or beyond; its prices are averages."),
        ("hit rate", "The share of trips that gained, fees paid."),
        ("profit factor", "What was won ÷ what was lost."),
        ("mean, win, loss", "Of a trip after its fees; of those that gained, and of those that lost."),
    )
    headers = ("round trips", "over", "hit rate", "profit factor", "mean", "mean win", "mean loss", "held s")
    return cells.section("Round trips", headers, rows, terms)


def _orders(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    rows = []
    for one in report.fill_rates:
        name = one.strategy or one.instrument or IN_ALL
        shares = (one.any_fill, one.complete, one.quantity, one.maker)
        rows.append((name, str(one.orders), str(one.rejected), *(cells.percent(each) for each in shares), "", "", ""))
    waited = report.time_to_fill
    times = (waited.filled_median, waited.filled_95, waited.median)
    rows[0] = (*rows[0][:-3], *(cells.text(each) for each in times))
    terms = (
        ("any fill, whole", "Shares of the orders that the venue did not reject: filled at all, filled whole."),
        ("quantity", "What was filled of what was ordered, by worth at the arrival mid."),
        ("maker", "The share of the turnover in which the order was resting in the book."),
        (
            "s to fill",
            "From arrival at the venue to the first fill, of orders that were filled: their median and 95th percentile.",
        ),
        ("median of all", "The same with unfilled orders counted as waiting longer than they lived (Kaplan–Meier)."),
    )
    headers = (
        "orders of", "sent", "rejected", "any fill", "whole", "quantity", "maker", "s to fill", "95 %", "median of all",
    )  # fmt: skip
    return cells.section("Orders and fills", headers, rows, terms)


def _markouts(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    rows = [row for curve in report.markouts for row in _markout_rows(cells, curve)]
    terms = (
        (
            "markout",
            "The mid so long after the fill against its price: above 0 the fill was worth more than was paid. Before fees.",
        ),
        ("spread", "The mid just before the fill against its price: earned by makers (above 0), paid by takers."),
        ("adverse", "How far the mid has moved against the fill since: adverse selection. Markout = spread − adverse."),
        ("fees", "In basis points of the turnover: a markout has to be above it to earn anything."),
        ("no data", "Fills whose horizon is after the end, or before which no quote stood: they are in no mean."),
    )
    headers = ("fills as", "after s", "fills", "markout bps", "spread bps", "adverse bps", "fees bps", "no data")
    return cells.section("Markouts and adverse selection", headers, rows, terms)


def _markout_rows(cells: _Cells, curve: MarkoutCurve) -> list[tuple[str, ...]]:
    fees = cells.text(curve.fees)
    return [
        (
            curve.of, f"{one.horizon_ns / 1e9:g}", str(one.fills), cells.text(one.mean), cells.text(one.spread),
            cells.text(one.adverse), fees, str(one.after_end + one.unquoted),
        )
        for one in curve.points
    ]  # fmt: skip


def _shortfall(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    one = report.shortfall
    wanted = one.wanted.value or 0.0
    rows = [("wanted", cells.text(one.wanted), "")]
    for name in ("delay", "waiting", "spread", "fees", "opportunity"):
        cost: Measure = getattr(one, name)
        bps = number(cost.value * 1e4 / wanted) if cost.value is not None and wanted else ""
        rows.append((name, cells.text(cost), bps))
    rows.append(("in all", cells.text(one.total), cells.text(one.total_bps)))
    terms = (
        ("wanted", f"What {one.parents} parents asked for, at their arrival mid. {one.unpriced} without prices are left out."),
        (
            "delay",
            "The move of the mid from the signal until the order was at the venue, of what was filled. Costs are above 0.",
        ),
        ("waiting", "The move from there until just before the fill."),
        ("spread", "The price of the fill against the mid just before it; below 0 it was earned."),
        ("opportunity", "The move of the mid until the order's end, of what was not filled."),
    )
    return cells.section("Implementation shortfall", ("part", "cost", "bps of wanted"), rows, terms)


def _capacity(report: BacktestReport) -> ReportTable:
    cells = _Cells()
    rows = []
    for one in report.capacity:
        multiples = (one.at_share, one.break_even, one.best)
        share, moved = cells.percent(one.participation), cells.percent(one.volatility)
        rows.append((one.instrument, cells.text(one.dealt_a_day), share, moved, *(cells.text(each) for each in multiples)))
    terms = (
        ("share", "Turnover ÷ what the market traded at the touch in that time."),
        ("× to 1 %", "How many times the size would deal 1 % of the market's volume."),
        ("× to zero", "At which multiple impact by the square-root law takes all profit: an order of magnitude."),
        ("× best", "At which multiple profit less impact is highest: 4⁄9 of that."),
    )
    headers = ("instrument", "turnover a day", "share", "volatility a day", "× to 1 %", "× to zero", "× best")
    return cells.section("Capacity", headers, rows, terms)


def compared(found: SideBySide) -> ReportTable:
    """The table of backtests side by side."""
    cells = _Cells()
    rows = []
    for one in found.rows:
        varied = (one.settings[key] for key in found.varied)
        money = (one.net, one.change, one.sharpe, one.drawdown)
        shares = (one.probabilistic, one.deflated, one.any_fill, one.maker)
        costs = (one.markout, one.shortfall)
        rows.append(
            (one.name, *varied, *map(cells.text, money), *map(cells.percent, shares), *map(cells.text, costs), str(one.fills))
        )
    terms = (
        ("change", "Of net against the first one."),
        (
            "deflated",
            f"The probability of a Sharpe ratio above {cells.text(found.by_luck)}, the best of {found.trials} by luck.",
        ),
    )
    headers = (
        "backtest", *found.varied, "net", "change", "Sharpe", "drawdown", "probabilistic", "deflated", "any fill", "maker",
        "markout 1 s bps", "shortfall bps", "fills",
    )  # fmt: skip
    interval = span_text(found.interval_ns)
    return cells.section(f"{len(rows)} of {found.trials} trials, by gains of {interval}", headers, rows, terms)
