"""`mesh head`: the first or the newest rows of a topic."""

from pathlib import Path

from tickmesh.tools.opened import ShownRows, reading, show_rows


def head(topic: str, rows: int, tail: bool, start: str | None, end: str | None, place: Path | None) -> ShownRows:
    """Reads the first `rows` of a topic, or the newest. Raises Failure with a sentence."""
    chosen = reading(place, lambda db: db.topic(topic, start, end, gaps="ignore"), ["pyarrow"])
    reading(place, lambda _: chosen.check_span())
    frame = reading(place, lambda _: chosen.tail(rows) if tail else chosen.head(rows))
    columns = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns]
    return ShownRows(list(frame.columns), list(zip(*columns)))


def show(result: ShownRows, csv: bool, json: bool) -> None:
    """Prints the rows."""
    show_rows(result, csv, json)
