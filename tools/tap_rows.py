"""What `tap` does with rows: chosen columns on lines, files, a line that moves, and filters. Imported where it is asked for."""

import contextlib
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.tools import terminal
from tickmesh.tools.event_rows import Row, check_columns, chosen_columns, columns_of, rows_of, usual_columns
from tickmesh.tools.line_picture import picture
from tickmesh.tools.row_files import RowFile, check_ending, file_columns
from tickmesh.tools.row_filter import RowFilter

Batches = Iterator[list[Event]]
REDRAW_S = 0.1
HEIGHT = 12  # lines of a picture


class RowsWanted(NamedTuple):
    """What the command line asks for: `columns` ([]: whole events), `out`: a file, `plot`: a column, `where`: a filter."""

    columns: list[str]
    where: RowFilter | None
    out: Path | None
    plot: str

    @property
    def is_filter_alone(self) -> bool:
        """Whether whole events are shown, only fewer."""
        return not self.columns and not self.plot


def wanted_rows(kinds: Sequence[Kind], columns: str, where: str, out: str, plot: str) -> RowsWanted:
    """Checks what the command line says of rows of these kinds. Raises UsageFailure."""
    if out and plot:
        raise terminal.UsageFailure("--out writes a file, --plot draws on the terminal: one of them at a time")
    if out:
        check_ending(Path(out))
    condition = RowFilter(where, columns_of(kinds)) if where else None
    if condition is not None:
        check_columns("--where", condition.columns, kinds)
    if plot:
        check_columns("--plot", [plot], kinds)
        if not terminal.out.is_terminal:
            raise terminal.UsageFailure("--plot draws on a terminal, and the output is none; --out FILE.csv writes a file")
    names = chosen_columns(columns, kinds) if columns else usual_columns(kinds) if out else []
    return RowsWanted(names, condition, Path(out) if out else None, plot)


def filtered(config: Config, batches: Batches, where: RowFilter | None) -> Batches:
    """Gives the events of which a record fulfils the filter; [] goes on."""
    for events in batches:
        kept = events if where is None else [event for event in events if any(map(where, rows_of(config, event)))]
        if kept or not events:
            yield kept


def show(config: Config, batches: Batches, wanted: RowsWanted, kinds: Sequence[Kind], count: int, json: bool) -> None:
    """Shows, writes or draws the rows of the first `count` events (0: of all) of which a record fulfils the filter."""
    rows = _rows(config, filtered(config, batches, wanted.where), wanted, count)
    if wanted.out is not None:
        _write(rows, RowFile(wanted.out, file_columns(wanted.columns, columns_of(kinds))))
    elif wanted.plot:
        _draw(rows, wanted.plot)
    elif json:
        for row in (row for batch in rows for row in batch):
            terminal.print_json({name: row.get(name) for name in wanted.columns})
    else:
        _print(rows, wanted.columns)


def _rows(config: Config, batches: Batches, wanted: RowsWanted, count: int) -> Iterator[list[Row]]:
    """Gives lists of rows that have a wanted column and fulfil the filter; [] where it waits."""
    left = count
    columns = [wanted.plot] if wanted.plot else wanted.columns
    for events in batches:
        events = events[:left] if count else events
        every = (row for event in events for row in rows_of(config, event))
        yield [row for row in every if (wanted.where is None or wanted.where(row)) and not row.keys().isdisjoint(columns)]
        left -= len(events)
        if count and not left:
            return


def _write(rows: Iterator[list[Row]], file: RowFile) -> None:
    """Writes rows until they end, or a Ctrl-C comes: the file is whole in either case, and under its name."""
    with _interrupts_kept() as came:
        try:
            for batch in rows:
                for row in batch:
                    file.add(row)
                if came:
                    break
        finally:
            file.close()
            terminal.err.print(f"tap: {file.rows} rows in {file.path}", markup=False)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupts_kept() -> Iterator[list[int]]:
    """Gives a list that has a signal in it once one has come to end this program: nothing is interrupted in the middle."""
    came: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(rows: Iterator[list[Row]], columns: Sequence[str]) -> None:
    """Prints a line of names, and one for each row."""
    widths = {name: len(name) for name in columns}
    terminal.print_parts(*((name, "bold") for name in columns))
    for row in (row for batch in rows for row in batch):
        texts = {name: _text(row, name) for name in columns}
        widths = {name: max(widths[name], len(text)) for name, text in texts.items()}
        terminal.print_parts(*((f"{text:>{widths[name]}}", "") for name, text in texts.items()))


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        "-"
        if value is None or value == ""
        else f"{value:.3f}"
        if isinstance(value, float) and name.endswith("_ms")
        else str(value)
    )


def _draw(rows: Iterator[list[Row]], column: str) -> None:
    """Draws a column's newest values, again and again as they come."""
    from rich.live import Live
    from rich.text import Text

    width = terminal.out.width
    values: deque[float] = deque(maxlen=width * 2)
    count, drawn = 0, 0.0
    with Live(console=terminal.out, auto_refresh=False) as live:
        for batch in rows:
            for row in batch:
                value = number_of(row.get(column))
                if value is not None:
                    values.append(value)
                    count += 1
            if (now := time.monotonic()) - drawn > REDRAW_S:
                drawn = now
                live.update(Text("\n".join(_lines(values, column, count, width)), no_wrap=True), refresh=True)
        live.update(Text("\n".join(_lines(values, column, count, width)), no_wrap=True), refresh=True)


def number_of(value: object) -> float | None:
    """A value of a row as a number that can be drawn; None of what is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None


def _lines(values: Sequence[float], column: str, count: int, width: int) -> list[str]:
    newest = f"{values[-1]:.10g}" if values else "none yet"
    return [f"{column}: {newest} ({count} values)", *picture(values, width, HEIGHT)]
