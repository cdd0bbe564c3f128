"""What one line hears, over all its connections, made into what it says. Sans I/O, and a pure function of its calls.

Every call gives the events to say now. With `raw` each call is among them, before what it made: `rebuild_line` makes
the same calls again and so the same events, byte for byte. A venue is known by its adapter's functions only.

Two connections at most bring something: the current one, and its successor while it is being replaced (see Overlap).
"""

from collections.abc import Iterable, Sequence

from tickmesh.bus.id_rules import rule
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import set_flags
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.beginnings import LastBrought
from tickmesh.nodes.feed.definitions import KnownDefinitions
from tickmesh.nodes.feed.overlap import FLAGS_AT, Overlap, ids
from tickmesh.nodes.feed.raw_frames import raw_event
from tickmesh.nodes.feed.streams import KEY_AT, KINDS, FeedStream, Key, Source, key_in, key_of, subject_of, topic_of
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.books.rule import BookRule
from tickmesh.nodes.venues.parsing.dialect import FrameError, OddRows


class Reception:
    """What arrives gives an `Arrived`; what happens to connections gives events, and books may want something afterwards."""

    def __init__(
        self, line: str, adapter: Adapter, instruments: Iterable[Instrument], settings: FeedSettings, raw: bool = False
    ):
        self.line = line
        self.adapter = adapter
        self.settings = settings
        self.raw = raw
        self.instruments = {instrument.subject: instrument for instrument in instruments}
        self.routes = adapter.routes(self.instruments.values())
        # With REST snapshots a book is the line's and outlives a renewal: changes of the next connection follow by id.
        self.shared = {s: adapter.book(i, settings) for s, i in self.instruments.items()} if adapter.BOOK == "rest" else {}
        self.definitions = KnownDefinitions(adapter, self.instruments)
        self.current: Source | None = None
        self.successor: Source | None = None
        self._refused: list[tuple[str, bytes]] = []  # by the call that is under way
        self._attention = False  # … likewise
        self.depth_left_out = False
        self.left_out = 0  # depth events that were not said for want of space
        self.raw_left_out = 0
        self.restarts = 0  # books begun anew because a frame of theirs was refused
        self._silent: set[Key] = set()  # of books without ids: streams for whose silence the connection is being replaced
        self._stepped: set[str] = set()  # shared books that have been in step since the line was last without a connection
        self._resyncs = 0  # of books that are gone
        self._left = LastBrought()

    # What happens to connections.

    def open(self, number: int, now_ns: int, at_once: Iterable[Key] = ()) -> tuple[Source, list[bytearray]]:
        """A connection is open: the current one, or the successor of it. Numbers count from 1 in each process.

        `at_once`: streams on which the current one has fallen silent, so that the successor need not wait for it.
        """
        at_once = sorted(at_once)
        said = self._heard(number, "open", now_ns, [topic_of(key).encode() for key in at_once])
        source = Source(number, {key: self._stream(key) for key in self.stream_keys()})
        if self.current is None:
            self.current = source
            return source, said + self.definitions.marks(self.instruments)
        assert self.successor is None, "a line has at most two connections"
        self.successor = source
        # A book without ids: whether something was missed while it was silent shows when its next snapshot is there.
        self._silent = {
            key for key in at_once if source.streams[key].book is not None and source.streams[key].rule == "exclusive"
        }
        heard_at_once = set(at_once) - self._silent
        for key, stream in source.streams.items():
            other = self.current.streams[key]
            since = None if other.newest is None or key in at_once else ids(other.newest)[1]
            overlap = Overlap(stream.rule, key[0], key in heard_at_once, since)
            stream.between(overlap)
            other.between(overlap)
        return source, said + self.definitions.marks_of(heard_at_once)

    @property
    def joined(self) -> bool:
        """Whether the successor may take over: all its streams are known to overlap with the current one's."""
        return self.successor is None or self.successor.joined

    @property
    def mute(self) -> list[Key]:
        """Streams that only the connection brings which is to be replaced."""
        return [] if self.successor is None else self.successor.mute

    def hand_over(self, now_ns: int, lost: bool = False) -> list[bytearray]:
        """The successor is the current connection from now on; `lost`: because the other one broke."""
        old, new = self.current, self.successor
        assert old is not None and new is not None
        said = self._heard(new.number, "lost" if lost else "handover", now_ns)
        waited: list[bytearray] = []
        marks: set[Key] = set()
        for key, stream in new.streams.items():
            assert stream.overlap is not None
            if not stream.overlap.joined:
                held = stream.overlap.end()
                if held or lost:  # nothing shows whether something is between what was said and this
                    marks.add(key)
                for event in held:
                    waited += self._shared_change(stream, event)
        self._forget(old)
        self.current, self.successor = new, None
        return said + self.definitions.marks_of(marks) + waited

    def close(self, source: Source, now_ns: int) -> list[bytearray]:
        """A connection is over. Of one that was replaced, nothing is to be said."""
        if source is self.successor:
            said = self._heard(source.number, "close", now_ns)
            self._forget(source)
            self.successor = None
            assert self.current is not None
            for stream in self.current.streams.values():
                overlap = stream.overlap
                if overlap is not None and overlap.joined and overlap.rule == "exclusive" and stream.book is not None:
                    said += self._restart(stream)  # the reader's book was the other connection's
                if overlap is not None:
                    overlap.held.clear()
                    overlap.joined = True
            return said
        if source is not self.current:
            return []
        if self.successor is not None:
            return self.hand_over(now_ns, lost=True)
        said = self._heard(source.number, "close", now_ns)
        self._left.keep(source)
        for _, book in source.books():
            said += book.disconnected()
        self._forget(source)
        self._stepped.clear()
        self.current = None
        return said

    # What arrives.

    def frames(self, source: Source, recv_ns: int, frames: list[bytes]) -> Arrived:
        """Messages that one read of the connection's socket brought."""
        if source is not self.current and source is not self.successor:
            return Arrived([])  # a connection that was replaced
        self._begin()
        said = self._heard(source.number, "ws", recv_ns, frames) if self.raw else []
        decode, routes, streams = self.adapter.decode, self.routes, source.streams
        key_of_event, at, stream_of = key_in, KEY_AT, streams.get  # looked up once: this is the way of every tick
        for frame in frames:
            try:
                events = decode(frame, recv_ns, routes)
            except OddRows as error:
                self._not_understood((str(error), frame))
                events = list(error.readable)
                if not events:
                    continue
            except FrameError as error:
                said += self._refuse(source, error, frame)
                continue
            if not events:
                self._control(source, frame)
            for event in events:
                stream = stream_of(key_of_event(event, at))
                if stream is None:
                    said.append(event)
                    continue
                stream.events += 1
                stream.newest = event
                if stream.plain:
                    said.append(event)
                else:
                    said += self._special(source, stream, event)
        if not source.flowing:
            source.flowing = any(stream.events for stream in streams.values())
        return Arrived(said, self._refused, self._attention)

    def definitions_of(
        self, subjects: Sequence[str], recv_ns: int, body: bytes
    ) -> tuple[list[bytearray], dict[str, FrameError | None]]:
        """The answer to one of the adapter's `definitions` questions: (what is news of it, why it says nothing of whom)."""
        said = self._heard(0, "rest definitions", recv_ns, [body, *(subject.encode() for subject in subjects)])
        news, outcome = self.definitions.hear(subjects, recv_ns, body)
        return said + news, outcome

    def snapshot(self, subject: str, recv_ns: int, body: bytes) -> Arrived:
        """The answer to the adapter's `snapshot` request."""
        self._begin()
        said = self._heard(0, f"rest snapshot {subject}", recv_ns, [body])
        for source, book in self._books_of(subject):
            try:
                last_id, event = self.adapter.decode_snapshot(body, recv_ns, self.instruments[subject])
            except OddRows as error:
                self._not_understood((str(error), body))
                (event,) = error.readable
                last_id = ids(event)[1]
            except FrameError as error:
                self._not_understood((str(error), body))
                break
            if not self.depth_left_out and book.wants_snapshot:
                events = book.snapshot(event, last_id)[1]
                if source is not None:
                    stream = source.streams[key_of(Kind.depth, subject)]
                    events = [one for event in events for one in self._merge(source, stream, event)]
                said += events
                if book.wants_snapshot:
                    self._attention = True
                else:
                    self._stepped.add(subject)
        return Arrived(said, self._refused, self._attention)

    def images(self, now_ns: int) -> list[bytearray]:
        """The proven books of streams whose ids mean nothing on another line, for those that have to change to this one."""
        out: list[bytearray] = []
        for key, stream in self.current.streams.items() if self.current is not None else ():
            if stream.rule == "exclusive" and stream.book is not None and not self.depth_left_out:
                if stream.overlap is not None and stream.overlap.joined and self.successor is not None:
                    stream = self.successor.streams[key]
                image = stream.book.image(now_ns) if stream.book is not None else None
                out += [] if image is None else [image]
        return self._heard(0, "images", now_ns) + out if out else []

    # What is wanted.

    def wanted_snapshots(self) -> list[str]:
        """Instruments of which a REST snapshot is wanted, once the current connection flows."""
        if self.depth_left_out or self.current is None or not self.current.flowing:
            return []
        wanting = [s for s in self.instruments if any(book.wants_snapshot for _, book in self._books_of(s))]
        return [subject for subject in wanting if self.settings.resync or subject not in self._stepped]

    def wanted_resubscriptions(self, source: Source) -> list[Instrument]:
        """Instruments whose depth is to be subscribed anew on this connection, for a fresh snapshot."""
        if self.depth_left_out or self.shared or not self.settings.resync:
            return []
        by_key = {key_of(Kind.depth, subject): instrument for subject, instrument in self.instruments.items()}
        return [by_key[key] for key, book in source.books() if book.wants_resubscription]

    def leave_out_depth(self, out: bool) -> list[bytearray]:
        """Depth is not said any more, or again: then from a fresh snapshot on."""
        said = [] if out == self.depth_left_out else self._restart_books()
        self.depth_left_out = out
        return said

    def keep_raw(self, keep: bool, now_ns: int) -> list[bytearray]:
        """Raw frames are said from now on, or not. Books start afresh with the first, so that they can be made again."""
        if keep == self.raw:
            return []
        self.raw = keep
        return self.restart(now_ns) if keep and self.current is not None else []

    def restart(self, now_ns: int) -> list[bytearray]:
        """All books begin anew."""
        assert self.current is not None
        return self._heard(self.current.number, "restart", now_ns) + self._restart_books()

    # Counters.

    @property
    def resyncs(self) -> int:
        """Broken chains of books."""
        books = [book for subject in self.instruments for _, book in self._books_of(subject)]
        return self._resyncs + self.restarts + sum(book.resyncs for book in books)

    # Inner works.

    def _begin(self) -> None:
        self._refused, self._attention = [], False

    def _not_understood(self, refusal: tuple[str, bytes]) -> None:
        self._refused.append(refusal)
        self._attention = True

    def stream_keys(self) -> list[Key]:
        """Of the streams."""
        return [key_of(kind, subject) for subject in self.instruments for kind in KINDS]

    def _stream(self, key: Key) -> FeedStream:
        subject = subject_of(key)
        book = None
        if key[0] == Kind.depth:
            book = self.shared.get(subject) or self.adapter.book(self.instruments[subject], self.settings)
        return FeedStream(key, rule(key[0], subject), book)

    def _books_of(self, subject: str) -> list[tuple[Source | None, BookRule]]:
        """Of each connection; the one that is the line's, with None."""
        if self.shared:
            return [(None, self.shared[subject])]
        key = key_of(Kind.depth, subject)
        found: list[tuple[Source | None, BookRule]] = []
        for source in (self.current, self.successor):
            if source is not None and (book := source.streams[key].book) is not None:
                found.append((source, book))
        return found

    def _heard(self, number: int, channel: str, recv_ns: int, frames: Iterable[bytes] = ()) -> list[bytearray]:
        if not self.raw:
            return []
        event = raw_event(self.line, number, channel, recv_ns, frames)
        self.raw_left_out += event is None
        return [] if event is None else [event]

    def _forget(self, source: Source) -> None:
        if not self.shared:
            self._resyncs += sum(book.resyncs for _, book in source.books())

    def _special(self, source: Source, stream: FeedStream, event: bytearray) -> list[bytearray]:
        """An event of a book, of a stream without ids, or while the connection is being replaced."""
        if stream.book is None:
            return self._merge(source, stream, event)
        if self.depth_left_out:
            self.left_out += 1
            return []
        if self.shared:
            events = self._merge(source, stream, event)
            return [one for change in events for one in self._shared_change(stream, change)]
        first_id, last_id = ids(event)
        missed: list[bytearray] = []
        if event[FLAGS_AT] & Flag.SNAPSHOT:
            if self.adapter.BOOK == "chain" and self._left.began_anew(stream.key, last_id, event):
                set_flags(event, Flag.SNAPSHOT | Flag.RESET)
            events = stream.book.snapshot(event, last_id)[1]
            if source is self.successor and stream.key in self._silent:
                missed = self._marks_if_missed(stream)
        else:
            events = stream.book.change(event, first_id, last_id)
        if stream.book.wants_resubscription or stream.book.wants_snapshot:
            self._attention = True
        return missed + [one for change in events for one in self._merge(source, stream, change)]

    def _marks_if_missed(self, stream: FeedStream) -> list[bytearray]:
        """Of a book that was silent: nothing, where the new connection's snapshot is the book that was known; else a mark."""
        self._silent.discard(stream.key)
        assert self.current is not None
        known, new = self.current.streams[stream.key].book, stream.book
        if known is not None and new is not None and known.synced and known.levels == new.levels:
            return []
        return self.definitions.marks_of([stream.key])

    def _shared_change(self, stream: FeedStream, event: bytearray) -> list[bytearray]:
        if not self.shared or stream.book is None:
            return [event]
        first_id, last_id = ids(event)
        if stream.went_below(last_id):  # its ids contradict one another: the chain begins again here
            self.restarts += 1
            stream.book.begin_anew()
        said = stream.book.change(event, first_id, last_id)
        if stream.book.wants_snapshot:
            self._attention = True
        return said

    def _merge(self, source: Source, stream: FeedStream, event: bytearray) -> list[bytearray]:
        overlap = stream.overlap
        if overlap is None:
            return [event]
        if self.successor is None:
            over, said = overlap.alone(event)
            if over:
                stream.between(None)
            return said
        return overlap.new(event) if source is self.successor else overlap.old(event)

    def _refuse(self, source: Source, error: FrameError, frame: bytes) -> list[bytearray]:
        """Where the frame's book is known, or none of this venue's would notice the loss, books start afresh."""
        self._not_understood((str(error), frame))
        if error.subject and self.adapter.BOOK == "chain":
            return []  # the next change names the one before it: the book itself will see that it was missed
        unprovable = self.adapter.BOOK == "stream"
        said: list[bytearray] = []
        for key, stream in source.streams.items():
            if stream.book is not None and (unprovable if not error.subject else key == key_of(Kind.depth, error.subject)):
                self.restarts += 1
                said += self._restart(stream)
        return said

    def _restart(self, stream: FeedStream) -> list[bytearray]:
        self._attention = True
        waiting = stream.book.begin_anew() if stream.book is not None else []
        if self.shared or stream.overlap is None:
            return waiting
        return [one for event in waiting for one in (stream.overlap.alone(event)[1] if self.successor is None else ())]

    def _restart_books(self) -> list[bytearray]:
        said: list[bytearray] = []
        self._stepped.clear()
        for source in (self.current, self.successor):
            if source is not None and not (self.shared and source is self.successor):
                for stream in source.streams.values():
                    if stream.book is not None:
                        said += self._restart(stream)
        return said

    def _control(self, source: Source, frame: bytes) -> None:
        message = self.adapter.control(frame)
        if message.acknowledged:
            source.flowing = True
        elif message.shutdown:
            source.shutdown = self._attention = True
        elif message.refused:
            self._not_understood((f"the venue refused a request: {message.code} {message.msg}", frame))
