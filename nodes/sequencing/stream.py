"""One stream as arbitration knows it: how far it is, which lines count, what waits. No I/O."""

import struct
from collections import deque
from typing import NamedTuple

from bus.schema import Flag, Kind
from nodes.sequencing.gaps import Gaps
from nodes.sequencing.lines import Lines
from nodes.venues.rules import rule

# Plain integers: an IntFlag's & costs as much as the rest of a decision.
SNAPSHOT, REPAIRED, RESET = int(Flag.SNAPSHOT), int(Flag.REPAIRED), int(Flag.RESET)
MARKS_MAX = 16  # connections of a line that brought nothing yet, remembered per stream
_IDS = struct.Struct("<qqqq")  # first_id, last_id, venue_ns, recv_ns at 104 of an event


class Offer(NamedTuple):
    """One event of one line, with what arbitration needs of its header."""

    line: str
    number: int  # of the line's own events
    first_id: int
    last_id: int
    flags: int
    venue_ns: int
    recv_ns: int
    event: bytearray

    @property
    def snapshot(self) -> bool:
        return self.flags & SNAPSHOT != 0


def offer_of(line: str, number: int, event: bytearray) -> Offer:
    first_id, last_id, venue_ns, recv_ns = _IDS.unpack_from(event, 104)
    return Offer(line, number, first_id, last_id, event[10], venue_ns, recv_ns, event)


class Stream:
    """One topic's state. What `state` packs follows from the log alone; times and what is held do not."""

    def __init__(self, kind: int, subject: str):
        self.kind, self.subject = kind, subject
        self.rule = rule(kind, subject)
        self.last: int | None = None  # the highest id taken, or given up; None: nothing yet
        self.venue_ns = 0
        self.synced = False  # depth: a snapshot has been taken and the chain is whole since
        self.gaps = Gaps()  # trades: those that are open
        self.held: dict[str, deque[tuple[int, Offer]]] = {}  # line → (deadline, offer), in the line's order
        # rising: lines that overlap with what is known, and the numbers of the marks of connections not yet begun
        self.joined: set[str] = set()
        self.marks: dict[str, list[int]] = {}
        # lines that are behind the venue's last beginning of new ids, and from which of their numbers on; None: there was none
        self.crossed: dict[str, int] | None = None
        # exclusive: the line that is taken, whether it is gone, when it was heard, since when it owes what another brings
        self.owner = ""
        self.away = False
        self.heard_at: int | None = None
        self.owes_since: int | None = None
        self.lines = Lines(kind)

    def mark(self, line: str, number: int) -> None:
        """The line has a new connection: its events beyond `number` need not follow on those before."""
        if self.crossed is not None:
            self.crossed[line] = number
        if self.rule == "exclusive":
            self.away = self.away or line == self.owner
        elif self.rule == "rising":
            marks = self.marks.setdefault(line, [])
            marks[:] = [known for known in marks if known < number][1 - MARKS_MAX :] + [number]

    def begin(self, one: Offer) -> None:
        """If this is the first event of a connection, the line has to overlap again before it counts."""
        marks = self.marks.get(one.line)
        if marks and marks[0] < one.number:
            self.marks[one.line] = [number for number in marks if number > one.number]
            self.joined.discard(one.line)

    def counts(self, one: Offer) -> bool:
        """False for an event of the time before the venue's ids began anew: they mean something else now."""
        return self.crossed is None or one.number >= self.crossed.get(one.line, one.number + 1)

    def reset(self, line: str, number: int) -> None:
        """The venue began its ids anew, as this line was the first to say."""
        self.crossed = {line: number}
        self.joined, self.marks = set(), {}
        if self.kind != Kind.depth:  # the snapshot that says so sets it there
            self.last = None
        self.lines.begin_anew()

    def state(self) -> dict:
        return {
            "last": self.last,
            "venue_ns": self.venue_ns,
            "synced": self.synced,
            "gaps": self.gaps.state(),
            "joined": sorted(line for line in self.joined if not self.marks.get(line)),
            "marks": {line: marks for line, marks in sorted(self.marks.items()) if marks},
            "crossed": None if self.crossed is None else dict(sorted(self.crossed.items())),
            "owner": self.owner,
            "away": self.away,
        }

    def restore(self, state: dict | list) -> None:
        if isinstance(state, list):  # as the first version wrote it
            self.last, self.venue_ns, self.synced, joined, missing = state
            self.joined = set(joined)
            for low, high in missing if self.kind == Kind.trade else ():
                self.gaps.open(low, high)
            return
        self.last, self.venue_ns, self.synced = state["last"], state["venue_ns"], state["synced"]
        self.gaps.restore(state["gaps"])
        self.joined, self.marks = set(state["joined"]), state["marks"]
        self.crossed = state["crossed"]
        self.owner, self.away = state["owner"], state["away"]
