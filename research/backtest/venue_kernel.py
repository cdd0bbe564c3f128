"""A venue of recorded data, compiled: books, trades and quotes pass, and our resting orders are filled as queue models say.

Of a price an order knows what stands *ahead* of it. A trade at the price takes from that first, then from the order; a level
that shrinks by more than was traded has lost orders, ahead or behind, as the model says (nodes/exchange/market/queue.py has
the sources). An order whose price the other side reaches, or beyond which something traded, is filled as far as there was
quantity (`THROUGH_WHOLE`: as a whole). Quantities and prices are mantissas, positions floats of the same unit.

The functions of storage/books/arrays.py and venue_queue.py and the dtypes of venue_arrays.py are part of the machine code.
Numba's cache looks at this file alone, so only what is called from Python is kept there, under a key with its last argument: a
hash of those files.
"""

import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.bus.schema import Flag
from tickmesh.research.backtest import venue_arrays, venue_queue
from tickmesh.research.backtest.venue_arrays import VenueArrays
from tickmesh.research.backtest.venue_queue import UNKNOWN, moved
from tickmesh.storage.books import arrays
from tickmesh.storage.books.arrays import BookArrays, apply, best, has_room, lots_at, top

go_on_without_room()
_FILES = b"".join(Path(one.__file__ or "").read_bytes() for one in (arrays, venue_arrays, venue_queue))
SOURCES = int(sha256(_FILES).hexdigest()[:15], 16)  # part of the key of the compiled code
NOTHING, QUOTE, TRADE, BOOK = range(4)  # what of a row counts at a venue
BID, ASK = 0, 1
UNCOUNTED = int(Flag.REPAIRED | Flag.OFF_BOOK)
LIMIT, MARKET, LIMIT_MAKER = 1, 2, 3  # bus.schema.OrderType
GTC, IOC, FOK = 1, 2, 3  # bus.schema.TimeInForce
ACCEPTED, FILLED, EXPIRED, REJECTED = range(4)  # what a report says
LEVELS = 1024  # of the other side that one order can reach
OPEN, TAKEN = 0, 1  # places in `counts`


@njit(nogil=True)
def book_of(venue: VenueArrays, slot: Any) -> Any:
    return BookArrays(
        venue.heads[slot : slot + 1], venue.sides[slot], venue.lots[slot], venue.far_keys[slot], venue.far_lots[slot]
    )


@njit(nogil=True)
def quoted_best(venue: VenueArrays, slot: Any, side: Any) -> Any:
    q = venue.quoted[slot]
    return (q.bid, q.bid_lots) if side == 1 else (q.ask, q.ask_lots)


@njit(nogil=True)
def shown(venue: VenueArrays, slot: Any, side: Any, price: Any) -> Any:
    """The quantity at a price of side ±1, 0 for no such level, UNKNOWN where nothing shows it.

    A quote that is ahead of the book knows its own price, and that there is none before it."""
    if venue.quoted[slot].ahead:
        at, lots = quoted_best(venue, slot, side)
        if at != 0 and (price - at) * side >= 0:
            return lots if price == at else 0
    if venue.heads[slot].valid:
        return lots_at(book_of(venue, slot), BID if side == 1 else ASK, price)
    return UNKNOWN


@njit(nogil=True)
def taken_at(venue: VenueArrays, slot: Any, side: Any, price: Any, level: Any) -> Any:
    """What our orders took of a level that has shown the same quantity since."""
    for i in range(venue.counts[TAKEN]):
        one = venue.taken[i]
        if one.slot == slot and one.side == side and one.price == price:
            return min(one.lots, level)
    return 0


@njit(nogil=True)
def forget(venue: VenueArrays, slot: Any) -> None:
    """What was taken of a level is forgotten as soon as that shows another quantity: those who stand there now are others."""
    kept = 0
    for i in range(venue.counts[TAKEN]):
        one = venue.taken[i]
        if one.slot != slot or shown(venue, slot, one.side, one.price) == one.level:
            if kept != i:
                venue.taken[kept] = one
            kept += 1
    venue.counts[TAKEN] = kept


