"""Reads events for who asks: from memory, and what is older from the recent store, the log and the archive, in a thread."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.wire import Event
from tickmesh.nodes.gateway.paced_threads import PacedThreads
from tickmesh.nodes.gateway.recent_events import EventPage, RecentEvents, WantedEvents

if TYPE_CHECKING:
    from tickmesh.storage.recent.reader import RecentReader

WINDOW = 20_000  # events of log or archive between two looks at the time
PATIENCE_S = 2.0  # then a page is given with what has been found
PAGE_BYTES_MAX = 2 << 20  # of the events themselves

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class EventReading:
    """Gives pages of events. `recent`: what is in memory; `threads`: where files are read."""

    def __init__(self, config: Config, recent: RecentEvents, threads: PacedThreads):
        self.config, self.recent, self.threads = config, recent, threads
        self.stored_reads = 0

    async def after(self, wanted: WantedEvents, after: int, limit: int, bytes_max: int = PAGE_BYTES_MAX) -> EventPage:
        """Reads wanted events with seq > `after`, in order, at most `limit`. Raises RequestProblem, LogError.

        A page may be short, or empty, while there is `more`: where the time is over that one request may take.
        """
        if after >= self.recent.whole_after(wanted.kinds):
            return self.recent.read(wanted, after, limit, bytes_max)
        return await self.in_thread(read_stored, self.config, wanted, after, self.recent.head, limit, bytes_max)

    async def newest(self, wanted: WantedEvents, limit: int) -> EventPage:
        """Reads the newest `limit` wanted events, as far as memory and the recent store go back; its `seq` is the newest."""
        head = self.recent.head
        found = self.recent.read_newest(wanted, limit, PAGE_BYTES_MAX)
        whole_after = self.recent.whole_after(wanted.kinds)
        if len(found) < limit and whole_after and (not found or found[0].seq > whole_after):
            before = found[0].seq if found else head + 1
            older = await self.in_thread(read_recent, self.config, wanted, limit, before)
            found = _within_bytes([*older, *found][-limit:])
        return EventPage(found, head)

    async def seq_before(self, start_ns: int) -> int:
        """A seq before that of the first event with seq_ns ≥ `start_ns`, near to it."""
        return await self.in_thread(seq_before, self.config, start_ns)

    async def in_thread(self, call: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
        """Calls what reads files in a thread. Raises RequestProblem where too many wait."""
        self.stored_reads += 1
        return await self.threads.call(call, *arguments)


def read_stored(config: Config, wanted: WantedEvents, after: int, head: int, limit: int, bytes_max: int) -> EventPage:
    """Reads wanted events with after < seq ≤ head from archive and log. Raises LogError."""
    from tickmesh.storage.query import reader  # takes some MB, and most requests are for what is in memory

    found: list[Event] = []
    size, position, began = 0, after, time.monotonic()
    head = head if wanted.end_ns is None else min(head, max(_end_seq(config, wanted.end_ns), after))
    while position < head and time.monotonic() - began < PATIENCE_S:
        until = min(position + WINDOW, head)
        for event in reader.events(config, position, until, wanted.kinds):
            if wanted.end_ns is not None and event.seq_ns >= wanted.end_ns:
                return EventPage(found, event.seq - 1, ended=True)
            if wanted.has(event.topic, event.seq_ns):
                size += event.size
                if found and (len(found) >= limit or size > bytes_max):
                    return EventPage(found, position, more=True)
                found.append(Event(bytes(event.raw)))
            position = event.seq
        position = until
    return EventPage(found, position, more=position < head, ended=wanted.end_ns is not None and position >= head)


def read_recent(config: Config, wanted: WantedEvents, limit: int, before: int) -> list[Event]:
    """Reads the newest `limit` wanted events with seq < `before` that the recent store has, oldest first."""
    from tickmesh.storage.recent.environment import RecentError
    from tickmesh.storage.recent.reader import RecentReader

    found: list[Event] = []
    try:
        with RecentReader(config.recent_dir) as recent:
            kinds = {kind.name for kind in wanted.kinds}
            for name in recent.topics():
                if name.partition(".")[0] in kinds and wanted.chosen(name):
                    found += _last(recent, name, limit, before)
    except RecentError:
        pass  # it is a cache; what is in memory is given
    found = [event for event in found if wanted.has(event.topic, event.seq_ns)]
    return sorted(found, key=lambda event: event.seq)[-limit:]


def _last(recent: "RecentReader", name: str, limit: int, before: int) -> list[Event]:
    count = limit
    while True:
        events = recent.last(name, count)
        earlier = [event for event in events if event.seq < before]
        if len(earlier) >= limit or len(events) < count or count > 20 * limit:
            return earlier[-limit:]
        count *= 4


def _within_bytes(events: list[Event]) -> list[Event]:
    """The newest of some events that a page has room for."""
    size, begin = 0, len(events)
    while begin and (size := size + events[begin - 1].size) <= PAGE_BYTES_MAX:
        begin -= 1
    return events[min(begin, max(len(events) - 1, 0)) :]


def seq_before(config: Config, start_ns: int) -> int:
    """A seq before the first event with seq_ns ≥ `start_ns`: by the day of the archive's files, or of the log exactly."""
    from tickmesh.storage.archive.reader import ArchiveReader, day_of

    archive = ArchiveReader(config.archive_dir)
    later = [file.first for file in archive.files if file.day >= day_of(start_ns)]
    in_log = LogReader(config.log_dir).seq_at(start_ns)
    return max(in_log, min(later) - 1 if later else archive.archived_seq)


def _end_seq(config: Config, end_ns: int) -> int:
    """A seq before which all events with seq_ns < `end_ns` are."""
    from tickmesh.storage.archive.reader import ArchiveReader, day_of

    archive = ArchiveReader(config.archive_dir)
    later = [file.first for file in archive.files if file.day > day_of(end_ns)]
    if later:
        return min(later) - 1
    return max(LogReader(config.log_dir).seq_at(end_ns), archive.archived_seq)


def known_subjects(config: Config) -> list[str]:
    """The `venue.symbol` of the instruments of mesh.toml and of the archive, sorted."""
    from urllib.parse import unquote

    folders = (path for path in config.archive_dir.glob("*/*") if path.is_dir())
    archived = {f"{unquote(path.parent.name)}.{unquote(path.name)}" for path in folders}
    others = {one for one in archived if one.partition(".")[2] in ("", "account") or one.startswith(("raw.", "mesh."))}
    return sorted({one.subject for one in config.instruments} | (archived - others))
