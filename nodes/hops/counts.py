"""Lengths of time counted by size: quantiles to a part in five hundred, in memory that does not grow with their number."""

from collections import Counter
from collections.abc import Sequence

BITS = 10


class LatencyCounts:
    """Counts of lengths of time in ns, which may be below 0. `least`, `most`: exact; None before the first.

    `bits`: that a length keeps of its size; a quantile is too small by less than a part in 2^(bits - 1).
    """

    def __init__(self, bits: int = BITS) -> None:
        self._bits = bits
        self.total = 0
        self.least: int | None = None
        self.most: int | None = None
        self._counts: Counter[int] = Counter()

    def add(self, ns: int) -> None:
        """Counts one."""
        shift = max(abs(ns).bit_length() - self._bits, 0)
        self._counts[ns >> shift << shift] += 1
        self.total += 1
        self.least = ns if self.least is None or ns < self.least else self.least
        self.most = ns if self.most is None or ns > self.most else self.most

    def add_all(self, other: "LatencyCounts") -> None:
        """Counts all that another one with as many bits has counted."""
        self._counts.update(other._counts)
        self.total += other.total
        for ns in (other.least, other.most):
            if ns is not None:
                self.least = ns if self.least is None or ns < self.least else self.least
                self.most = ns if self.most is None or ns > self.most else self.most

    def quantile(self, share: float) -> int | None:
        """The least length that this share of all does not exceed, rounded down; None without any."""
        wanted, seen = share * self.total, 0
        for ns, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return ns
        return None

    def between(self, edges_ns: Sequence[int]) -> list[int]:
        """How many lie below the first edge, between each two, and at the last or above it."""
        out = [0] * (len(edges_ns) + 1)
        place = 0
        for ns, count in sorted(self._counts.items()):
            while place < len(edges_ns) and ns >= edges_ns[place]:
                place += 1
            out[place] += count
        return out

    def at_least(self) -> list[tuple[int, float]]:
        """(length, share of all that are so long or longer) of each length that occurs, ascending: from 1 on, never 0."""
        left, out = self.total, []
        for ns, count in sorted(self._counts.items()):
            out.append((ns, left / self.total))
            left -= count
        return out
