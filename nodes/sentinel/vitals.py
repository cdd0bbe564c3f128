"""The vital signs of processes as the log shows them: beats, progress, what lines bring. Time is the log's (`seq_ns`)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import Event

SECOND = 1_000_000_000
PAUSE_NS = 3 * SECOND  # without an event: the log stood still, and nobody is late for it
SETTLE_NS = 5 * SECOND  # what a feed publishes after a beginning is no sign of a market that moves
BEGINNINGS = ("reconnects", "renewals", "resyncs", "resubscriptions")  # counters of a feed: definitions and books follow
SEQUENCER = "sequencer"
RECORDER = "recorder"


@dataclass
class Life:
    """What the log says of a process between one start and its end. Times are seq_ns."""

    pid: int
    sign_ns: int  # of the last sign of life
    taken: int = -1  # number of its last event that the sequencer has taken
    deaf_s: float = 0.0  # it has not asked for the log's next events for so long
    lag: int = 0
    lag_since_ns: int = 0  # above the bound, and growing with every report, since
    lag_position: int = 0  # seq that it had read then
    position: int = 0
    brought: int = -1  # events that a feed has brought
    beginnings: int = -1  # of connections and books
    settles_ns: int = 0  # what it brings before then comes of a reconnect
    overtaken_ns: int = 0  # a sibling has brought something since, and it has not
    overtaken_signs: int = 0
    overtaken_last_ns: int = 0
    over_memory: int = 0  # looks in a row


@dataclass
class LineShare:
    """Since when a feed was last with everything: each interval has duplicates, and no first."""

    since_ns: int = 0
    duplicates: int = 0
    until_ns: int = 0


@dataclass
class Archive:
    """How far the recorder is, and since when there is something durable that it has not archived."""

    archived_seq: int = 0
    durable_seq: int = 0
    waiting_ns: int = 0
    refusals: int = 0  # of a disk


def venue_of(feed: str) -> str:
    """Lines of one venue share what comes before their number: feed-binance-1, feed-kraken-1."""
    return feed.rpartition("-")[0]


def is_feed(name: str) -> bool:
    return name.partition("-")[0] == "feed"


@dataclass
class Vitals:
    """The vital signs of every process, by its name, and of the log itself."""

    settings: SentinelSettings
    begun_ns: int = 0  # of the first event
    log_ns: int = 0  # of the newest
    last_seq: int = 0  # of it
    resumed_ns: int = 0  # when the log began to move again
    lives: dict[str, Life] = field(default_factory=dict)
    lines: dict[str, LineShare] = field(default_factory=dict)
    archive: Archive = field(default_factory=Archive)

    def take(self, events: Iterable[Event]) -> None:
        """Takes in events of the log in their order; kinds that show nothing of a process's health change nothing."""
        for event in events:
            at = event.seq_ns
            if at - self.log_ns > PAUSE_NS:
                self._resume(at)
            self.log_ns = at
            self.begun_ns = self.begun_ns or at
            self.last_seq = event.seq
            if (reader := _READERS.get(event.kind)) is not None:
                reader(self, event, at)

    def _resume(self, at: int) -> None:
        self.resumed_ns = at
        self.archive.waiting_ns = 0
        for life in self.lives.values():
            life.overtaken_ns = life.lag_since_ns = 0

    def _health(self, event: Event, at: int) -> None:
        beat = event.map()
        name, pid = event.subject, int(beat.get("pid", 0))
        life = self.lives.get(name)
        if life is None or life.pid != pid:
            life = self.lives[name] = Life(pid, at)
        life.sign_ns = at
        life.deaf_s = float(beat.get("deaf_s", 0.0))
        self._lag(life, int(beat.get("lag", 0)), event.seq, at)
        if is_feed(name):
            self._brought(name, life, int(beat.get("events", -1)), sum(int(beat.get(name, 0)) for name in BEGINNINGS), at)
            if beat.get("waiting"):  # its venue told it to: what others bring meanwhile says nothing of it
                life.overtaken_ns = 0
        elif name == SEQUENCER:
            self._durable(int(beat.get("durable_seq", 0)), at)
        elif name == RECORDER:
            self._refusals(int(beat.get("archive_failures", 0)))

    def _lag(self, life: Life, lag: int, seq: int, at: int) -> None:
        life.position = seq - lag
        if lag < self.settings.lag_events or lag <= life.lag:
            life.lag_since_ns = 0
        elif not life.lag_since_ns:
            life.lag_since_ns, life.lag_position = at, life.position
        life.lag = lag

    def _brought(self, name: str, life: Life, brought: int, beginnings: int, at: int) -> None:
        if beginnings != life.beginnings:
            life.beginnings, life.settles_ns = beginnings, at + SETTLE_NS
        if brought == life.brought:
            return
        counts = life.brought >= 0 and at >= life.settles_ns
        life.brought = brought
        life.overtaken_ns = 0
        if not counts:
            return
        for other in self._siblings(name):
            broken = at - other.overtaken_last_ns > self.settings.stale_s * SECOND / 2
            if not other.overtaken_ns or broken:  # a burst now and then is a reconnect, or a market that sleeps
                other.overtaken_ns, other.overtaken_signs = at, 0
            other.overtaken_signs += 1
            other.overtaken_last_ns = at

    def _siblings(self, name: str) -> Iterator[Life]:
        for other, life in self.lives.items():
            if other != name and is_feed(other) and venue_of(other) == venue_of(name):
                yield life

    def _cursor(self, event: Event, at: int) -> None:
        """A producer whose events are still being taken is not late with its heartbeat: that stands in the queue."""
        for row in event.records:
            life = self.lives.get(row["producer"].decode())
            if life is not None and int(row["number"]) != life.taken:
                life.taken, life.sign_ns = int(row["number"]), at

    def _line(self, event: Event, at: int) -> None:
        for row in event.records:
            share = self.lines.setdefault(row["line"].decode(), LineShare())
            begin_ns, end_ns = int(row["begin_ns"]), int(row["end_ns"])
            if row["firsts"]:
                share.since_ns, share.duplicates = end_ns, 0
            else:
                share.since_ns = share.since_ns or begin_ns
                share.duplicates += int(row["duplicates"])
            share.until_ns = max(share.until_ns, end_ns)

    def _watermark(self, event: Event, at: int) -> None:
        archived = int(event.records["archived_seq"][-1])
        if archived > self.archive.archived_seq:
            self.archive.archived_seq, self.archive.waiting_ns = archived, 0

    def _clock(self, event: Event, at: int) -> None:
        self._durable(int(event.records["durable_seq"][-1]), at)

    def _durable(self, durable: int, at: int) -> None:
        self.archive.durable_seq = durable
        if durable > self.archive.archived_seq and not self.archive.waiting_ns:
            self.archive.waiting_ns = at

    def _refusals(self, refusals: int) -> None:
        if refusals != self.archive.refusals:  # it tries, and the disk refuses
            self.archive.refusals, self.archive.waiting_ns = refusals, 0


_READERS: dict[int, Callable[[Vitals, Event, int], None]] = {
    Kind.health: Vitals._health,
    Kind.cursor: Vitals._cursor,
    Kind.line: Vitals._line,
    Kind.watermark: Vitals._watermark,
    Kind.clock: Vitals._clock,
}
