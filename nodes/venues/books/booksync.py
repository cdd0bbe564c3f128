"""Joining a stream of depth changes to a REST snapshot. Sans I/O: what arrives goes in, what is to be published comes out.

Binance spot, "How to manage a local order book correctly", with the acceptance rule that real recordings need: the
first change after a snapshot L has `U <= L+1 <= u`. (The page's wording, L inside [U, u], is false whenever a change
ended exactly at L; whoever asserts it fetches for ever on quiet symbols.)

Every change that goes in comes out in the same call: nothing of the stream waits here. A snapshot comes out as soon as the
stream has reached it; it is older than the changes before it, and the sequencer applies those to it
(nodes/sequencer/unsynced.py).
"""

from tickmesh.bus.wire import recv_ns_of, stamp_first_id
from tickmesh.nodes.venues.books.rule import SnapshotOutcome

HELD_NS = 10_000_000_000  # a stream that has not reached a snapshot by then never will: another one is fetched


class BookSync:
    """Keeps one instrument's book on one line in step by comparing ids, with snapshots that come by REST.

    `wants_snapshot`: fetch one, but only after the stream is known to flow (its acknowledgement or first message).
    `resyncs`: breaks of the id chain seen.
    """

    wants_resubscription = False  # its snapshots come by REST
    levels = None  # it compares ids, and leaves the book to whoever reads the events

    def __init__(self) -> None:
        self.resyncs = 0
        self.synced = False
        self._start: int | None = None  # `U` of the first change of the chain; None before there is one
        self._chain = 0  # `u` of its last change
        self._lower = 0  # `u` of the last change below the chain
        self._held: tuple[int, bytearray] | None = None  # a snapshot that the stream's next change decides about

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot is to be fetched by REST: the book is out of step, and none waits for the stream to reach it."""
        return not self.synced and self._held is None

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """Takes a change with ids U = `first_id` … u = `last_id`; gives it, and a snapshot that is reached with it."""
        if self._start is None or first_id > self._chain + 1:
            self.resyncs += self._start is not None
            self.synced = False
            self._start, self._chain = first_id, last_id
        elif last_id > self._chain:
            self._chain = last_id
        elif first_id == self._lower + 1 and last_id < self._chain:  # two in a row that go on: the venue's ids began anew
            self.resyncs += 1
            self.synced, self._held = False, None
            self._start, self._chain = first_id, last_id
        else:
            self._lower = last_id
        events = self._join()
        if self._held is not None and recv_ns_of(event) - recv_ns_of(self._held[1]) > HELD_NS:
            self._held = None
        return [event, *events]

    def snapshot(self, event: bytearray, last_update_id: int) -> tuple[SnapshotOutcome, list[bytearray]]:
        """Takes a snapshot of id L = `last_update_id`; gives its outcome, and the event once the stream has reached it."""
        if self.synced:
            return SnapshotOutcome.NOT_WANTED, []
        self._held = (last_update_id, event)
        events = self._join()
        if self.synced:
            return SnapshotOutcome.USED, events
        return (SnapshotOutcome.HELD if self._held else SnapshotOutcome.TOO_OLD), events

    def disconnected(self) -> list[bytearray]:
        """Forgets the stream: the connection is over, and the next one starts afresh. Nothing waits to be published."""
        self.synced = False
        self._start, self._chain, self._lower, self._held = None, 0, 0, None
        return []

    def begin_anew(self) -> list[bytearray]:
        """Puts the book out of step: its chain begins with the next change, which wants a snapshot. Nothing is published."""
        return self.disconnected()

    def image(self, recv_ns: int) -> None:
        """None, always: no book is kept here, and the ids of its changes mean the same on every line."""

    def _join(self) -> list[bytearray]:
        if self._held is None or self._start is None:
            return []
        last_update_id, snapshot = self._held
        if self._start > last_update_id + 1:
            self._held = None
            return []
        if self._chain < last_update_id:
            return []
        self._held = None
        self.synced = True
        stamp_first_id(snapshot, last_update_id + 1)
        return [snapshot]
