"""`mesh sweep`: backtests, or bars, of parameters × periods × instruments in parallel; the best and the worst of them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

from tickmesh.bus.config import ConfigError
from tickmesh.bus.segments import LogError
from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.sweep.outcome import BarsOutcome, SweepOutcome
from tickmesh.research.sweep.running import sweep, sweep_bars
from tickmesh.research.sweep.trials import best_and_worst
from tickmesh.tools.progress import progress
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, UsageFailure, interrupted, out

SHOWN = 5  # of the best, and of the worst; and of failures
KEPT = "Interrupted; what was done is kept. The same command goes on from there."


def varied_values(words: list[str]) -> dict[str, str]:
    """Reads `NAME=VALUE VALUE` of each --vary. Raises UsageFailure for what is none, and for a name twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values.strip():
            raise UsageFailure(f'--vary {word!r} has no value; like --vary "queue=risk_averse probability_log"')
        if name in found:
            raise UsageFailure(f"--vary {name} is there twice; give its values in one, with spaces between them")
        found[name] = values
    return found


@contextlib.contextmanager
def _shown(what: str) -> Iterator[Callable[[str, int, int], None]]:
    with interrupted(KEPT), progress(what) as parts:
        yield lambda phase, done, of: parts(done, of)


def run(place: str | None, words: dict[str, Any]) -> SweepOutcome:
    """Runs a sweep, with bars on stderr. `words`: of `tickmesh.sweep`. Raises Failure with a sentence."""
    try:
        with _shown("backtests") as shown:
            return sweep(place, shown=shown, **words)
    except (LogError, ConfigError) as error:
        raise Failure(str(error)) from None


def run_bars(place: str | None, words: dict[str, Any]) -> BarsOutcome:
    """Makes bars, with a bar on stderr. `words`: of `tickmesh.sweep_bars`. Raises Failure with a sentence."""
    try:
        with _shown("files of bars") as shown:
            return sweep_bars(place, shown=shown, **words)
    except (LogError, ConfigError) as error:
        raise Failure(str(error)) from None


def show(found: SweepOutcome) -> None:
    """Prints the best and the worst trials for a person; first what was missing or failed."""
    for sentence in found.notes:
        out.print(sentence, style="bold", markup=False)
    _show_failures(found.failures)
    out.print(
        f"{len(found.keys)} parts, {found.computed} of them computed now; {len(found.trials)} trials, kept in {found.store}",
        markup=False,
    )
    names = list(dict.fromkeys(name for one in found.trials for name in one.parameters))
    table = TerminalTable(box=None, header_style="bold")
    for name in (
        *names,
        "net",
        "worst",
        "best",
        "gaining",
        "Sharpe",
        "drawdown",
        "probabilistic",
        "deflated",
        "fills",
        "parts",
    ):
        table.add_column(Text(name), justify="left" if name in names else "right")
    reasons: dict[str, int] = {}

    def cell(one: Measure, form: str = ",.4f") -> Text:
        if one.value is None:
            return Text(f"({reasons.setdefault(one.why, len(reasons) + 1)})")
        return Text(format(one.value, form))

    for one in best_and_worst(found.trials, SHOWN):
        if one is None:
            table.add_row(*("…" for _ in table.columns))
            continue
        parts = f"{one.parts - one.failed}/{one.parts}"
        table.add_row(
            *(Text(str(one.parameters.get(name, ""))) for name in names), cell(one.net), cell(one.worst), cell(one.best),
            cell(one.gaining, ".0%"), cell(one.sharpe, ",.2f"), cell(one.drawdown), cell(one.probabilistic, ".1%"),
            cell(one.deflated, ".1%"), f"{one.fills:,}", parts,
        )  # fmt: skip
    out.print(table)
    for why, number in reasons.items():
        out.print(f"({number}) {why}", style="dim", markup=False)
    luck = f"above {found.by_luck.value:,.2f}" if found.by_luck.value is not None else "above what luck gives"
    out.print(
        f"deflated: the probability of a Sharpe ratio {luck}, the best of {found.trials_counted} trials by luck. docs/scale.md",
        style="dim", markup=False,
    )  # fmt: skip


def show_bars(found: BarsOutcome) -> None:
    """Prints what was made for a person."""
    _show_failures(found.failures)
    out.print(f"{len(found.files)} files, {found.computed} of them made now, with {found.bars:,} bars", markup=False)


def _show_failures(failures: list[dict[str, Any]]) -> None:
    if not failures:
        return
    by_error: dict[str, list[dict[str, Any]]] = {}
    for one in failures:
        by_error.setdefault(one["error"], []).append(one)
    for error, own in list(by_error.items())[:SHOWN]:
        first = ", ".join(f"{name} {value}" for name, value in own[0].items() if name not in ("error", "end") and value != "")
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        out.print(f"failed: {first}{more}: {error}", style="red", markup=False)
    if len(by_error) > SHOWN:
        out.print(f"({len(by_error) - SHOWN} other errors: --json has all)", style="dim", markup=False)
