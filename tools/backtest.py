"""`mesh backtest`: recorded data through models, the executor's own step and a simulated venue; what came of it."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import ConfigError
from tickmesh.bus.schema import Status
from tickmesh.bus.segments import LogError
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.research.backtest.page import write
from tickmesh.research.backtest.report import summarize
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.running import backtest
from tickmesh.research.backtest.stored import ResultError, save
from tickmesh.storage.archive.reader import PrunedWarning
from tickmesh.storage.query.coverage import iso
from tickmesh.tools.progress import progress
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, err, out

SECOND_NS = 1_000_000_000
COMPLETE = "Nothing is missing of trades, quotes and books in this span."


class BacktestChoice(NamedTuple):
    """What the command was asked for; the words of `tickmesh.backtest`."""

    start: str | None
    end: str | None
    strategies: tuple[str, ...]
    latency: str
    queue: str
    fees: str
    through: str
    impact: bool
    seed: int
    balances: str
    leverage: int
    order_limits: str
    warm_up: str
    quotes: bool


def run(place: Path | None, choice: BacktestChoice) -> BacktestResult:
    """Runs a backtest, with a bar on stderr. Raises Failure with a sentence."""
    try:
        with progress("backtest") as shown, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", PrunedWarning)
            result = backtest(
                place, **choice._asdict(),
                shown=lambda first, now, end: shown((now - first) // SECOND_NS, max(end - first, 1) // SECOND_NS),
            )  # fmt: skip
        for one in warned:
            err.print(str(one.message), markup=False)
        return result
    except (LogError, ConfigError, ModelFault) as error:
        raise Failure(str(error)) from None


def keep(result: BacktestResult, path: Path | None, page: Path | None) -> None:
    """Stores a result, and writes its report as a page, where a path is given. Raises Failure with a sentence."""
    try:
        if path is not None:
            save(result, path)
        if page is not None:
            write(result, summarize(result), page)
    except ResultError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{error.filename or page} cannot be written: {error.strerror}") from None


def summary(result: BacktestResult) -> JsonObject:
    """What `--json` prints: span, coverage, counts by instrument and strategy, and the settings to repeat it."""
    rows = []
    for instrument, subject in enumerate(result.instruments):
        for strategy, name in enumerate(result.strategies):
            orders = result.orders[(result.orders["instrument"] == instrument) & (result.orders["strategy"] == strategy)]
            fills = result.fills[(result.fills["instrument"] == instrument) & (result.fills["strategy"] == strategy)]
            signed = fills["side"] * fills["quantity"]
            position = float(signed.sum())
            marks = result.marks[subject]
            mark = float(marks["bid"][-1] + marks["ask"][-1]) / 2 if len(marks) else 0.0
            cash = -float((signed * fills["price"]).sum()) - float(fills["fee"].sum())
            states = zip(*np.unique(orders["status"], return_counts=True))
            rows.append({
                "instrument": subject, "strategy": name, "orders": len(orders),
                "by_status": {Status(number).name: int(count) for number, count in states},
                "fills": len(fills), "maker_fills": int(fills["maker"].sum()),
                "bought": float(fills["quantity"][signed > 0].sum()), "sold": float(fills["quantity"][signed < 0].sum()),
                "position": position, "fees": float(fills["fee"].sum()),
                "profit": cash + position * mark if len(fills) else 0.0,
            })  # fmt: skip
    return {
        "coverage": list(result.coverage), "start": iso(result.start_ns), "end": iso(result.end_ns), "rows": rows,
        "settings": dict(result.settings),
    }  # fmt: skip


def show(result: JsonObject) -> None:
    """Prints for a person what came of it; first what was missing."""
    for line in result["coverage"] or [COMPLETE]:
        out.print(line, style="bold" if result["coverage"] else "", markup=False)
    settings = result["settings"]
    out.print(
        f"{result['start']} to {result['end']}: {settings['events']:,} events, {settings['signals']:,} signals", markup=False
    )
    table = TerminalTable(box=None, header_style="bold")
    for number, name in enumerate(("instrument", "strategy", "orders", "fills", "as maker", "position", "fees", "profit")):
        table.add_column(name, justify="left" if number < 2 else "right")
    for one in result["rows"]:
        table.add_row(
            one["instrument"], one["strategy"], f"{one['orders']:,}", f"{one['fills']:,}", f"{one['maker_fills']:,}",
            f"{one['position']:g}", f"{one['fees']:,.4f}", f"{one['profit']:,.4f}",
        )  # fmt: skip
    out.print(table)
    for what, counts in (
        ("Orders that the venue refused", settings["rejected"]),
        ("Not ordered, or later", settings["refused"]),
    ):
        if counts:
            most_first = sorted(counts.items(), key=lambda one: -one[1])
            out.print(f"{what}: {', '.join(f'{count:,} × {reason}' for reason, count in most_first)}", markup=False)
    out.print("Money is in the quote currency of each instrument; a position is valued at the last mid.", markup=False)
