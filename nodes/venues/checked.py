"""A book that the venue proves by a checksum with every change (Kraken). Sans I/O.

The stream begins with a snapshot; changes have no ids, so a lost one shows as the first checksum that differs, if it was among
the levels that the checksum covers. Levels that leave the subscribed depth are not said by the venue: their removals are
added to the change that pushed them out, so that whoever applies the events has the venue's book and no stale level.
"""

from collections.abc import Callable

from bus.config import Instrument
from bus.schema import Flag, Kind
from bus.wire import checksum, extended, many_records, stamp_checksum
from nodes.venues.booksync import Answer
from nodes.venues.decimals import DecimalError
from nodes.venues.levels import Levels


def crc(number: int) -> int:
    """A CRC-32 that a venue writes as a signed or an unsigned number, unsigned. Raises DecimalError."""
    if not -(1 << 31) <= number < 1 << 32:
        raise DecimalError(f"checksum {number}; it has 32 bits")
    return number & 0xFFFFFFFF


class CheckedBook:
    """One instrument's book on one connection. Every change that goes in comes out, once and in order.

    `digest`: the venue's checksum of a book, unsigned. `depth`: levels a side that were subscribed.
    `checked`: messages whose checksum was right; `resyncs`: those whose was not.
    """

    wants_snapshot = False  # none by REST: it comes on the stream

    def __init__(self, instrument: Instrument, digest: Callable[[Levels], int], depth: int):
        self.digest = digest
        self.depth = depth
        self.checked = 0
        self.resyncs = 0
        self.overflows = 0
        self.synced = False
        self.levels = Levels()
        self._broken = False
        self._last_id = 0
        self._depth_event = many_records(Kind.depth, instrument.subject)

    @property
    def wants_resubscription(self) -> bool:
        """A fresh snapshot is needed. True until one has come; ask, wait, and only then ask again."""
        return self._broken

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """A change, or its copy with the removals of levels that left the depth; marked where its checksum was right."""
        if not self.synced:
            self._broken = True
            return [event]
        self._last_id = last_id
        self.levels.apply(event)
        if removed := self.levels.truncate(self.depth):
            event = extended(event, removed)
        self._check(event)
        return [event]

    def snapshot(self, event: bytearray, last_id: int) -> tuple[Answer, list[bytearray]]:
        self.levels.replace(event)
        self.synced, self._broken, self._last_id = True, False, last_id
        self._check(event)
        return Answer.USED, [event]

    def disconnected(self) -> list[bytearray]:
        """Nothing waits here; the next connection begins with its own snapshot."""
        self.synced = self._broken = False
        return []

    def image(self, recv_ns: int) -> bytearray | None:
        """The book as a SNAPSHOT as of the last change, for whoever joins in between; None while it is not proven."""
        if not self.synced:
            return None
        return self._depth_event(self.levels.records(), self._last_id, self._last_id, 0, recv_ns, Flag.SNAPSHOT)

    def _check(self, event: bytearray) -> None:
        expected, _ = checksum(event)
        if expected is None:
            return
        if self.digest(self.levels) == expected:
            self.checked += 1
            stamp_checksum(event, expected, checked=True)
        else:
            self.resyncs += 1
            self.synced, self._broken = False, True