@njit(nogil=True)
def take(venue: VenueArrays, slot: Any, side: Any, price: Any, lots: Any) -> None:
    """Remembers what an order of ours took of a level, until `forget` finds it changed; not where nobody asks."""
    if venue.rules[0].impact == 0 and venue.rules[0].whole != 0:
        return
    level, n = shown(venue, slot, side, price), venue.counts[TAKEN]
    for i in range(n):
        one = venue.taken[i]
        if one.slot == slot and one.side == side and one.price == price:
            one.lots += lots
            return
    if n == len(venue.taken):  # the oldest is the likeliest to have changed
        for i in range(1, n):
            venue.taken[i - 1] = venue.taken[i]
        n -= 1
    one = venue.taken[n]
    one.slot, one.side, one.price, one.lots, one.level = slot, side, price, lots, level
    venue.counts[TAKEN] = n + 1


@njit(nogil=True)
def reach(venue: VenueArrays, slot: Any, side: Any, limit: Any, any_price: Any, wanted: Any, once: Any) -> Any:
    """Writes into `reached` what an order of `side` gets of the other side: (price, lots); gives (levels, lots in all).

    `once`: what our orders took of a level is not there again."""
    other, n, total, first = -side, 0, 0, 0
    levels = 0
    if venue.quoted[slot].ahead:
        first, lots = quoted_best(venue, slot, other)
        if first != 0:
            venue.prices[0], venue.quantities[0] = first, lots
            levels = 1
    if venue.heads[slot].valid:
        book = book_of(venue, slot)
        rest = top(book, BID if other == 1 else ASK, venue.prices[levels:], venue.quantities[levels:])
        skip = 0
        while levels and skip < rest and (first - venue.prices[1 + skip]) * other <= 0:
            skip += 1
        if skip:
            for i in range(1, 1 + rest - skip):
                venue.prices[i], venue.quantities[i] = venue.prices[i + skip], venue.quantities[i + skip]
        levels += rest - skip
    for i in range(levels):
        price = venue.prices[i]
        if total >= wanted or (not any_price and (price - limit) * side > 0):
            break
        lots = venue.quantities[i]
        if once:
            lots -= taken_at(venue, slot, other, price, lots)
        lots = min(lots, wanted - total)
        if lots > 0:
            venue.reached[n, 0], venue.reached[n, 1] = price, lots
            total += lots
            n += 1
    return n, total


@njit(nogil=True)
def remove(venue: VenueArrays, place: Any) -> None:
    venue.counts[OPEN] -= 1
    for i in range(place, venue.counts[OPEN]):
        venue.orders[i] = venue.orders[i + 1]


@njit(nogil=True)
def report(reports: np.ndarray, n: Any, what: Any, order: Any, price: Any, lots: Any, left: Any, maker: Any) -> Any:
    one = reports[n]
    one.what, one.order, one.price, one.lots, one.left, one.maker = what, order, price, lots, left, maker
    return n + 1


@njit(nogil=True)
def follow(venue: VenueArrays, slot: Any, row: Any, levels: np.ndarray) -> None:
    """Our orders' places after a change of the book."""
    head, book, rules = venue.heads[slot], book_of(venue, slot), venue.rules[0]
    if not head.valid:
        return
    for i in range(venue.counts[OPEN]):
        order = venue.orders[i]
        if order.slot != slot or head.last_update_id <= order.as_of:
            continue
        level = lots_at(book, BID if order.side == 1 else ASK, order.price)
        if moved(rules, order, level, head.last_update_id, venue.units[slot].unit) and order.traded:
            for j in range(row.first, row.first + row.count):
                if levels[j].side == order.side and levels[j].price_ticks == order.price:
                    order.traded = 0  # others have replaced what was traded


@njit(nogil=True)
def follow_quote(venue: VenueArrays, slot: Any) -> None:
    """Our orders' places after a quote that is ahead of the book: it shows the best level, and that none is before it."""
    q, rules = venue.quoted[slot], venue.rules[0]
    for i in range(venue.counts[OPEN]):
        order = venue.orders[i]
        at = quoted_best(venue, slot, order.side)[0]
        if order.slot != slot or q.id <= order.as_of or at == 0 or (order.price - at) * order.side < 0:
            continue
        moved(rules, order, shown(venue, slot, order.side, order.price), q.id, venue.units[slot].unit)


