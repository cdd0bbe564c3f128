"""Tardis CSV files (tardis.dev): trades, quotes, incremental_book_L2 and book_snapshot_N, times in µs.

`timestamp` is the venue's time (that of receipt where it sends none), `local_timestamp` when Tardis received it. Instruments
are of the venue `tardis_<venue>`, beside what we record ourselves: books and quotes have no ids there, so nothing proves them
complete. Trades of Binance and Coinbase have the venue's own.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.id_rules import TARDIS, rule
from tickmesh.bus.names import SUBJECT_BYTES
from tickmesh.bus.schema import Flag, Kind
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer, plain
from tickmesh.nodes.venues.parsing.times import checked_time
from tickmesh.nodes.venues.parsing.writer import Writer
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.rows import READ_ERRORS, OddRow, Row, Said
from tickmesh.tools.importing.source import NOT_ENDED, Known, Named, SourceFile, each_row, odd, window_of
from tickmesh.tools.importing.text_files import Progress, Surveyed
from tickmesh.tools.terminal import Failure

PREFIX = "tardis-"
START = b"exchange,symbol,timestamp,local_timestamp,"
TRADES, QUOTES, BOOK, SNAPSHOTS = (f"{PREFIX}{name}" for name in ("trades", "quotes", "incremental_book_L2", "book_snapshot"))
NAMES = (TRADES, QUOTES, BOOK, SNAPSHOTS)
HEADERS = {
    b"id,side,price,amount": TRADES,
    b"ask_amount,ask_price,bid_price,bid_amount": QUOTES,
    b"is_snapshot,side,price,amount": BOOK,
}
LEVEL_HEADER = re.compile(rb"asks\[0\]\.price,asks\[0\]\.amount,bids\[0\]\.price,bids\[0\]\.amount.*")
KINDS_OF = {TRADES: Kind.trade, QUOTES: Kind.quote, BOOK: Kind.depth, SNAPSHOTS: Kind.depth}
VENUES = {"binance-futures": "binance_usdm", "okex": "okx"}  # Tardis's names that are others here
SIDES = {b"buy": 1, b"sell": -1, b"bid": 1, b"ask": -1}
LACKS = {
    TRADES: ("trade ids, but of Binance and Coinbase",), QUOTES: ("ids",), BOOK: ("ids",),
    SNAPSHOTS: ("ids", "levels beyond those of the snapshots", "changes between two snapshots"),
}  # fmt: skip
RECEIVED = "receive times are of Tardis's recorder"


def claims(path: Path, seen: Surveyed, named: Named) -> SourceFile | None:
    """The file as a source; its rows say venue and symbol. None for what has another first line. Raises Failure."""
    header = seen.head[0]
    if not header.startswith(START):
        return None
    columns = header.removeprefix(START)
    format = HEADERS.get(columns) or (SNAPSHOTS if LEVEL_HEADER.fullmatch(columns) else "")
    if not format:
        raise Failure(f"{path} has the columns {header[:200].decode('utf-8', 'replace')}, of none of {', '.join(NAMES)}")
    if len(seen.head) < 2:
        raise Failure(f"{path} has a line of names and no row: there is nothing in it to import, leave it out")
    exchange, symbol, *_ = seen.head[1].decode("utf-8", "replace").split(",")
    subject = f"{TARDIS}{VENUES.get(exchange, exchange).replace('.', '_')}.{symbol}"
    if len(subject.encode()) > SUBJECT_BYTES:
        raise Failure(f"{path} is of {subject}, a name of more than the {SUBJECT_BYTES} bytes that one may have")
    window = window_of(path, seen, lambda line: _received(line.split(b",")))
    lacks = (*LACKS[format], RECEIVED)
    return SourceFile(path, format, (subject,), (KINDS_OF[format],), seen.sha256, seen.size, window, lacks)


def _received(cells: list[bytes]) -> int:
    return _time(cells[3])


def _time(text: bytes) -> int:
    return checked_time(integer(text.decode("ascii", "replace")) * 1000, text)


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The rows of a file as events: one a trade, quote or snapshot, one for all rows of a book with the same two times."""
    lines = text_files.lines(source.path, progress)
    if source.format == BOOK:
        yield from _book(source, known, lines)
        return
    first = next(iter(lines)).text.split(b",")
    make = MADE[source.format](_Maker(source, known), len(first))
    yield from each_row(lines, START, make)


class _Maker:
    """What all readers of rows share: the writer, the checks of a row's first columns, the ids."""

    def __init__(self, source: SourceFile, known: Known):
        (self.subject,), (kind,) = source.subjects, source.kinds
        self.out = Writer(known.instruments[self.subject])
        self.ids = known.ids(kind, self.subject)
        self.window = source.window
        self.symbol = self.subject.partition(".")[2].encode()

    def times(self, cells: list[bytes], width: int) -> tuple[int, int]:
        """(venue_ns, recv_ns) of a row. Raises one of READ_ERRORS."""
        if len(cells) != width:
            raise DecimalError(f"{len(cells)} columns; {width} are allowed")
        if cells[1] != self.symbol:
            raise DecimalError(f"a row of {cells[1][:40]!r} in a file of {self.symbol.decode()}: import it by itself")
        return _time(cells[2]), self.window.check(_received(cells))

    def number(self, text: bytes) -> bytes:
        """A number as plain decimal text, none as 0: that side is empty."""
        return plain(text).encode() if text else b"0"


