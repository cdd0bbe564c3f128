"""What was said of a rare topic lately: by the recent store's index, and from the log where that ends."""

from collections.abc import Collection, Iterable

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogReleased
from tickmesh.bus.topics import topic
from tickmesh.bus.wire import Event
from tickmesh.storage.recent.environment import RecentError
from tickmesh.storage.recent.reader import RecentReader

EVENTS_MAX = 10_000  # of one topic
MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS


def lately(config: Config, kinds: Collection[Kind], subjects: Iterable[str], since_ns: int) -> list[Event]:
    """Reads events of these kinds and subjects with seq_ns ≥ `since_ns`, in order of `seq`; as far as store and log go back.

    Reads what the recent store has not yet from the log, event by event: seconds, where the store is far behind.
    """
    wanted = tuple(subjects)
    log = LogReader(config.log_dir)
    found: list[Event] = []
    after = 0
    if since_ns + MINUTE_NS >= now_ns() - int(config.recorder.recent_hours * HOUR_NS):
        try:
            with RecentReader(config.recent_dir) as recent:
                if recent.log_id == log.log_id:
                    after = recent.recent_seq
                    for kind in kinds:
                        for subject in wanted:
                            found += recent.read(topic(kind, subject), since_ns=since_ns, limit=EVENTS_MAX)
        except RecentError:
            pass  # it is a cache: the log has it all
    known = {event.seq for event in found}
    start = max(after, log.seq_at(since_ns))
    for _ in range(3):  # the recorder may release what is about to be read
        try:
            for event in log.events(max(start, log.first - 1)):
                if event.kind in kinds and event.subject in wanted and event.seq not in known:
                    known.add(event.seq)
                    found.append(event)
            break
        except LogReleased:
            continue
    return sorted(found, key=lambda event: event.seq)
