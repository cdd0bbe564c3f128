"""What reaches one line, over all its connections, made into events to publish. Sans I/O, and a pure function of its calls.

Every call gives the events to publish now. With `raw` each call is among them, before what it made: `rebuild_line` makes
the same calls again and so the same events, byte for byte. A venue is known by its adapter's functions only.

Two connections at most bring something: the current one, and its successor while it is being replaced (see Overlap).
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

from tickmesh.bus.id_rules import rule
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import add_flags, flags_of, ids_of
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.beginnings import LastBrought
from tickmesh.nodes.feed.books import LineBooks
from tickmesh.nodes.feed.definitions import KnownDefinitions
from tickmesh.nodes.feed.overlap import Overlap
from tickmesh.nodes.feed.raw_frames import RawFrames
from tickmesh.nodes.feed.streams import KINDS, FeedStream, Key, Source, key_in, key_of, subject_of, topic_of
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.parsing.dialect import FrameError, OddRows
from tickmesh.nodes.venues.scanning.scanner import FrameScanner


class Reception:
    """Makes the events of one line of what its connections and REST answers bring, in the order of the calls.

    What arrives gives an `Arrived`; what happens to connections gives events, and books may want something afterwards.
    `depth_left_out`: depth events that were not published for want of space on the disk.
    """

    def __init__(
        self, line: str, adapter: Adapter, instruments: Iterable[Instrument], settings: FeedSettings, raw: bool = False
    ):
        self.adapter = adapter
        self.instruments = {instrument.subject: instrument for instrument in instruments}
        self.routes = adapter.routes(self.instruments.values())
        self.raw_frames = RawFrames(line, raw)
        self.books = LineBooks(adapter, self.instruments, settings)
        self.definitions = KnownDefinitions(adapter, self.instruments)
        self.current: Source | None = None
        self.successor: Source | None = None
        self.depth_left_out = 0
        self._leaves_out_depth = False
        self._refused: list[tuple[str, bytes]] = []  # by the call that is under way
        self._attention = False  # … likewise
        self._silent: set[Key] = set()  # of books without ids: streams for whose silence the connection is being replaced
        self._last_brought = LastBrought()
        self._scanner: FrameScanner | None = None

    def scan_with(self, address: int) -> None:
        """Reads frames in their usual forms by the compiled scanner at `address` from now on: the events are the same."""
        self._scanner = FrameScanner(address, self.adapter.forms(self.routes))

    # What happens to connections.

    def open(self, number: int, now_ns: int, stale: Iterable[Key] = ()) -> tuple[Source, list[bytearray]]:
        """Takes up a connection that is open: as the current one, or as its successor. Numbers count from 1 in each process.

        `stale`: streams on which the current one has fallen silent, so that the successor need not wait for it. Gives what the
        calls for this connection name it by, and events.
        """
        stale = sorted(stale)
        events = self.raw_frames.events(number, "open", now_ns, [topic_of(key).encode() for key in stale])
        source = Source(number, {key: self._stream(key) for key in self.stream_keys()})
        if self.current is None:
            self.current = source
            return source, events + self.definitions.marks(self.instruments)
        assert self.successor is None, "a line has at most two connections"
        self.successor = source
        # A book without ids: whether something was missed while it was silent shows when its next snapshot is there.
        self._silent = {
            key for key in stale if source.streams[key].book is not None and source.streams[key].rule == "exclusive"
        }
        at_once = set(stale) - self._silent
        for key, stream in source.streams.items():
            other = self.current.streams[key]
            since = None if other.newest is None or key in stale else ids_of(other.newest)[1]
            self._overlap(key, Overlap(stream.rule, key[0], key in at_once, since))
        return source, events + self.definitions.marks_of(at_once)

    def take_up(self, instrument: Instrument) -> None:
        """Takes up an instrument whose exponents were not known when the line began. It is subscribed after this."""
        self.instruments[instrument.subject] = instrument
        self.routes.update(self.adapter.routes([instrument]))
        if self._scanner is not None:
            self._scanner.know(self.adapter.forms(self.routes))
        self.books.take_up(instrument)
        for kind in KINDS:
            key = key_of(kind, instrument.subject)
            for source in self._sources():
                source.streams[key] = self._stream(key)
            if self.successor is not None:
                self._overlap(key, Overlap(rule(kind, instrument.subject), kind, at_once=True))

    @property
    def joined(self) -> bool:
        """Whether the successor may take over: all its streams are known to overlap with the current one's."""
        return self.successor is None or self.successor.joined

    @property
    def mute_streams(self) -> list[Key]:
        """Streams that the current connection brings and its successor does not."""
        return [] if self.successor is None else self.successor.mute_streams

    def hand_over(self, now_ns: int, lost: bool = False) -> list[bytearray]:
        """Makes the successor the current connection; `lost`: because the other one broke. Gives the events that waited."""
        old, new = self.current, self.successor
        assert old is not None and new is not None
        events = self.raw_frames.events(new.number, "lost" if lost else "handover", now_ns)
        waited: list[bytearray] = []
        marks: set[Key] = set()
        for key, stream in new.streams.items():
            assert stream.overlap is not None
            if not stream.overlap.joined:
                held = stream.overlap.end()
                if held or lost:  # nothing shows whether something is between what was published and this
                    marks.add(key)
                for event in held:
                    waited += self._shared_change(stream, event)
        self.books.forget(old)
        self.current, self.successor = new, None
        return events + self.definitions.marks_of(marks) + waited

    def close(self, source: Source, now_ns: int) -> list[bytearray]:
        """Takes notice that a connection is over; of one that was replaced, there is nothing to publish."""
        if source is self.successor:
            events = self.raw_frames.events(source.number, "close", now_ns)
            self.books.forget(source)
            self.successor = None
            assert self.current is not None
            for stream in self.current.streams.values():
                overlap = stream.overlap
                if overlap is not None and overlap.joined and overlap.rule == "exclusive" and stream.book is not None:
                    events += self._begin_anew(stream)  # the reader's book was the other connection's
                if overlap is not None:
                    overlap.held.clear()
                    overlap.joined = True
            return events
        if source is not self.current:
            return []
        if self.successor is not None:
            return self.hand_over(now_ns, lost=True)
        events = self.raw_frames.events(source.number, "close", now_ns)
        self._last_brought.keep(source)
        for _, book in source.books():
            events += book.disconnected()
        self.books.forget(source)
        self.books.used_snapshots.clear()
        self.current = None
        return events

    # What arrives.

    def frames(self, source: Source, recv_ns: int, frames: list[bytes]) -> Arrived:
        """Takes the messages that one read of the connection's socket brought, received at `recv_ns`."""
        if source is not self.current and source is not self.successor:
            return Arrived([])  # a connection that was replaced
        self._begin()
        out = self.raw_frames.events(source.number, "ws", recv_ns, frames)
        decode, routes, streams = self.adapter.decode, self.routes, source.streams
        key_of_event, stream_of = key_in, streams.get  # looked up once: this is the way of every tick
        scanned = self._scanner.scan(frames, recv_ns) if self._scanner is not None else repeat(None)
        events: Sequence[bytearray]
        for frame, event_of_form in zip(frames, scanned):
            try:
                events = (event_of_form,) if event_of_form is not None else decode(frame, recv_ns, routes)
            except OddRows as error:
                self._not_understood((str(error), frame))
                events = list(error.readable)
                if not events:
                    continue
            except FrameError as error:
                out += self._refuse(source, error, frame)
                continue
            if not events:
                self._control(source, frame)
            for event in events:
                stream = stream_of(key_of_event(event))
                if stream is None:
                    out.append(event)
                    continue
                stream.events += 1
                stream.newest = event
                if stream.plain:
                    out.append(event)
                else:
                    out += self._special(source, stream, event)
        if not source.flowing:
            source.flowing = any(stream.events for stream in streams.values())
        return Arrived(out, self._refused, self._attention)

    def definitions_of(
        self, subjects: Sequence[str], recv_ns: int, body: bytes
    ) -> tuple[list[bytearray], dict[str, FrameError | None]]:
        """Takes the answer to one of the adapter's `definitions` questions.

        Gives (events of definitions that are news, subject → why the answer holds no definition of it, None where it does).
        """
        events = self.raw_frames.events(0, "rest definitions", recv_ns, [body, *(subject.encode() for subject in subjects)])
        news, outcome = self.definitions.take(subjects, recv_ns, body)
        return events + news, outcome

    def snapshot(self, subject: str, recv_ns: int, body: bytes) -> Arrived:
        """Takes the answer to the adapter's `snapshot` request of an instrument."""
        self._begin()
        out = self.raw_frames.events(0, f"rest snapshot {subject}", recv_ns, [body])
        for source, book in self.books.of_subject(subject, self._sources()):
            try:
                last_id, event = self.adapter.decode_snapshot(body, recv_ns, self.instruments[subject])
            except OddRows as error:
                self._not_understood((str(error), body))
                (event,) = error.readable
                last_id = ids_of(event)[1]
            except FrameError as error:
                self._not_understood((str(error), body))
                break
            if not self._leaves_out_depth and book.wants_snapshot:
                events = book.snapshot(event, last_id)[1]
                if source is not None:
                    stream = source.streams[key_of(Kind.depth, subject)]
                    events = [one for event in events for one in self._merge(source, stream, event)]
                out += events
                if book.wants_snapshot:
                    self._attention = True
                else:
                    self.books.used_snapshots.add(subject)
        return Arrived(out, self._refused, self._attention)

    def images(self, now_ns: int) -> list[bytearray]:
        """The proven books of streams whose ids mean nothing on another line, for readers that have to change to this one."""
        out: list[bytearray] = []
        for key, stream in self.current.streams.items() if self.current is not None else ():
            if stream.rule == "exclusive" and stream.book is not None and not self._leaves_out_depth:
                if stream.overlap is not None and stream.overlap.joined and self.successor is not None:
                    stream = self.successor.streams[key]
                image = stream.book.image(now_ns) if stream.book is not None else None
                out += [] if image is None else [image]
        return self.raw_frames.events(0, "images", now_ns) + out if out else []

    # What is wanted.

    def wanted_snapshots(self) -> list[str]:
        """Subjects of which a REST snapshot is wanted, once the current connection flows."""
        if self._leaves_out_depth or self.current is None or not self.current.flowing:
            return []
        return self.books.wanting_snapshots(self._sources())

    def wanted_resubscriptions(self, source: Source) -> list[Instrument]:
        """Instruments whose depth is to be subscribed anew on this connection, for a fresh snapshot."""
        return [] if self._leaves_out_depth else self.books.wanting_resubscriptions(source)

    @property
    def resyncs(self) -> int:
        """How often a book of this line fell out of step."""
        return self.books.resyncs(self._sources())

    def leave_out_depth(self, out: bool) -> list[bytearray]:
        """Publishes no depth from now on, or depth again: then from a fresh snapshot on. Gives events still to publish."""
        events = [] if out == self._leaves_out_depth else self._begin_all_anew()
        self._leaves_out_depth = out
        return events

    def keep_raw(self, keep: bool, now_ns: int) -> list[bytearray]:
        """Publishes raw frames from now on, or none. Books start afresh with the first, so that they can be made again."""
        if keep == self.raw_frames.kept:
            return []
        self.raw_frames.kept = keep
        return self.begin_books_anew(now_ns) if keep and self.current is not None else []

    def begin_books_anew(self, now_ns: int) -> list[bytearray]:
        """Puts all books out of step, each until its next snapshot. Gives events still to publish."""
        assert self.current is not None
        return self.raw_frames.events(self.current.number, "restart", now_ns) + self._begin_all_anew()

    def stream_keys(self) -> list[Key]:
        """The keys of all streams of this line: each kind of market event of each instrument."""
        return [key_of(kind, subject) for subject in self.instruments for kind in KINDS]

    # Inner works.

    def _sources(self) -> list[Source]:
        return [source for source in (self.current, self.successor) if source is not None]

    def _overlap(self, key: Key, overlap: Overlap) -> None:
        for source in self._sources():
            source.streams[key].set_overlap(overlap)

    def _begin(self) -> None:
        self._refused, self._attention = [], False

    def _not_understood(self, refusal: tuple[str, bytes]) -> None:
        self._refused.append(refusal)
        self._attention = True

    def _stream(self, key: Key) -> FeedStream:
        subject = subject_of(key)
        return FeedStream(key, rule(key[0], subject), self.books.of_connection(subject) if key[0] == Kind.depth else None)

    def _special(self, source: Source, stream: FeedStream, event: bytearray) -> list[bytearray]:
        """What to publish of an event of a book, of a stream without ids, or while the connection is being replaced."""
        if stream.book is None:
            return self._merge(source, stream, event)
        if self._leaves_out_depth:
            self.depth_left_out += 1
            return []
        if self.books.shared:
            events = self._merge(source, stream, event)
            return [one for change in events for one in self._shared_change(stream, change)]
        first_id, last_id = ids_of(event)
        missed: list[bytearray] = []
        if flags_of(event) & Flag.SNAPSHOT:
            if self.adapter.BOOK == "chain" and self._last_brought.began_anew(stream.key, last_id, event):
                add_flags(event, Flag.SNAPSHOT | Flag.RESET)
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
        """What to publish of an event after the line's book has taken it, where the line has one of this stream."""
        if not self.books.shared or stream.book is None:
            return [event]
        first_id, last_id = ids_of(event)
        if stream.went_below(last_id):  # its ids contradict one another: the chain begins again here
            self.books.restarts += 1
            stream.book.begin_anew()
        events = stream.book.change(event, first_id, last_id)
        if stream.book.wants_snapshot:
            self._attention = True
        return events

    def _merge(self, source: Source, stream: FeedStream, event: bytearray) -> list[bytearray]:
        """What to publish of an event where two connections bring its stream, or did until a moment ago."""
        overlap = stream.overlap
        if overlap is None:
            return [event]
        if self.successor is None:
            over, events = overlap.after_end(event)
            if over:
                stream.set_overlap(None)
            return events
        return overlap.from_new(event) if source is self.successor else overlap.from_old(event)

    def _refuse(self, source: Source, error: FrameError, frame: bytes) -> list[bytearray]:
        """Refuses a frame: the book that lost a change by it starts afresh, or all, where none of this venue's would notice."""
        self._not_understood((str(error), frame))
        if error.subject and self.adapter.BOOK == "chain":
            return []  # the next change names the one before it: the book itself will see that it was missed
        unprovable = self.adapter.BOOK == "stream"
        events: list[bytearray] = []
        for key, stream in source.streams.items():
            if stream.book is not None and (unprovable if not error.subject else key == key_of(Kind.depth, error.subject)):
                self.books.restarts += 1
                events += self._begin_anew(stream)
        return events

    def _begin_anew(self, stream: FeedStream) -> list[bytearray]:
        """Begins a stream's book anew; gives the events that it still had to publish."""
        self._attention = True
        waiting = stream.book.begin_anew() if stream.book is not None else []
        if self.books.shared or stream.overlap is None:
            return waiting
        return [one for event in waiting for one in (stream.overlap.after_end(event)[1] if self.successor is None else ())]

    def _begin_all_anew(self) -> list[bytearray]:
        events: list[bytearray] = []
        self.books.used_snapshots.clear()
        for source in self._sources():
            if not (self.books.shared and source is self.successor):
                for stream in source.streams.values():
                    if stream.book is not None:
                        events += self._begin_anew(stream)
        return events

    def _control(self, source: Source, frame: bytes) -> None:
        """Acts on a message that holds no event: an acknowledgement, an announced end, a refusal."""
        message = self.adapter.control(frame)
        if message.acknowledged:
            source.flowing = True
        elif message.shutdown:
            source.shutdown = self._attention = True
        elif message.refused:
            self._not_understood((f"the venue refused a request: {message.code} {message.msg}", frame))