def _trades(maker: _Maker, width: int) -> Callable[[bytes], Row]:
    out, counted = maker.out, rule(Kind.trade, maker.subject) == "exclusive"

    def make(line: bytes) -> Row:
        cells = line.split(b",")
        venue_ns, recv_ns = maker.times(cells, width)
        if cells[5] not in SIDES:
            raise DecimalError(f"a trade of side {cells[5][:20]!r}: buy or sell is needed, and none is made up")
        trade_id = maker.ids.take(recv_ns) if counted else integer(cells[4].decode("ascii", "replace"))
        record = out.fill(trade_id, plain(cells[6]), plain(cells[7]), venue_ns, 0, SIDES[cells[5]])
        return Row(recv_ns, out.trades(record, trade_id, trade_id, venue_ns, recv_ns))

    return make


def _quotes(maker: _Maker, width: int) -> Callable[[bytes], Row]:
    out = maker.out

    def make(line: bytes) -> Row:
        cells = line.split(b",")
        venue_ns, recv_ns = maker.times(cells, width)
        ask_lots, ask = out.quantity(maker.number(cells[4])), out.price(maker.number(cells[5]))
        bid, bid_lots = out.price(maker.number(cells[6])), out.quantity(maker.number(cells[7]))
        number = maker.ids.take(recv_ns)
        return Row(recv_ns, out.quote(number, number, venue_ns, recv_ns, number, bid, bid_lots, ask, ask_lots, venue_ns))

    return make


def _snapshots(maker: _Maker, width: int) -> Callable[[bytes], Row]:
    out = maker.out

    def make(line: bytes) -> Row:
        cells = line.split(b",")
        venue_ns, recv_ns = maker.times(cells, width)
        texts = [plain(one) if one else "" for one in cells[4:]]
        odd_levels: list[str] = []
        records = b"".join(
            out.levels([pair for pair in zip(texts[at::4], texts[at + 1 :: 4]) if pair[0]], side, odd_levels)
            for at, side in ((2, 1), (0, -1))
        )
        if odd_levels:
            raise DecimalError(odd_levels[0])
        return Row(recv_ns, out.snapshot(records, maker.ids.take(recv_ns), venue_ns, recv_ns))

    return make


MADE: dict[str, Callable[[_Maker, int], Callable[[bytes], Row]]] = {TRADES: _trades, QUOTES: _quotes, SNAPSHOTS: _snapshots}
BOOK_COLUMNS = 8


class _Levels(NamedTuple):
    """Rows of one message: its two times, and whether it is a snapshot."""

    venue_ns: int
    recv_ns: int
    whole: bool


def _book(source: SourceFile, known: Known, lines: Iterator[text_files.TextLine]) -> Iterator[Said]:
    """Changes of a book: what has the same two times is one message; a snapshot replaces the book."""
    maker = _Maker(source, known)
    of: _Levels | None = None
    records: list[bytes] = []
    for line in lines:
        if line.number == 1:
            continue
        try:
            if not line.ended:
                raise DecimalError(NOT_ENDED)
            cells = line.text.split(b",")
            now = _Levels(*maker.times(cells, BOOK_COLUMNS), _is_true(cells[4]))
            level = _level(maker.out, cells)
        except READ_ERRORS as error:
            yield odd(line.number, error, line.text)
            continue
        if of is not None and now != of:
            yield _message(maker, of, records)
            records = []
        of = now
        records.append(level)
    if of is not None:
        yield _message(maker, of, records)


def _is_true(text: bytes) -> bool:
    if text not in (b"true", b"false"):
        raise DecimalError(f"is_snapshot is {text[:20]!r}; true or false are allowed")
    return text == b"true"


def _level(out: Writer, cells: list[bytes]) -> bytes:
    if cells[5] not in SIDES:
        raise DecimalError(f"a level of side {cells[5][:20]!r}; bid or ask is needed")
    wrong: list[str] = []
    record = out.levels([(plain(cells[6]), plain(cells[7]))], SIDES[cells[5]], wrong)
    if wrong:
        raise DecimalError(wrong[0])
    return record


def _message(maker: _Maker, of: _Levels, records: list[bytes]) -> Row:
    number = maker.ids.take(of.recv_ns)
    flags = Flag.SNAPSHOT if of.whole else 0
    body = b"".join(records) or EMPTY_CHANGE
    return Row(of.recv_ns, maker.out.depth(body, number, number, of.venue_ns, of.recv_ns, flags))


__all__ = ["NAMES", "PREFIX", "OddRow", "claims", "read"]
