"""One instrument's book as arrays: dense around the touch, sorted beyond. Compiled; nothing here allocates or holds the GIL.

A side is kept by *key*: price_ticks of an ask, −price_ticks of a bid, so the best level has the least key on both sides. Levels
with base ≤ key < base + width × step lie in a window, one cell a step; all others are worse, and lie sorted in the spill. The
step is the greatest that every price in the window is a multiple of, found as prices come: no definition has to be believed.

Nothing calls what is in another file, so numba's own cache, which looks at this one, never serves stale code.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.bus.schema import DEPTH, Flag, Kind

go_on_without_room()
WIDTH = 1 << 17  # cells of a window: 1 MiB a side: at steps of a cent 1,300 dollars
CAPACITY = 1 << 12  # levels of a spill to begin with; it grows
STEP_MOST = 10**12
PRICE_LIMIT = 1 << 61  # a price mantissa is less than this in size, so that no sum here overflows
SNAPSHOT = int(Flag.SNAPSHOT)
GAP = int(Kind.gap)
BID, ASK = 0, 1

HEAD = np.dtype(
    [("valid", "<i8"), ("last_update_id", "<i8"), ("seq", "<i8"), ("seq_ns", "<i8"), ("venue_ns", "<i8")]
)  # of the last event that was applied; valid 0: there is no book
SIDE = np.dtype(
    [("base", "<i8"), ("step", "<i8"), ("best", "<i8"), ("near", "<i8"), ("far", "<i8")]
)  # best: the first cell with a quantity; near, far: how many levels lie in the window, in the spill
EVENT = np.dtype(
    [(name, "<i8") for name in ("seq", "seq_ns", "last_id", "venue_ns", "first", "count")] + [("flags", "<i4"), ("kind", "<i4")]
)  # a depth event with levels [first, first + count), or a gap of depth


class BookArrays(NamedTuple):
    """A book. `head`: (1,) HEAD; `sides`: (2,) SIDE, bids then asks; `lots`: (2, width) i8, quantity by cell, 0 where none.

    `far_keys`, `far_lots`: (2, capacity) i8, the spill by rising key. Kernels read it by `best`, `top` and `lots_at`.
    """

    head: np.ndarray
    sides: np.ndarray
    lots: np.ndarray
    far_keys: np.ndarray
    far_lots: np.ndarray


def empty_book(width: int = WIDTH, capacity: int = CAPACITY) -> BookArrays:
    """Builds a book that is not valid yet. `width`: cells of each window, 4 or more."""
    sides = np.zeros(2, SIDE)
    sides["step"], sides["best"] = STEP_MOST, width
    far = np.zeros((2, capacity), "i8")
    return BookArrays(np.zeros(1, HEAD), sides, np.zeros((2, width), "i8"), far, far.copy())


def grown(book: BookArrays, levels: int) -> BookArrays:
    """Copies a book into arrays with room for `levels` more on each side, in spills of at least twice the size."""
    most = int((book.sides["near"] + book.sides["far"]).max())
    more = max(2 * book.far_keys.shape[1], most + levels)
    keys, lots = np.zeros((2, more), "i8"), np.zeros((2, more), "i8")
    keys[:, : book.far_keys.shape[1]], lots[:, : book.far_lots.shape[1]] = book.far_keys, book.far_lots
    return book._replace(far_keys=keys, far_lots=lots)


@njit(nogil=True, cache=True)
def greatest_divisor(a: Any, b: Any) -> Any:
    """Computes the greatest common divisor of two numbers that are not negative."""
    while b:
        a, b = b, a % b
    return a


@njit(nogil=True, cache=True)
def spill_place(keys: np.ndarray, count: Any, key: Any) -> Any:
    """The first of `count` sorted keys that is not below `key`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def set_far(book: BookArrays, side: Any, key: Any, lots: Any) -> None:
    """Sets the quantity of a level of the spill; 0 removes it."""
    s = book.sides[side]
    keys, quantities = book.far_keys[side], book.far_lots[side]
    place = spill_place(keys, s.far, key)
    there = place < s.far and keys[place] == key
    if there and lots != 0:
        quantities[place] = lots
    elif there:
        s.far -= 1
        for i in range(place, s.far):
            keys[i], quantities[i] = keys[i + 1], quantities[i + 1]
    elif lots != 0:
        for i in range(s.far, place, -1):
            keys[i], quantities[i] = keys[i - 1], quantities[i - 1]
        keys[place], quantities[place] = key, lots
        s.far += 1


