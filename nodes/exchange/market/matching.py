"""A limit order book with price-time priority over integer prices and quantities. Pure: no time, no money, no I/O.

Every change of a price level is one step of `update_id`, so the state of the book is a function of its update id.
`touched` collects the levels that changed, for whoever publishes them.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sortedcontainers import SortedDict

from tickmesh.nodes.exchange.protocol import Level

NEW, PARTIALLY_FILLED, FILLED = "NEW", "PARTIALLY_FILLED", "FILLED"
CANCELED, REJECTED, EXPIRED = "CANCELED", "REJECTED", "EXPIRED"
EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"  # by self-trade prevention
# Modes of self-trade prevention; the taker's counts
NONE, EXPIRE_MAKER, EXPIRE_TAKER, EXPIRE_BOTH, DECREMENT = "NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"
ANYONE = 0  # owner of orders that may trade with one another (the population)


class ExchangeOrder:
    """An order in a book. `side` +1 buys, −1 sells; `price` is ignored for MARKET.

    `remaining` can be traded now; a resting iceberg shows at most `iceberg` of what is left, and has the rest `hidden`.
    `prevention`: what happens when it would take from an order of its own `owner`, one of the modes above."""

    __slots__ = ("id", "owner", "side", "price", "quantity", "remaining", "iceberg", "hidden", "prevention")

    def __init__(
        self, id: int, owner: int, side: int, price: int, quantity: int, iceberg: int = 0, prevention: str = EXPIRE_MAKER
    ):
        self.id = id
        self.owner = owner
        self.side = side
        self.price = price
        self.quantity = quantity
        self.remaining = quantity
        self.iceberg = iceberg  # 0: it shows all
        self.hidden = 0
        self.prevention = prevention

    def spares(self, maker: "ExchangeOrder") -> bool:
        """Whether it would take from an order of its own owner, and may not."""
        return self.owner != ANYONE and maker.owner == self.owner and self.prevention != NONE


class PriceLevel:
    """All orders at one price of a side, oldest first."""

    __slots__ = ("price", "quantity", "orders")

    def __init__(self, price: int):
        self.price = price
        self.quantity = 0
        self.orders: OrderedDict[int, ExchangeOrder] = OrderedDict()  # first in, first matched; O(1) cancel


class MakerFill(NamedTuple):
    """One maker's part of a match, at the maker's price."""

    maker: ExchangeOrder
    price: int
    quantity: int


class PreventedMatch(NamedTuple):
    """A match of an owner with itself that did not happen, and what each order lost by it: 0, part or all of what was left."""

    maker: ExchangeOrder
    price: int
    quantity: int  # of the match
    maker_quantity: int
    taker_quantity: int


class MatchResult(NamedTuple):
    """What became of a taker: `status`, its fills, and matches with orders of the same owner that were prevented."""

    status: str
    fills: list[MakerFill]
    prevented: list[PreventedMatch]


class UpdateIds:
    """Counts the update ids of one book, or of all books of a venue that counts them over all symbols."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0):
        self.last = last


