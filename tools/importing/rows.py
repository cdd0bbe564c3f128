"""What a reader of files gives: events with their place in time, and rows that cannot be read. No I/O.

A row's `at_ns` is its place in the order of the import: when it was received where the file says so, else the venue's time.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tickmesh.nodes.venues.parsing.dialect import UNREADABLE

RAW_SHOWN = 4096  # bytes of an odd row that are kept
HELD_MAX = 64  # odd rows in a row that wait for the time of the next good one
DAY_NS = 86_400 * 1_000_000_000

READ_ERRORS = (*UNREADABLE, KeyError, OverflowError)  # what reading a damaged row can raise


class Row(NamedTuple):
    """One event of a file, not stamped yet. `order`: among rows of one moment; `settled`: it has been arbitrated before."""

    at_ns: int
    event: bytearray
    order: int = 0
    settled: bool = False


class OddRow(NamedTuple):
    """A row that is not taken: its line in the file (from 1), why, and its first bytes."""

    line: int
    why: str
    raw: bytes
    at_ns: int = 0
    order: int = 0


Said = Row | OddRow


class FileSpan(NamedTuple):
    """The span of time that a file's rows may be of; what is outside is odd."""

    first_ns: int
    last_ns: int

    def check(self, at_ns: int) -> int:
        """Gives the time back. Raises ValueError for one that is more than a day outside."""
        if not self.first_ns - DAY_NS <= at_ns <= self.last_ns + DAY_NS:
            raise ValueError(
                f"a time of {at_ns} ns lies more than a day outside of the file's, {self.first_ns} to {self.last_ns}"
            )
        return at_ns


def in_order(rows: Iterable[Said]) -> Iterator[Said]:
    """Gives the same rows with times that never fall: each stands at its own time, or the next row's where that is earlier.

    So one row with a time too late moves no other.
    """
    at_ns = 0
    held: list[Said] = []
    for one in rows:
        if isinstance(one, OddRow) and len(held) < HELD_MAX:
            held.append(one)
            continue
        for before in held:
            at_ns = max(at_ns, min(before.at_ns, one.at_ns or before.at_ns))
            yield before._replace(at_ns=at_ns)
        held = [one]
    for before in held:
        at_ns = max(at_ns, before.at_ns)
        yield before._replace(at_ns=at_ns)


def merged(chains: Iterable[Iterator[tuple[int, Said]]]) -> Iterator[tuple[int, Said]]:
    """Merges (number of a file, row) of several chains by time, without reading ahead more than a row of each."""
    return heapq.merge(*chains, key=lambda pair: (pair[1].at_ns, pair[1].order))
