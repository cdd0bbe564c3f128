"""The newest events of each kind, in memory and within a bound: what is asked for again and again is answered from here."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple, TypeVar

from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import topic
from tickmesh.bus.wire import Event

OVERHEAD = 250  # bytes that an event takes beside its own
TRIMMED_AT = 1024  # dropped places of a tape
EXAMINED_MAX = 50_000  # events that one page looks at
ALIKE_MAX = 10_000  # topics of which the newest event is kept
WORDS_MAX = 1000  # processes, and kinds of alerts, that are counted apart


Key = TypeVar("Key")


class KeptEvent(NamedTuple):
    """One event as it is kept. `raw`: its own copy of the bytes; what came in one message with it is not held."""

    seq: int
    seq_ns: int
    topic: str
    raw: bytes


class WantedEvents(NamedTuple):
    """Which events are asked for: of these kinds, of `chosen` topics, with `start_ns` ≤ seq_ns < `end_ns` (None: no end)."""

    kinds: frozenset[Kind]
    chosen: Callable[[str], bool]
    start_ns: int = 0
    end_ns: int | None = None

    def has(self, topic: str, seq_ns: int) -> bool:
        """Whether an event of the kinds is asked for."""
        return self.start_ns <= seq_ns and (self.end_ns is None or seq_ns < self.end_ns) and self.chosen(topic)


class EventPage(NamedTuple):
    """Some events in order. `seq`: every wanted event up to it has been given, by this page and those before.

    `more`: there are more now; `ended`: the end that was asked for has been reached, so no more can come.
    """

    events: list[Event]
    seq: int
    more: bool = False
    ended: bool = False


class _Tape:
    """The newest events of one kind. `dropped`: the seq of the last one that is no longer here."""

    __slots__ = ("begin", "bytes", "bytes_max", "dropped", "entries", "seqs")

    def __init__(self, after: int, bytes_max: int):
        self.begin, self.bytes, self.bytes_max, self.dropped = 0, 0, bytes_max, after
        self.seqs: list[int] = []
        self.entries: list[KeptEvent | None] = []

    def add(self, entry: KeptEvent) -> None:
        self.seqs.append(entry.seq)
        self.entries.append(entry)
        self.bytes += len(entry.raw) + OVERHEAD
        while self.bytes > self.bytes_max and self.begin < len(self.seqs):
            oldest = self.entries[self.begin]
            assert oldest is not None, "begin is the first that is kept"
            self.bytes -= len(oldest.raw) + OVERHEAD
            self.dropped = oldest.seq
            self.entries[self.begin] = None
            self.begin += 1
        if self.begin > TRIMMED_AT and self.begin * 2 > len(self.seqs):
            del self.seqs[: self.begin], self.entries[: self.begin]
            self.begin = 0

    def after(self, seq: int) -> Iterator[KeptEvent]:
        place = bisect_right(self.seqs, seq, lo=self.begin)
        return (entry for entry in islice(self.entries, place, None) if entry is not None)

    def newest_first(self) -> Iterator[KeptEvent]:
        return (entry for entry in islice(reversed(self.entries), len(self.seqs) - self.begin) if entry is not None)


class CountedEvents:
    """Counts events with a seq > `after`: by kind, lives of processes by name, alerts by (what, level)."""

    def __init__(self, after: int):
        self._after = after
        self.kinds: Counter[int] = Counter()
        self.starts: Counter[str] = Counter()
        self.alerts: Counter[tuple[str, str]] = Counter()

    def take(self, event: Event) -> None:
        """Counts one event."""
        if event.seq <= self._after:
            return
        self.kinds[event.kind] += 1
        if event.kind == Kind.run:
            _count(self.starts, event.subject)
        elif event.kind == Kind.alert:
            content = event.map()
            _count(self.alerts, (str(content.get("what", "")), str(content.get("level", ""))))


def _count(counter: Counter[Key], key: Key) -> None:
    if key in counter or len(counter) < WORDS_MAX:
        counter[key] += 1


class RecentEvents:
    """Keeps the newest events of each kind but raw frames. `head`: everything up to this seq has come in.

    Bytes kept: at most `kind_bytes` of each kind, and one event of each topic. `counted_after`: counted is what comes after.
    """

    def __init__(self, after: int, kind_bytes: int, counted_after: int = 0):
        self.head = after
        self.counted = CountedEvents(counted_after)
        self.latest: dict[str, KeptEvent] = {}  # by topic, of kinds whose newest event says how things stand
        self._tapes = {int(kind): _Tape(after, kind_bytes) for kind in Kind if kind is not Kind.raw}

    def take(self, events: Iterable[Event], head: int) -> None:
        """Takes in events, in order; there is nothing else up to `head`."""
        for event in events:
            self.counted.take(event)
            tape = self._tapes.get(event.kind)
            if tape is not None:
                entry = KeptEvent(event.seq, event.seq_ns, topic(event.kind, event.subject), bytes(event.raw))
                tape.add(entry)
                if event.kind in LATEST and (entry.topic in self.latest or len(self.latest) < ALIKE_MAX):
                    self.latest[entry.topic] = entry
        self.head = max(self.head, head)

    @property
    def bytes(self) -> int:
        """Bytes that are kept now, about."""
        return sum(tape.bytes for tape in self._tapes.values())

    def whole_after(self, kinds: Iterable[Kind]) -> int:
        """The seq after which every event of these kinds is here, up to `head`."""
        return max((self._tapes[kind].dropped for kind in kinds), default=0)

    def subjects(self, kind: Kind) -> set[str]:
        """The subjects of which there is an event of a kind here."""
        return {entry.topic.partition(".")[2] for entry in self._tapes[kind].after(0)}

    def newest_of(self, kind: Kind) -> dict[str, Event]:
        """The newest event of a kind by subject: one of LATEST."""
        name = f"{kind.name}."
        return {one.topic.removeprefix(name): Event(one.raw) for one in self.latest.values() if one.topic.startswith(name)}

    def read(self, wanted: WantedEvents, after: int, limit: int, bytes_max: int) -> EventPage:
        """Reads at most `limit` wanted events with seq > `after`, in order: where `after` is not before `whole_after`.

        One event is given however large it is, no further one beyond `bytes_max`.
        """
        found: list[Event] = []
        size, before = 0, after
        for number, entry in enumerate(merge(*(self._tapes[kind].after(after) for kind in wanted.kinds))):
            if wanted.end_ns is not None and entry.seq_ns >= wanted.end_ns:
                return EventPage(found, max(entry.seq - 1, after), ended=True)
            if number >= EXAMINED_MAX:
                return EventPage(found, before, more=True)
            if wanted.has(entry.topic, entry.seq_ns):
                size += len(entry.raw)
                if found and (len(found) >= limit or size > bytes_max):
                    return EventPage(found, before, more=True)
                found.append(Event(entry.raw))
            before = entry.seq
        return EventPage(found, max(self.head, after))

    def read_newest(self, wanted: WantedEvents, limit: int, bytes_max: int) -> list[Event]:
        """Reads the newest wanted events that are here, at most `limit`, oldest first."""
        found: list[Event] = []
        size = 0
        for entry in merge(*(self._tapes[kind].newest_first() for kind in wanted.kinds), reverse=True):
            if wanted.has(entry.topic, entry.seq_ns):
                size += len(entry.raw)
                if len(found) >= limit or (found and size > bytes_max):
                    break
                found.append(Event(entry.raw))
        return found[::-1]


LATEST = frozenset({Kind.health, Kind.run, Kind.quote, Kind.trade})
