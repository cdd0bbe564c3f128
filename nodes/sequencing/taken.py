"""What was taken of a stream of late: whether an event that comes again says the same. No I/O, and not in a checkpoint.

The same ids with something else in them are no copy: a venue or a line contradicts itself, or ids have begun anew.
"""

from zlib import crc32

from bus.wire import HEADER_SIZE

SIZE = 1024  # events; a power of two
SAID = HEADER_SIZE + 40  # so far into an event what it says is compared, and its length


class Taken:
    """A ring of the last events, by their last ids."""

    __slots__ = ("lasts", "firsts", "sums")

    def __init__(self) -> None:
        self.lasts, self.firsts, self.sums = [-1] * SIZE, [0] * SIZE, [0] * SIZE

    def add(self, first_id: int, last_id: int, event: bytearray | memoryview) -> None:
        place = last_id & (SIZE - 1)
        self.lasts[place], self.firsts[place] = last_id, first_id
        self.sums[place] = crc32(event[HEADER_SIZE:SAID], len(event))

    def same(self, first_id: int, last_id: int, event: bytearray | memoryview) -> bool | None:
        """Whether just this was taken; False: the same ids with something else; None: it is not known."""
        place = last_id & (SIZE - 1)
        if self.lasts[place] != last_id or self.firsts[place] != first_id:
            return None
        return self.sums[place] == crc32(event[HEADER_SIZE:SAID], len(event))

    def clear(self) -> None:
        self.lasts = [-1] * SIZE
