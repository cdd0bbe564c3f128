"""The book of a recorded instrument at the replay position: a snapshot, the changes after it, and a bookTicker that is
ahead of both. Pure."""

from collections.abc import Iterator

from sortedcontainers import SortedDict

from tickmesh.nodes.exchange.market.captures import RecordedBook, RecordedDepth, RecordedQuote, Unserved
from tickmesh.nodes.exchange.protocol import Level

PENDING_MAX = 20_000  # depth changes kept while waiting for a snapshot; a capture holds ten per second
JUMP_IDS = 10**6  # an id that goes on by more counts when its successor confirms it; real changes join a few thousand
# USD-M counts over all symbols, 80,000 a second in 2024, and a quiet symbol changes seldom: more than a day of them
USDM_JUMP_IDS = 10**10


class ReplayedBook:
    """What the recording shows of a book. Prices and quantities are mantissas at 10^−8.

    `jump_ids`: an id that goes on by more is doubted."""

    def __init__(self, jump_ids: int = JUMP_IDS) -> None:
        self._jump_ids = jump_ids
        self.sides: dict[int, SortedDict] = {1: SortedDict(), -1: SortedDict()}  # −side × price → quantity
        self.id = -1  # of the newest change; −1: no book yet, or lost to a hole in the capture
        # of the newest bookTicker: update id, side → price and quantity
        self.ticker: tuple[int, dict[int, tuple[int, int]]] = (-1, {1: (0, 0), -1: (0, 0)})
        self._pending: list[RecordedDepth] = []
        self._doubtful: RecordedDepth | None = None  # a change whose last id jumps, until its successor shows what it is
        self._confirmed = False  # whether a change has gone on from the snapshot
        self._newest_id = -1  # last id of the newest change, whether or not there is a book
        self._newest_confirmed = False  # whether a second change was near: one that is far from both is absurd

    # ---- what it shows

    def shown(self, side: int, price: int) -> int | None:
        """The quantity that the recording shows at a price, 0 for no such level; None where it shows nothing of the book.

        A bookTicker that is ahead of the depth stream knows its own price, and that there is none before it."""
        update_id, best = self.ticker
        top, quantity = best[side]
        if update_id > self.id and top and (price - top) * side >= 0:
            return quantity if price == top else 0
        return self.recorded(side, price) if self.id >= 0 else None

    def recorded(self, side: int, price: int) -> int:
        """The quantity at a price by snapshot and changes alone."""
        quantity: int = self.sides[side].get(-side * price, 0)
        return quantity

    def knows_since(self, side: int, price: int) -> int:
        """The update id as of which `shown` knows a price."""
        update_id, best = self.ticker
        return update_id if update_id > self.id and best[side][0] and (price - best[side][0]) * side >= 0 else self.id

    def levels(self, side: int) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best on. A bookTicker that is ahead of the depth stream decides where it begins."""
        update_id, best = self.ticker
        top = 0
        if update_id > self.id:
            top, quantity = best[side]
            if top:
                yield top, quantity
        if self.id < 0:
            return
        for key, quantity in self.sides[side].items():
            price = abs(key)
            if not top or (top - price) * side > 0:
                yield price, quantity

    def image(self) -> list[Level]:
        """Every level of snapshot and changes."""
        return [(side, abs(key), quantity) for side in (1, -1) for key, quantity in self.sides[side].items()]

    # ---- what is recorded

    def take_quote(self, tick: RecordedQuote) -> None:
        """Takes a bookTicker."""
        self.ticker = (tick.id, {1: (tick.bid, tick.bid_quantity), -1: (tick.ask, tick.ask_quantity)})

    def take_snapshot(self, book: RecordedBook) -> bool:
        """Takes a snapshot; False when the stream is further already. Raises Unserved for one that cannot be of this book."""
        if book.last < self.id:
            return False
        if self._newest_id >= 0 and book.last - self._newest_id > self._jump_ids:
            raise Unserved("a snapshot out of proportion", f"lastUpdateId {book.last}, its stream is at {self._newest_id}")
        pending, self._pending, self._doubtful = self._pending, [], None
        self.sides = {1: SortedDict(), -1: SortedDict()}
        for side, price, quantity in book.levels:
            self.sides[side][-side * price] = quantity
        self.id, self._confirmed = book.last, False
        for change in pending:
            if change.last > self.id:
                self._change(change)
        return True

    def take_change(self, change: RecordedDepth) -> None:
        """Takes a depth change, in whatever order and however odd its ids."""
        near = self._newest_id >= 0 and abs(change.last - self._newest_id) <= self._jump_ids
        if near or not self._newest_confirmed:
            self._newest_id, self._newest_confirmed = change.last, near
        self._change(change)

    def _change(self, change: RecordedDepth) -> None:
        if self.id < 0:
            self._wait(change)
            return
        if (held := self._doubtful) is not None:
            self._doubtful = None
            if change.last >= held.last:
                self._apply(held)  # the ids go on above it: it was right
            elif held.first <= self.id + 1 < change.first:
                self._apply(held._replace(last=change.first - 1))  # its successor shows where it ends
        if self.id >= 0 and change.last - self.id > self._jump_ids:
            self._doubtful = change
        else:
            self._apply(change)

    def _wait(self, change: RecordedDepth) -> None:
        self._pending.append(change)
        if len(self._pending) > PENDING_MAX:
            del self._pending[: PENDING_MAX // 2]

    def _apply(self, change: RecordedDepth) -> None:
        if self.id - change.last > self._jump_ids and not self._confirmed:
            self.id = -1  # the snapshot's id was absurd
        elif 0 <= change.last <= self.id:
            return
        if self.id + 1 < change.first:
            self.id = -1  # a hole in the capture: what is left belongs to no book
        if self.id < 0:
            self._wait(change)
            return
        for side, price, quantity in change.levels:
            if quantity:
                self.sides[side][-side * price] = quantity
            else:
                self.sides[side].pop(-side * price, None)
        self.id, self._confirmed = change.last, True
