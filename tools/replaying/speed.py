"""`mesh replay --speed X`: recorded events on a bus again, in their order and X times as fast, for whatever listens live."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.topic_names import Choice
from tickmesh.bus.wire import Event, stamp_received, stamp_sequenced
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query.reader import ReadError
from tickmesh.tools import replay, terminal, topics
from tickmesh.tools.event_text import time_text
from tickmesh.tools.replaying.bus_folder import ReplayBus
from tickmesh.tools.replaying.recording import RecordedEvents, StoredEvents, of_kinds
from tickmesh.tools.replaying.stretches import ReplayedPart

SECOND = 1_000_000_000
LOOK_S = 0.05  # the longest sleep: the clock is shown, and a Ctrl-C is heard, so often
BATCH = 256  # events that are published at once, at most
LINGER_S = 1.0  # a bus that goes takes with it what nobody has taken yet
LATE_S = 1.0  # later than this is said
SAID_S = 10.0  # so often
FOLDER = "replay"  # in run/

Report = Callable[[int, float], None]  # (time that is replayed, ns; how late it is, s)


class Pace:
    """When a replay is where: `speed` times as fast as it was recorded; 0 is as fast as it goes. Times in ns, of any clock."""

    def __init__(self, speed: float):
        self.speed = speed
        self._first_ns = self._began_ns = 0

    def begin(self, first_ns: int, now_ns: int) -> None:
        """The event of `first_ns` is due now."""
        self._first_ns, self._began_ns = first_ns, now_ns

    def wait_ns(self, seq_ns: int, now_ns: int) -> int:
        """How long until an event is due; negative: it is late by so much. 0 where there is no speed to keep."""
        if not self.speed:
            return 0
        return self._began_ns + int((seq_ns - self._first_ns) / self.speed) - now_ns

    def shown_ns(self, now_ns: int) -> int:
        """The recorded time that it is at this moment."""
        return self._first_ns + int((now_ns - self._began_ns) * (self.speed or 1.0))


class Renumbering:
    """Gives events the numbers of the log that they go into. What is replayed once more comes later by what was before.

    Times of the venue, and what `cause_seq` says, stay as they were recorded.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.shift_ns = 0
        self._links: dict[str, int] = {}
        self.newest_ns = 0

    def renumbered(self, event: Event) -> bytearray:
        """A copy of the event with the next number, in its topic's chain."""
        self.seq += 1
        raw = bytearray(event.raw)
        self.newest_ns = max(event.seq_ns + self.shift_ns, self.newest_ns)
        stamp_sequenced(raw, self.seq, self._links.get(event.topic, 0), self.newest_ns)
        if event.recv_ns and self.shift_ns:
            stamp_received(raw, event.recv_ns + self.shift_ns)
        self._links[event.topic] = self.seq
        return raw

    def begin_again(self, first_ns: int) -> None:
        """The next event is that of `first_ns` once more: a tick of the log's clock after the newest."""
        self.shift_ns = self.newest_ns + SECOND // 10 - first_ns


class Replaying:
    """A replay that goes on: what has been published, and how late it was at most."""

    def __init__(self, bus: ReplayBus, speed: float, report: Report):
        self.bus, self.pace, self._report = bus, Pace(speed), report
        self.numbers = Renumbering()
        self.events = self.rounds = 0
        self.late_ns_max = 0
        self._shown_at = 0.0

    def round(self, events: Iterator[Event], definitions: list[Event]) -> int:
        """Publishes events at their time, after what defines their instruments; gives how many there were. Raises LogFull."""
        waiting: list[bytearray] = [self.numbers.renumbered(one) for one in definitions]
        count = 0
        for event in events:
            if not count:
                if self.rounds:
                    self.numbers.begin_again(event.seq_ns)
                self.pace.begin(event.seq_ns + self.numbers.shift_ns, time.monotonic_ns())
            self._wait(event.seq_ns + self.numbers.shift_ns, waiting)
            waiting.append(self.numbers.renumbered(event))
            count += 1
            if len(waiting) >= BATCH:
                self._publish(waiting)
        self._publish(waiting)
        self.events += count
        self.rounds += 1
        return count

    def _wait(self, due_ns: int, waiting: list[bytearray]) -> None:
        """Waits until an event is due, if it is not; what was due before is published first."""
        now = time.monotonic_ns()
        left = self.pace.wait_ns(due_ns, now)
        if left > 0:
            self._publish(waiting)
        while left > 0:
            self._show(self.pace.shown_ns(now), 0)
            time.sleep(min(left / SECOND, LOOK_S))
            now = time.monotonic_ns()
            left = self.pace.wait_ns(due_ns, now)
        late = -left
        self.late_ns_max = max(self.late_ns_max, late)
        self._show(due_ns, late)

    def linger(self) -> None:
        """Lets listeners take what was published last."""
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until:
            self.bus.show_time(self.numbers.newest_ns)
            time.sleep(LOOK_S)

    def _publish(self, waiting: list[bytearray]) -> None:
        self.bus.publish(waiting)
        waiting.clear()

    def _show(self, ns: int, late_ns: int) -> None:
        """Shows the time to listeners and the person, some twenty times a second at most."""
        at = time.monotonic()
        if at - self._shown_at >= LOOK_S:
            self._shown_at = at
            self.bus.show_time(ns)
            self._report(ns, late_ns / SECOND)