@njit(nogil=True)
def touched(venue: VenueArrays, slot: Any, reports: np.ndarray, n: Any) -> Any:
    """Fills our orders that the other side has reached.

    Without impact an order that arrives gets what others have taken; but one that rests, crossed, gets a level once, not again
    with each row that finds it so."""
    i, once = 0, venue.rules[0].impact != 0 or venue.rules[0].whole == 0
    while i < venue.counts[OPEN]:
        order = venue.orders[i]
        if order.slot == slot:
            levels, total = reach(venue, slot, order.side, order.price, False, order.left, once)
            for j in range(levels):
                take(venue, slot, -order.side, venue.reached[j, 0], venue.reached[j, 1])
            if total and venue.rules[0].whole:
                total = order.left
            if total:
                order.left -= total
                n = report(reports, n, FILLED, order.order, order.price, total, order.left, 1)
                if order.left == 0:
                    remove(venue, i)
                    continue
        i += 1
    return n


@njit(nogil=True)
def traded(venue: VenueArrays, slot: Any, trade: Any, reports: np.ndarray, n: Any) -> Any:
    """Fills our orders that a trade has reached: the best price first, at one price the oldest."""
    had, i, lot, whole = 0, 0, venue.units[slot].lot, venue.rules[0].whole
    while i < venue.counts[OPEN]:
        order = venue.orders[i]
        beyond = (order.price - trade.price_ticks) * order.side
        if order.slot != slot or order.side == trade.side or beyond < 0:
            i += 1
            continue
        if beyond > 0:
            order.ahead = 0.0  # nobody stands there any more
            lots = order.left if whole else trade.quantity_lots - had
        else:
            order.traded += trade.quantity_lots
            left = trade.quantity_lots - had - order.ahead
            order.ahead = max(-left, 0.0)
            lots = int(math.floor(left)) if left > 0.0 else 0
        lots = min(max(lots - lots % lot, 0), order.left)
        if lots:
            had += lots
            order.left -= lots
            n = report(reports, n, FILLED, order.order, order.price, lots, order.left, 1)
            if order.left == 0:
                remove(venue, i)
                continue
        i += 1
    return n


@njit(nogil=True)
def crossed(venue: VenueArrays, slot: Any) -> Any:
    """Whether the best price of either side has reached an order of ours."""
    best_bid = best_ask = 0
    if venue.quoted[slot].ahead:
        best_bid, best_ask = venue.quoted[slot].bid, venue.quoted[slot].ask
    elif venue.heads[slot].valid:
        book = book_of(venue, slot)
        best_bid, best_ask = best(book, BID)[0], best(book, ASK)[0]
    for i in range(venue.counts[OPEN]):
        order = venue.orders[i]
        if order.slot != slot:
            continue
        if order.side == 1 and best_ask != 0 and best_ask <= order.price:
            return True
        if order.side == -1 and best_bid != 0 and best_bid >= order.price:
            return True
    return False


