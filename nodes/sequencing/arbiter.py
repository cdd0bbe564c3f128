"""Feed arbitration: the same stream over N lines, first arrival of each venue id wins.

Trades and depth changes have contiguous ids: an event that skips some is held until another line fills them, or until
`hold_ns` has passed; then a `gap` is said. Quotes have rising ids with holes: there a line that has just connected is
held until it overlaps with what is known, so that it cannot overtake another line that is still behind. Where ids mean
nothing on another line, one line is taken at a time (exclusive.py).

All that a decision depends on, but time, is in the log: recovery.py finds it there again after a crash.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np

from bus.schema import GAP, GapState, Kind, Reason
from bus.wire import encode, set_flags
from nodes.sequencing import clipping, lines
from nodes.sequencing.exclusive import Verdict, judge
from nodes.sequencing.gaps import Gap, Run
from nodes.sequencing.stream import REPAIRED, RESET, SNAPSHOT, Offer, Stream, offer_of

ARBITRATED = frozenset((int(Kind.trade), int(Kind.quote), int(Kind.depth)))
MISSING_MAX = 1000  # open gaps remembered per stream; the oldest beyond them is declared unrecoverable
HELD_MAX = 50_000  # events held per stream; beyond it the oldest hole is given up at once
UNUSUAL = REPAIRED | RESET


class Arbiter:
    """Decides for every market event whether it goes into the log now, later or not.

    `hold_ns`: how long a skipped id may be filled by another line. All times are a monotonic clock's.
    """

    def __init__(self, hold_ns: int):
        self.hold_ns = hold_ns
        self.streams: dict[tuple[int, str], Stream] = {}
        self.duplicates: dict[str, int] = {}
        self.stale_snapshots = 0
        self.gaps = 0  # holes given up
        self.late = 0  # events taken although their ids had been given up
        self.forgotten = 0  # open gaps that were too many
        self.taken_over = 0  # exclusive streams that went on with another line
        self._holding: set[tuple[int, str]] = set()
        self.undecided: set[tuple[int, str]] = set()  # found in the log: what became of a gap may still be to be said

    def stream(self, kind: int, subject: str) -> Stream:
        key = (int(kind), subject)
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream(*key)
        return stream

    def connected(self, line: str, number: int, subject: str = "") -> None:
        """The line has a new connection (for one subject, or for all): its events beyond `number` need not follow on."""
        for (_, name), stream in self.streams.items():
            if subject in ("", name):
                stream.mark(line, number)

    # -- taking

    def offer(self, kind: int, subject: str, line: str, number: int, event: bytearray, now: int) -> list[bytearray]:
        """What goes into the log because of this event, in order."""
        stream = self.streams.get((kind, subject)) or self.stream(kind, subject)
        one = offer_of(line, number, event)
        last = stream.last
        if not one.flags:
            stream.lines.note(line, one.last_id, one.recv_ns, last)
        out: list[bytearray] = []
        if stream.rule == "exclusive":
            self._settle_exclusive(stream, one, now, out)
            return out
        queue = stream.held.get(line)
        if queue or not self._settle(stream, one, out):
            if queue is None:
                queue = stream.held.setdefault(line, deque())
            queue.append((now + self.hold_ns, one))
            self._holding.add((kind, subject))
            if len(queue) > HELD_MAX:
                self._give_up(stream, out)
        elif stream.held and stream.last != last:
            self._drain(stream, out)
        return out

    def due(self, now: int) -> list[bytearray]:
        """What goes into the log because nothing filled a hole in time."""
        out: list[bytearray] = []
        for key in sorted(self.undecided):
            self._close(self.streams[key], out)
        self.undecided.clear()
        for key in sorted(self._holding):
            stream = self.streams[key]
            while stream.held and min(queue[0][0] for queue in stream.held.values()) <= now:
                self._give_up(stream, out)
            if not stream.held:
                self._holding.discard(key)
        return out

    def declare(self, subject: str, line: str, records: Iterable) -> list[bytearray]:
        """Backfill's word that ids will not come: said of those that are still missing, with its reason."""
        out: list[bytearray] = []
        for record in records:
            stream = self.stream(record["stream"], subject)
            runs = []
            if record["state"] == GapState.unrecoverable:
                runs = stream.gaps.missing(int(record["first_id"]), int(record["last_id"]))
            if not runs:
                self.duplicates[line] = self.duplicates.get(line, 0) + 1
            for gap in stream.gaps.touched(runs[0][0], runs[-1][1]) if runs else ():
                self._lose(stream, gap, gap.overlap(runs[0][0], runs[-1][1]), Reason(record["reason"]), out)
            self._close(stream, out)
        return out

    def _settle(self, stream: Stream, one: Offer, out: list[bytearray]) -> bool:
        """Takes or drops the event if that is decided; False if it has to wait."""
        last = stream.last
        if one.flags & UNUSUAL:
            if one.flags & RESET:
                self._settle_reset(stream, one, out)
            elif last is None or not self._repair(stream, one, out):
                self._drop(one)
            return True
        if stream.crossed is not None and not stream.counts(one):
            self._drop(one)  # of the time before the venue's ids began anew
            return True
        if stream.rule == "rising":
            return self._settle_rising(stream, one, out)
        if last is None:
            self._take(stream, one, out)
            return True
        if one.first_id > last + 1:
            return False
        if one.flags & SNAPSHOT:
            self._settle_snapshot(stream, one, last, out)
        elif one.last_id <= last:
            if not (stream.gaps and one.first_id <= stream.gaps.high and self._repair(stream, one, out)):
                self._drop(one)
        elif one.first_id <= last and stream.kind == Kind.trade:
            self._take_rest(stream, one, last, out)
        else:
            self._take(stream, one, out)
        return True

    def _settle_snapshot(self, stream: Stream, one: Offer, last: int, out: list[bytearray]) -> None:
        """A snapshot's first_id is the first change that follows it on its line: a hole before that was a hole."""
        if stream.synced or one.last_id < last:
            self.stale_snapshots += not stream.synced
            self._drop(one)
        else:
            self._take(stream, one, out)

    def _settle_rising(self, stream: Stream, one: Offer, out: list[bytearray]) -> bool:
        stream.begin(one)
        last = stream.last
        if last is not None and one.last_id <= last:
            if one.line not in stream.joined:
                stream.joined.add(one.line)
                if not stream.marks.get(one.line):
                    out.append(self._joined(stream, one))
            self._drop(one)
        elif last is None or one.line in stream.joined:
            stream.joined.add(one.line)
            self._take(stream, one, out)
        else:
            return False
        return True

    def _settle_reset(self, stream: Stream, one: Offer, out: list[bytearray]) -> None:
        """The venue began its ids anew. The first line to say so is followed, the others from their own word of it on."""
        crossed = stream.crossed
        if crossed and one.number <= crossed.get(one.line, one.number):
            if one.line not in crossed:
                self.cross(stream.subject, one.line, one.number)
                out.append(self._joined(stream, one))
            self._drop(one)
            return
        if stream.last is not None and crossed != {}:
            low = stream.last + 1
            self._say(stream, [(low, max(low, one.first_id - 1))], GapState.unrecoverable, Reason.reset, one.venue_ns, out)
        self.reset(stream.subject, one.line, one.number)
        self._take(stream, one, out)

    def reset(self, subject: str, line: str, number: int) -> None:
        """The venue's ids of an instrument's book began anew, as this line was the first to say."""
        for kind in (Kind.depth, Kind.quote):  # their ids are of one book
            stream = self.streams.get((kind, subject))
            if stream is not None and stream.rule != "exclusive":
                stream.reset(line, number)

    def cross(self, subject: str, line: str, number: int) -> None:
        """Another line is behind that beginning, too."""
        for kind in (Kind.depth, Kind.quote):
            stream = self.streams.get((kind, subject))
            if stream is not None and stream.crossed is not None:
                stream.crossed[line] = number

    def _settle_exclusive(self, stream: Stream, one: Offer, now: int, out: list[bytearray]) -> None:
        verdict = judge(stream, one, now, self.hold_ns)
        if verdict is Verdict.drop:
            self._drop(one)
            return
        if verdict is Verdict.take_over:
            self.taken_over += 1
            low, high = (stream.last or 0) + 1, one.last_id - 1
            if one.last_id <= (stream.last or 0):
                set_flags(one.event, one.flags | RESET)
            elif stream.kind == Kind.depth and low <= high:
                self._say(stream, [(low, high)], GapState.unrecoverable, Reason.resync, one.venue_ns, out)
        self._take(stream, one, out)

    @staticmethod
    def _joined(stream: Stream, one: Offer) -> bytearray:
        record = lines.joined(one.line, stream.kind, one.recv_ns)
        return encode(Kind.line, stream.subject, record, first_id=one.number, last_id=one.number)

    def _take(self, stream: Stream, one: Offer, out: list[bytearray]) -> None:
        stream.last = one.last_id
        stream.venue_ns = one.venue_ns
        stream.synced = stream.synced or one.snapshot
        out.append(one.event)

    def _drop(self, one: Offer) -> None:
        self.duplicates[one.line] = self.duplicates.get(one.line, 0) + 1

    def _take_rest(self, stream: Stream, one: Offer, last: int, out: list[bytearray]) -> None:
        """Trades of which the first are known. One that stands for known and new ids is not taken: its new ids are a gap."""
        rest = clipping.clip(one.event, last + 1, one.last_id)
        if rest is None:
            self._open(stream, last + 1, one.last_id, one.venue_ns, out)
            self._drop(one)
            return
        new = offer_of(one.line, one.number, rest)
        if new.first_id > last + 1:
            self._open(stream, last + 1, new.first_id - 1, one.venue_ns, out)
        self._take(stream, new, out)

    # -- waiting

    def _drain(self, stream: Stream, out: list[bytearray]) -> None:
        """Held events that are decided now that `last` has moved; each line in its own order."""
        moved = True
        while moved:
            moved = False
            for line in sorted(stream.held):
                queue = stream.held[line]
                while queue and self._settle(stream, queue[0][1], out):
                    queue.popleft()
                    moved = True
                if not queue:
                    del stream.held[line]

    def _give_up(self, stream: Stream, out: list[bytearray]) -> None:
        """The held event with the smallest id goes on; what is before it is a gap."""
        one = min((queue[0][1] for queue in stream.held.values()), key=lambda one: (one.first_id, one.line))
        if stream.rule == "rising":
            stream.begin(one)
            stream.joined.add(one.line)  # whether quotes are missing cannot be known from ids with holes
        elif stream.counts(one):  # else it is dropped
            low, high = (stream.last or 0) + 1, one.first_id - 1
            self.gaps += 1
            stream.synced = False
            if stream.kind == Kind.trade:
                self._open(stream, low, high, one.venue_ns, out)
            else:  # no venue sells past book changes
                self._say(stream, [(low, high)], GapState.unrecoverable, Reason.no_history, one.venue_ns, out)
                stream.last = high
        self._drain(stream, out)

    # -- gaps

    def _open(self, stream: Stream, low: int, high: int, after_ns: int, out: list[bytearray]) -> None:
        """Trades that are not there. `last` moves to the end of them, in the log too: a restart says no gap twice."""
        stream.gaps.open(low, high, stream.venue_ns, after_ns)
        stream.last = high
        self._say(stream, [(low, high)], GapState.open, Reason.skipped, after_ns, out)
        if len(stream.gaps) > MISSING_MAX:
            self._close(stream, out)  # after a restart the oldest may be decided, and that not said yet
        if len(stream.gaps) > MISSING_MAX:
            self.forgotten += 1
            oldest = stream.gaps.all[0]
            self._lose(stream, oldest, list(oldest.missing), Reason.skipped, out)
            self._close(stream, out)

    def _repair(self, stream: Stream, one: Offer, out: list[bytearray]) -> bool:
        """A late event, or one of backfill, with ids of an open gap: taken after all, flagged.

        Of an event that lies across several holes only the part in the first one is: an event is one run of ids.
        """
        for low, high in stream.gaps.missing(one.first_id, one.last_id):
            event = clipping.clip(one.event, low, high)
            if event is not None:
                part = offer_of(one.line, one.number, event)
                set_flags(event, part.flags | REPAIRED)
                stream.gaps.fill(part.first_id, part.last_id)
                self.late += 1
                out.append(event)
                self._close(stream, out)
                return True
        return False

    def _lose(self, stream: Stream, gap: Gap, runs: list[Run], reason: Reason, out: list[bytearray]) -> None:
        for low, high in runs:
            stream.gaps.lose(low, high)
        self._say(stream, runs, GapState.unrecoverable, reason, gap.after_ns, out, gap.before_ns)

    def _close(self, stream: Stream, out: list[bytearray]) -> None:
        """Gaps of which every id is decided: what was repaired is said, what was lost has been."""
        for gap in stream.gaps.pop_decided():
            if runs := gap.repaired():
                self._say(stream, runs, GapState.repaired, Reason.none, gap.after_ns, out, gap.before_ns)

    @staticmethod
    def _say(
        stream: Stream, runs: list[Run], state: GapState, reason: Reason, after_ns: int, out: list[bytearray],
        before_ns: int | None = None,
    ) -> None:  # fmt: skip
        """One gap event, a record for each run."""
        records = np.zeros(len(runs), GAP)
        before_ns = stream.venue_ns if before_ns is None else before_ns
        for i, (low, high) in enumerate(runs):
            records[i] = (low, high, stream.kind, state, reason, 0, before_ns, after_ns, 0)
        out.append(encode(Kind.gap, stream.subject, records, first_id=runs[0][0], last_id=runs[-1][1]))

    # -- what is known of it

    @property
    def open_gaps(self) -> int:
        return sum(len(stream.gaps) for stream in self.streams.values())

    def held_numbers(self, line: str) -> list[int]:
        """Numbers of a line's events that wait: its cursor stays before the smallest."""
        return [one.number for key in self._holding for _, one in self.streams[key].held.get(line, ())]

    def line_reports(self, now_ns: int) -> list[bytearray]:
        """A `line` event for each subject: what its lines were worth since the last report."""
        records: dict[str, list[np.ndarray]] = {}
        for (_, subject), stream in sorted(self.streams.items()):
            if len(report := stream.lines.report(now_ns)):
                records.setdefault(subject, []).append(report)
        return [encode(Kind.line, subject, np.concatenate(many)) for subject, many in records.items()]

    def state(self) -> dict:
        return {f"{kind} {subject}": stream.state() for (kind, subject), stream in self.streams.items()}

    def restore(self, state: dict) -> None:
        for key, value in state.items():
            kind, _, subject = key.partition(" ")
            self.stream(int(kind), subject).restore(value)
            self.undecided.add((int(kind), subject))