class OrderBook:
    """A book with price-time priority. Keys of a side are `−side × price`, so the best level is always the first.

    `ids`: shared with other books, or of this one alone. One submit or cancel takes ids without a hole."""

    def __init__(self, ids: UpdateIds | None = None):
        self._ids = ids or UpdateIds()
        self.update_id = self._ids.last  # of this book's newest change
        self.sides: dict[int, SortedDict] = {1: SortedDict(), -1: SortedDict()}
        self.orders: dict[int, ExchangeOrder] = {}
        self.touched: list[Level] = []  # with the quantity now

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best level; (0, 0) when the side is empty."""
        levels = self.sides[side]
        if not levels:
            return 0, 0
        level = levels.peekitem(0)[1]
        return level.price, level.quantity

    def levels(self, side: int, owner: int = ANYONE, hidden: bool = False) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best on, without the quantity of `owner`'s own orders; with what is `hidden`, or not."""
        for level in self.sides[side].values():
            quantity = level.quantity
            if hidden:
                quantity += sum(o.hidden for o in level.orders.values())
            if owner:
                quantity -= sum(o.remaining + o.hidden * hidden for o in level.orders.values() if o.owner == owner)
            if quantity:
                yield level.price, quantity

    def quantity(self, side: int, price: int) -> int:
        """The quantity at a price of a side; 0 for no such level."""
        level = self.sides[side].get(-side * price)
        return level.quantity if level else 0

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of `side` at `price` would trade at once."""
        opposite = self.best(-side)[0]
        return opposite != 0 and (opposite - price) * side <= 0

    def submit(self, order: ExchangeOrder, order_type: str = "LIMIT", time_in_force: str = "GTC") -> MatchResult:
        """Matches an order, then rests what is left of it if it is one that rests.

        LIMIT (GTC, IOC, FOK), MARKET (by quantity), LIMIT_MAKER (REJECTED if it would trade at once).
        """
        if order.id in self.orders:
            raise ValueError(f"order {order.id} is in the book already")
        if order.quantity <= 0 or order.side not in (1, -1):
            raise ValueError(f"order {order.id}: quantity {order.quantity} and side {order.side} must be positive and ±1")
        if order_type == "LIMIT_MAKER":
            if self.crosses(order.side, order.price):
                return MatchResult(REJECTED, [], [])
            self._rest(order)
            return MatchResult(NEW, [], [])
        limit = None if order_type == "MARKET" else order.price
        if time_in_force == "FOK" and limit is not None and not self._fillable(order):
            return MatchResult(EXPIRED, [], [])
        fills, prevented, stopped = self._match(order, limit)
        if stopped:
            return MatchResult(EXPIRED_IN_MATCH, fills, prevented)
        if not order.remaining:
            return MatchResult(FILLED, fills, prevented)
        if order_type == "MARKET" or time_in_force != "GTC":
            return MatchResult(EXPIRED, fills, prevented)
        self._rest(order)
        return MatchResult(PARTIALLY_FILLED if fills else NEW, fills, prevented)

    def cancel(self, order_id: int) -> ExchangeOrder | None:
        """Takes an order out and gives it back; None when there is no such order (any more)."""
        order = self.orders.get(order_id)
        if order is not None:
            self._remove(order)
        return order

    def reduce(self, order_id: int, quantity: int) -> None:
        """Takes so much off a resting order, hidden quantity first; it keeps its place in the queue."""
        order = self.orders[order_id]
        level = self.sides[order.side][-order.side * order.price]
        before = level.quantity
        self._take_off(level, order, quantity)
        if level.quantity != before:
            self._touch(order.side, level)
        if not level.orders:
            del self.sides[order.side][-order.side * order.price]

    def replace_standing(self, update_id: int, levels: Iterable[Level]) -> None:
        """Goes on from a book that stood at this id before a restart: takes out each of its levels, a change each."""
        self.update_id = update_id
        for side, price, _ in levels:
            self._touch(side, PriceLevel(price))

    def _fillable(self, order: ExchangeOrder) -> bool:
        """Whether a FOK order would be filled whole: passing its owner's orders where they give way, else not beyond them."""
        wanted = order.quantity
        for level in self.sides[-order.side].values():
            if (level.price - order.price) * order.side > 0:
                return False
            for maker in level.orders.values():
                if not order.spares(maker):
                    wanted -= maker.remaining + maker.hidden
                elif order.prevention != EXPIRE_MAKER:
                    return False
                if wanted <= 0:
                    return True
        return False

    def _match(self, taker: ExchangeOrder, limit: int | None) -> tuple[list[MakerFill], list[PreventedMatch], bool]:
        """Gives fills, prevented matches, and whether one of those ended the taker."""
        fills: list[MakerFill] = []
        prevented: list[PreventedMatch] = []
        stopped = False
        opposite = self.sides[-taker.side]
        while taker.remaining and opposite:
            key, level = opposite.peekitem(0)
            if limit is not None and (level.price - limit) * taker.side > 0:
                break
            before = level.quantity
            while taker.remaining and level.orders:
                maker = next(iter(level.orders.values()))
                if taker.spares(maker):
                    prevented.append(self._prevent(taker, maker, level))
                    stopped = not taker.remaining
                    continue
                quantity = min(taker.remaining, maker.remaining)
                taker.remaining -= quantity
                maker.remaining -= quantity
                level.quantity -= quantity
                fills.append(MakerFill(maker, level.price, quantity))
                if not maker.remaining:
                    self._used_up(level, maker)
            if not level.orders:
                del opposite[key]
            if level.quantity != before:
                self._touch(-taker.side, level)
        return fills, prevented, stopped

    def _prevent(self, taker: ExchangeOrder, maker: ExchangeOrder, level: PriceLevel) -> PreventedMatch:
        """Takes from taker, maker or both what the taker's mode of self-trade prevention says (venues.md §3.1)."""
        maker_left, taker_left = maker.remaining + maker.hidden, taker.remaining
        if taker.prevention == DECREMENT:
            maker_quantity = taker_quantity = min(maker_left, taker_left)
        else:
            maker_quantity = 0 if taker.prevention == EXPIRE_TAKER else maker_left
            taker_quantity = 0 if taker.prevention == EXPIRE_MAKER else taker_left
        taker.remaining -= taker_quantity
        self._take_off(level, maker, maker_quantity)
        return PreventedMatch(maker, level.price, min(maker_left, taker_left), maker_quantity, taker_quantity)

    def _used_up(self, level: PriceLevel, maker: ExchangeOrder) -> None:
        """Shows the next part of an iceberg, at the end of the queue; takes out an order of which nothing is left."""
        if not maker.hidden:
            del level.orders[maker.id]
            del self.orders[maker.id]
            return
        maker.remaining = min(maker.iceberg, maker.hidden)
        maker.hidden -= maker.remaining
        level.quantity += maker.remaining
        level.orders.move_to_end(maker.id)

    def _take_off(self, level: PriceLevel, order: ExchangeOrder, quantity: int) -> None:
        hidden = min(order.hidden, quantity)
        order.hidden -= hidden
        order.remaining -= quantity - hidden
        level.quantity -= quantity - hidden
        if not order.remaining:
            del level.orders[order.id]
            del self.orders[order.id]

    def _rest(self, order: ExchangeOrder) -> None:
        side = self.sides[order.side]
        key = -order.side * order.price
        level = side.get(key)
        if level is None:
            level = side[key] = PriceLevel(order.price)
        if order.iceberg and order.remaining > order.iceberg:
            order.hidden = order.remaining - order.iceberg
            order.remaining = order.iceberg
        level.orders[order.id] = order
        level.quantity += order.remaining
        self.orders[order.id] = order
        self._touch(order.side, level)

    def _remove(self, order: ExchangeOrder) -> None:
        side = self.sides[order.side]
        key = -order.side * order.price
        level = side[key]
        del level.orders[order.id]
        del self.orders[order.id]
        level.quantity -= order.remaining
        if not level.orders:
            del side[key]
        self._touch(order.side, level)

    def _touch(self, side: int, level: PriceLevel) -> None:
        ids = self._ids
        self.update_id = ids.last = ids.last + 1
        self.touched.append((side, level.price, level.quantity))
