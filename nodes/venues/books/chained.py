"""A book whose changes name the one before them (OKX prevSeqId), with a checksum where the venue still sends one. Sans I/O.

OKX v5, "Order book channel": the stream begins with a snapshot; a change's prevSeqId is the seqId before it. In a quiet minute
comes an empty change with seqId = prevSeqId; after maintenance comes once a seqId below its prevSeqId, and goes on from there.
The venue has announced to leave the snapshot out: a stream that begins with a change is joined to a REST snapshot (`BookSync`).

Ids of an event are prevSeqId + 1 … seqId. Captures from before there were any have 0: the venue's time in ms is their id.
"""

from collections import deque
from collections.abc import Callable

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import add_flags, flags_of, ids_of, many_records, recv_ns_of, stamp_first_id, stamp_ids, venue_ns_of
from tickmesh.nodes.venues.books.booksync import BookSync
from tickmesh.nodes.venues.books.checked import proven
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.books.rule import SnapshotOutcome

RECENT_MAX = 4096  # changes published that a REST snapshot may be older than; at ten a second that is over six minutes


class ChainedBook:
    """Keeps one instrument's book on one connection whose changes each name the one before.

    `digest`: the venue's checksum of a book, unsigned. `checked`: messages whose checksum was right;
    `resyncs`: breaks of the chain and wrong checksums.
    """

    def __init__(self, instrument: Instrument, digest: Callable[[Levels], int]):
        self.digest = digest
        self.checked = 0
        self.levels = Levels()
        self._by_rest: BookSync | None = None
        self._breaks = 0
        self._recent: deque[bytearray] = deque(maxlen=RECENT_MAX)  # by REST, before its snapshot: a copy, for the levels here
        self._synced = False
        self._begun = False  # this connection's stream has brought something
        self._following = False  # by REST: the snapshot has been applied, and every change since
        self._chain = 0
        self._reset = False  # the next snapshot must replace a book whose ids do not show that it is wrong
        self._depth_event = many_records(Kind.depth, instrument.subject)

    @property
    def synced(self) -> bool:
        """Whether the book is in step with the venue."""
        return self._by_rest.synced if self._by_rest else self._synced

    @property
    def resyncs(self) -> int:
        """How often the chain broke or a checksum was wrong."""
        return self._breaks + (self._by_rest.resyncs if self._by_rest else 0)

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot is to be fetched by REST, for a stream that began without one."""
        return self._by_rest is not None and self._by_rest.wants_snapshot

    @property
    def wants_resubscription(self) -> bool:
        """Whether the stream is to be subscribed anew, for the snapshot that it begins with; True until that has come."""
        return self._by_rest is None and self._begun and not self._synced

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """Takes a change; gives it, and after ids that began anew the whole book, flagged RESET."""
        first_id, last_id = self._numbered(event, first_id, last_id)
        if not self._begun:
            self._begun, self._by_rest = True, BookSync()
        if self._by_rest is not None:
            return self._follow(self._by_rest.change(event, first_id, last_id))
        if not self._synced:
            self._reset |= last_id < first_id - 1  # the venue's ids have begun anew: the snapshot that comes is of the new ones
            return [event]
        if last_id <= self._chain and first_id <= last_id:
            return [event]  # repeated
        if first_id != self._chain + 1:
            self._break()
            return [event]
        self._chain = last_id
        self.levels.apply(event)
        self._check(event)
        if last_id < first_id - 1 and self._synced:  # the venue's ids have begun anew, lower: the book goes on with them
            image = self.image(recv_ns_of(event))
            assert image is not None
            add_flags(image, Flag.SNAPSHOT | Flag.RESET)
            return [event, image]
        return [event]

    def snapshot(self, event: bytearray, last_id: int) -> tuple[SnapshotOutcome, list[bytearray]]:
        """Takes the stream's own snapshot, or the REST one that was wanted; gives its outcome, and the events to publish."""
        if self._by_rest is not None:
            answer, events = self._by_rest.snapshot(event, last_id)
            return answer, self._follow(events)
        _, self._chain = self._numbered(event, last_id, last_id)
        self._begun = self._synced = True
        stamp_first_id(event, self._chain + 1)  # tells the sequencer from where on this line is whole
        self._mark_reset(event)
        self.levels.replace(event)
        self._check(event)
        return SnapshotOutcome.USED, [event]

    def disconnected(self) -> list[bytearray]:
        """Forgets the stream: the next connection starts afresh. Nothing waits to be published."""
        self._breaks, self._by_rest = self.resyncs, None
        self._synced = self._begun = self._following = False
        self._recent.clear()
        return []

    def begin_anew(self) -> list[bytearray]:
        """Puts the book out of step until a fresh snapshot, from where the first one came. Nothing waits to be published."""
        if self._by_rest is not None or not self._begun:
            return self.disconnected()
        self._synced = False
        return []

    def image(self, recv_ns: int) -> bytearray | None:
        """The whole book as of the last change, as an event flagged SNAPSHOT; None while it is not proven."""
        if not self.synced:
            return None
        return self._depth_event(self.levels.records(), self._chain + 1, self._chain, 0, recv_ns, Flag.SNAPSHOT)

    def _numbered(self, event: bytearray, first_id: int, last_id: int) -> tuple[int, int]:
        if last_id:
            return first_id, last_id
        last_id = max(self._chain + 1, venue_ns_of(event) // 1_000_000)
        first_id = self._chain + 1 if self._synced else last_id
        stamp_ids(event, first_id, last_id)
        return first_id, last_id

    def _follow(self, events: list[bytearray]) -> list[bytearray]:
        """Applies what BookSync lets out, so that checksums are looked at and `image` is the book."""
        self._following = self._following and self.synced
        for event in events:
            first_id, last_id = ids_of(event)
            if flags_of(event) & Flag.SNAPSHOT:
                self._mark_reset(event)
                self._begin(event, last_id)
            elif not self._following:
                self._recent.append(event)
            elif last_id > self._chain:
                self.levels.apply(event)
                self._chain = last_id
                self._check(event)
            elif last_id < first_id - 1:  # the ids have begun anew: only a new snapshot can follow them
                self._reset = True
                self._break()
        return events

    def _begin(self, snapshot: bytearray, last_id: int) -> None:
        """The book as of the newest change, though the snapshot is older than some."""
        self.levels.replace(snapshot)
        self._following, self._chain = True, last_id
        for event in self._recent:
            if (newest := ids_of(event)[1]) > self._chain:
                self.levels.apply(event)
                self._chain = newest
        self._recent.clear()

    def _mark_reset(self, snapshot: bytearray) -> None:
        if self._reset:
            add_flags(snapshot, Flag.SNAPSHOT | Flag.RESET)
            self._reset = False

    def _break(self) -> None:
        self._breaks += 1
        self._synced = False
        if self._by_rest is not None:
            self._by_rest.synced = False

    def _check(self, event: bytearray) -> None:
        right = proven(event, lambda: self.digest(self.levels))
        self.checked += right is True
        if right is False:
            self._reset = True
            self._break()
