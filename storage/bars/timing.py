"""A time for quotes that their venue sends without one: that of the depth change which covers their update id.

A change gives its time to quotes that are near it in the log, at most NEAR changes before or after it, and of the same era of
the book. So what a quote is given does not depend on where files begin and end: each knows what is near its edges, and `Seam`
joins them.
"""

from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import QUOTE

I8 = np.dtype("<i8")
NEAR = 256  # changes: some 25 seconds of Binance's
SPAN_MAX = 1 << 20  # a change that claims more ids than this has claimed an absurd one, and gives no quote its time
OPEN_MAX = 4096  # quotes of one stretch that its neighbours may give a time

CHANGE = np.dtype([("first_id", "<i8"), ("last_id", "<i8"), ("venue_ns", "<i8")])
# A quote at a stretch's edge: `at` changes of its part (0: up to the book's first reset, 1: from its last on) are before it.
OPEN = np.dtype([*QUOTE.descr, ("era", "<i8"), ("part", "<i8"), ("at", "<i8")])


class TimedChanges(NamedTuple):
    """Depth changes of a stretch that have a time, in order of the log: `rows` (CHANGE), `seqs`; `resets`: of RESET events."""

    rows: np.ndarray
    seqs: np.ndarray
    resets: np.ndarray

    @property
    def bounds(self) -> list[int]:
        """The rows at which the parts begin and end: one more than there are resets."""
        return [0, *np.searchsorted(self.seqs, self.resets).tolist(), len(self.rows)]


class Edges(NamedTuple):
    """The changes and quotes at a stretch's edges, which its neighbours need to give quotes their time.

    `opening`: its first NEAR changes, of its first part; `closing`: its last ones, of its last part. `first`, `last`: how many
    these parts have; `broken`: whether they are two. `quotes` (OPEN): those that a neighbour may give a time.
    """

    opening: np.ndarray
    closing: np.ndarray
    first: int
    last: int
    broken: bool
    quotes: np.ndarray


def edges_of(changes: TimedChanges, quotes: np.ndarray) -> Edges:
    """Takes from a stretch's changes and `quotes` (dtype OPEN) those that its neighbours need."""
    bounds = changes.bounds
    first, last = changes.rows[: bounds[1]], changes.rows[bounds[-2] :]
    return Edges(first[:NEAR], last[-NEAR:], len(first), len(last), len(changes.resets) > 0, quotes)


class Cover:
    """Finds the change that covers an id. `rows`: CHANGE, `places`: which one each is, in order of the log."""

    def __init__(self, rows: np.ndarray, places: np.ndarray):
        plausible = rows["last_id"] - rows["first_id"] < SPAN_MAX
        self.rows, self.places = rows[plausible], places[plausible]
        last = self.rows["last_id"]
        if (last[1:] < last[:-1]).any():  # an id was taken back: what came after it is below
            order = np.argsort(last, kind="stable")
            self.rows, self.places = self.rows[order], self.places[order]

    def times(self, ids: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The venue time of each id, 0 where no change near it covers it. `at`: how many changes are before it in the log."""
        if not len(self.rows):
            return np.zeros(len(ids), I8)
        place = np.searchsorted(self.rows["last_id"], ids)
        found = np.minimum(place, len(self.rows) - 1)
        change, distance = self.rows[found], self.places[found] - at
        covered = (place < len(self.rows)) & (change["first_id"] <= ids) & (distance >= -NEAR) & (distance < NEAR)
        return np.where(covered, change["venue_ns"], 0)


class Clock:
    """Gives the quotes of one stretch their time, as far as its own changes know it."""

    def __init__(self, changes: TimedChanges):
        self.changes = changes
        self.bounds = changes.bounds
        self.covers = [
            Cover(changes.rows[start:stop], np.arange(stop - start)) for start, stop in zip(self.bounds, self.bounds[1:])
        ]

    def times(self, ids: np.ndarray, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each quote: venue time or 0; part (0, 1, or −1: no neighbour can know more); changes of that part before it."""
        parts = np.searchsorted(self.changes.resets, seqs, "right")
        at = np.searchsorted(self.changes.seqs, seqs) - np.array(self.bounds)[parts]
        out = np.zeros(len(ids), I8)
        lengths = np.diff(self.bounds)
        last = len(self.covers) - 1
        open_part = np.full(len(ids), -1, I8)
        for number in np.unique(parts).tolist():
            rows = parts == number if last else slice(None)
            own = at[rows]
            out[rows] = self.covers[number].times(ids[rows], own)
            near = np.full(len(own), -1, I8)
            if number == last:
                near[lengths[number] - own < NEAR] = 1 if last else 0
            if number == 0:
                near[own < NEAR] = 0
            open_part[rows] = near
        return out, np.where(out == 0, open_part, -1), at


class Seam:
    """Joins stretches that follow one another in the log: what was open at their edges gets its time, or is given up."""

    def __init__(self) -> None:
        # Of each era of the book: changes, their places, quotes.
        self.books: list[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]] = [([], [], [])]
        self.place = 0  # of the next change in the present one

    def add(self, edges: Edges) -> None:
        """Takes the edges of the next stretch of the log."""
        self._changes(edges.opening, 0)
        self._quotes(edges.quotes[edges.quotes["part"] == 0])
        if edges.broken:
            self.books.append(([], [], []))
            self.place = 0
            self._quotes(edges.quotes[edges.quotes["part"] == 1])
            self._changes(edges.closing, edges.last - len(edges.closing))
        elif edges.last > NEAR:
            self._changes(edges.closing, max(edges.last - len(edges.closing), 0))
        self.place += edges.last

    def _changes(self, rows: np.ndarray, behind: int) -> None:
        self.books[-1][0].append(rows)
        self.books[-1][1].append(self.place + behind + np.arange(len(rows)))

    def _quotes(self, quotes: np.ndarray) -> None:
        moved = quotes.copy()
        moved["at"] += self.place
        self.books[-1][2].append(moved)

    def settled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(quotes that have a time now, their times, quotes that a later stretch may give one); OPEN, int64, OPEN."""
        found, times, waiting = [np.zeros(0, OPEN)], [np.zeros(0, I8)], [np.zeros(0, OPEN)]
        for number, (rows, places, quotes) in enumerate(self.books):
            own = np.concatenate([np.zeros(0, OPEN), *quotes])
            if not len(own):
                continue
            cover = Cover(np.concatenate([np.zeros(0, CHANGE), *rows]), np.concatenate([np.zeros(0, I8), *places]))
            ns = cover.times(own["update_id"], own["at"])
            found.append(own[ns != 0])
            times.append(ns[ns != 0])
            if number == len(self.books) - 1:
                waiting.append(own[(ns == 0) & (self.place - own["at"] < NEAR)])
        return np.concatenate(found), np.concatenate(times), np.concatenate(waiting)
