"""A book that nothing proves (Coinbase level2): a snapshot on the stream, then changes without ids or checksum. Sans I/O.

All that can be known is that it is wrong: a book that is crossed after a whole message has lost a change.
"""

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import many_records
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.books.rule import SnapshotOutcome


class StreamedBook:
    """Keeps one instrument's book on one connection whose changes nothing proves; every change comes out as it was.

    `resyncs`: times the book was crossed.
    """

    wants_snapshot = False  # none by REST: it comes on the stream

    def __init__(self, instrument: Instrument):
        self.resyncs = 0
        self.synced = False
        self.levels = Levels()
        self._broken = False
        self._last_id = 0
        self._depth_event = many_records(Kind.depth, instrument.subject)

    @property
    def wants_resubscription(self) -> bool:
        """Whether the stream is to be subscribed anew, for the snapshot that it begins with; True until that has come."""
        return self._broken

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """Takes a change and gives it; one before any snapshot has the stream subscribed anew."""
        if not self.synced:
            self._broken = True
            return [event]
        self._last_id = last_id
        self.levels.apply(event)
        event = self._completed(event)
        self._look(event)
        return [event]

    def snapshot(self, event: bytearray, last_id: int) -> tuple[SnapshotOutcome, list[bytearray]]:
        """Takes the snapshot with which the stream begins; gives its outcome (used), and the event."""
        self.levels.replace(event)
        self.synced, self._broken, self._last_id = True, False, last_id
        self._look(event)
        return SnapshotOutcome.USED, [event]

    def disconnected(self) -> list[bytearray]:
        """Forgets the stream: the next connection begins with its own snapshot. Nothing waits to be published."""
        self.synced = self._broken = False
        return []

    def begin_anew(self) -> list[bytearray]:
        """Puts the book out of step: with its next change a snapshot is wanted. Nothing waits to be published."""
        return self.disconnected()

    def image(self, recv_ns: int) -> bytearray | None:
        """The whole book as of the last change, as an event flagged SNAPSHOT; None while it is in doubt."""
        if not self.synced:
            return None
        return self._depth_event(self.levels.records(), self._last_id, self._last_id, 0, recv_ns, Flag.SNAPSHOT)

    def _completed(self, event: bytearray) -> bytearray:
        """The change with what it leaves unsaid; here that is nothing."""
        return event

    def _look(self, event: bytearray) -> None:
        """Breaks the book where a whole message has left it crossed."""
        if self.levels.crossed:
            self._break()

    def _break(self) -> None:
        self.resyncs += 1
        self.synced, self._broken = False, True
