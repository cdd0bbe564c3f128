"""The trades of one instrument: what was printed, in order of id, as far back as the venue remembers."""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, overload

RETAINED = 200_000
ROW = struct.Struct("<qqqqq")  # id, price, quantity, time in ms, twice the aggregate's id + 1 if the buyer was the maker
OFF_BOOK = -1  # in place of an aggregate's id: the trade never met the book


class Print(NamedTuple):
    """One public trade. `price` and `quantity` are mantissas at 10^−8, `time` is ms."""

    id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: int
    aggregate: int = 0  # id of its aggTrade; 0: an aggregate of its own, with the trade's id; OFF_BOOK: of none

    def packed(self) -> bytes:
        """The trade as a row of a file, which `Tape.load` reads."""
        return ROW.pack(*self[:4], self.aggregate << 1 | self.buyer_is_maker)


def _unpacked(ident: int, price: int, quantity: int, time: int, last: int) -> Print:
    return Print(ident, price, quantity, time, last & 1, last >> 1)


class Prints(Sequence[Print]):
    """Trades in order, as rows of 40 bytes: as objects they took six times as much, which filled for hours."""

    def __init__(self) -> None:
        self._rows = bytearray()

    def __len__(self) -> int:
        return len(self._rows) // ROW.size

    @overload
    def __getitem__(self, at: int) -> Print: ...
    @overload
    def __getitem__(self, at: slice) -> list[Print]: ...
    def __getitem__(self, at: int | slice) -> Print | list[Print]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            assert step == 1, "trades are read in order"
            return [_unpacked(*row) for row in ROW.iter_unpack(self._rows[start * ROW.size : max(stop, start) * ROW.size])]
        return _unpacked(*ROW.unpack_from(self._rows, range(len(self))[at] * ROW.size))

    def append(self, trade: Print) -> None:
        """Adds a trade behind the others."""
        self._rows += trade.packed()

    def keep_newest(self, count: int) -> None:
        """Forgets all but the newest `count` trades."""
        del self._rows[: max(len(self) - count, 0) * ROW.size]


class Aggregate(NamedTuple):
    """Consecutive trades of one taker at one price, joined: ids `first` to `last`."""

    id: int
    price: int
    quantity: int
    first: int
    last: int
    time: int
    buyer_is_maker: int


class Candle(NamedTuple):
    """The trades of one interval, summed up as mantissas at 10^−8; `first` and `last` are trade ids, −1 for none."""

    start_ms: int
    end_ms: int  # inclusive
    open: int
    high: int
    low: int
    close: int
    quantity: int
    quote: int
    trades: int
    taker_quantity: int  # of takers who bought
    taker_quote: int
    first: int
    last: int


def aggregate_id(trade: Print) -> int:
    """The id of the aggregate that a trade is part of."""
    return trade.aggregate or trade.id


class Tape:
    """The trades of one instrument, at least the last `retained`; ids rise, by one unless a capture has a hole.

    A trade off the book takes its id and is in nothing else: not in what REST answers, nor in aggregates, candles, statistics.
    """

    def __init__(self, retained: int = RETAINED):
        self.retained = retained
        self.prints = Prints()
        self.minutes: dict[int, Candle] = {}  # start of a past minute → its candle: see candles.py
        self.id_before = 0  # of its first trade
        self.off_book_id = 0  # the newest one off the book
        self.forgotten_ms = 0.0  # trades before this time are not given to clients (a fault)

    def append(self, trade: Print) -> None:
        """Adds a trade; one whose id is not above the last one is left out."""
        if trade.aggregate == OFF_BOOK:
            self.off_book_id = max(trade.id, self.off_book_id)
            return
        if self.prints and trade.id <= self.prints[-1].id:
            return  # a capture that repeats itself (overlapping files) is still one tape
        self.prints.append(trade)
        if len(self.prints) >= 2 * self.retained:
            self.prints.keep_newest(self.retained)

    @property
    def last_id(self) -> int:
        """The id of the newest trade; before the first, the id before it."""
        return max(self.prints[-1].id if self.prints else self.id_before, self.off_book_id)

    @property
    def last_aggregate(self) -> int:
        """The id of the newest aggregate; 0 before the first."""
        return aggregate_id(self.prints[-1]) if self.prints else 0

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""
        return self.prints[-1].price if self.prints else 0

    @property
    def floor(self) -> int:
        """The index of the oldest trade that clients may get."""
        oldest = max(len(self.prints) - self.retained, 0)
        if not self.forgotten_ms:
            return oldest
        return max(oldest, bisect_left(self.prints, self.forgotten_ms, key=lambda p: p.time))

    def latest(self, limit: int) -> list[Print]:
        """The newest trades, at most `limit`, oldest first."""
        return self.prints[max(len(self.prints) - limit, self.floor) :]

    def since(self, first_id: int, limit: int) -> list[Print]:
        """Trades from an id on (inclusive); from the oldest that is kept when that id is older, as the venue does."""
        at = max(bisect_left(self.prints, (first_id,)), self.floor)
        return self.prints[at : at + limit]

    def index_from_time(self, start_ms: int) -> int:
        """The index of the first trade at or after a time; times never fall."""
        return max(bisect_left(self.prints, start_ms, key=lambda p: p.time), self.floor)

    def aggregates(
        self, limit: int, first_id: int | None = None, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Aggregate]:
        """Aggregates from an id or a time on, oldest first; without either the latest, up to `end_ms`."""
        if first_id is not None:
            at = max(bisect_left(self.prints, first_id, key=aggregate_id), self.floor)
        elif start_ms is not None:
            at = self.index_from_time(start_ms)
        else:
            return self._latest_aggregates(limit, end_ms)
        rows: list[Aggregate] = []
        while at < len(self.prints) and len(rows) < limit and (end_ms is None or self.prints[at].time <= end_ms):
            at, row = self._grouped(at)
            rows.append(row)
        return rows

    def _latest_aggregates(self, limit: int, end_ms: int | None) -> list[Aggregate]:
        rows: list[Aggregate] = []
        end = len(self.prints) if end_ms is None else bisect_left(self.prints, end_ms + 1, key=lambda p: p.time)
        while end > self.floor and len(rows) < limit:
            first = end - 1
            while first > self.floor and aggregate_id(self.prints[first - 1]) == aggregate_id(self.prints[first]):
                first -= 1
            rows.append(self._grouped(first)[1])
            end = first
        return rows[::-1]

    def _grouped(self, at: int) -> tuple[int, Aggregate]:
        first = last = self.prints[at]
        ident, quantity = aggregate_id(first), 0
        while at < len(self.prints) and aggregate_id(self.prints[at]) == ident:
            last = self.prints[at]
            quantity += last.quantity
            at += 1
        return at, Aggregate(ident, first.price, quantity, first.id, last.id, first.time, first.buyer_is_maker)

    def load(self, rows: bytes) -> None:
        """Adds rows of a file, as `Print.packed` wrote them; a torn last row is left out."""
        for row in ROW.iter_unpack(rows[: len(rows) - len(rows) % ROW.size]):
            self.append(_unpacked(*row))
