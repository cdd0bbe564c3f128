"""Where a replay reads: what this folder has recorded, or events that are held in memory, as events and as columns."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.columns.span import ColumnSpan

SOURCES = ("all", "log", "archive")  # all: the archive, then the log
STILL_NS = 1_000_000_000  # a sequencer that runs says every 100 ms what time it is


class RecordedEvents(Protocol):
    """Events in order of `seq`, without a hole, that can be read again and again, those with after < seq ≤ until."""

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """Every event."""

    def spans(
        self, columns: Iterable[Kind], objects: Iterable[Kind], after: int = 0, until: int | None = None
    ) -> Iterator[ColumnSpan]:
        """Kinds as columns, others as events."""

    @property
    def last(self) -> int:
        """The newest seq there is now; 0 for none."""


class StoredEvents:
    """What a mesh's folder has recorded. Raises ReadError, ArchiveError or LogError where it cannot be read."""

    def __init__(self, config: Config, source: str = "all"):
        self.config, self.source = config, source

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """As `RecordedEvents.events`."""
        if self.source == "log":
            from tickmesh.bus.log import LogReader

            return LogReader(self.config.log_dir).events(after, until)
        from tickmesh.storage.archive import reader as archive
        from tickmesh.storage.query import reader

        if self.source == "archive":
            return archive.ArchiveReader(self.config.archive_dir).events(after, until)
        return reader.events(self.config, after, until)

    def spans(
        self, columns: Iterable[Kind], objects: Iterable[Kind], after: int = 0, until: int | None = None
    ) -> Iterator[ColumnSpan]:
        """As `RecordedEvents.spans`."""
        from tickmesh.storage.columns import archive, log, reading

        if self.source == "log":
            return log.LogColumns(self.config.log_dir, columns, objects).spans(after, until)
        if self.source == "archive":
            return archive.ArchiveColumns(self.config.archive_dir, columns, objects).spans(after, until)
        return reading.spans(self.config, columns, objects, after, until)

    @property
    def last(self) -> int:
        """As `RecordedEvents.last`."""
        from tickmesh.bus.log import LogReader
        from tickmesh.storage.archive.reader import read_watermark

        log = LogReader(self.config.log_dir).last if self.source != "archive" else 0
        return max(log, read_watermark(self.config.archive_dir).archived_seq if self.source != "log" else 0)


class EventsInMemory:
    """Events in memory, in order. It has no columns: steps take them in lists."""

    def __init__(self, events: Sequence[Event]):
        self._events = events

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """As `RecordedEvents.events`."""
        return (one for one in self._events if one.seq > after and (until is None or one.seq <= until))

    def spans(
        self, columns: Iterable[Kind], objects: Iterable[Kind], after: int = 0, until: int | None = None
    ) -> Iterator[ColumnSpan]:
        """One span with the events of `objects`. Raises ValueError where columns are asked for."""
        if tuple(columns):
            raise ValueError("events in memory have no columns; take them in lists")
        wanted = frozenset(objects)
        events = list(self.events(after, until))
        if events:
            yield ColumnSpan(events[0].seq, events[-1].seq, [], [one for one in events if one.kind in wanted])

    @property
    def last(self) -> int:
        """As `RecordedEvents.last`."""
        return self._events[-1].seq if self._events else 0


def of_kinds(recording: RecordedEvents, kinds: Iterable[Kind], after: int = 0, until: int | None = None) -> Iterator[Event]:
    """Reads the events of some kinds alone, without looking at the others one by one."""
    for span in recording.spans((), kinds, after, until):
        yield from span.events


def seq_at(recording: RecordedEvents, ns: int) -> int:
    """The last seq whose `seq_ns` is before `ns`; 0 if none. Some thirty events are read, wherever they lie."""
    low, high = 0, recording.last
    while low < high:
        middle = (low + high + 1) // 2
        event = next(iter(recording.events(middle - 1, middle)), None)
        if event is None or event.seq_ns >= ns:  # None: a number before the first that there is
            high = middle - 1
        else:
            low = middle
    return low


def running_s(recording: RecordedEvents, first: int, last: int) -> float:
    """Seconds from the event `first` to the event `last` in which a mesh ran: of a longer silence STILL_NS counts."""
    ns, before_ns = 0, None
    for event in recording.events(first - 1, last):
        ns += min(event.seq_ns - before_ns, STILL_NS) if before_ns is not None else 0
        before_ns = event.seq_ns
    return ns / 1e9


def rows_before(
    recording: RecordedEvents, seq: int, subject: str, kinds: Collection[Kind], count: int, wide: int = 4096
) -> list[Event]:
    """The last `count` events of an instrument and of some kinds before `seq`, oldest first: read backwards, part by part."""
    found: list[Event] = []
    until = seq - 1
    while until > 0 and len(found) < count:
        after = max(until - wide, 0)
        part = [one for one in of_kinds(recording, kinds, after, until) if one.subject == subject]
        found = [*part, *found]
        until, wide = after, wide * 8
    return found[-count:]


def watched(recording: RecordedEvents, report: Callable[[int], None]) -> RecordedEvents:
    """Gives the same recording; `report` is called with the seq that has been read, now and then."""
    return _Watched(recording, report)


class _Watched:
    """A recording that says how far it has been read."""

    def __init__(self, recording: RecordedEvents, report: Callable[[int], None]):
        self._recording, self._report = recording, report

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        for event in self._recording.events(after, until):
            if not event.seq & 0x3FFF:
                self._report(event.seq)
            yield event

    def spans(
        self, columns: Iterable[Kind], objects: Iterable[Kind], after: int = 0, until: int | None = None
    ) -> Iterator[ColumnSpan]:
        for span in self._recording.spans(columns, objects, after, until):
            self._report(span.last)
            yield span

    @property
    def last(self) -> int:
        return self._recording.last
