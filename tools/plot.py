"""`mesh plot`: every trade with bid and ask, spread, volume, coverage, our orders, fills and the book; a page or a picture."""

from pathlib import Path

from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.page import EVERY_ROW_MAX
from tickmesh.research.plot.plotting import PICTURES, file_to_write
from tickmesh.research.plot.plotting import plot as draw
from tickmesh.storage.query.coverage import iso
from tickmesh.storage.query.times import ReadError
from tickmesh.tools.extras import need
from tickmesh.tools.opened import reading
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out


def plot(
    instrument: str, to: Path | None, start: str | None, end: str | None, place: Path | None, book: bool, whole: int | None
) -> JsonObject:
    """Draws into `to`, else INSTRUMENT.html here; gives what was drawn. Raises Failure with a sentence.

    `whole`: rows that a page may hold.
    """
    try:
        path = file_to_write(to if to is not None else f"{instrument.replace('/', '-')}.html")
    except ReadError as error:
        raise UsageFailure(str(error)) from None
    if path.suffix.lower() in PICTURES:
        need("matplotlib", "plot", "a picture; a page (.html) needs nothing, and a picture")
    with progress(f"reading {instrument}") as shown:
        rows = EVERY_ROW_MAX if whole is None else whole
        try:
            view = reading(place, lambda db: draw(instrument, path, start, end, db, book, rows, shown))
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror or error}") from None
    return as_json(view, path)


def as_json(view: PlottedMarket, path: Path) -> JsonObject:
    """What `--json` prints: counts of what was drawn, the span (UTC), what is missing, sentences on what is not drawn."""
    missing = [one for one in view.coverage if one.state == "missing"]
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "instrument": view.instrument,
        "start": iso(view.start_ns),
        "end": iso(view.end_ns),
        "quotes": view.quotes.rows,
        "trades": view.bought.rows + view.sold.rows,
        "orders": len(view.orders),
        "fills": view.fills_bought.rows + view.fills_sold.rows,
        "book": view.book is not None,
        "missing": [
            {"kind": one.kind, "begin": iso(one.begin_ns), "end": iso(one.end_ns), "reason": one.reason} for one in missing
        ],
        "notes": view.notes,
    }


def show(result: JsonObject) -> None:
    """Prints for a person what was drawn, and what is missing in it."""
    drawn = ", ".join(f"{result[name]:,} {name}" for name in ("trades", "quotes", "orders", "fills"))
    out.print(f"{result['instrument']}, {result['start']} … {result['end']}: {drawn}", markup=False)
    for one in result["missing"][:5]:
        out.print(f"missing: {one['kind']}s, {one['begin']} … {one['end']} {one['reason']}", markup=False)
    if len(result["missing"]) > 5:
        out.print(f"({len(result['missing']) - 5} more are missing: mesh coverage)")
    for note in result["notes"]:
        out.print(note, markup=False)
    out.print(f"drawn in {result['file']} ({result['bytes'] / 1e6:,.1f} MB)", markup=False)