def publish(
    wanted: list[str], speed: float, start: str, end: str, source: str, into: Path | None, loop: bool, json: bool
) -> terminal.JsonObject:
    """Does what the command says, until the end or a Ctrl-C; gives what `--json` prints. Raises Failure with a sentence."""
    replay.check_source(source)
    config = terminal.config()
    chosen, kinds = topics.resolve(config, wanted, history=True)
    recording = StoredEvents(config, source)
    folder = (into or config.run_dir / FOLDER).resolve()
    try:
        last = replay.check_any(config, recording)
        part = replay.part_of(recording, start, end, last)
        selection = ReplayedTopics(recording, part, chosen, kinds)
        return _published(config, selection, speed, folder, loop, json)
    except (ReadError, ArchiveError, LogError) as error:
        raise terminal.Failure(str(error)) from None


class ReplayedTopics:
    """The events of some topics in a part of a recording."""

    def __init__(self, recording: RecordedEvents, part: ReplayedPart, chosen: Choice, kinds: tuple[Kind, ...]):
        self._recording, self._part, self._chosen, self._kinds = recording, part, chosen, kinds

    def events(self) -> Iterator[Event]:
        """In order."""
        after, until = self._part.first - 1, self._part.last
        everything = len(self._kinds) == len(Kind)
        found = self._recording.events(after, until) if everything else of_kinds(self._recording, self._kinds, after, until)
        return (event for event in found if self._chosen(event.topic))

    def definitions(self) -> list[Event]:
        """The newest definition of each instrument before the part, of those that a topic of it is wanted of."""
        newest: dict[str, Event] = {}
        if self._part.first > 1:
            for event in of_kinds(self._recording, (Kind.instrument,), 0, self._part.first - 1):
                newest[event.subject] = event
        kinds = [Kind(kind) for kind in self._kinds]
        return [one for one in newest.values() if any(self._chosen(f"{kind.name}.{one.subject}") for kind in kinds)]

    def span_ns(self) -> tuple[int, int]:
        """The times of the first and the last event of the part, of whatever topics."""
        last = self._part.last or self._recording.last
        first, newest = (next(iter(self._recording.events(seq - 1, seq))) for seq in (self._part.first, last))
        return first.seq_ns, newest.seq_ns


def _published(
    config: Config, selection: ReplayedTopics, speed: float, folder: Path, loop: bool, json: bool
) -> terminal.JsonObject:
    begin_ns, end_ns = selection.span_ns()
    with closing(ReplayBus(config, folder)) as bus:
        say = terminal.announcer(json)
        how = f"{speed:g} times as fast" if speed else "as fast as it goes"
        say(f"publishing {time_text(begin_ns)} to {time_text(end_ns)} {how}; listen with: tap --at {folder}")
        with _progress(begin_ns, end_ns) as report:
            replaying = Replaying(bus, speed, report)
            interrupted = False
            try:
                while replaying.round(selection.events(), selection.definitions() if not replaying.rounds else []) and loop:
                    pass
                replaying.linger()
            except KeyboardInterrupt:
                interrupted = True
        if not replaying.events and not interrupted:
            raise terminal.Failure("no event of these topics was recorded in that part, so nothing was published")
        return {
            "events": bus.last, "rounds": replaying.rounds, "speed": speed, "folder": str(folder), "interrupted": interrupted,
            "late_s_max": replaying.late_ns_max / SECOND if speed else None,
        }  # fmt: skip


@contextmanager
def _progress(begin_ns: int, end_ns: int) -> Iterator[Report]:
    """A bar with the time that is replayed, where a person sits; and a line now and then while it is late, anywhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    said_at = 0.0
    with Progress(*columns, console=terminal.err, transient=True, disable=not terminal.err.is_terminal) as shown:
        task = shown.add_task("", total=max(end_ns - begin_ns, 1))

        def report(ns: int, late_s: float) -> None:
            nonlocal said_at
            behind = f", {late_s:.1f} s late" if late_s > LATE_S else ""
            shown.update(task, completed=(ns - begin_ns) % max(end_ns - begin_ns + 1, 1), description=time_text(ns) + behind)
            if behind and time.monotonic() - said_at > SAID_S:
                said_at = time.monotonic()
                sentence = f"{late_s:.1f} s late at {time_text(ns)}: it cannot keep up; take a smaller --speed or fewer topics"
                terminal.err.print(f"mesh: {sentence}", markup=False)

        yield report


def show(result: terminal.JsonObject) -> None:
    """Prints what was published, for a person."""
    how = "stopped" if result["interrupted"] else "done"
    late = f"; at most {result['late_s_max']:.1f} s late" if result["late_s_max"] else ""
    terminal.out.print(f"{how}: {result['events']} events published{late}", markup=False)
