"""One event of one line, with what arbitration needs of its header. No I/O."""

import struct
from typing import NamedTuple

from tickmesh.bus.schema import Flag
from tickmesh.bus.wire import HEADER_SIZE

# Plain integers: an IntFlag's & costs as much as the rest of a decision.
SNAPSHOT, REPAIRED, RESET, UNSYNCED = int(Flag.SNAPSHOT), int(Flag.REPAIRED), int(Flag.RESET), int(Flag.UNSYNCED)
_IDS = struct.Struct("<qqqq")  # first_id, last_id, venue_ns, recv_ns at 104 of an event


class Offer(NamedTuple):
    """One event of one line, with what arbitration needs of its header."""

    line: str
    number: int  # of the line's own events
    first_id: int
    last_id: int
    flags: int
    venue_ns: int
    recv_ns: int
    event: bytearray
    behind: bool = False  # its own line has said higher ids before

    @property
    def snapshot(self) -> bool:
        return self.flags & SNAPSHOT != 0


def offer_of(line: str, number: int, event: bytearray) -> Offer:
    first_id, last_id, venue_ns, recv_ns = _IDS.unpack_from(event, 104)
    return Offer(line, number, first_id, last_id, event[10], venue_ns, recv_ns, event)


Key = tuple[int, int, bytes]  # what two lines' copies of an event have in common: ids, and how its first record begins


def key_of(first_id: int, last_id: int, event: bytearray | memoryview) -> Key:
    return first_id, last_id, bytes(event[HEADER_SIZE : HEADER_SIZE + 40])
