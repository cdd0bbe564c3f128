"""The trades of one instrument: what was printed, in order of id, as far back as the venue remembers."""

import struct
from bisect import bisect_left
from typing import NamedTuple

RETAINED = 200_000
ROW = struct.Struct("<qqqqq")  # id, price, quantity, time in ms, 1 if the buyer was the maker
TRADE_HEAD = '{"e":"trade","E":'


class Print(NamedTuple):
    """One public trade. `price` and `quantity` are mantissas at 10^−8, `time` is ms."""

    id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: int

    def packed(self) -> bytes:
        return ROW.pack(*self)


class Tape:
    """At least the last `retained` trades; ids rise, and rise by one unless a capture has a hole."""

    def __init__(self, retained: int = RETAINED):
        self.retained = retained
        self.prints: list[Print] = []

    def append(self, trade: Print) -> None:
        if self.prints and trade.id <= self.prints[-1].id:
            return  # a capture that repeats itself (overlapping files) is still one tape
        self.prints.append(trade)
        if len(self.prints) >= 2 * self.retained:
            del self.prints[: -self.retained]

    @property
    def last_id(self) -> int:
        return self.prints[-1].id if self.prints else 0

    @property
    def last_price(self) -> int:
        return self.prints[-1].price if self.prints else 0

    def latest(self, limit: int) -> list[Print]:
        return self.prints[-limit:]

    def since(self, first_id: int, limit: int) -> list[Print]:
        """From `first_id` on (inclusive); from the oldest that is kept when `first_id` is older, as the venue does."""
        at = bisect_left(self.prints, (first_id,))
        return self.prints[at : at + limit]

    def between(self, start_ms: int | None, end_ms: int | None, limit: int) -> list[Print]:
        rows = [p for p in self.prints if (start_ms is None or p.time >= start_ms) and (end_ms is None or p.time <= end_ms)]
        return rows[:limit] if start_ms is not None else rows[-limit:]

    def load(self, rows: bytes) -> None:
        """Rows as `Print.packed` wrote them; a torn last row is left out."""
        for row in ROW.iter_unpack(rows[: len(rows) - len(rows) % ROW.size]):
            self.append(Print(*row))
