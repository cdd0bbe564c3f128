"""`tickmesh.plot()`: a market that was recorded, as a picture or as a page."""

from os import PathLike
from pathlib import Path

from tickmesh.research.database import Database
from tickmesh.research.opening import open as open_data
from tickmesh.research.plot.market import PlottedMarket, PlotTerms, Shown, read_market
from tickmesh.research.plot.page import EVERY_ROW_MAX, write_page
from tickmesh.storage.query.times import ReadError, Time

PAGES, PICTURES = (".html", ".htm"), (".png", ".svg", ".pdf")


def plot(
    instrument: str, to: "str | PathLike[str]", start: Time = None, end: Time = None,
    place: "str | PathLike[str] | Database | None" = None, book: bool = True, every_row_max: int = EVERY_ROW_MAX,
    shown: Shown = lambda done, of: None,
) -> PlottedMarket:  # fmt: skip
    """Draws every trade with bid and ask, spread, volume, coverage, our orders, fills and the book, of start ≤ seq_ns < end.

    to      a file: .html is a page to zoom in, which needs no network and no library; .png, .svg, .pdf a picture (matplotlib)
    place   a mesh's folder, a data folder, an export, or what `tickmesh.open` gave; the present mesh without it
    book    whether the book's heat map is drawn under it
    every_row_max   rows that a page holds; of more it has the extremes of every 64 only

    Gives what was drawn. Raises ReadError with a sentence.

    `tickmesh.plot("BTCUSDT", "btc.html", "2024-08-09", "2024-08-10")`
    """
    path = file_to_write(to)
    db = place if isinstance(place, Database) else open_data(place)
    view = read_market(db, PlotTerms(instrument, start, end, book), shown)
    write(view, path, every_row_max)
    return view


def file_to_write(to: "str | PathLike[str]") -> Path:
    """Checks that a file can be written and that its ending is one of ours. Raises ReadError before anything is read."""
    path = Path(to)
    if path.suffix.lower() not in (*PAGES, *PICTURES):
        allowed = ", ".join((*PAGES, *PICTURES))
        raise ReadError(f"{path} ends with {path.suffix or 'nothing'!r}; a plot is a file that ends with one of {allowed}")
    if path.is_dir():
        raise ReadError(f"{path} is a folder; a plot is a file: name one in it")
    if not path.resolve().parent.is_dir():
        raise ReadError(f"{path} cannot be written: there is no folder {path.resolve().parent}; make it first")
    return path


def write(view: PlottedMarket, path: Path, every_row_max: int = EVERY_ROW_MAX) -> None:
    """Writes a market as what the file's ending names."""
    if path.suffix.lower() in PAGES:
        write_page(view, path, every_row_max)
        return
    from tickmesh.research.plot.picture import write_picture

    write_picture(view, path)
