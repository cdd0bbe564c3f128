"""`mesh rebuild --from raw`: market data made again from the frames as they came, by the parser of today.

Every line's raw events go through the feed's own reception, and what the lines say through the sequencer's own arbitration, in
the order and at the times of the log. Trades that backfill fetched are taken over. What comes out is a new archive of market
kinds only, numbered anew; it is compared topic by topic with what is stored.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import Batch
from tickmesh.bus.wire import Event, decode, kind_of, stamp_sent, stamp_sequenced
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.rebuilding import rebuild_line
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.venues.table import adapter_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import reader
from tickmesh.tools.terminal import Failure

MARKET = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)
WANTED = (*MARKET, Kind.raw, Kind.run)
CUT_EVENTS = 200_000
MILLISECOND = 1_000_000


class RebuiltTopic(NamedTuple):
    """One topic's comparison: how many events are stored and made anew, and whether they are the same in the same order."""

    topic: str
    stored: int
    made: int
    same: bool


class TopicDigest:
    """A hash over the content of one topic's events, in order; their stamps and numbers left out."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = hashlib.sha256()

    def take(self, event: Event) -> None:
        """Adds one event."""
        self.count += 1
        self.sum.update(f"{event.flags} {event.first_id} {event.last_id} {event.venue_ns} ".encode())
        self.sum.update(event.records.tobytes())


class RebuiltLine:
    """Makes one feed's market events again from its raw events, by the parser of today."""

    def __init__(self, config: Config, producer: str):
        venue, _ = line_of(config, producer.removeprefix("feed-"))
        decided = DecidedInstruments(config, venue)
        named = (one.subject for one in config.instruments if one.venue == venue)
        instruments = [one for subject in named if (one := decided.for_reading(subject)) is not None]
        self._next: Event | None = None
        self._made = rebuild_line(iter(self._take, None), adapter_of(venue), instruments, config.feed)
        self.producer = producer_bytes(producer)
        self.number = 0

    def _take(self) -> Event | None:
        return self._next

    def remake(self, raw: Event) -> Iterator[bytearray]:
        """Takes the next raw event; gives the events that its frames make, stamped as the feed would."""
        self._next = raw
        for event in next(self._made):
            self.number += 1
            stamp_sent(event, self.producer, raw.epoch, self.number, raw.sent_ns)
            yield event


class MarketRebuild:
    """Takes events of the log and gives market events made again, as the sequencer would log them."""

    def __init__(self, config: Config):
        self.config = config
        self.arbiter = Arbiter(config.log.hold_ms * MILLISECOND)
        self.lines: dict[str, RebuiltLine] = {}
        self.links: dict[tuple[int, str], int] = {}
        self.seq = self.own = self.raws = 0

    def take(self, event: Event) -> Iterator[bytearray]:
        """Takes one event of the log; gives the events that follow from it, and those that were held until now."""
        out = self.arbiter.due(event.seq_ns)
        if event.kind == Kind.raw:
            self.raws += 1
            line = self.lines.get(event.producer) or self.lines.setdefault(
                event.producer, RebuiltLine(self.config, event.producer)
            )
            for remade in line.remake(event):
                out += self._offer(remade, event.producer, line.number, event.seq_ns)
        elif event.kind == Kind.run and event.producer in self.lines:
            self.arbiter.connected(event.producer, self.lines[event.producer].number)
        elif event.producer == "backfill" and event.kind in MARKET:
            out += self._offer(bytearray(event.raw), event.producer, event.number, event.seq_ns)
        yield from (self._sequenced(one, event.seq_ns) for one in out if kind_of(one) in MARKET)

    def _offer(self, event: bytearray, producer: str, number: int, now_ns: int) -> list[bytearray]:
        head = decode(event)
        if head.kind in ARBITRATED:
            return self.arbiter.offer(head.kind, head.subject, producer, number, event, now_ns)
        if head.kind == Kind.gap:
            return self.arbiter.declare(head.subject, producer, head.records)
        if head.last_id:
            self.arbiter.connected(producer, number, head.subject, head.k)
        return [event]

    def _sequenced(self, event: bytearray, seq_ns: int) -> bytearray:
        head = decode(event)
        if not head.producer:
            self.own += 1
            stamp_sent(event, producer_bytes("sequencer"), 0, self.own, seq_ns)
        self.seq += 1
        stamp_sequenced(event, self.seq, self.links.get((head.kind, head.subject), 0), seq_ns)
        self.links[head.kind, head.subject] = self.seq
        return event


def rebuild(config: Config, into: Path, log_id: int, progress: Callable[[int], None]) -> list[RebuiltTopic]:
    """Makes the archive `into` (an empty folder) from all raw frames stored; compares topic by topic. Raises Failure."""
    made: dict[str, TopicDigest] = {}
    stored: dict[str, TopicDigest] = {}
    market = MarketRebuild(config)

    def rebuilt(events: Iterable[Event]) -> Iterator[bytearray]:
        end_ns = 0
        for event in events:
            if event.kind in MARKET:
                stored.setdefault(event.topic, TopicDigest()).take(event)
            yield from market.take(event)
            progress(event.seq)
            end_ns = event.seq_ns
        for late in market.arbiter.end():
            if kind_of(late) in MARKET:
                yield market._sequenced(late, end_ns)

    writer = ArchiveWriter(into)
    try:
        block: list[bytearray] = []
        for event in rebuilt(reader.events(config, kinds=WANTED)):
            one = decode(event)
            made.setdefault(one.topic, TopicDigest()).take(one)
            block.append(event)
            if len(block) == CUT_EVENTS:
                _archive(writer, block, log_id)
                block = []
        if not market.raws:
            raise Failure("there are no raw frames here; `raw = true` under [feed] in mesh.toml keeps them from then on")
        _archive(writer, block, log_id)
    finally:
        writer.close()
    return [_row(topic, stored.get(topic, TopicDigest()), made.get(topic, TopicDigest())) for topic in sorted(stored | made)]


def _row(topic: str, stored: TopicDigest, made: TopicDigest) -> RebuiltTopic:
    return RebuiltTopic(topic, stored.count, made.count, stored.sum.digest() == made.sum.digest())


def _archive(writer: ArchiveWriter, block: list[bytearray], log_id: int) -> None:
    if block:
        first = writer.archived_seq + 1
        last = first + len(block) - 1
        writer.archive([Batch(first, last, memoryview(b"".join(block)))], last, CUT_EVENTS, log_id)
