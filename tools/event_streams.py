"""What `tap` shows: the events between two places of the log, from the archive on, and then as they come."""

import contextlib
import select
import time
from collections.abc import Generator, Iterator
from typing import NamedTuple

from tickmesh.bus.clock import NAME as CLOCK
from tickmesh.bus.clock import machine_wall_ns, now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import Subscriber
from tickmesh.bus.topic_names import Choice
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event
from tickmesh.storage.query.times import NOW
from tickmesh.tools.arguments import Place, place
from tickmesh.tools.terminal import Failure

SECOND = 1_000_000_000
LISTEN_S = 0.25
FRESH_S = 2.0  # the sequencer ticks every 100 ms: a log whose clock has stood for longer is nobody's
READ_AT_ONCE = 256  # events of the archive


class LogSpan(NamedTuple):
    """The part of the log that is wanted: after the seq `after` (None: what comes from now on), and in these bounds.

    `ends`: its end has been reached when what is there now has been read.
    """

    after: int | None
    since_ns: int
    until_seq: int | None
    until_ns: int | None
    ends: bool

    def has(self, event: Event) -> bool:
        """Whether an event is in it."""
        return event.seq_ns >= self.since_ns and not self.is_beyond(event)

    def is_beyond(self, event: Event) -> bool:
        """Whether the span ends before an event."""
        if self.until_seq is not None and event.seq > self.until_seq:
            return True
        return self.until_ns is not None and event.seq_ns >= self.until_ns


def span_of(config: Config, since: str, until: str, running: bool, local: bool = False) -> LogSpan:
    """The span of `--from` and `--until`; with an end and no beginning it is all that was recorded up to there."""
    log = LogReader(config.log_dir)
    begin = place("--from", since, local) if since else Place(0 if until else None, None)
    end = place("--until", until, local) if until else Place(None, None)
    if until == NOW:
        end = Place(log.last or None, None if log.last else end.ns)
    after = begin.seq if begin.ns is None else log.seq_at(begin.ns)
    if begin.ns is None and after:
        after -= 1
    over = (end.seq is not None and end.seq <= log.last) or (end.ns is not None and end.ns <= now_ns())
    return LogSpan(after, begin.ns or 0, end.seq, end.ns, over or not running)


def is_running(config: Config) -> bool:
    """Whether this folder's mesh runs: its sequencer has just written the clock beside the log, or supervisord answers."""
    with contextlib.suppress(FileNotFoundError):
        if machine_wall_ns() - (config.log_dir / CLOCK).stat().st_mtime_ns < FRESH_S * SECOND:
            return True
    from tickmesh.nodes.sentinel.supervisord import is_free

    return not is_free(config.root / "run")


def wanted_events(config: Config, kinds: tuple[Kind, ...], chosen: Choice, span: LogSpan) -> Iterator[list[Event]]:
    """Gives lists of the span's events of the chosen topics, in order; [] now and then where it waits for what comes."""
    for batch in _batches(config, kinds, span):
        over = bool(batch.events) and span.is_beyond(batch.events[-1])
        wanted = [one for one in batch.events if span.has(one) and chosen(one.topic)]
        if wanted or batch.live:
            yield wanted
        if over or (batch.live and span.until_ns is not None and now_ns() > span.until_ns + FRESH_S * SECOND):
            return


class TopicBatch(NamedTuple):
    """Events that were read at once, and whether they have just come."""

    events: list[Event]
    live: bool


def _batches(config: Config, kinds: tuple[Kind, ...], span: LogSpan) -> Iterator[TopicBatch]:
    after = span.after
    if after is not None:
        first = LogReader(config.log_dir).first
        if not first or first > after + 1:
            after = yield from _archived(config, kinds, after, span)
    with contextlib.closing(Subscriber(config, lanes_of(kinds), after)) as subscriber:
        if after is not None:
            for events in subscriber.backlog():
                yield TopicBatch(events, False)
        if not span.ends:
            yield from _live(config, subscriber)


def _live(config: Config, subscriber: Subscriber) -> Iterator[TopicBatch]:
    received = time.monotonic()
    while True:
        if events := subscriber.drain():
            received = time.monotonic()
            yield TopicBatch(events, True)
            continue
        select.select([subscriber.fd], [], [], LISTEN_S)
        if time.monotonic() - received > FRESH_S:
            received = time.monotonic()
            if not is_running(config):
                raise Failure("the mesh has stopped")
        yield TopicBatch([], True)


def _archived(config: Config, kinds: tuple[Kind, ...], after: int, span: LogSpan) -> Generator[TopicBatch, None, int]:
    """Gives what the log does not reach back to, and what it has now; returns the seq up to which that is all."""
    from tickmesh.storage.archive.reader import ArchiveReader, day_of
    from tickmesh.storage.query import reader

    archive = ArchiveReader(config.archive_dir)
    end = max(LogReader(config.log_dir).last, archive.archived_seq)
    if span.since_ns:
        later = [file.first for file in archive.files if file.day >= day_of(span.since_ns)]
        after = max(after, min(later, default=archive.archived_seq + 1) - 1)
    batch: list[Event] = []
    for event in reader.events(config, after, end, kinds):
        batch.append(event)
        if len(batch) >= READ_AT_ONCE or span.is_beyond(event):
            yield TopicBatch(batch, False)
            batch = []
    yield TopicBatch(batch, False)
    return end
