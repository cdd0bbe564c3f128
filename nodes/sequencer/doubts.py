"""When ids contradict one another: events at or below the highest id that may be more than copies. No I/O.

A copy that another line brings late looks the same at first: an id at or below the last one. What tells them apart is what
comes next. Each line's events of that kind are kept as a *run* of rising ids, for as long as nothing is taken of the stream;
the first event that is taken shows that they were copies. Otherwise

- a run of the line that said the last id itself, or one that lasts, above everything that a neighbour confirms: that last
  id was absurd (`contradiction`: the stream goes back to the last confirmed one, and on with the run);
- a run below what is confirmed that goes on and on, while nobody says anything higher: the ids have begun anew (`era`).

Runs are not in the log: the cursors of their producers stay before them, and a restart reads them again from the outboxes. A
run that can be nothing but an era keeps its age over that: it is as old as its events.
"""

from collections.abc import Callable, Iterator, Set
from enum import Enum

from tickmesh.bus.layout import RECORDS
from tickmesh.nodes.sequencer.offer import Offer

# In holds (`log.hold_ms`, 1 s): for so long nobody says a higher id, and the lower ones go on.
OTHER_HOLDS = 3  # lines that did not say the absurd id themselves
ERA_HOLDS = 5  # lower ids, later by the venue's own time than all that is known: no copy can be that
ALONE_PART = (
    2  # half a hold, where every line says so on a connection that began with it: nobody is left who could say a higher id
)
READ_HOLDS = 1  # after a start, until every outbox has been read and somebody could have said a higher id
LATE_HOLDS = 30  # lower ids whose time says nothing, or speaks against it
KEPT_HOLDS = 120  # a stream as slow as that is not judged by a run
RUN_MIN = 3  # events of a run that is an era
RUN_MAX = 5000  # beyond it a run is decided at once


class DoubtVerdict(Enum):
    """What a run of lower ids is: still in doubt, copies, a contradiction, or a new era."""

    wait = 1
    copies = 2  # they are dropped, or fill a gap
    contradiction = 3
    era = 4


class Run:
    """Events of one line at or below `at`, the stream's last id, in rising order. Times are a monotonic clock's, ns."""

    __slots__ = ("at", "offers", "count", "begun", "newest", "newer", "since")

    def __init__(self, at: int, begun: int):
        self.at = at
        self.offers: list[Offer] = []
        self.count = 0  # of them that are no snapshots: those say what is known, not what is new
        self.begun = self.newest = begun
        self.newer = True  # all of them later, by the venue's time, than what is known
        self.since = 0  # place of the event from which its age by the events' own times counts

    def add(self, one: Offer, now: int, known_ns: int) -> None:
        """Puts an event at the end of the run. `known_ns`: the latest venue time of the stream."""
        self.offers.append(one)
        self.newest = now
        if not one.snapshot:
            self.count += 1
            self.newer = self.newer and one.venue_ns > known_ns > 0

    def wait_anew(self, now: int) -> None:
        """Restarts the waiting time at `now`."""
        self.begun, self.since = now, len(self.offers) - 1

    def aged(self) -> int:
        """How long it has gone on by the times at which its events happened and were received, whichever is shorter, ns."""
        first, last = self.offers[self.since], self.offers[-1]
        return min(last.venue_ns - first.venue_ns, last.recv_ns - first.recv_ns)


