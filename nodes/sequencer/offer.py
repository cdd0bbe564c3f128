"""One event of one line, with what arbitration needs of its header. No I/O."""

from typing import NamedTuple

from tickmesh.bus.layout import header_reader, records_slice
from tickmesh.bus.schema import Flag

# Plain integers: an IntFlag's & costs as much as the rest of a decision.
SNAPSHOT, REPAIRED, RESET, UNSYNCED = int(Flag.SNAPSHOT), int(Flag.REPAIRED), int(Flag.RESET), int(Flag.UNSYNCED)
DECIDING = SNAPSHOT | REPAIRED | RESET | UNSYNCED  # a trade off the book has its id like any other
COMPARED = records_slice(40)  # how an event's records begin: as much as tells two events of the same ids apart
_read = header_reader("flags", "first_id", "last_id", "venue_ns", "recv_ns")


class Offer(NamedTuple):
    """One event of one line, with what arbitration needs of its header."""

    line: str
    number: int  # of the line's own events
    first_id: int
    last_id: int
    flags: int  # of DECIDING
    venue_ns: int
    recv_ns: int
    event: bytearray
    behind: bool = False  # its own line has brought higher ids before

    @property
    def snapshot(self) -> bool:
        """Whether the event is a whole book."""
        return self.flags & SNAPSHOT != 0


def offer_of(line: str, number: int, event: bytearray) -> Offer:
    """Reads what arbitration needs from the header of `event`, which is the line's own number `number`."""
    flags, first_id, last_id, venue_ns, recv_ns = _read(event)
    return Offer(line, number, first_id, last_id, flags & DECIDING, venue_ns, recv_ns, event)


Key = tuple[int, int, bytes]  # what two lines' copies of an event have in common: ids, and how its first record begins


def key_of(first_id: int, last_id: int, event: bytearray | memoryview) -> Key:
    """The key by which another line's copy of an event is known."""
    return first_id, last_id, bytes(event[COMPARED])