@njit(nogil=True, cache=True)
def rebase(book: BookArrays, side: Any, best: Any, step: Any) -> None:
    """Moves the window so that `best`, a key that no level is below, lies a quarter of the way in. `step`: the most allowed."""
    s = book.sides[side]
    cells, keys, quantities = book.lots[side], book.far_keys[side], book.far_lots[side]
    width = len(cells)
    for i in range(s.far - 1, -1, -1):  # all levels into the spill: those of the window are before it
        keys[i + s.near], quantities[i + s.near] = keys[i], quantities[i]
    n = 0
    for cell in range(s.best, width):
        if n == s.near:
            break
        if cells[cell] != 0:
            keys[n], quantities[n] = s.base + cell * s.step, cells[cell]
            cells[cell] = 0
            n += 1
    total = s.near + s.far
    ahead = width // 4
    n = 0
    while n < total and keys[n] - best < (width - ahead) * step:
        step = greatest_divisor(step, keys[n] - best)
        n += 1
    s.step, s.base, s.best, s.near = step, best - ahead * step, width, 0
    limit = s.base + width * step
    while s.near < total and keys[s.near] < limit:
        cell = (keys[s.near] - s.base) // step
        cells[cell] = quantities[s.near]
        if s.near == 0:
            s.best = cell
        s.near += 1
    s.far = total - s.near
    for i in range(s.far):
        keys[i], quantities[i] = keys[i + s.near], quantities[i + s.near]


@njit(nogil=True, cache=True)
def remove_near(book: BookArrays, side: Any, cell: Any) -> None:
    """Empties a cell of the window that has a quantity; moves the window when the touch has left its middle."""
    s = book.sides[side]
    cells = book.lots[side]
    width = len(cells)
    cells[cell] = 0
    s.near -= 1
    if cell != s.best:
        return
    if s.near == 0:
        s.best = width
        if s.far:
            rebase(book, side, book.far_keys[side, 0], s.step)
        return
    while cells[cell] == 0:
        cell += 1
    s.best = cell
    if s.far and cell > width - width // 4:
        rebase(book, side, s.base + cell * s.step, s.step)


@njit(nogil=True, cache=True)
def set_level(book: BookArrays, side: Any, key: Any, lots: Any) -> None:
    """Sets the quantity of a level; 0 removes it. There must be room for one more level in the spill."""
    width = book.lots.shape[1]
    s = book.sides[side]
    if s.near == 0 and lots != 0:
        rebase(book, side, key, s.step)
    while True:
        offset = key - s.base
        if offset >= width * s.step:
            set_far(book, side, key, lots)
            return
        if offset < 0:
            if lots == 0:
                return
            rebase(book, side, key, s.step)
            continue
        cell = offset // s.step
        if cell * s.step != offset:
            if lots == 0:
                return
            rebase(book, side, min(key, s.base + s.best * s.step), greatest_divisor(s.step, offset))
            continue
        before = book.lots[side, cell]
        if lots != 0:
            book.lots[side, cell] = lots
            s.near += before == 0
            s.best = min(s.best, cell)
        elif before != 0:
            remove_near(book, side, cell)
        return


