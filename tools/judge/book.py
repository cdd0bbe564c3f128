"""A naive order book, and its check against best bid and ask at every update id that both have."""

from collections.abc import Iterable, Iterator, Set

# (first id U, last id u, is snapshot, [(price, quantity, side), …])
Change = tuple[int, int, bool, list[tuple]]


class NaiveBook:
    """The last snapshot with the later changes applied in order; those that it holds already are left out."""

    def __init__(self) -> None:
        self.id = 0
        self.valid = False
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def apply(self, change: Change) -> bool:
        """Whether the book is now at the change's last id. A hole in the ids makes it invalid until a snapshot."""
        first, last, snapshot, levels = change
        if snapshot:
            self.valid, self.id = True, last
            self.sides = {1: {}, -1: {}}
        elif not self.valid or last <= self.id:
            return False
        elif first > self.id + 1:
            self.valid = False
            return False
        self.id = last
        for price, quantity, side in levels:
            if side and quantity:
                self.sides[side][price] = quantity
            elif side:
                self.sides[side].pop(price, None)
        return True

    def best(self) -> tuple[int, int, int, int]:
        """Bid, its quantity, ask, its quantity; zeros for an empty side."""
        bid, ask = max(self.sides[1], default=0), min(self.sides[-1], default=0)
        return bid, self.sides[1].get(bid, 0), ask, self.sides[-1].get(ask, 0)


def check(changes: Iterable[Change], quotes: dict[int, tuple]) -> dict[int, bool]:
    """Update ids that book and quotes share → whether best bid and ask are equal there, in price and quantity."""
    book = NaiveBook()
    return {
        change[1]: book.best() == tuple(quotes[change[1]]) for change in changes if book.apply(change) and change[1] in quotes
    }


def at(changes: Iterable[Change], wanted: Set[int]) -> Iterator[tuple[int, dict[int, dict[int, int]]]]:
    """(id, sides) wherever the book is valid at one of the wanted ids."""
    book = NaiveBook()
    for change in changes:
        if book.apply(change) and change[1] in wanted:
            yield change[1], book.sides


def of_capture(snapshots: list[tuple[int, list]], changes: dict[tuple[int, int], tuple]) -> list[Change]:
    """A capture's own book: each snapshot goes before the first change that is beyond it."""
    rows: list[Change] = []
    waiting = list(snapshots)
    for (first, last), (_event_ns, levels) in changes.items():
        while waiting and waiting[0][0] < last:
            at, image = waiting.pop(0)
            rows.append((at, at, True, image))
        rows.append((first, last, False, levels))
    return rows
