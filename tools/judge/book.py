"""A naive order book, and its check against best bid and ask at every update id that both have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

Level = tuple[int, int, int]  # price, quantity, side: +1 bid, −1 ask, 0 of a change without levels
Sides = dict[int, dict[int, int]]  # +1 and −1 → price → quantity
ChangeValue = tuple[int, tuple[Level, ...]]  # of a change: event time, levels
QuoteValue = tuple[int, int, int, int, *tuple[str, ...]]  # bid, its quantity, ask, its quantity, and what is odd of the header


class BookChange(NamedTuple):
    """One change or snapshot of a book: first and last update id (U, u), and the levels with their new quantities."""

    first: int
    last: int
    snapshot: bool
    levels: Sequence[Level]


class NaiveBook:
    """A book made of the last snapshot and the later changes, applied in order; changes that it holds already are left out."""

    def __init__(self) -> None:
        self.id = 0
        self.valid = False
        self.sides: Sides = {1: {}, -1: {}}

    def apply(self, change: BookChange) -> bool:
        """Applies a change; whether the book is now at its last id. A hole in the ids makes it invalid until a snapshot."""
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
        """The best levels: bid, its quantity, ask, its quantity; zeros for an empty side."""
        bid, ask = max(self.sides[1], default=0), min(self.sides[-1], default=0)
        return bid, self.sides[1].get(bid, 0), ask, self.sides[-1].get(ask, 0)


def compare_best(changes: Iterable[BookChange], quotes: Mapping[int, QuoteValue]) -> dict[int, bool]:
    """Compares book and quotes: update ids that both have → whether best bid and ask are equal there, with quantities."""
    book = NaiveBook()
    return {
        change.last: book.best() == quotes[change.last] for change in changes if book.apply(change) and change.last in quotes
    }


def books_at(changes: Iterable[BookChange], wanted: Set[int]) -> Iterator[tuple[int, Sides]]:
    """Applies changes in order; gives (update id, sides of the book) at each of the wanted ids where the book is valid."""
    book = NaiveBook()
    for change in changes:
        if book.apply(change) and change.last in wanted:
            yield change.last, book.sides


def changes_of_capture(
    snapshots: list[tuple[int, list[Level]]], changes: Mapping[tuple[int, int], ChangeValue]
) -> list[BookChange]:
    """A capture's snapshots and changes as one list: each snapshot goes before the first change that is beyond it."""
    rows: list[BookChange] = []
    waiting = list(snapshots)
    for (first, last), (_event_ns, levels) in changes.items():
        while waiting and waiting[0][0] < last:
            update_id, image = waiting.pop(0)
            rows.append(BookChange(update_id, update_id, True, image))
        rows.append(BookChange(first, last, False, levels))
    return rows