@njit(nogil=True, cache=True)
def set_levels(book: BookArrays, levels: np.ndarray, first: Any, stop: Any) -> None:
    """Sets the quantities of levels[first:stop], in order, as `set_level` does; there must be room for all of them.

    Nearly all are cells of the window that are not emptied at the touch. For these what is known of a side is held beside the
    book, and a cell is found without a division: the nearest one to a product in floating point is exact as long as a window
    has less than 2^50 cells, and what is between two cells is seen.
    """
    width, i = book.lots.shape[1], first
    while i < stop:
        sign = levels[i].side
        if sign != 1 and sign != -1:
            i += 1
            continue
        side = BID if sign == 1 else ASK
        s, cells = book.sides[side], book.lots[side]
        base, step, near, touch = s.base, s.step, s.near, s.best
        cells_a_tick, plain = 1.0 / step, True
        while plain and i < stop and levels[i].side == sign:
            level = levels[i]
            key, lots = -sign * level.price_ticks, level.quantity_lots
            offset = key - base
            cell = np.int64(offset * cells_a_tick + 0.5)
            plain = near > 0 and 0 <= cell < width and cell * step == offset
            if plain:
                before = cells[cell]
                if lots != 0:
                    cells[cell] = lots
                    near += before == 0
                    touch = min(touch, cell)
                elif before != 0 and cell == touch:
                    plain = False
                elif before != 0:
                    cells[cell] = 0
                    near -= 1
            if not plain:
                s.near, s.best = near, touch
                set_level(book, side, key, lots)
                near, touch = s.near, s.best
            i += 1
        s.near, s.best = near, touch


@njit(nogil=True, cache=True)
def clear(book: BookArrays) -> None:
    """Takes all levels away. The ids of the head stay."""
    for side in range(2):
        s = book.sides[side]
        if s.near:
            book.lots[side, s.best :] = 0
        s.base, s.step, s.best, s.near, s.far = 0, STEP_MOST, book.lots.shape[1], 0, 0


@njit(nogil=True, cache=True)
def has_room(book: BookArrays, levels: Any) -> Any:
    """Whether the spills have room for `levels` more on either side, whatever they are."""
    most = max(book.sides[0].near + book.sides[0].far, book.sides[1].near + book.sides[1].far)
    return most + levels <= book.far_keys.shape[1]


@njit(nogil=True, cache=True)
def apply(book: BookArrays, event: Any, levels: np.ndarray) -> bool:
    """Applies an EVENT; gives whether it changed the book. There must be room for its levels.

    The rule of docs/messages.md: a SNAPSHOT begins a book, changes with ids that it has are left out, a gap of depth ends it.
    """
    head = book.head[0]
    if event.kind == GAP:
        clear(book)
        head.valid = 0
        if event.last_id:  # an image of a book that is not valid
            head.last_update_id = event.last_id
    elif event.flags & SNAPSHOT:
        clear(book)
        head.valid = 1
    elif head.valid == 0 or event.last_id <= head.last_update_id:
        return False
    head.seq, head.seq_ns = event.seq, event.seq_ns
    if event.kind == GAP:
        return True
    head.last_update_id, head.venue_ns = event.last_id, event.venue_ns
    set_levels(book, levels, event.first, event.first + event.count)
    return True


@njit(nogil=True, cache=True)
def follow(book: BookArrays, events: np.ndarray, levels: np.ndarray, row: Any) -> Any:
    """Applies events from `row` on; gives the row at which it stopped: all are applied, or this one wants a larger spill."""
    while row < len(events) and has_room(book, events[row].count):
        apply(book, events[row], levels)
        row += 1
    return row


@njit(nogil=True, cache=True)
def best(book: BookArrays, side: Any) -> Any:
    """The best level of side 0 (bids) or 1 (asks): (price_ticks, quantity_lots), (0, 0) where the side is empty."""
    s = book.sides[side]
    if s.near == 0:
        return 0, 0
    key = s.base + s.best * s.step
    return (-key if side == BID else key), book.lots[side, s.best]


@njit(nogil=True, cache=True)
def lots_at(book: BookArrays, side: Any, price_ticks: Any) -> Any:
    """The quantity at a price of side 0 (bids) or 1 (asks), 0 where there is none."""
    s = book.sides[side]
    key = -price_ticks if side == BID else price_ticks
    offset = key - s.base
    if s.near == 0 or offset < 0:
        return 0
    if offset >= book.lots.shape[1] * s.step:
        place = spill_place(book.far_keys[side], s.far, key)
        return book.far_lots[side, place] if place < s.far and book.far_keys[side, place] == key else 0
    cell = offset // s.step
    return book.lots[side, cell] if cell * s.step == offset else 0


