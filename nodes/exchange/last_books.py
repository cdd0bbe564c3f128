"""Where each book of the exchange stands, and what of it clients may not have: followed by a market, or read from the ledger.

Everything is in the ledger before anyone hears of it, so a process that starts finds there the newest id of every book, also
after a kill: it goes on with the next one, and no id is left out. No I/O.
"""

import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import msgpack

from tickmesh.nodes.exchange.ledger import BATCH, LastBook
from tickmesh.nodes.exchange.protocol import Level


class UnsentLevels:
    """The levels of a book that changed since all was surely sent: what a restart has to say again.

    Sure is what was sent before the last mark but one, a second or two ago: the frame that was sent last may have gone with its
    connection, also at a clean stop, when those who hear it stop as well.
    """

    def __init__(self, sent_id: int, first_id: int = 0, levels: Iterable[tuple[int, int]] = ()):
        self.sent_id = self.marked_id = sent_id
        self._older: tuple[int, set[tuple[int, int]]] = (0, set())
        self._newer: tuple[int, set[tuple[int, int]]] = (first_id, set(levels))

    def take(self, first_id: int, touched: Iterable[Level]) -> None:
        """Notes the levels of one operation, whose first change has this id."""
        since, levels = self._newer
        levels.update((side, price) for side, price, _ in touched)
        self._newer = since or first_id, levels

    def mark(self, update_id: int) -> None:
        """Notes that every depth stream has said all up to an id."""
        self.sent_id, self.marked_id = self.marked_id, update_id
        self._older, self._newer = self._newer, (0, set())

    @property
    def first_id(self) -> int:
        """The id of the first change after `sent_id`; 0 for none."""
        return self._older[0] or self._newer[0]

    @property
    def levels(self) -> list[tuple[int, int]]:
        """(side, price) of what changed after `sent_id`, in order."""
        return sorted(self._older[1] | self._newer[1])


class LedgerBooks(NamedTuple):
    """The last books of an exchange ledger, of all markets whose ids are of its newest era."""

    market: str = ""  # "synthetic" or "replay"
    era: int = 0
    books: dict[str, LastBook] = {}


class _Book:
    def __init__(self, update_id: int, levels: Iterable[Level] = ()):
        self.update_id = update_id
        self.levels = {(side, price): quantity for side, price, quantity in levels}
        self.unsent = UnsentLevels(update_id)

    def change(self, first_id: int, last_id: int, levels: list[Level]) -> None:
        for side, price, quantity in levels:
            if quantity:
                self.levels[side, price] = quantity
            else:
                self.levels.pop((side, price), None)
        self.unsent.take(first_id, levels)
        self.update_id = last_id

    def standing(self) -> LastBook:
        levels = [(side, price, quantity) for (side, price), quantity in self.levels.items()]
        return LastBook(self.update_id, levels, self.unsent.sent_id, self.unsent.first_id, self.unsent.levels)


def read_last_books(data: bytes) -> LedgerBooks:
    """Reads where the books of a ledger file ended, up to a torn batch."""
    market, era = "", 0
    books: dict[str, _Book] = {}
    for _number, kind, _time_ms, *values in _rows(data):
        if kind == "head":
            market, era = values[1], values[3] if len(values) > 3 else 0
        elif kind == "book":
            books[values[0]] = _Book(values[1], values[2])
        elif kind == "unsent":
            books[values[0]].unsent = UnsentLevels(values[1], values[2], (tuple(level) for level in values[3]))
        elif kind == "start":
            symbol, update_id, _trade_id, of_era = values
            if of_era > era:
                era, books = of_era, {}
            known = books.setdefault(symbol, _Book(update_id))
            known.levels, known.update_id = {}, update_id
        elif kind == "depth" and values[0] in books:
            books[values[0]].change(*values[1:])
        elif kind == "sent" and values[0] in books:
            books[values[0]].unsent.mark(values[1])
    return LedgerBooks(market, era, {symbol: book.standing() for symbol, book in books.items()})


def _rows(data: bytes) -> Iterator[list[Any]]:
    """Every row of a file's whole batches."""
    offset = 0
    while len(data) - offset >= BATCH.size:
        size, crc, _first, _count = BATCH.unpack_from(data, offset)
        begin, end = offset + BATCH.size, offset + BATCH.size + size
        if end > len(data) or zlib.crc32(data[offset + 8 : end]) != crc:
            return
        yield from msgpack.Unpacker(BytesIO(data[begin:end]))
        offset = end
