"""The simulated venue: instruments' books from columns, and our orders in them. The work is done in venue_kernel.py."""

from typing import NamedTuple

import numpy as np

from tickmesh.research.backtest import venue_kernel, venue_queue
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue_arrays import QUOTED, REPORT, RESTING, RULES, TAKEN_LEVEL, UNITS, VenueArrays
from tickmesh.research.backtest.venue_kernel import LEVELS
from tickmesh.storage.books.arrays import CAPACITY, BookArrays, best, empty_book, grown

MODELS = {
    "risk_averse": venue_queue.RISK_AVERSE,
    "probability_power": venue_queue.POWER,
    "probability_log": venue_queue.LOGARITHM,
}
EXPONENT = 3.0  # of probability_power, as in nodes/exchange/market/queue.py
ORDERS = 64  # resting at a time, to begin with; the table grows
LEVELS_TAKEN = 256
CELLS, CELLS_LEAST = 1 << 18, 1 << 12  # of the dense windows of all books together, and of each


class MarketRows(NamedTuple):
    """A part of the market in order. `rows`: (n,) MARKET_ROW; the records that they point to: QUOTE, TRADE, DEPTH."""

    rows: np.ndarray
    quotes: np.ndarray
    trades: np.ndarray
    levels: np.ndarray


class VenueReport(NamedTuple):
    """What the venue says of an order: `what` of venue_kernel (ACCEPTED …); a fill's price and lots; what is `left` of it."""

    what: int
    order: int
    price: int
    lots: int
    left: int
    maker: bool


class ColumnVenue:
    """Books and orders of some instruments, known by their number (slot)."""

    def __init__(self, slots: int, terms: VenueTerms, capacity: int = CAPACITY):
        """`slots`: how many instruments there are; `capacity`: levels that a side has room for to begin with."""
        width = max(CELLS >> max(slots - 1, 0).bit_length(), CELLS_LEAST)
        self._units = np.zeros(slots, UNITS)
        self._units["lot"], self._units["unit"] = 1, 1.0
        rules = np.zeros(1, RULES)
        rules["model"], rules["exponent"] = MODELS[terms.queue], EXPONENT
        rules["whole"], rules["impact"], rules["quotes"] = terms.through == "whole", terms.impact, terms.quotes
        self._reports = np.zeros(2 * LEVELS, REPORT)
        self._market: MarketRows | None = None  # the one that is passing, and the most records that a trade of it has
        self._records = 1
        scratch = np.zeros((LEVELS, 2), "i8"), np.zeros(LEVELS, "i8"), np.zeros(LEVELS, "i8")
        heads, sides, lots, far_keys, far_lots = _stacked([empty_book(width, capacity) for _ in range(slots)])
        self._venue = VenueArrays(
            heads, sides, lots, far_keys, far_lots, np.zeros(slots, QUOTED), self._units, rules,
            np.zeros(ORDERS, RESTING), np.zeros(LEVELS_TAKEN, TAKEN_LEVEL), np.zeros(2, "i8"), *scratch,
        )  # fmt: skip

    @property
    def arrays(self) -> VenueArrays:
        """Books and orders as the functions of venue_kernel take them; others once a book or the table of orders has grown."""
        return self._venue

    @property
    def resting(self) -> np.ndarray:
        """Our orders in the book: RESTING rows, with their places in the queues."""
        return self._venue.orders[: int(self._venue.counts[venue_kernel.OPEN])]

    def touch(self, slot: int) -> tuple[int, int]:
        """The best bid and ask in ticks, as orders meet them; 0 for a side that is empty or not known."""
        quoted, head = self._venue.quoted[slot], self._venue.heads[slot]
        if quoted["ahead"]:
            return int(quoted["bid"]), int(quoted["ask"])
        if not head["valid"]:
            return 0, 0
        book = self._book(slot)
        return int(best(book, venue_kernel.BID)[0]), int(best(book, venue_kernel.ASK)[0])

    def _book(self, slot: int) -> BookArrays:
        return BookArrays(self._venue.heads[slot : slot + 1], *(one[slot] for one in self._venue[1:5]))

    def define(self, slot: int, lot_size: int, quantity_exponent: int) -> None:
        """Sets the least step of a fill, and what a quantity's mantissa is worth."""
        self._units[slot] = max(lot_size, 1), 10.0**quantity_exponent

    def pass_rows(self, market: MarketRows, begin: int, end: int) -> tuple[int, list[VenueReport]]:
        """Lets market.rows[begin:end] happen, up to the first row that fills an order of ours.

        Gives the row to go on at, and what is to be reported of the row before it.
        """
        if begin >= end:
            return end, []
        self._make_room(market)
        while True:
            row, count = venue_kernel.pass_rows(
                self._venue, market.rows, begin, end, market.quotes, market.trades, market.levels, self._reports
            )
            if count or row >= end:
                return int(row), self._taken(count)
            begin = int(row)
            self._grow(int(market.rows["count"][begin]))

    def enter(self, order: int, slot: int, side: int, order_type: int, force: int, price: int, lots: int) -> list[VenueReport]:
        """An order arrives; gives what the venue says to that."""
        if len(self.resting) + 2 > len(self._venue.orders):
            more = np.zeros(2 * len(self._venue.orders), RESTING)
            more[: len(self._venue.orders)] = self._venue.orders
            self._venue = self._venue._replace(orders=more)
        return self._taken(venue_kernel.enter(self._venue, order, slot, side, order_type, force, price, lots, self._reports))

    def reachable(self, slot: int, side: int, lots: int) -> list[tuple[int, int]]:
        """What a market order would get now: (price, lots) level by level."""
        levels = int(venue_kernel.reachable(self._venue, slot, side, lots))
        return [(price, got) for price, got in self._venue.reached[:levels].tolist()]

    def cut(self, order: int, lots: int) -> int:
        """Takes so much off a resting order; all of it: it is out. Gives what is left of it, −1 where it is not in the book."""
        return int(venue_kernel.cut(self._venue, order, lots))

    def _taken(self, count: int) -> list[VenueReport]:
        rows = self._reports[:count].tolist() if count else []
        return [VenueReport(what, order, price, lots, left, bool(maker)) for what, order, price, lots, left, maker in rows]

    def _make_room(self, market: MarketRows) -> None:
        """One row reports at most a fill of each order for each of its records."""
        if market is not self._market:
            counts = market.rows["count"][market.rows["what"] == venue_kernel.TRADE]
            self._market, self._records = market, int(counts.max()) if len(counts) else 1
        most = (len(self.resting) + 1) * (self._records + 1)
        if most > len(self._reports):
            self._reports = np.zeros(2 * most, REPORT)

    def _grow(self, levels: int) -> None:
        """Gives all books room for so many levels more."""
        books = [grown(self._book(slot), levels) for slot in range(len(self._venue.heads))]
        most = max(book.far_keys.shape[1] for book in books)
        heads, sides, lots, keys, quantities = _stacked([_widened(book, most) for book in books])
        self._venue = self._venue._replace(heads=heads, sides=sides, lots=lots, far_keys=keys, far_lots=quantities)


def _widened(book: BookArrays, capacity: int) -> BookArrays:
    """A book whose spills have this capacity."""
    more = ((0, 0), (0, capacity - book.far_keys.shape[1]))
    return book._replace(far_keys=np.pad(book.far_keys, more), far_lots=np.pad(book.far_lots, more))


def _stacked(books: list[BookArrays]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of several books, one behind the other."""
    sides, lots, keys, quantities = (np.stack([book[place] for book in books]) for place in range(1, 5))
    return np.concatenate([book.head for book in books]), sides, lots, keys, quantities
