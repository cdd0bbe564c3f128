"""A line's connections as its reception sees them: what each brings of every stream."""

from collections.abc import Iterator

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.feed.overlap import Overlap
from tickmesh.nodes.venues.books.rule import BookRule

KINDS = (Kind.trade, Kind.quote, Kind.depth)
key_in = header_reader("kind", "subject")  # of an event: the key of its stream

Key = tuple[int, bytes]  # of a stream: kind, subject as in the header


def key_of(kind: int, subject: str) -> Key:
    return int(kind), subject.encode().ljust(32, b"\0")


def subject_of(key: Key) -> str:
    return key[1].rstrip(b"\0").decode()


def topic_of(key: Key) -> str:
    return f"{Kind(key[0]).name}.{subject_of(key)}"


class FeedStream:
    """One stream on one connection. `plain`: its events are said as they come.

    `events`: brought since it was opened; `newest`: the last of them, as the venue sent it.
    """

    __slots__ = ("key", "rule", "book", "overlap", "events", "newest", "plain", "highest", "below")

    def __init__(self, key: Key, how: str, book: BookRule | None):
        self.key = key
        self.rule = how
        self.book = book
        self.overlap: Overlap | None = None
        self.events = 0
        self.newest: bytearray | None = None
        self.highest = self.below = -1  # ids: the highest that this connection brought, and the last one below it
        self.between(None)

    def between(self, overlap: Overlap | None) -> None:
        self.overlap = overlap
        self.plain = self.book is None and overlap is None

    def went_below(self, last_id: int) -> bool:
        """Whether the ids of this connection go on below one that it brought before: two in a row, rising. One alone may
        have been overtaken on its way."""
        if last_id > self.highest:
            self.highest, self.below = last_id, -1
            return False
        rising = -1 < self.below < last_id < self.highest
        self.below = last_id if last_id < self.highest else self.below
        if rising:
            self.highest, self.below = last_id, -1
        return rising


class Source:
    """One connection. `flowing`: the venue acknowledged, or a first event came. `shutdown`: it said that it will close."""

    def __init__(self, number: int, streams: dict[Key, FeedStream]):
        self.number = number
        self.streams = streams
        self.flowing = False
        self.shutdown = False

    def books(self) -> Iterator[tuple[Key, BookRule]]:
        return ((key, stream.book) for key, stream in self.streams.items() if stream.book is not None)

    @property
    def joined(self) -> bool:
        """Whether all its streams are known to overlap with another connection's, or one cannot wait any longer."""
        overlaps = self._overlaps()
        return all(overlap.joined for overlap in overlaps) or any(overlap.full for overlap in overlaps)

    @property
    def mute(self) -> list[Key]:
        """Streams that only the other connection brings."""
        return [key for key, stream in self.streams.items() if stream.overlap is not None and stream.overlap.mute]

    def _overlaps(self) -> list[Overlap]:
        return [stream.overlap for stream in self.streams.values() if stream.overlap is not None]
