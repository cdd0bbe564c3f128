"""One instrument's book as a line knows it: levels by price, each side in order."""

from bisect import bisect_left, insort
from itertools import chain

from tickmesh.bus.layout import RECORDS, header_reader, record_struct
from tickmesh.bus.schema import Flag, Kind

RECORD = record_struct(Kind.depth)
SNAPSHOT = int(Flag.SNAPSHOT)  # a plain integer: an IntFlag's & costs as much as the rest of a level
_read_flags = header_reader("flags")
EMPTY_CHANGE = bytes(RECORD.size)  # the one record of a change that changes nothing


class Side:
    """One side of a book: quantity by price in `lots`, and `prices` ascending."""

    def __init__(self) -> None:
        self.lots: dict[int, int] = {}
        self.prices: list[int] = []

    def set(self, price: int, lots: int) -> None:
        """Sets the quantity at a price; 0 removes the level."""
        if not lots:
            if self.lots.pop(price, None) is not None:
                del self.prices[bisect_left(self.prices, price)]
            return
        if price not in self.lots:
            insort(self.prices, price)
        self.lots[price] = lots


class Levels:
    """The levels of one book, both sides, after every depth event that was applied."""

    def __init__(self) -> None:
        self.bids, self.asks = Side(), Side()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Levels):
            return NotImplemented
        return self.bids.lots == other.bids.lots and self.asks.lots == other.asks.lots

    def apply(self, event: bytes | bytearray) -> None:
        """Applies a depth event: a change of some levels, or a snapshot that replaces them all."""
        if _read_flags(event)[0] & SNAPSHOT:
            self.replace(event)
        else:
            self.apply_records(memoryview(event)[RECORDS])

    def apply_records(self, records: bytes | memoryview) -> None:
        """Applies a change's records: each sets the quantity at one price, or removes the level where it is 0."""
        for price, lots, side in RECORD.iter_unpack(records):
            if side > 0:
                self.bids.set(price, lots)
            elif side < 0:
                self.asks.set(price, lots)

    def replace(self, event: bytes | bytearray) -> None:
        """Replaces all levels by those of a snapshot event."""
        self.bids, self.asks = Side(), Side()
        for price, lots, side in RECORD.iter_unpack(memoryview(event)[RECORDS]):
            if lots and side:
                (self.bids if side > 0 else self.asks).lots[price] = lots
        for one in (self.bids, self.asks):
            one.prices = sorted(one.lots)

    def truncate(self, depth: int) -> bytes:
        """Leaves the best `depth` levels of each side; gives the removals of the others as depth records."""
        removed = bytearray()
        if len(self.bids.prices) > depth:
            for price in self.bids.prices[:-depth]:
                del self.bids.lots[price]
                removed += RECORD.pack(price, 0, 1)
            del self.bids.prices[:-depth]
        if len(self.asks.prices) > depth:
            for price in self.asks.prices[depth:]:
                del self.asks.lots[price]
                removed += RECORD.pack(price, 0, -1)
            del self.asks.prices[depth:]
        return bytes(removed)

    def best_bids(self, count: int) -> list[tuple[int, int]]:
        """The `count` best bids as (price, quantity), best first."""
        return [(price, self.bids.lots[price]) for price in self.bids.prices[: -count - 1 : -1]]

    def best_asks(self, count: int) -> list[tuple[int, int]]:
        """The `count` best asks as (price, quantity), best first."""
        return [(price, self.asks.lots[price]) for price in self.asks.prices[:count]]

    @property
    def crossed(self) -> bool:
        """Whether a bid is at or above an ask: no venue's book is so between two messages."""
        return bool(self.bids.prices and self.asks.prices and self.bids.prices[-1] >= self.asks.prices[0])

    def records(self) -> bytes:
        """The whole book as depth records, each side from its best level on."""
        bids = ((price, self.bids.lots[price], 1) for price in reversed(self.bids.prices))
        asks = ((price, self.asks.lots[price], -1) for price in self.asks.prices)
        return b"".join(RECORD.pack(*level) for level in chain(bids, asks)) or EMPTY_CHANGE
