"""Tables on the terminal: a value is shown whole or its column not at all, and what is no terminal gets every column."""

from collections.abc import Sequence
from typing import Any

import rich.table
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement


class TerminalTable(rich.table.Table):
    """A table of which the columns `least` go first where it does not fit, in this order; then those at its right end."""

    def __init__(self, *headers: str, least: Sequence[str] = (), **options: Any):
        super().__init__(*headers, **options)
        self.least = tuple(least)


class Whole:
    """Draws a table as wide as it is, however wide that is."""

    def __init__(self, table: rich.table.Table, width: int):
        self._table, self._width = table, width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._table, options.update(width=self._width))


def fit(console: Console, table: rich.table.Table) -> tuple[Whole, list[str]]:
    """(what to print instead of a table, the headers of the columns that it has no room for)."""
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    gone = []
    while (width := natural_width(console, table)) > console.width and console.is_terminal and len(table.columns) > 1:
        gone.append(_drop_one(table))
    return Whole(table, width), gone


def natural_width(console: Console, table: rich.table.Table) -> int:
    """The width at which a table shows every value whole."""
    unbounded = console.options.update(width=1_000_000)
    return Measurement.get(console, unbounded, table).maximum


def _drop_one(table: rich.table.Table) -> str:
    headers = [str(column.header) for column in table.columns]
    least = next((name for name in getattr(table, "least", ()) if name in headers[1:]), headers[-1])
    table.columns.pop(headers.index(least))
    for place, column in enumerate(table.columns):
        column._index = place  # a column knows its place
    return least
