"""The exchange ledger as rows and bytes: everything that the exchange did, and every frame that it withheld; others are
judged by it.

Rows are msgpack arrays `[number, kind, time_ms, …]`; the rows of one commit are one batch, framed by a CRC. FIELDS is the
format (docs/ledger.md), and stands at the head of every file. Pure: collects rows and gives bytes; a shell appends them
to a file before clients get what is in them. The same seed and the same inputs give the same bytes.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from tickmesh.nodes.exchange.protocol import Level

LedgerRow: TypeAlias = tuple[str, *tuple[object, ...]]  # kind, then its values in the order of FIELDS[kind]


class LastBook(NamedTuple):
    """A market's book where a process ended, or stands: what the next one goes on from, without a hole in its ids."""

    update_id: int  # of its newest change
    levels: list[Level]  # every level
    sent_id: int  # changes up to it were surely sent in depth frames
    first_id: int = 0  # of the first change after that; 0: none
    unsent: list[tuple[int, int]] = []  # (side, price) of what changed after it: the next frame names it (again)


FORMAT = 2
BATCH = struct.Struct("<IIQI")  # bytes of rows, CRC-32 of what follows these 8 bytes, number of the first row, rows
FIELDS: dict[str, tuple[str, ...]] = {
    # every row begins with: number (from 1, no hole), kind, time_ms (the exchange's clock)
    # symbol: a spot symbol as it is, of another venue `venue.symbol`; so are streams, `venue.symbol@…`
    "head": ("format", "market", "fields", "era"),  # first row of a file; market: "synthetic" or "replay"
    # a process began: empty book at update_id; what stood there is taken out by the ids that follow on it. Later trades of
    # this era were never sent. A higher era: all ids began anew
    "start": ("symbol", "update_id", "trade_id", "era"),
    "book": ("symbol", "update_id", "levels"),  # the whole book: [[side, price, quantity], …], side +1 bid, −1 ask
    # in a file's head, after its books: levels [[side, price], …] that changed after sent_id, from first_id on
    "unsent": ("symbol", "sent_id", "first_id", "levels"),
    "sent": ("symbol", "update_id"),  # once a second: every depth stream has said all up to it
    "depth": ("symbol", "first_id", "last_id", "levels"),  # levels changed; synthetic: one update id each, in order
    "quote": (
        "symbol",
        "update_id",
        "bid",
        "bid_quantity",
        "ask",
        "ask_quantity",
    ),  # of a replay; else it follows from the book
    "trade": ("symbol", "id", "price", "quantity", "side", "trade_ms"),  # side of the aggressor
    "off_book": ("symbol", "id", "price", "quantity", "side", "trade_ms", "type"),  # a trade that never met the book
    "status": ("symbol", "status"),  # TRADING (also without this row), BREAK, UNKNOWN
    "event": ("text", "venue"),  # an event of the venue's account, as the user stream has it
    "mark": ("symbol", "mark", "index", "rate", "next_ms"),  # once a second: of a contract, and its next funding
    "funding": ("symbol", "rate", "mark", "received"),  # of a contract, and what our position in it got; below zero: paid
    # a process began: our position in a contract, and each wallet of the futures account
    "position": ("symbol", "amount", "cost", "realised"),
    "wallet": ("asset", "amount"),
    "client": ("connection", "what", "detail"),  # opened, subscribed, unsubscribed, closed, cut
    "fault": ("fault", "what", "detail"),  # added, started, ended
    "frame": ("fault", "connection", "stream", "what", "text"),  # dropped, altered, repeated, late; text: the frame due
    "request": ("fault", "connection", "door", "operation", "what", "status"),  # refused, answered, executed, late
    # a signed request was dealt with; connection 0: over REST; order: the client id that it names; status: 0 for no answer
    "asked": ("connection", "operation", "order", "status"),
}
_encode = msgspec.msgpack.Encoder().encode


class ExchangeLedger:
    """Collects rows of the exchange ledger and gives them as batches of bytes. `number` is that of the next row."""

    def __init__(self, market: str, number: int = 1):
        self.market = market
        self.number = number
        self._first = number
        self._rows: list[bytes] = []

    def add(self, kind: str, time_ms: int, *values: object) -> None:
        """Adds one row; `values` in the order of FIELDS[kind]."""
        self._rows.append(_encode((self.number, kind, int(time_ms), *values)))
        self.number += 1

    def add_rows(self, rows: Iterable[LedgerRow], time_ms: int) -> None:
        """Adds rows of markets: (kind, values…) each."""
        for kind, *values in rows:
            self.add(kind, time_ms, *values)

    def add_head(self, books: Mapping[str, LastBook], time_ms: int, era: int = 0) -> None:
        """Adds the rows that a file begins with: the format, and every book, so that it can be read without earlier files."""
        self.add("head", time_ms, FORMAT, self.market, FIELDS, era)
        for symbol, book in books.items():
            self.add("book", time_ms, symbol, book.update_id, book.levels)
            if book.sent_id < book.update_id:
                self.add("unsent", time_ms, symbol, book.sent_id, book.first_id, book.unsent)

    def take_batch(self) -> bytes:
        """The rows since the last call as one framed batch of bytes; b"" for none."""
        if not self._rows:
            return b""
        body, count, first = b"".join(self._rows), len(self._rows), self._first
        self._rows, self._first = [], self.number
        tail = BATCH.pack(len(body), 0, first, count)[8:]
        return BATCH.pack(len(body), zlib.crc32(body, zlib.crc32(tail)), first, count) + body


def find_end(data: bytes) -> tuple[int, int]:
    """Finds where the whole batches of a ledger file end: (their bytes, number of the row after them, or 0 for none)."""
    offset, number = 0, 0
    while len(data) - offset >= BATCH.size:
        size, crc, first, count = BATCH.unpack_from(data, offset)
        end = offset + BATCH.size + size
        if end > len(data) or zlib.crc32(data[offset + 8 : end]) != crc:
            break
        offset, number = end, first + count
    return offset, number
