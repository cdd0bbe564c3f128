"""The events of a stream that were taken last: whether one that comes again is the same. No I/O, and not in a checkpoint.

The same ids with something else in them are no copy: a venue or a line contradicts itself, or ids have begun anew. The same
with the same in it need be none where it is much later: an exchange of a seed says its first minute again, byte for byte.
"""

from zlib import crc32

from tickmesh.bus.layout import header_reader
from tickmesh.nodes.sequencer.offer import COMPARED

SIZE = 1024  # events; a power of two
# Beyond these it is in doubt whether an event that looks the same is a copy: lines say one event with the same venue time, and
# one that is behind by more is as good as gone.
VENUE_LATER_NS = 1_000_000_000
RECV_LATER_NS = 10_000_000_000
_times = header_reader("venue_ns", "recv_ns")


class TakenRing:
    """A ring of the last taken events, by first id: where ids are contiguous, no two of them begin at one id."""

    __slots__ = ("firsts", "lasts", "sums", "times")

    def __init__(self) -> None:
        self.firsts, self.lasts, self.sums = [-1] * SIZE, [0] * SIZE, [0] * SIZE
        self.times: list[tuple[int, ...]] = [(0, 0)] * SIZE  # venue_ns, recv_ns

    def add(self, first_id: int, last_id: int, event: bytearray | memoryview) -> None:
        """Remembers an event that was taken, in place of the one that has its slot."""
        place = first_id & (SIZE - 1)
        self.firsts[place], self.lasts[place] = first_id, last_id
        self.sums[place] = crc32(event[COMPARED], len(event))
        self.times[place] = _times(event)

    def same(
        self, first_id: int, last_id: int, venue_ns: int, recv_ns: int, event: bytearray | memoryview, whole: bool
    ) -> bool | None:
        """True where just this event was taken, False where its ids were, with other records; None where that is not known, or
        the event is so much later that it need not be a copy.

        `whole`: lines cut their ids alike, so that what ends elsewhere is something else, too.
        """
        place = first_id & (SIZE - 1)
        if self.firsts[place] != first_id:
            return None
        if self.lasts[place] != last_id:
            return False if whole else None
        if self.sums[place] != crc32(event[COMPARED], len(event)):
            return False
        known_ns, known_recv_ns = self.times[place]
        later = (known_ns > 0 and venue_ns - known_ns > VENUE_LATER_NS) or recv_ns - known_recv_ns > RECV_LATER_NS
        return None if later else True

    def clear(self) -> None:
        """Forgets all: ids mean something else from here on."""
        self.firsts = [-1] * SIZE
