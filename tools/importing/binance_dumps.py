"""Binance's public dumps (data.binance.vision): trades, aggTrades and bookTicker of spot and USD-M, one event a row.

A row is read by the numbers and checks of the venue's adapters. Columns as the venue's repository of the dumps describes them:
spot has one column more than USD-M (isBestMatch); newer USD-M files begin with a line of names, spot files do not; times are
milliseconds, of spot microseconds from 2025-01-01 on. No file has a receive time.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.binance_streams import to_ns
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer, plain
from tickmesh.nodes.venues.parsing.times import checked_time
from tickmesh.nodes.venues.parsing.writer import Writer
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.rows import FileSpan, Row, Said
from tickmesh.tools.importing.source import Known, Named, SourceFile, each_row, window_of
from tickmesh.tools.importing.text_files import Progress, Surveyed
from tickmesh.tools.terminal import Failure

FILE_NAME = re.compile(
    r"([A-Z0-9]{2,20}(?:_[A-Z0-9]+)?)-(trades|aggTrades|bookTicker|\d{1,2}(?:s|m|h|d|w|mo))-\d{4}-\d{2}(?:-\d{2})?[.].*"
)
COIN_MARGINED = re.compile(r"[A-Z0-9]+USD_(?:PERP|\d+)")
KLINES = "binance-klines"
TIMELESS = "no receive times: recv_ns is 0, and the log's time is the venue's"
OFF_BOOK = "no word on which trades never met the book"
FLAGS = {b"true": True, b"false": False}


class DumpColumns(NamedTuple):
    """The columns of one sort of dump: how many at which venue, where its time stands, and how its header begins."""

    venues: dict[int, str]
    time: int
    header: bytes
    kind: Kind
    lacks: tuple[str, ...]


COLUMNS = {
    "binance-trades": DumpColumns(
        {7: "binance", 6: "binance_usdm"}, 4, b"id,", Kind.trade, (TIMELESS, "no event times", OFF_BOOK)
    ),
    "binance-aggTrades": DumpColumns(
        {8: "binance", 7: "binance_usdm"}, 5, b"agg_trade_id,", Kind.trade,
        (TIMELESS, "no event times", "trades of one order at one price are one, with the id of the last of them"),
    ),
    "binance-bookTicker": DumpColumns({7: "binance_usdm"}, 5, b"update_id,", Kind.quote, (TIMELESS,)),
    KLINES: DumpColumns({12: ""}, 0, b"open_time,", Kind.trade, ("bars, compared with those of the trades that are here",)),
}  # fmt: skip
NAMES = tuple(COLUMNS)


def claims(path: Path, seen: Surveyed, named: Named) -> SourceFile | None:
    """The dump as a source; its name says the instrument, else --symbol. None for what is no dump. Raises Failure."""
    match = FILE_NAME.fullmatch(path.name)
    first = seen.head[0]
    by_header = next((name for name, columns in COLUMNS.items() if first.startswith(columns.header)), "")
    by_name = f"binance-{match[2]}" if match else ""
    format = named.format or by_header or (by_name if by_name in COLUMNS else KLINES if by_name else "")
    if format not in COLUMNS:
        return None
    columns = COLUMNS[format]
    symbol = match[1] if match and not named.symbols else named.symbol(path)
    if COIN_MARGINED.fullmatch(symbol):
        raise Failure(
            f"{path} is of the coin-margined {symbol}, whose quantities are contracts: no venue of that sort is known here"
        )
    rows = [line for line in seen.head if not line.startswith(columns.header)]
    if not rows:
        raise Failure(f"{path} has a line of names and no row: there is nothing in it to import, leave it out")
    count = rows[0].count(b",") + 1
    if count not in columns.venues:
        allowed = " or ".join(f"{n}{f' ({venue})' if venue else ''}" for n, venue in columns.venues.items())
        raise Failure(f"{path} has {count} columns in its first row; {format} has {allowed}")
    venue = named.venue or columns.venues[count]
    if columns.venues[count] not in ("", venue):
        raise Failure(f"{path} has the {count} columns of {columns.venues[count]}, and --venue says {venue}")
    window = window_of(path, seen, lambda line: to_moment(line.split(b",")[columns.time]))
    subjects = (f"{venue}.{symbol}",) if venue else (f".{symbol}",)
    return SourceFile(path, format, subjects, (columns.kind,), seen.sha256, seen.size, window, columns.lacks)


def to_moment(text: bytes) -> int:
    """A time of a dump, in ms or µs by its size, as ns. Raises DecimalError."""
    return checked_time(to_ns(integer(text.decode("ascii", "replace"))), text)


def _flag(text: bytes) -> bool:
    try:
        return FLAGS[text.strip(b'"').lower()]
    except KeyError:
        raise DecimalError(f"{text[:20]!r} is neither true nor false") from None


def _number(text: bytes) -> int:
    return integer(text.decode("ascii", "replace"))


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The rows of a dump as events: a trade each, of first to last id where one stands for several, or a quote each."""
    columns = COLUMNS[source.format]
    width = next(n for n, venue in columns.venues.items() if venue in ("", source.subjects[0].partition(".")[0]))
    make = READERS[source.format](known.instruments[source.subjects[0]], source.window)

    def one(line: bytes) -> Row:
        cells = line.split(b",")
        if len(cells) != width:
            raise DecimalError(f"{len(cells)} columns; {width} are allowed")
        return make(cells)

    yield from each_row(text_files.lines(source.path, progress), columns.header, one)


def _trades(instrument: Instrument, window: FileSpan) -> Callable[[list[bytes]], Row]:
    out = Writer(instrument)

    def make(cells: list[bytes]) -> Row:
        trade_id, at = _number(cells[0]), window.check(to_moment(cells[4]))
        sold = _flag(cells[5])
        record = out.fill(trade_id, plain(cells[1]), plain(cells[2]), at, 0, -1 if sold else 1)
        return Row(at, out.trades(record, trade_id, trade_id, at, 0))

    return make


def _aggregates(instrument: Instrument, window: FileSpan) -> Callable[[list[bytes]], Row]:
    out = Writer(instrument)

    def make(cells: list[bytes]) -> Row:
        first, last, at = _number(cells[3]), _number(cells[4]), window.check(to_moment(cells[5]))
        if not first <= last:
            raise DecimalError(f"an aggregate of trades {first} to {last}; first ≤ last is needed")
        sold = _flag(cells[6])
        record = out.fill(last, plain(cells[1]), plain(cells[2]), at, 0, -1 if sold else 1)
        return Row(at, out.trades(record, first, last, at, 0))

    return make


def _quotes(instrument: Instrument, window: FileSpan) -> Callable[[list[bytes]], Row]:
    out = Writer(instrument)
    price, quantity = out.price, out.quantity

    def make(cells: list[bytes]) -> Row:
        update_id, trade_ns, at = _number(cells[0]), to_moment(cells[5]), window.check(to_moment(cells[6]))
        bid, bid_lots = price(plain(cells[1])), quantity(plain(cells[2]))
        ask, ask_lots = price(plain(cells[3])), quantity(plain(cells[4]))
        return Row(at, out.quote(update_id, update_id, at, 0, update_id, bid, bid_lots, ask, ask_lots, trade_ns))

    return make


READERS = {"binance-trades": _trades, "binance-aggTrades": _aggregates, "binance-bookTicker": _quotes}
