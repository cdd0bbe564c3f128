"""The events of a stream that were taken last: whether one that comes again is the same. No I/O, and not in a checkpoint.

The same ids with something else in them are no copy: a venue or a line contradicts itself, or ids have begun anew.
"""

from zlib import crc32

from tickmesh.nodes.sequencer.offer import COMPARED

SIZE = 1024  # events; a power of two


class TakenRing:
    """A ring of the last taken events, by first id: where ids are contiguous, no two of them begin at one id."""

    __slots__ = ("firsts", "lasts", "sums")

    def __init__(self) -> None:
        self.firsts, self.lasts, self.sums = [-1] * SIZE, [0] * SIZE, [0] * SIZE

    def add(self, first_id: int, last_id: int, event: bytearray | memoryview) -> None:
        """Remembers an event that was taken, in place of the one that has its slot."""
        place = first_id & (SIZE - 1)
        self.firsts[place], self.lasts[place] = first_id, last_id
        self.sums[place] = crc32(event[COMPARED], len(event))

    def same(self, first_id: int, last_id: int, event: bytearray | memoryview, whole: bool) -> bool | None:
        """True where just this event was taken, False where its ids were, with other records; None where that is not known.

        `whole`: lines cut their ids alike, so that what ends elsewhere is something else, too.
        """
        place = first_id & (SIZE - 1)
        if self.firsts[place] != first_id:
            return None
        if self.lasts[place] != last_id:
            return False if whole else None
        return self.sums[place] == crc32(event[COMPARED], len(event))

    def clear(self) -> None:
        """Forgets all: ids mean something else from here on."""
        self.firsts = [-1] * SIZE