class Doubts:
    """The runs of one stream: what each line brought at or below the last id, and cannot be judged yet."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}

    def __bool__(self) -> bool:
        return bool(self.runs)

    def numbers(self, line: str) -> list[int]:
        """The line's own numbers of the events in its run."""
        run = self.runs.get(line)
        return [one.number for one in run.offers] if run is not None else []

    def wait_anew(self, now: int) -> None:
        """Restarts the waiting time of every doubt at `now`: an event of the stream has come in its place."""
        for run in self.runs.values():
            run.wait_anew(now)

    def lower_again(self, one: Offer, at: int) -> bool:
        """Whether the event shows its line's run to be an era: it is below it, and both are later than all that was known."""
        run = self.runs.get(one.line)
        if run is None or run.at != at or one.snapshot or not run.newer or run.count < RUN_MIN:
            return False
        return one.last_id < run.offers[0].last_id and one.venue_ns > run.offers[-1].venue_ns > 0

    def older(self, one: Offer, known_ns: int) -> bool:
        """Whether the event is no part of its line's run, which is later than all that was known: the event is not."""
        run = self.runs.get(one.line)
        return run is not None and not one.snapshot and run.newer and run.count > 0 and 0 < one.venue_ns <= known_ns

    def ended(self, one: Offer, at: int, known_ns: int) -> list[Offer]:
        """Ends the line's run if this event does not go on from it, or the stream has gone on; gives the run's events."""
        run = self.runs.get(one.line)
        if run is None:
            return []
        goes_on = one.snapshot or (one.last_id >= run.offers[0].last_id and (run.newer or not one.venue_ns > known_ns > 0))
        return [] if run.at == at and goes_on else self.runs.pop(one.line).offers

    def astray(self, one: Offer) -> bool:
        """Whether the event was overtaken within its line's run, or is a copy of something in it."""
        run = self.runs.get(one.line)
        return run is not None and not one.snapshot and one.last_id <= run.offers[-1].last_id

    def same(self, one: Offer) -> bool | None:
        """Whether the line's run has just this event; False: it has its ids with other records; None: it has not its ids."""
        run = self.runs.get(one.line)
        found = [other for other in run.offers if other.last_id == one.last_id] if run is not None else []
        return any(other.event[RECORDS] == one.event[RECORDS] for other in found) if found else None

    def add(self, one: Offer, at: int, now: int, known_ns: int) -> None:
        """Puts an event at the end of its line's run. `at`: the stream's last id; `known_ns`: its latest venue time."""
        run = self.runs.get(one.line)
        if run is None:
            run = self.runs[one.line] = Run(at, now)
        run.add(one, now, known_ns)

    def begun_anew(self, lines: Set[str], began_with: Callable[[Offer], bool]) -> bool:
        """Whether each of `lines`, two or more, has a run later than all that is known, which is all that its newest connection
        brought: `began_with(event)` tells whether the event is the first of it. One line alone is nobody's neighbour."""
        if len(lines) < 2 or not lines <= self.runs.keys():
            return False
        return all(run.newer and began_with(run.offers[0]) for run in self.runs.values())

    def earliest(self, line: str) -> str:
        """The name of the line that has most of an era's beginning, among those whose runs bear out this line's."""
        run = self.runs[line]
        alike = [
            name for name, other in self.runs.items()
            if other.newer == run.newer and other.at == run.at and other.count and not other.offers[0].snapshot
        ]  # fmt: skip
        return min(alike, key=lambda name: (self.runs[name].offers[0].last_id, name), default=line)

    def take_all(self) -> Iterator[Offer]:
        """Takes out every event of every run, each line's in order; no run is left."""
        runs, self.runs = self.runs, {}
        for _, run in sorted(runs.items()):
            yield from run.offers

    def verdict(self, line: str, above: bool, brought_last: bool, alone: bool, now: int, hold_ns: int) -> DoubtVerdict:
        """Judges one line's run. `above`: it begins above what a neighbour confirms. `brought_last`: the line has brought the
        stream's last id itself. `alone`: the lines bring nothing but such runs (`begun_anew`)."""
        run = self.runs[line]
        count, lasted, silent = run.count, now - run.begun, now - run.newest
        if above and count > 1 and (brought_last or lasted > OTHER_HOLDS * hold_ns):
            return DoubtVerdict.contradiction
        if run.newer and count:
            known = lasted if lasted <= READ_HOLDS * hold_ns else max(lasted, run.aged())
            enough_ns = hold_ns // ALONE_PART if alone else ERA_HOLDS * hold_ns
            if count >= RUN_MIN and (known > enough_ns or count >= RUN_MAX):
                return DoubtVerdict.era
            return DoubtVerdict.copies if lasted > KEPT_HOLDS * hold_ns else DoubtVerdict.wait
        if count >= RUN_MAX or silent > ERA_HOLDS * hold_ns:
            return DoubtVerdict.copies
        if count >= RUN_MIN and run.newest - run.begun > LATE_HOLDS * hold_ns:
            return DoubtVerdict.era
        return DoubtVerdict.wait
