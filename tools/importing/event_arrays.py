"""hftbacktest's event arrays (.npz, .npy): versions 2 (structured, ns) and 1 (six floats a row, µs).

Rows that the local side saw are taken, in their order: the receive time is `local_ts`, the venue's is `exch_ts`. Depth rows of
the same two times are one change; a clear with the snapshot after it is one book. There are no ids of any kind: they are
counted, and nothing of it can be proven complete.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from tickmesh.bus.schema import DEPTH, Flag, Kind
from tickmesh.bus.schema import TRADE as TRADE_RECORD
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.feed.streams import KINDS
from tickmesh.nodes.venues.parsing.decimals import MANTISSA_MAX, DecimalError
from tickmesh.nodes.venues.parsing.writer import Writer
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.rows import READ_ERRORS, FileSpan, Row, Said
from tickmesh.tools.importing.source import Known, Named, SourceFile, odd
from tickmesh.tools.importing.text_files import Progress
from tickmesh.tools.terminal import Failure

ARRAYS = "hftbacktest"
VENUE = "hftbacktest"
ROWS_EACH = 1 << 16
LOCAL, EXCHANGE, BUY, SELL = 1 << 30, 1 << 31, 1 << 29, 1 << 28
SORT = 0xFF
CHANGE, TRADE, CLEAR, SNAPSHOT, BEST = 1, 2, 3, 4, 5  # an event's sort
VERSION_2 = np.dtype([
    ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"), ("ival", "<i8"),
    ("fval", "<f8"),
])  # fmt: skip
NAMES_2 = tuple(VERSION_2.names or ())[:5]  # that are read
VERSION_1_COLUMNS = 6
ULPS = 4  # by so much a price that was computed, as 3 × 0.1, may be beside its decimal
LACKS = ("no ids: they are counted by the import", "no definitions of instruments (tick and lot size)", "prices as floats")


class EventRow(NamedTuple):
    """One row of an array. `recv_ns`: 0 where the local side has none; `side`: +1, −1, 0 for neither."""

    sort: int
    venue_ns: int
    recv_ns: int
    side: int
    price: float
    quantity: float


def claims(path: Path, sha256: str, named: Named) -> SourceFile | None:
    """The array as a source; --symbol says of which instrument it is. None for what is no array. Raises Failure."""
    if path.suffix not in (".npz", ".npy"):
        return None
    if named.venue not in ("", VENUE):
        raise Failure(f"{path} has no ids of {named.venue}: what is made of it is of the venue {VENUE!r}, leave --venue out")
    first = last = 0
    for rows in _parts(path):
        if times := [row.recv_ns or row.venue_ns for row in rows if row.recv_ns or row.venue_ns]:
            first, last = first or times[0], times[-1]
    if not first:
        raise Failure(f"{path} has no row that the local side saw, with a time: there is nothing in it to import")
    window = FileSpan(min(first, last), max(first, last))
    subject = f"{VENUE}.{named.symbol(path)}"
    return SourceFile(path, ARRAYS, (subject,), KINDS, sha256, path.stat().st_size, window, LACKS)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The .npy in a file, or in the one or the first member of a zip. Raises Failure."""
    try:
        if path.suffix == ".npy":
            with open(path, "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if len(names) != 1:
                    raise Failure(f"{path} holds the arrays {', '.join(names[:8])}; one is allowed, such as hftbacktest writes")
                with archive.open(names[0]) as member:
                    yield member
    except text_files.BROKEN as error:
        raise Failure(f"{path} is torn or damaged: {error or 'it ends too early'}; nothing was imported of it") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None


def _parts(path: Path, progress: Progress = lambda more: None) -> Iterator[list[EventRow]]:
    """The rows of an array that the local side saw, ROWS_EACH at a time; never all of it in memory. Raises Failure."""
    with _opened(path) as file:
        dtype, count = _header(path, file)
        at = 0
        while at < count:
            rows = min(ROWS_EACH, count - at)
            data = file.read(rows * dtype.itemsize)
            if len(data) != rows * dtype.itemsize:
                raise Failure(
                    f"{path} ends in its row {at + len(data) // dtype.itemsize + 1} of {count}: it is torn, get it again"
                )
            part = np.frombuffer(data, dtype)
            yield _version_2(part) if dtype.names else _version_1(part)
            at += rows
            progress(len(data))


def _header(path: Path, file: IO[bytes]) -> tuple[np.dtype, int]:
    """(dtype of a row, rows). Raises Failure for anything but an event array; nothing in it is ever unpickled."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except ValueError as error:
        raise Failure(f"{path} holds no numpy array: {error}") from None
    names = dtype.names or ()
    if len(shape) == 1 and names[:5] == NAMES_2 and all(dtype[name] == VERSION_2[name] for name in NAMES_2):
        return dtype, shape[0]
    if len(shape) == 2 and shape[1] == VERSION_1_COLUMNS and dtype == np.dtype("<f8") and not by_columns:
        return np.dtype(("<f8", VERSION_1_COLUMNS)), shape[0]
    raise Failure(
        f"{path} has an array of shape {shape} and dtype {dtype}; an event array has {NAMES_2} …, or rows of "
        f"{VERSION_1_COLUMNS} floats"
    )


def _version_2(part: np.ndarray) -> list[EventRow]:
    flags = part["ev"]
    keep = (flags & np.uint64(LOCAL)) != 0
    side = np.where(flags & np.uint64(BUY), 1, np.where(flags & np.uint64(SELL), -1, 0))
    columns = (flags & np.uint64(SORT), part["exch_ts"], part["local_ts"], side, part["px"], part["qty"])
    return [EventRow(*row) for row in zip(*(column[keep].tolist() for column in columns))]


def _version_1(part: np.ndarray) -> list[EventRow]:
    """Of rows without a local time only those of a snapshot count: others have a twin that has one."""
    keep = (part[:, 2] > 0) | (part[:, 0] == SNAPSHOT)
    return [
        EventRow(int(sort), max(int(venue), 0) * 1000, max(int(local), 0) * 1000, int(side), price, quantity)
        for sort, venue, local, side, price, quantity in part[keep].tolist()
        if all(map(np.isfinite, (sort, venue, local, side)))
    ]


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The rows of an array as events."""
    (subject,) = source.subjects
    made = _Events(known.instruments[subject], source.window, known, subject)
    number = 0
    for rows in _parts(source.path, progress):
        for row in rows:
            number += 1
            yield from made.take(number, row)
    yield from made.change_over()


class _Events:
    """Makes events of rows: each trade and each side of a best price by itself, levels of one time together."""

    def __init__(self, instrument: Instrument, window: FileSpan, known: Known, subject: str):
        self.out = Writer(instrument)
        self.exponents = instrument.price_exponent, instrument.quantity_exponent
        self.window = window
        self.ids = {kind: known.ids(kind, subject) for kind in KINDS}
        self.levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.best: dict[int, tuple[int, int]] = {}
        self.change: list[tuple[int, int, int]] = []  # price, quantity, side
        self.of: tuple[int, int, bool] | None = None  # venue_ns, recv_ns of the change, and whether it is a book

    def take(self, number: int, row: EventRow) -> Iterator[Said]:
        """What one row says, and the change before it, if it ends with it."""
        of = (row.venue_ns, row.recv_ns, row.sort in (CLEAR, SNAPSHOT))
        if row.sort not in (CHANGE, CLEAR, SNAPSHOT) or of != self.of:
            yield from self.change_over()
        try:
            self.window.check(self._at(row.venue_ns, row.recv_ns))
            if row.sort in (CHANGE, CLEAR, SNAPSHOT):
                self._level(row)
                self.of = of
            elif row.sort == TRADE:
                yield self._trade(row)
            elif row.sort == BEST:
                yield from self._quote(row)
            else:
                raise DecimalError(f"an event of sort {row.sort}: orders by themselves are not kept here, levels are")
        except READ_ERRORS as error:
            yield odd(number, error, repr(tuple(row)).encode())

    def change_over(self) -> Iterator[Row]:
        """The event of the levels that have come together, if there are any."""
        if self.of is None:
            return
        venue_ns, recv_ns, whole = self.of
        rows = self.change
        if whole:
            rows = [(price, self.levels[side][price], side) for side in (1, -1) for price in sorted(self.levels[side])]
        at = self._at(venue_ns, recv_ns)
        number = self.ids[Kind.depth].take(at)
        records = np.array([(*row, b"") for row in rows] or [(0, 0, 0, b"")], DEPTH).tobytes()
        yield Row(at, self.out.depth(records, number, number, venue_ns, recv_ns, Flag.SNAPSHOT if whole else 0))
        self.change, self.of = [], None

    def _at(self, venue_ns: int, recv_ns: int) -> int:
        return recv_ns or venue_ns or self.window.first_ns

    def _level(self, row: EventRow) -> None:
        if row.sort == CLEAR:
            for side in (row.side,) if row.side else (1, -1):
                self._clear(side, row.price)
            return
        price, lots = self._price(row), self._lots(row)
        if row.side not in (1, -1) or not price:
            raise DecimalError(f"a level of side {row.side} at {row.price}; a side, and a price above 0, are needed")
        self.change.append((price, lots, row.side))
        if lots:
            self.levels[row.side][price] = lots
        else:
            self.levels[row.side].pop(price, None)

    def _clear(self, side: int, upto: float) -> None:
        """Removes the levels from the best one to this price; all of the side where it is no number."""
        own = self.levels[side]
        bound = _mantissa(upto, self.exponents[0]) if np.isfinite(upto) else None
        for price in [one for one in own if bound is None or (one - bound) * side >= 0]:
            del own[price]

    def _trade(self, row: EventRow) -> Row:
        if row.side not in (1, -1):
            raise DecimalError(f"a trade of side {row.side}; buy or sell is needed")
        at = self._at(row.venue_ns, row.recv_ns)
        number = self.ids[Kind.trade].take(at)
        price, lots = self._price(row), self._lots(row)
        if not (price and lots):
            raise DecimalError(f"a trade of {row.quantity} at {row.price}; both must be above 0")
        record = np.array([(number, price, lots, row.venue_ns, 0, row.side, b"")], TRADE_RECORD).tobytes()
        return Row(at, self.out.trades(record, number, number, row.venue_ns, row.recv_ns))

    def _quote(self, row: EventRow) -> Iterator[Row]:
        self.best[row.side] = self._price(row), self._lots(row)
        if self.best.keys() >= {1, -1}:
            at = self._at(row.venue_ns, row.recv_ns)
            number = self.ids[Kind.quote].take(at)
            sides = *self.best[1], *self.best[-1]
            yield Row(at, self.out.quote(number, number, row.venue_ns, row.recv_ns, number, *sides, row.venue_ns))

    def _price(self, row: EventRow) -> int:
        return _mantissa(row.price, self.exponents[0])

    def _lots(self, row: EventRow) -> int:
        return _mantissa(row.quantity, self.exponents[1])


@lru_cache(1 << 14)
def _mantissa(value: float, exponent: int) -> int:
    """The mantissa of the decimal that a float stands for: of those the exponent can hold the nearest, if that is as near as
    arithmetic with floats leaves it. Raises DecimalError."""
    if not (math.isfinite(value) and value >= 0):
        raise DecimalError(f"{value} is no number from 0 on")
    mantissa = int(Decimal(repr(value)).scaleb(-exponent).to_integral_value())
    if mantissa > MANTISSA_MAX or abs(float(Decimal(mantissa).scaleb(exponent)) - value) > ULPS * math.ulp(value):
        raise DecimalError(f"{value!r} is not held by exponent {exponent}: give --price-exponent or --quantity-exponent")
    return mantissa
