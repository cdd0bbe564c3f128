"""`mesh styles`: each execution style on the same parent orders, beside plain market orders, on made-up and recorded markets.

No mesh is needed: the executor's step and the exchange's matching are driven in one process and in simulated time
(tools/simulation), so the same seed gives the same table everywhere.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from tickmesh.bus.settings_trading import Style
from tickmesh.tools.simulation.figures import BP, Figure, StyleFigures, measure
from tickmesh.tools.simulation.scenarios import SCENARIOS, Scenario, plan, read_frames, run
from tickmesh.tools.simulation.trial import ParentOutcome
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import JsonObject, UsageFailure, err, out

STYLES: tuple[str, ...] = get_args(Style)
MARKET = "market"  # what all others stand beside
COLUMNS = ("style", "parents", "orders", "filled", "as maker", "slippage", "fees", "shortfall", "beside market")


def compare(styles: Sequence[str], scenarios: Sequence[str], parents: int, seed: int) -> JsonObject:
    """Tries styles on scenarios; none named: all. Raises UsageFailure for a name that there is not."""
    styles = [MARKET, *(one for one in _known(styles, STYLES, "style") if one != MARKET)]
    by_name = {one.name: one for one in SCENARIOS}
    chosen = [by_name[name] for name in _known(scenarios, tuple(by_name), "scenario")]
    data = Path(os.environ.get("TICKMESH_DATA") or "../shared/data")
    results: list[JsonObject] = []
    left_out: JsonObject = {}
    with _ProgressBar(len(chosen) * len(styles)) as step:
        for scenario in chosen:
            missing = [name for name in scenario.capture if not (data / name).is_file()]
            if missing:
                left_out[scenario.name] = f"{data / missing[0]} is not there (TICKMESH_DATA)"
                continue
            figures = _try(scenario, styles, parents, seed, data, step)
            results.append({
                "scenario": scenario.name, "title": scenario.title, "symbol": scenario.symbol, "quantity": scenario.quantity,
                "window_s": scenario.window_s, "maker_fee_bp": scenario.maker_fee * BP, "taker_fee_bp": scenario.taker_fee * BP,
                "styles": [msgspec.to_builtins(one) for one in figures],
            })  # fmt: skip
    return {"seed": seed, "parents": parents, "scenarios": results, "left_out": left_out}


def _known(asked: Sequence[str], known: tuple[str, ...], what: str) -> Sequence[str]:
    for name in asked:
        if name not in known:
            raise UsageFailure(f"there is no {what} {name!r}; there are {', '.join(known)}")
    return asked or known


def _try(
    scenario: Scenario, styles: Sequence[str], parents: int, seed: int, data: Path, step: Callable[[str], None]
) -> list[StyleFigures]:
    frames = read_frames(scenario, data) if scenario.capture else []
    passes = plan(scenario, parents, frames)
    outcomes: dict[str, list[ParentOutcome]] = {}
    for style in styles:
        step(f"{scenario.name}: {style}")
        outcomes[style] = [one for begins in passes for one in run(scenario, style, begins, frames, seed)]
    return [measure(style, outcomes[style], outcomes[MARKET], seed) for style in styles]


class _ProgressBar:
    """A bar on stderr, where that is a terminal, with what is at work."""

    def __init__(self, total: int):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._shown = Progress(*columns, console=err, transient=True, disable=not sys.stderr.isatty())
        self._total = total

    def __enter__(self) -> Callable[[str], None]:
        self._shown.start()
        task = self._shown.add_task("", total=self._total, completed=-1)

        def step(what: str) -> None:
            self._shown.update(task, description=what, advance=1)

        return step

    def __exit__(self, *_: object) -> None:
        self._shown.stop()


def show(result: JsonObject) -> None:
    """Prints the tables for a person."""
    for one in result["scenarios"]:
        out.print(_headline(one), style="bold", markup=False)
        table = TerminalTable(box=None, header_style="bold")
        for number, name in enumerate(COLUMNS):
            table.add_column(name, no_wrap=True, justify="left" if not number else "right")
        for row in one["styles"]:
            table.add_row(*_cells(row))
        out.print(table)
    _print_left_out(result, lambda line: out.print(line, markup=False))


def markdown(result: JsonObject) -> str:
    """The tables as Markdown, as docs/styles.md has them."""
    lines: list[str] = []
    for one in result["scenarios"]:
        lines += [f"### {_headline(one)}", "", "| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in one["styles"]]
        lines.append("")
    _print_left_out(result, lines.append)
    return "\n".join(lines).rstrip() + "\n"


def _print_left_out(result: JsonObject, print_line: Callable[[str], object]) -> None:
    for name, why in result["left_out"].items():
        print_line(f"{name} is left out: {why}")


def _headline(one: JsonObject) -> str:
    fees = f"fees {one['maker_fee_bp']:g} bp as maker, {one['taker_fee_bp']:g} bp as taker"
    return f"{one['title']} ({one['quantity']} each, {one['window_s']} s; {fees})"


def _cells(row: JsonObject) -> tuple[str, ...]:
    figures = msgspec.convert(row, StyleFigures)
    beside = "–" if figures.style == MARKET else _number(figures.beside_market_bp)
    return (
        figures.style, str(figures.parents), str(figures.orders), _share(figures.filled), _share(figures.maker),
        _number(figures.slippage_bp), _number(figures.fees_bp), _number(figures.shortfall_bp), beside,
    )  # fmt: skip


def _share(figure: Figure) -> str:
    return "–" if figure.value is None else f"{figure.value * 100:.0f} %"


def _number(figure: Figure) -> str:
    """A value with its interval in brackets, in basis points."""
    if figure.value is None:
        return "–"
    return f"{figure.value:.2f} ({figure.low:.2f}, {figure.high:.2f})"