@njit(nogil=True, cache=True)
def pass_rows(
    venue: VenueArrays, rows: np.ndarray, begin: Any, end: Any, quotes: np.ndarray, trades: np.ndarray, levels: np.ndarray,
    reports: np.ndarray, sources: int = SOURCES,
) -> Any:  # fmt: skip
    """Lets rows[begin:end] happen, up to the first that fills an order of ours; gives (the row to go on at, reports).

    It also stops before a row for whose levels a book has no room: then it gives that row and no report.
    """
    for r in range(begin, end):
        row = rows[r]
        n = 0
        if row.what == NOTHING:
            continue
        slot = row.slot
        if row.what == BOOK:
            book = book_of(venue, slot)
            if not has_room(book, row.count):
                return r, 0
            if not apply(book, row, levels):
                continue
            q = venue.quoted[slot]
            q.ahead = q.id > book.head[0].last_update_id or (not book.head[0].valid and q.bid + q.ask != 0)
            if venue.counts[TAKEN]:
                forget(venue, slot)
            if venue.counts[OPEN]:
                follow(venue, slot, row, levels)
        elif row.what == QUOTE:
            quote, q = quotes[row.first + row.count - 1], venue.quoted[slot]
            head = venue.heads[slot]
            q.id, q.bid, q.bid_lots = quote.update_id, quote.bid_ticks, quote.bid_lots
            q.ask, q.ask_lots = quote.ask_ticks, quote.ask_lots
            q.ahead = not head.valid or q.id == 0 or q.id > head.last_update_id
            if venue.counts[TAKEN]:
                forget(venue, slot)
            if venue.rules[0].quotes and q.ahead and venue.counts[OPEN]:
                follow_quote(venue, slot)
        elif row.flags & UNCOUNTED == 0 and venue.counts[OPEN]:
            for i in range(row.first, row.first + row.count):
                n = traded(venue, slot, trades[i], reports, n)
        if row.what != TRADE and venue.counts[OPEN] and crossed(venue, slot):
            n = touched(venue, slot, reports, n)
        if n:
            return r + 1, n
    return end, 0


@njit(nogil=True, cache=True)
def enter(
    venue: VenueArrays, order: Any, slot: Any, side: Any, order_type: Any, force: Any, price: Any, lots: Any,
    reports: np.ndarray, sources: int = SOURCES,
) -> Any:  # fmt: skip
    """An order arrives: gives how many reports it has caused; what is left of one that rests joins its queue."""
    any_price = order_type == MARKET
    levels, total = reach(venue, slot, side, price, any_price, lots, venue.rules[0].impact != 0)
    if order_type == LIMIT_MAKER and levels:
        return report(reports, 0, REJECTED, order, price, 0, lots, 0)
    rests = order_type != MARKET and force == GTC
    if force == FOK and not any_price and total < lots:
        return report(reports, 0, EXPIRED, order, price, 0, lots, 0)
    n, left = 0, lots
    if rests:
        n = report(reports, n, ACCEPTED, order, price, 0, left, 0)
    for i in range(levels):
        at, got = venue.reached[i, 0], venue.reached[i, 1]
        take(venue, slot, -side, at, got)
        left -= got
        n = report(reports, n, FILLED, order, at, got, left, 0)
    if left == 0:
        return n
    if not rests:
        return report(reports, n, EXPIRED, order, price, 0, left, 0)
    place = venue.counts[OPEN]
    while place > 0:
        other = venue.orders[place - 1]
        if (other.slot, other.side, -other.side * other.price) <= (slot, side, -side * price):
            break
        venue.orders[place] = other
        place -= 1
    standing, one, q = shown(venue, slot, side, price), venue.orders[place], venue.quoted[slot]
    one.order, one.slot, one.side, one.price, one.left = order, slot, side, price, left
    one.level, one.traded = standing, 0
    one.ahead = math.inf if standing == UNKNOWN else float(standing)
    one.as_of = venue.heads[slot].last_update_id if venue.heads[slot].valid else -1
    at = quoted_best(venue, slot, side)[0]
    if q.ahead and at != 0 and (price - at) * side >= 0:
        one.as_of = max(one.as_of, q.id)
    venue.counts[OPEN] += 1
    return n


@njit(nogil=True, cache=True)
def reachable(venue: VenueArrays, slot: Any, side: Any, wanted: Any, sources: int = SOURCES) -> Any:
    """Writes into `reached` what a market order would get now, (price, lots); gives how many levels."""
    return reach(venue, slot, side, 0, True, wanted, venue.rules[0].impact != 0)[0]


@njit(nogil=True, cache=True)
def cut(venue: VenueArrays, order: Any, lots: Any, sources: int = SOURCES) -> Any:
    """Takes so much off a resting order, which keeps its place; all of it: it is out. Gives what is left, −1: not there."""
    for i in range(venue.counts[OPEN]):
        if venue.orders[i].order == order:
            venue.orders[i].left -= min(lots, venue.orders[i].left)
            left = venue.orders[i].left
            if left == 0:
                remove(venue, i)
            return left
    return -1
