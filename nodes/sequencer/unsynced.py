"""Changes of a book that was lost: they are in the log as they came, and kept here until a snapshot is there. No I/O.

A snapshot from REST is older than the changes that came while it was asked for. Those are applied to it, so that what goes
into the log is the book as of its last change, and every reader's rule stays one sentence: the last snapshot, and what
comes after it.
"""

from collections import deque

from tickmesh.bus.layout import RECORDS
from tickmesh.bus.wire import stamp_ids, stamp_venue_ns, with_records
from tickmesh.nodes.venues.books.levels import Levels

EVENTS_MAX = 20_000  # over half an hour at one per 100 ms: a snapshot that is older than that is fetched anew
BYTES_MAX = 4 << 20  # of one stream; a sequencer with a hundred books without a snapshot stays below half a gigabyte

PackedChanges = tuple[int, list[tuple[int, bytes]]]  # base; last_id and records of each change


class Unsynced:
    """The newest changes of a book since it was lost, each following on the one before."""

    __slots__ = ("changes", "bytes", "base")

    def __init__(self) -> None:
        self.changes: deque[tuple[int, bytes]] = deque()  # last_id, records
        self.bytes = 0
        self.base = 0  # a snapshot of this id or a later one can be brought up to the last of them

    def __len__(self) -> int:
        return len(self.changes)

    def add(self, first_id: int, last_id: int, event: bytearray | memoryview) -> None:
        """Keeps a change that was taken. Beyond the bound the oldest goes: only snapshots of later ids are of use then."""
        if not self.changes:
            self.base = first_id - 1
        records = bytes(memoryview(event)[RECORDS])
        self.changes.append((last_id, records))
        self.bytes += len(records)
        while len(self.changes) > EVENTS_MAX or self.bytes > BYTES_MAX:
            self.base, oldest = self.changes.popleft()
            self.bytes -= len(oldest)

    def clear(self) -> None:
        """Forgets all changes: a snapshot is there, or they are of another era."""
        self.changes.clear()
        self.bytes = 0

    def brought_up(self, snapshot: bytearray, snapshot_id: int, last: int, venue_ns: int) -> bytearray | None:
        """The snapshot with every later change applied: a book as of `last`; None where a change between them is not known."""
        if snapshot_id > last or (snapshot_id < last and (not self.changes or snapshot_id < self.base)):
            return None
        if snapshot_id == last:
            image = snapshot
        else:
            levels = Levels()
            levels.replace(snapshot)
            for last_id, changed in self.changes:
                if last_id > snapshot_id:
                    levels.apply_records(changed)
            image = with_records(snapshot, levels.records())
        stamp_ids(image, last + 1, last)
        stamp_venue_ns(image, venue_ns)
        return image

    def state(self) -> PackedChanges:
        """Packs the changes as plain values, for the head of a log segment; `restore` takes them."""
        return self.base, list(self.changes)

    def restore(self, state: PackedChanges) -> None:
        """Replaces what is kept by what `state` gave, also after msgpack made lists of its tuples."""
        self.base, changes = state
        self.changes = deque((last_id, records) for last_id, records in changes)
        self.bytes = sum(len(records) for _, records in self.changes)