@njit(nogil=True, cache=True)
def top(book: BookArrays, side: Any, prices: np.ndarray, lots: np.ndarray) -> Any:
    """Writes the best levels of side 0 (bids) or 1 (asks), best first, into (n,) i8 arrays; gives how many there were.

    What is left of the arrays is 0.
    """
    s = book.sides[side]
    sign = -1 if side == BID else 1
    most = min(len(prices), s.near + s.far)
    n, cell = 0, s.best
    while n < min(most, s.near):
        if book.lots[side, cell] != 0:
            prices[n], lots[n] = sign * (s.base + cell * s.step), book.lots[side, cell]
            n += 1
        cell += 1
    while n < most:
        prices[n], lots[n] = sign * book.far_keys[side, n - s.near], book.far_lots[side, n - s.near]
        n += 1
    prices[n:] = 0
    lots[n:] = 0
    return n


@njit(nogil=True, cache=True)
def sample(
    book: BookArrays, events: np.ndarray, levels: np.ndarray, row: Any, next_ns: Any, every_ns: Any, stop_ns: Any,
    heads: np.ndarray, prices: np.ndarray, lots: np.ndarray,
) -> Any:  # fmt: skip
    """Applies events from `row` on, and writes the book as it is at next_ns, next_ns + every_ns … below stop_ns.

    A sample has every event with seq_ns up to its time, and is written when one after it is there. heads: (n, 4) i8, time, seq,
    last_update_id, valid; prices, lots: (n, levels, 2). Gives (row, next_ns, samples): it stopped for want of events, of rows
    to write, or of room for the event `row` (has_room).
    """
    n = 0
    while row < len(events):
        while next_ns < min(events[row].seq_ns, stop_ns):
            if n == len(heads):
                return row, next_ns, n
            head = book.head[0]
            heads[n, 0], heads[n, 1], heads[n, 2], heads[n, 3] = next_ns, head.seq, head.last_update_id, head.valid
            for side in range(2):
                top(book, side, prices[n, :, side], lots[n, :, side])
            next_ns += every_ns
            n += 1
        if not has_room(book, events[row].count):
            break
        apply(book, events[row], levels)
        row += 1
    return row, next_ns, n


def levels_of(book: BookArrays) -> np.ndarray:
    """The whole book: (n,) DEPTH, bids from the best, then asks from the best; none where it is not valid."""
    parts = []
    for side, sign in ((BID, 1), (ASK, -1)):
        count = int(book.sides["near"][side] + book.sides["far"][side])
        out, prices, lots = np.zeros(count, DEPTH), np.zeros(count, "i8"), np.zeros(count, "i8")
        top(book, side, prices, lots)
        out["price_ticks"], out["quantity_lots"], out["side"] = prices, lots, sign
        parts.append(out)
    return np.concatenate(parts)


def apply_all(book: BookArrays, events: np.ndarray, levels: np.ndarray) -> BookArrays:
    """Applies (n,) EVENT whose levels lie in `levels`, (m,) DEPTH; gives the book, in larger arrays where it had to grow.

    Raises ValueError for a price that no venue has, of 2^61 or more.
    """
    check_prices(levels)
    row = 0
    while (row := follow(book, events, levels, row)) < len(events):
        book = grown(book, int(events["count"][row]))
    return book


def check_prices(levels: np.ndarray) -> None:
    """Raises ValueError where a price of `levels` (DEPTH) is too large for sums of 64 bits."""
    prices = levels["price_ticks"]
    if len(prices) and (prices.max() >= PRICE_LIMIT or prices.min() <= -PRICE_LIMIT):
        wrong = int(prices[np.argmax(np.abs(prices // 2))])
        raise ValueError(f"a depth level has the price mantissa {wrong}; books hold those below 2^61 in size")
