"""The open gaps of trades and the effort that is made for each. No I/O; time is given, seconds of a monotonic clock.

What is open is a pure function of the log. The effort (what was asked for and published, and not yet in the log) is not kept:
after a crash the first missing id is asked for again, and what comes twice is known as a duplicate by the sequencer.
"""

from collections.abc import Callable, Iterable

import msgpack
import numpy as np

from tickmesh.bus.schema import GAP, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.gaps.clipping import clip
from tickmesh.nodes.gaps.gaps import Gap, Gaps

REPAIRED, RESET = int(Flag.REPAIRED), int(Flag.RESET)
REFUSALS = 3  # the same refusal so often is an answer
# Where a venue knows its past by time only, a page begins this long before the last known instant: trades share instants, and
# a venue prints its times more coarsely than it compares them. One that still begins too late is asked from further back.
BACK_NS, BACK_TIMES, BACK_NS_MAX = 1_000_000, 100, 1_000_000_000_000


class Effort:
    """What has been done about one gap. `next_id`: every missing id before it has been published or declared."""

    def __init__(self, subject: str, gap: Gap, opened_ns: int, wait_s: Callable[[], float]):
        self.subject, self.gap = subject, gap
        self.opened_ns = opened_ns  # seq_ns
        self.next_id = gap.low
        self.published_number = 0  # of our own events: the last one that was about this gap
        self.untaken, self.untaken_times = 0, 0  # the id that was published and is missing all the same, and how often
        self.since_ns = gap.before_ns  # venue time of the last trade known before `next_id`
        self.back_ns, self.back_ns_max = BACK_NS, BACK_NS_MAX
        self.until_id = 0  # ask for what is before this id; 0: for as much as a page may have
        self.asked = 0  # by the plan's count of requests
        self.not_before = 0.0
        self.in_vain_since: float | None = None
        self.is_recent = True  # the newest trades of the venue may have what is missing; they have not been asked for
        self.hole_at: int | None = None  # the venue has what is before this id and after, but not this
        self.holes: dict[int, float] = {}  # all such of its last page, by the first id of each → since when it is one
        self.refusals = 0
        self.wait_s = wait_s

    @property
    def from_ns(self) -> int:
        """The venue time from which to ask; 0 where none is known."""
        return max(1, self.since_ns - self.back_ns) if self.since_ns else 0

    def looks_back(self) -> bool:
        """A page began behind what is missing: whether to ask from further back. Ids join what comes twice."""
        self.back_ns *= BACK_TIMES
        self.not_before = 0.0
        return self.back_ns <= self.back_ns_max

    def comes_closer(self) -> bool:
        """A page ended before what is missing: whether to ask from nearer to it."""
        self.back_ns_max = self.back_ns = self.back_ns // BACK_TIMES
        self.not_before = 0.0
        return self.back_ns > 0

    def first_missing(self) -> int | None:
        """The id to ask for; None if all has been published."""
        return next((max(low, self.next_id) for low, high in self.gap.missing if high >= self.next_id), None)


