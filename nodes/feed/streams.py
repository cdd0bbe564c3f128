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
    """The key of the stream of this kind and subject."""
    return int(kind), subject.encode().ljust(32, b"\0")


def subject_of(key: Key) -> str:
    """The subject of a stream's key, such as binance.BTCUSDT."""
    return key[1].rstrip(b"\0").decode()


def topic_of(key: Key) -> str:
    """The topic of a stream's key, such as trade.binance.BTCUSDT."""
    return f"{Kind(key[0]).name}.{subject_of(key)}"


class FeedStream:
    """One stream on one connection. `rule`: how its ids are compared (bus/id_rules.py).

    `plain`: its events are published as they come. `events`: how many it brought since it was opened; `newest`: the last one,
    as the venue sent it.
    """

    __slots__ = ("key", "rule", "book", "overlap", "events", "newest", "plain", "highest", "below")

    def __init__(self, key: Key, rule: str, book: BookRule | None):
        self.key = key
        self.rule = rule
        self.book = book
        self.overlap: Overlap | None = None
        self.events = 0
        self.newest: bytearray | None = None
        self.highest = self.below = -1  # ids: the highest that this connection brought, and the last one below it
        self.set_overlap(None)

    def set_overlap(self, overlap: Overlap | None) -> None:
        """Has events filtered by `overlap` while two connections bring the stream; None: they are not."""
        self.overlap = overlap
        self.plain = self.book is None and overlap is None

    def went_below(self, last_id: int) -> bool:
        """Whether the ids of this connection go on below one that it brought before: two in a row, rising.

        One alone may have been overtaken on its way.
        """
        if last_id > self.highest:
            self.highest, self.below = last_id, -1
            return False
        rising = -1 < self.below < last_id < self.highest
        self.below = last_id if last_id < self.highest else self.below
        if rising:
            self.highest, self.below = last_id, -1
        return rising


class Source:
    """What one connection of a line has brought. `flowing`: the venue sends on it; `shutdown`: the venue will close it."""

    def __init__(self, number: int, streams: dict[Key, FeedStream]):
        self.number = number
        self.streams = streams
        self.flowing = False
        self.shutdown = False

    def books(self) -> Iterator[tuple[Key, BookRule]]:
        """(key, book) of each depth stream."""
        return ((key, stream.book) for key, stream in self.streams.items() if stream.book is not None)

    @property
    def joined(self) -> bool:
        """Whether all its streams are known to overlap with another connection's, or one cannot wait any longer."""
        overlaps = self._overlaps()
        return all(overlap.joined for overlap in overlaps) or any(overlap.full for overlap in overlaps)

    @property
    def mute_streams(self) -> list[Key]:
        """Keys of streams that the other connection brings and this one does not."""
        return [key for key, stream in self.streams.items() if stream.overlap is not None and stream.overlap.mute]

    def _overlaps(self) -> list[Overlap]:
        return [stream.overlap for stream in self.streams.values() if stream.overlap is not None]
