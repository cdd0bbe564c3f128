"""What `ls`, `info`, `head` and `sql` share: the data that they read, and how rows are printed."""

import csv as csv_format
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.table import Table

from tickmesh.bus.segments import LogError
from tickmesh.research.database import Database
from tickmesh.research.opening import open as open_database
from tickmesh.tools.extras import need
from tickmesh.tools.terminal import Failure, OutputClosed, err, out, print_json

Result = TypeVar("Result")
ROWS_SHOWN = 1000  # of a table on a terminal; --csv and --json give all


class ShownRows(NamedTuple):
    """Rows of a result, with the names of their columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def reading(place: Path | None, work: Callable[[Database], Result], libraries: Sequence[str] = ()) -> Result:
    """Opens the data in `place` (None: of this folder's mesh) and gives what `work` reads of it; warnings go to stderr.

    `libraries`: of the extra `research`, that it needs. Raises Failure with a sentence.
    """
    for name in libraries:
        need(name, "research", "this command")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = work(open_database(place))
    except LogError as error:
        raise Failure(str(error)) from None
    for sentence in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)):
        err.print(f"mesh: {sentence}", markup=False)
    return found


def show_rows(result: ShownRows, csv: bool, json: bool) -> None:
    """Prints rows as a table, as CSV, or as JSON: `{"columns": […], "rows": [[…]]}`, times in ISO 8601 (UTC)."""
    if json:
        print_json({"columns": result.columns, "rows": [[plain(value) for value in row] for row in result.rows]})
    elif csv:
        try:
            writer = csv_format.writer(sys.stdout, lineterminator="\n")
            writer.writerow(result.columns)
            writer.writerows([["" if value is None else plain(value) for value in row] for row in result.rows])
            sys.stdout.flush()
        except BrokenPipeError:
            raise OutputClosed from None
    else:
        table = Table(box=None)
        for name in result.columns:
            table.add_column(name)
        for row in result.rows[:ROWS_SHOWN]:
            table.add_row(*("" if value is None else str(plain(value)) for value in row))
        out.print(table)
        if len(result.rows) > ROWS_SHOWN:
            out.print(f"({len(result.rows) - ROWS_SHOWN} more rows: --csv or --json has all)")


def plain(value: Any) -> Any:
    """A value as JSON has it: times as text, exact decimals as text, what is no number as null."""
    if isinstance(value, (date, time)):
        return value.isoformat()  # of a pandas time with its nanoseconds
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)  # a sum of integers
    if isinstance(value, (Decimal, timedelta, bytes, tuple)):
        return str(value)
    if isinstance(value, float) and value != value:
        return None
    return value.item() if hasattr(value, "item") else value