class Plan:
    """`new_wait`: makes the function that gives the growing seconds between tries in vain of one gap."""

    def __init__(self, patience_s: float, new_wait: Callable[[], Callable[[], float]]):
        self.patience_s = patience_s
        self.new_wait = new_wait
        self.gaps: dict[str, Gaps] = {}
        self.efforts: dict[tuple[str, int], Effort] = {}
        self.requests = 0
        self.repaired = self.unrecoverable = 0  # ids published, ids declared

    # -- from the log

    def observe(self, event: Event) -> None:
        """One event of the log: gaps open, are filled, are decided."""
        if event.kind == Kind.trade:
            if event.flags & RESET and event.subject in self.gaps:  # what was still missing of the era before is gone with it
                self._follow(event.subject, Gaps(), event.seq_ns)
            if event.flags & REPAIRED and (gaps := self.gaps.get(event.subject)) is not None:
                gaps.observe(event)
        elif event.kind == Kind.gap:
            gaps = self.gaps.setdefault(event.subject, Gaps())
            gaps.observe(event)
            self._follow(event.subject, gaps, event.seq_ns)

    def _follow(self, subject: str, gaps: Gaps, seq_ns: int) -> None:
        self.gaps[subject] = gaps
        lows = {gap.low for gap in gaps.all}
        for key in [key for key in self.efforts if key[0] == subject and key[1] not in lows]:
            del self.efforts[key]
        for gap in gaps.all:
            if (subject, gap.low) not in self.efforts:
                self.efforts[subject, gap.low] = Effort(subject, gap, seq_ns, self.new_wait())

    def state(self) -> bytes:
        opened = [[subject, low, effort.opened_ns] for (subject, low), effort in self.efforts.items()]
        gaps = {subject: known.state() for subject, known in self.gaps.items()}
        packed: bytes = msgpack.packb({"gaps": gaps, "opened": opened})
        return packed

    def restore(self, packed: bytes) -> None:
        tree = msgpack.unpackb(packed)
        for subject, state in tree["gaps"].items():
            self.gaps.setdefault(subject, Gaps()).restore(state)
        opened = {(subject, low): ns for subject, low, ns in tree["opened"]}
        for subject, gaps in self.gaps.items():
            for gap in gaps.all:
                effort = Effort(subject, gap, opened.get((subject, gap.low), 0), self.new_wait())
                self.efforts[subject, gap.low] = effort

    # -- what to do

    def taken(self, number: int) -> None:
        """The sequencer has taken our events up to `number`: what is missing all the same has to be asked for again."""
        for effort in self.efforts.values():
            if effort.published_number and number >= effort.published_number and effort.gap.missing:
                first = effort.gap.missing[0][0]
                if first < effort.next_id:
                    effort.next_id, effort.since_ns = first, effort.gap.before_ns
                    effort.untaken_times = effort.untaken_times + 1 if effort.untaken == first else 1
                    effort.untaken = first
                effort.published_number = 0

    def next(self, now: float, may: Callable[[str], bool]) -> Effort | None:
        """Whose turn it is: the gap that was asked for longest ago, the oldest first. `may`: of a subject."""
        due = [
            effort for effort in self.efforts.values()
            if effort.not_before <= now and effort.first_missing() is not None and may(effort.subject)
        ]  # fmt: skip
        return min(due, key=lambda effort: (effort.asked, effort.opened_ns, effort.gap.low), default=None)

    def ask(self, effort: Effort) -> None:
        self.requests += 1
        effort.asked = self.requests

    def page(
        self, effort: Effort, events: Iterable[bytearray], unreadable: bool, now: float, how: str = "forward"
    ) -> list[bytearray]:
        """The events to publish because of a page of history, ascending by id, asked for from `first_missing` on.

        A page that begins later than asked proves that the venue has no more of what is before (it answers an old id with
        the oldest it has). One that begins lower, or ends before the gap does, is a venue whose history lags: it is asked
        again, and only after our patience the rest is declared. Inside a page ids have to follow one another.
        `how` it was asked for. By `time`: that it begins later proves something only of one asked for from far back.
        `backward`, before an id: that it begins later proves nothing, it may be short; that none is before it does.
        What the sequencer does not take, however often it is published, contradicts what it knows: that is declared, too.
        `unreadable`: rows are not here because they could not be read; a page of which nothing could be read says something of
        the id that was asked for, and nothing of others.
        """
        gap, at = effort.gap, effort.first_missing()
        if at is None:  # decided meanwhile
            return []
        repairs: list[bytearray] = []
        page = [Event(event) for event in events]
        rows = [row for row in page if row.last_id >= at]
        lower = len(rows) < len(page)  # so the venue still has what is older than asked for
        moved = max((row.venue_ns for row in page if row.last_id < at), default=0)
        if not rows and moved > effort.since_ns:  # asked by time, it begins with what is known: further on the next time
            effort.since_ns, effort.not_before = moved, 0.0
            return []
        if how == "time" and not rows and lower and effort.comes_closer():
            return []
        late = bool(rows) and rows[0].first_id > at and not lower
        if how == "time" and late and effort.looks_back():
            return []
        if how == "backward" and late and not unreadable:
            effort.until_id, effort.not_before = rows[0].first_id, 0.0
            return []
        nothing_before = how == "backward" and effort.until_id > at and not page and not unreadable
        begins = min(rows[0].first_id if rows else effort.until_id or gap.high + 1, gap.high + 1)
        if unreadable and not rows:
            begins = at + 1
        if begins > at:
            if nothing_before or (rows and not unreadable and effort.hole_at != at and not lower):
                reason = Reason.retention
            elif not self._tired(effort, now):
                return []
            else:
                around = bool(rows) or (lower and effort.until_id > at)
                reason = Reason.unreadable if unreadable else Reason.skipped if around else Reason.refused
            repairs += self.declare(effort, at, begins - 1, reason)
            at = begins
        ends = {row.last_id + 1: after.first_id for row, after in zip(rows, rows[1:])}
        effort.holes = {low: effort.holes.get(low, now) for low, next_id in ends.items() if at < low < next_id}
        in_vain = effort.untaken == at and effort.untaken_times >= REFUSALS
        for row in rows:
            if at > gap.high:
                break
            if row.first_id > at:
                effort.hole_at = at
                break
            if in_vain:
                repairs += self.declare(effort, at, min(row.last_id, gap.high), Reason.contradiction)
            for low, high in gap.overlap(at, row.last_id):
                if not in_vain and (part := clip(bytearray(row.raw), low, high)) is not None:
                    repairs.append(part)
                    self.repaired += high - low + 1
            at, effort.since_ns = row.last_id + 1, row.venue_ns
        # A venue whose pages are shorter than asked for: the next one is asked for as short as this one was.
        effort.until_id = at + len(range(rows[0].first_id, rows[-1].last_id)) + 1 if rows and effort.until_id else 0
        effort.next_id = max(effort.next_id, at)
        effort.in_vain_since, effort.not_before, effort.refusals = None, 0.0, 0
        effort.wait_s = self.new_wait()
        return repairs

    def _tired(self, effort: Effort, now: float) -> bool:
        """A request brought nothing: the next one waits for longer. True when that has gone on beyond our patience.

        A hole that pages showed while another was waited for has been waited for as well.
        """
        effort.not_before = now + effort.wait_s()
        if effort.in_vain_since is None:
            at = effort.first_missing()
            effort.in_vain_since = now if at is None else effort.holes.get(at, now)
        return now - effort.in_vain_since >= self.patience_s

    def refused(self, effort: Effort, now: float) -> list[bytearray]:
        """The venue will not answer, and says so for good: believed after a few times, and no sooner than our patience ends."""
        effort.refusals += 1
        if not self._tired(effort, now) or effort.refusals < REFUSALS:
            return []
        return self.declare(effort, effort.gap.low, effort.gap.high, Reason.refused)

    def reset_patience(self, effort: Effort) -> None:
        """Begins the patience with a gap anew: no request could be sent, which is no evidence against the gap."""
        effort.in_vain_since, effort.holes = None, {}

    def no_history(self, effort: Effort) -> list[bytearray]:
        return self.declare(effort, effort.gap.low, effort.gap.high, Reason.no_history)

    def declare(self, effort: Effort, first: int, last: int, reason: Reason) -> list[bytearray]:
        """Gap events: those of the ids that are still missing will not come."""
        runs = effort.gap.overlap(first, last)
        effort.next_id = max(effort.next_id, last + 1)
        if not runs:
            return []
        records = np.zeros(len(runs), GAP)
        for i, (low, high) in enumerate(runs):
            gap = effort.gap
            records[i] = (low, high, Kind.trade, GapState.unrecoverable, reason, 0, gap.before_ns, gap.after_ns, 0)
            self.unrecoverable += high - low + 1
        return [encode(Kind.gap, effort.subject, records, first_id=runs[0][0], last_id=runs[-1][1])]
