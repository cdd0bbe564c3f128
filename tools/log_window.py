"""The last seconds of the log as `mesh status` and `mesh up` read them: topics with rates, and each process's newest health."""

from dataclasses import dataclass, field

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event

SECOND = 1_000_000_000
WINDOW_S = 10  # rates and the freshest health are of the log's last so many seconds
LOOK_BACK_EVENTS = 50_000  # bounds the reading of a log that is written very fast
STILL_S = 2.0  # a clock is published in every silence of 100 ms: a log without one for so long is written by nobody


@dataclass
class Topic:
    """The last seconds of one topic in the log: how many events, and the newest."""

    kind: Kind
    last_seq: int = 0
    seq_ns: int = 0
    recv_ns: int = 0
    events: int = 0


@dataclass
class LogWindow:
    """The last WINDOW_S seconds of the log: topics, and each process's newest health event. Times are seq_ns."""

    first_seq: int = 0
    last_seq: int = 0
    first_ns: int = 0
    last_ns: int = 0
    topics: dict[str, Topic] = field(default_factory=dict)
    health: dict[str, Event] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Adds one event; they come in order."""
        if not self.first_seq:
            self.first_seq, self.first_ns = event.seq, event.seq_ns
        self.last_seq, self.last_ns = event.seq, event.seq_ns
        topic = self.topics.setdefault(event.topic, Topic(Kind(event.kind)))
        topic.last_seq, topic.seq_ns, topic.recv_ns = event.seq, event.seq_ns, event.recv_ns
        topic.events += 1
        if event.kind == Kind.health:
            self.health[event.subject] = event

    def age_s(self, now: int) -> float | None:
        """How old the newest event is; None where there is none."""
        return (now - self.last_ns) / SECOND if self.last_ns else None

    def is_still(self, now: int) -> bool:
        """Whether nobody writes the log now."""
        return not self.last_ns or now - self.last_ns > STILL_S * SECOND

    def rate(self, events: int, now: int) -> float:
        """Events of this window per second, of so many; 0 of a log that stands still: what was is not what is."""
        seconds = (self.last_ns - self.first_ns) / SECOND
        return events / seconds if seconds > 0 and self.first_seq and not self.is_still(now) else 0.0


def read_window(config: Config) -> LogWindow:
    """Reads the last WINDOW_S seconds of the log. Raises LogError."""
    log = LogReader(config.log_dir)
    window = LogWindow()
    last = log.last
    since = now_ns() - WINDOW_S * SECOND
    for event in log.events(max(last - LOOK_BACK_EVENTS, log.first - 1)):
        if event.seq_ns >= since:
            window.add(event)
        else:
            window.last_seq, window.last_ns = event.seq, event.seq_ns
    return window
