"""A book that the venue proves by a checksum with every change (Kraken). Sans I/O.

The stream begins with a snapshot; changes have no ids, so a lost one shows as the first checksum that differs, if it was among
the levels that the checksum covers. The venue does not say which levels leave the subscribed depth: their removals are
added to the change that pushed them out, so that whoever applies the events has the venue's book and no stale level.
"""

from collections.abc import Callable

from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import checksum, extended, stamp_checksum
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.books.streamed import StreamedBook
from tickmesh.nodes.venues.parsing.decimals import DecimalError


def crc(number: int) -> int:
    """A venue's CRC-32 as an unsigned number, of one that it writes signed or unsigned. Raises DecimalError."""
    if not -(1 << 31) <= number < 1 << 32:
        raise DecimalError(f"checksum {number}; it has 32 bits")
    return number & 0xFFFFFFFF


def proven(event: bytearray, compute: Callable[[], int]) -> bool | None:
    """Whether an event's checksum is what `compute` gives, then marks it as proven; None where the venue sent none."""
    expected, _ = checksum(event)
    if expected is None:
        return None
    right = compute() == expected
    if right:
        stamp_checksum(event, expected, checked=True)
    return right


class CheckedBook(StreamedBook):
    """Keeps one instrument's book on one connection whose messages each have a checksum of the book.

    Every change comes out, once and in order; marked where its checksum was right, and completed with the removals of levels
    that left the depth.

    `digest`: the venue's checksum of a book, unsigned. `depth`: levels a side that were subscribed.
    `checked`: messages whose checksum was right; `resyncs`: those whose was not.
    """

    def __init__(self, instrument: Instrument, digest: Callable[[Levels], int], depth: int):
        super().__init__(instrument)
        self.digest = digest
        self.depth = depth
        self.checked = 0

    def _completed(self, event: bytearray) -> bytearray:
        removed = self.levels.truncate(self.depth)
        return extended(event, removed) if removed else event

    def _look(self, event: bytearray) -> None:
        right = proven(event, lambda: self.digest(self.levels))
        self.checked += right is True
        if right is False:
            self._break()
