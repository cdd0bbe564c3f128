"""Feed arbitration: the same stream over N lines, first arrival of each venue id wins.

Trades and depth changes have contiguous ids: an event that skips some is held until another line fills them, or until
`hold_ns` has passed; then a `gap` is said. Quotes have rising ids with holes: there a line that has just connected is
held until it overlaps with what is known, so that it cannot overtake another line that is still behind. Where ids mean
nothing on another line, one line is taken at a time (exclusive.py).

An id is evidence only when a neighbour confirms it: a jump out of proportion is held for its line's next event, and ids that go
on below one that was taken are a contradiction, or a new era (doubts.py, docs/decisions/absurd-ids.md).

All that a decision depends on, but time, is in the log: recovery.py finds it there again after a crash.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from tickmesh.bus.schema import GAP, GapState, Kind, Reason
from tickmesh.bus.wire import encode, set_flags
from tickmesh.nodes.gaps import clipping
from tickmesh.nodes.gaps.gaps import Gap, Run
from tickmesh.nodes.sequencer import doubts, exclusive, line_quality
from tickmesh.nodes.sequencer.offer import REPAIRED, RESET, SNAPSHOT, Offer, key_of, offer_of
from tickmesh.nodes.sequencer.stream import CONFIRM, DISORDER, ArbitratedStream

ARBITRATED = frozenset((int(Kind.trade), int(Kind.quote), int(Kind.depth)))
MISSING_MAX = 1000  # open gaps remembered per stream; the oldest beyond them is declared unrecoverable
HELD_MAX = 50_000  # events held per stream; beyond it the oldest hole is given up at once
UNUSUAL = REPAIRED | RESET
OVERTAKEN_MAX = 64  # places by which an event may have been overtaken on its own line
DOUBT_HOLDS = 10  # a jump out of proportion that nothing confirms or contradicts is believed after so many holds
DEAF_HOLDS = 30  # for so long a stream drops all that it hears, and nobody is told
ALERT_HOLDS = 10  # between two alerts about the same of one stream
HISTORY_NS = 1_000_000_000  # a history may print its times so much later than the feed did, which prints them finer
REFUSED_BYTES = 4096  # of an absurd event that its refusal keeps


class Arbiter:
    """Decides for every market event whether it goes into the log now, later or not.

    `hold_ns`: how long a skipped id may be filled by another line. All times are a monotonic clock's.
    """

    def __init__(self, hold_ns: int, contradictions: bool = True, eras: bool = True, unsynced: bool = True):
        self.hold_ns = hold_ns
        self.check_ids, self.follow_eras, self.keep_unsynced = contradictions, eras, unsynced
        self.now = 0  # of the last call
        self.streams: dict[tuple[int, str], ArbitratedStream] = {}
        self.duplicates: dict[str, int] = {}
        self.stale_snapshots = 0
        self.gaps = 0  # holes given up
        self.late = 0  # events taken although their ids had been given up
        self.forgotten = 0  # open gaps that were too many
        self.taken_over = 0  # exclusive streams that went on with another line
        self.contradictions = 0  # absurd ids: refused, or gone back from
        self.brought_up = 0  # snapshots that were older than the changes before them
        self.eras = 0  # streams whose ids began anew without the venue's word
        self._holding: set[tuple[int, str]] = set()
        self._doubting: set[tuple[int, str]] = set()
        self._alerted: dict[tuple[str, int, str], int] = {}
        self._looked = 0
        self.undecided: set[tuple[int, str]] = set()  # found in the log: what became of a gap may still be to be said

    def stream(self, kind: int, subject: str) -> ArbitratedStream:
        key = (int(kind), subject)
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = ArbitratedStream(*key)
        return stream

    def connected(self, line: str, number: int, subject: str = "", kind: int = 0) -> None:
        """The line has a new connection (for one subject or "" for all, for one kind or 0 for all): its events beyond `number`
        need not follow on."""
        for (one, name), stream in self.streams.items():
            if subject in ("", name) and kind in (0, one):
                stream.mark(line, number)

    # -- taking

    def offer(self, kind: int, subject: str, line: str, number: int, event: bytearray, now: int) -> list[bytearray]:
        """What goes into the log because of this event, in order."""
        self.now = now
        stream = self.streams.get((kind, subject)) or self.stream(kind, subject)
        one = offer_of(line, number, event)
        last = stream.last
        if not one.flags and stream.lines.note(line, one.last_id, one.recv_ns, last):
            one = one._replace(behind=True)
        out: list[bytearray] = []
        if stream.rule == "exclusive":
            self._settle_exclusive(stream, one, now, out)
            return out
        if one.flags & SNAPSHOT:  # it goes on after its own id, whatever its line brought next
            one = one._replace(first_id=one.last_id + 1)
        queue = stream.held.get(line)
        if queue or not self._settle(stream, one, out):
            self._hold(stream, [one])
            if len(stream.held[line]) > 1:
                self._drain(stream, out)  # it may confirm the one before it, or contradict it
            if len(stream.held.get(line, ())) > HELD_MAX:
                self._give_up(stream, [queue[0][1] for queue in stream.held.values()], out)
        elif stream.held and stream.last != last:
            self._drain(stream, out)
        return out

    def due(self, now: int) -> list[bytearray]:
        """What goes into the log because nothing filled a hole in time, and nothing resolved a doubt."""
        self.now = now
        out: list[bytearray] = []
        for key in sorted(self.undecided):
            self._close(self.streams[key], out)
        self.undecided.clear()
        for key in sorted(self._doubting):
            stream = self.streams[key]
            for line in sorted(stream.doubts.runs):
                self._decide(stream, line, out)
            if not stream.doubts:
                self._doubting.discard(key)
        self._give_up_holes(out, lambda deadline, one, stream: deadline <= now)
        if now - self._looked >= self.hold_ns:
            self._looked = now
            self._tell_deaf(out)
        return out

    def end(self) -> list[bytearray]:
        """At a clean stop: holes are given up, copies dropped. What may be more stays in its outbox, and is looked at again."""
        out: list[bytearray] = []
        for key in sorted(self._doubting):
            stream = self.streams[key]
            for line, run in sorted(stream.doubts.runs.items()):
                if not (stream.above_sure(run.offers[0]) or self._may_be_anew(key[1], line)):
                    for one in stream.doubts.runs.pop(line).offers:
                        self._copy(stream, one, out)
        self._give_up_holes(out, lambda deadline, one, stream: not stream.doubtful(one))
        return out

    def _may_be_anew(self, subject: str, line: str) -> bool:
        """Whether the line says lower ids of the instrument that are later than all that is known: those are no copies."""
        runs = [stream.doubts.runs.get(line) for (_, name), stream in self.streams.items() if name == subject]
        return any(run is not None and run.newer and run.count for run in runs)

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

    def _settle(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        """Takes or drops the event if that is decided; False if it has to wait."""
        last = stream.last
        if one.flags & UNUSUAL:
            if one.flags & RESET:
                self._settle_reset(stream, one, out)
            elif last is None or not self._repair(stream, one, out):
                self._refuse_unfilled(stream, one, out)
                self._drop(stream, one)
            return True
        if not stream.counts(one):
            if not stream.crosses(one):
                self._drop(stream, one)  # of the time before the venue's ids began anew
                return True
            self._cross(stream, one, out)
        if stream.refused and key_of(one.first_id, one.last_id, one.event) in stream.refused:
            self._drop(stream, one)  # another line's copy of what was taken back
            return True
        if stream.rule == "rising":
            return self._settle_rising(stream, one, out)
        if last is None:
            self._take(stream, one, out)
        elif one.first_id > last + 1 or (one.last_id - last > DISORDER and self._held_back(stream, one)):
            return False
        elif one.flags & SNAPSHOT:
            self._settle_snapshot(stream, one, last, out)
        elif one.last_id <= last:
            self._doubt(stream, one, last, out)
        elif one.first_id <= last and stream.kind == Kind.trade:
            self._take_rest(stream, one, last, out)
        else:
            self._take(stream, one, out)
        return True

    def _held_back(self, stream: ArbitratedStream, one: Offer) -> bool:
        """Whether its ids are out of proportion, and nothing has confirmed them yet."""
        return self.check_ids and stream.doubtful(one) and stream.trusted.get(one.line) != one.number

    def _settle_snapshot(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> None:
        """A book that is known already needs none. One that is not: the snapshot with the changes since applied to it."""
        if stream.synced:
            self._doubt(stream, one, last, out)  # where ids begin anew lower, the book that they are of
            return
        image = stream.unsynced.brought_up(one.event, one.last_id, last, max(one.venue_ns, stream.venue_ns))
        if image is None:
            self.stale_snapshots += 1
            self._drop(stream, one)
        else:
            self.brought_up += one.last_id < last
            self._take(stream, offer_of(one.line, one.number, image), out)

    def _settle_rising(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        stream.begin(one)
        last = stream.last
        if last is not None and one.last_id <= last:
            if one.line not in stream.joined:
                stream.joined.add(one.line)
                if not stream.marks.get(one.line):
                    out.append(self._joined(stream, one))
            self._doubt(stream, one, last, out)
        elif last is None or one.line in stream.joined:
            if last is not None and one.last_id - last > DISORDER and self._held_back(stream, one):
                return False
            stream.joined.add(one.line)
            self._take(stream, one, out)
        else:
            return False
        return True

    def _settle_reset(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        """The venue began its ids anew. The first line to say so is followed, the others from their own word of it on."""
        crossed = stream.crossed
        if crossed and one.number <= crossed.get(one.line, one.number):
            if one.line not in crossed:
                self._cross(stream, one, out)
            self._drop(stream, one)
            return
        if stream.last is not None and crossed != {}:
            self._disown(stream, out)
            self._say_reset(stream, stream.last, one.venue_ns, out)
        self.reset(stream.subject, one.line, one.number)
        self._take(stream, one, out)

    def _disown(self, stream: ArbitratedStream, out: list[bytearray]) -> None:
        """Before ids begin anew: a last id that its own line took back counts for nothing, here and in the book's quotes."""
        for kind in (stream.kind, Kind.quote) if stream.kind == Kind.depth else (stream.kind,):
            one = self.streams.get((int(kind), stream.subject))
            if one is not None and one.disowned() and self.check_ids:
                assert one.sure is not None
                self.contradictions += 1
                self._say(one, [(one.sure + 1, one.sure)], GapState.unrecoverable, Reason.contradiction, 0, out, before_ns=0)
                one.go_back(one.sure, one.sure)

    def _say_reset(self, stream: ArbitratedStream, last: int, after_ns: int, out: list[bytearray]) -> None:
        """Before the first event of a new era: what the old one still had after its last id is unknown."""
        self._say(stream, [(last + 1, last + 1)], GapState.unrecoverable, Reason.reset, after_ns, out)

    def reset(self, subject: str, line: str, number: int) -> None:
        """The venue's ids of an instrument's book began anew, as this line was the first to say."""
        for kind in (Kind.depth, Kind.quote):  # their ids are of one book
            stream = self.streams.get((kind, subject))
            if stream is not None and stream.rule != "exclusive":
                stream.anew = kind == Kind.quote and stream.last is not None
                stream.reset(line, number)

    def cross(self, subject: str, line: str, number: int) -> None:
        """Another line is behind that beginning, too."""
        for kind in (Kind.depth, Kind.quote):
            stream = self.streams.get((kind, subject))
            if stream is not None and stream.crossed is not None:
                stream.crossed[line] = number

    def _cross(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        if stream.kind == Kind.depth:
            self.cross(stream.subject, one.line, one.number)
        else:
            stream.cross(one.line, one.number)
            stream.joined.add(one.line)
        out.append(self._joined(stream, one))

    def _settle_exclusive(self, stream: ArbitratedStream, one: Offer, now: int, out: list[bytearray]) -> None:
        verdict = exclusive.judge(stream, one, now, self.hold_ns)
        if verdict is exclusive.OwnerVerdict.drop:
            self._drop(stream, one)
            return
        if verdict is exclusive.OwnerVerdict.take_over:
            self.taken_over += 1
            low, high = (stream.last or 0) + 1, one.last_id - 1
            if one.last_id <= (stream.last or 0):
                set_flags(one.event, one.flags | RESET)
            elif stream.kind != Kind.quote and low <= high:
                stream.give_up_to(high)
                self._say(stream, [(low, high)], GapState.unrecoverable, Reason.resync, one.venue_ns, out)
        self._take(stream, one, out)

    @staticmethod
    def _joined(stream: ArbitratedStream, one: Offer) -> bytearray:
        record = line_quality.joined(one.line, stream.kind, one.recv_ns)
        return encode(Kind.line, stream.subject, record, first_id=one.number, last_id=one.number)

    def _take(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        flags = one.flags
        if not self.keep_unsynced and stream.kind == Kind.depth and not (stream.synced or flags & SNAPSHOT):
            self._drop(stream, one)
            return
        if stream.anew:
            stream.anew = False
            self._say_reset(stream, stream.before, one.venue_ns, out)
            flags |= RESET
        flags = stream.took(one.line, one.first_id, one.last_id, flags, one.venue_ns, one.event)
        if flags != one.flags:
            set_flags(one.event, flags)
        out.append(one.event)
        if stream.doubts:
            newer = {line for line, run in stream.doubts.runs.items() if run.newer}
            for copy in stream.doubts.take_all():
                self._copy(stream, copy, out, copy.line in newer)

    def _drop(self, stream: ArbitratedStream, one: Offer) -> None:
        self.duplicates[one.line] = self.duplicates.get(one.line, 0) + 1
        stream.dropped_at = self.now
        if not stream.drops:
            stream.dropping_since = self.now
        stream.drops += 1

    def _take_rest(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> None:
        """Trades of which the first are known. One that stands for known and new ids is not taken: its new ids are a gap."""
        rest = clipping.clip(one.event, last + 1, one.last_id)
        if rest is None:
            self._open(stream, last + 1, one.last_id, one.venue_ns, out)
            self._drop(stream, one)
            return
        new = offer_of(one.line, one.number, rest)
        if new.first_id > last + 1:
            self._open(stream, last + 1, new.first_id - 1, one.venue_ns, out)
        self._take(stream, new, out)

    # -- waiting

    def _hold(self, stream: ArbitratedStream, offers: list[Offer], before: bool = False) -> None:
        """Events that wait, each behind what its line said before; `before`: they come first."""
        for one in reversed(offers) if before else offers:
            queue = stream.held.setdefault(one.line, deque())
            holds = DOUBT_HOLDS if stream.doubtful(one) else 1
            (queue.appendleft if before else queue.append)((self.now + holds * self.hold_ns, one))
        self._holding.add((stream.kind, stream.subject))

    def _drain(self, stream: ArbitratedStream, out: list[bytearray]) -> None:
        """Held events that are decided now; each line in its own order. Where holes mean nothing, the lowest id of all is next:
        what only one line has must not come behind what another has said since."""
        moved = True
        while moved:
            moved = False
            for line in sorted(stream.held, key=lambda line: (0 if stream.numbered else stream.held[line][0][1].last_id, line)):
                while queue := stream.held.get(line):
                    deadline, one = queue.popleft()
                    if not (self._look_behind(stream, one, queue, out) or self._settle(stream, one, out)):
                        if stream.trusted.get(one.line) == one.number:  # it waits for a hole alone now
                            deadline = min(deadline, self.now + self.hold_ns)
                        queue.appendleft((deadline, one))
                        if not self._overtaken(stream, queue, out):
                            break
                    moved = True
                    if not stream.numbered:
                        break
                if not stream.held.get(line):
                    stream.held.pop(line, None)
                if moved and not stream.numbered:
                    break

    def _overtaken(self, stream: ArbitratedStream, queue: deque[tuple[int, Offer]], out: list[bytearray]) -> bool:
        """What fills the hole may have been overtaken on its own line: then it stands behind what waits for it."""
        if not stream.numbered or stream.last is None:
            return False
        wanted = stream.last + 1
        for place in range(1, min(len(queue), OVERTAKEN_MAX)):
            one = queue[place][1]
            if one.first_id <= wanted <= one.last_id and not one.flags and not stream.doubtful(one):
                del queue[place]
                return self._settle(stream, one, out)
        return False

    def _look_behind(self, stream: ArbitratedStream, one: Offer, queue: deque[tuple[int, Offer]], out: list[bytearray]) -> bool:
        """What its line's next events say of an id that is out of proportion. True if it is refused."""
        if queue and self.check_ids and not stream.numbered and (below := self._below(stream, one)) is not None:
            self._refute(stream, one, below, out)
            return True
        if not queue or not self._held_back(stream, one):
            return False
        near = 0
        for _, behind in queue:
            if behind.last_id < one.last_id:
                self._refute(stream, one, behind, out)
                return True
            near += 0 < behind.last_id - one.last_id <= stream.proportion  # farther above it confirms nothing
            if near == CONFIRM:
                stream.trusted[one.line] = one.number
                return False
        return False

    def _give_up_holes(self, out: list[bytearray], over: Callable[[int, Offer, ArbitratedStream], bool]) -> None:
        """`over`: whether a deadline, an event that waits first on its line, and its stream mean that it waits no longer."""
        for key in sorted(self._holding):
            stream = self.streams[key]
            while any(over(*queue[0], stream) for queue in stream.held.values()):
                heads = [queue[0] for queue in stream.held.values()]
                self._give_up(stream, [one for at, one in heads if over(at, one, stream) or not stream.doubtful(one)], out)
            if not stream.held:
                self._holding.discard(key)

    def _give_up(self, stream: ArbitratedStream, heads: list[Offer], out: list[bytearray]) -> None:
        """The held event with the smallest id goes on; what is before it is a gap."""
        one = min(heads, key=lambda one: (one.first_id, one.line))
        if self.check_ids and (behind := self._below(stream, one)) is not None:
            stream.held[one.line].popleft()
            self._refute(stream, one, behind, out)
            self._drain(stream, out)
            return
        if self._held_back(stream, one):
            stream.trusted[one.line] = one.number
            why = f"{stream.topic} jumps from {stream.last} to {one.last_id}; nothing confirmed or contradicted that in time"
            self._alert("warning", "unconfirmed_jump", stream, why, "it is believed until something contradicts it", out)
        if stream.rule == "rising":
            stream.begin(one)
            stream.joined.add(one.line)  # whether quotes are missing cannot be known from ids with holes
        elif stream.counts(one):  # else it is dropped
            low, high = (stream.last or 0) + 1, self._overtaken_least(stream, one) - 1
            if low <= high:
                self._give_up_ids(stream, low, high, one.venue_ns, out)
        self._drain(stream, out)

    @staticmethod
    def _overtaken_least(stream: ArbitratedStream, one: Offer) -> int:
        """The smallest id that waits behind a hole: what `one` has overtaken on its own line stands behind it."""
        queues = (itertools.islice(queue, OVERTAKEN_MAX) for queue in stream.held.values())
        others = [other for queue in queues for _, other in queue if not (other.flags or stream.doubtful(other))]
        before = [other.first_id for other in others if (stream.last or 0) < other.first_id <= other.last_id < one.first_id]
        return min(before, default=one.first_id)

    @staticmethod
    def _below(stream: ArbitratedStream, one: Offer) -> Offer | None:
        """The first of two events of its line that go on below an event behind a hole; None where that is mere disorder."""
        disorder = DISORDER if stream.numbered else stream.in_proportion
        if stream.last is None or one.first_id - stream.last <= disorder:
            return None
        below = [behind for _, behind in stream.held[one.line] if stream.last < behind.last_id < one.first_id]
        return below[0] if len(below) > 1 and below[0].last_id < below[1].last_id else None

    def _give_up_ids(self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray]) -> None:
        self.gaps += 1
        absurd = stream.refuted is not None and stream.refuted == stream.last
        if stream.kind == Kind.trade:
            self._open(stream, low, high, after_ns, out, Reason.contradiction if absurd else Reason.skipped)
        else:  # no venue sells past book changes
            reason = Reason.contradiction if absurd else Reason.no_history
            self._say(stream, [(low, high)], GapState.unrecoverable, reason, after_ns, out)
            stream.give_up_to(high)

    # -- doubts

    def _doubt(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> None:
        """An id at or below the last one: a copy of what is known, or more than that."""
        same = stream.same(one)
        if same is None and one.last_id == last and stream.kind != Kind.depth:
            same = not (one.flags or stream.jumped)
        if same:
            self._drop(stream, one)
            return
        if not stream.above_sure(one) and self._fills(stream, one, out):
            return
        if stream.doubts.lower_again(one, last) and self.follow_eras:
            self._begin_era(stream, stream.doubts.earliest(one.line), out)
            if not self._settle(stream, one, out):
                self._hold(stream, [one])
            return
        if stream.doubts.older(one, stream.venue_ns):
            self._copy(stream, one, out)
            return
        for other in stream.doubts.ended(one, last, stream.venue_ns):
            self._copy(stream, other, out)
        if stream.doubts.astray(one):
            same = stream.doubts.same(one)
            if same is False:
                self._refuse_otherwise(stream, one, out)
            if same is not None:
                self._drop(stream, one)
            else:
                self._copy(stream, one, out)
            return
        if not stream.drops:
            stream.dropping_since = self.now
        stream.doubts.add(one, last, self.now, stream.venue_ns)
        self._doubting.add((stream.kind, stream.subject))
        self._decide(stream, one.line, out)

    def _fills(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        return bool(stream.gaps) and one.first_id <= stream.gaps.high and self._repair(stream, one, out)

    def _copy(self, stream: ArbitratedStream, one: Offer, out: list[bytearray], newer: bool = False) -> None:
        """`newer`: by the venue's time it is later than what was known when it came, so it is no copy. Where each line numbers
        the same events by itself it may be one: another line says it with a higher id."""
        newer = newer and stream.comparable and not one.snapshot
        if self._fills(stream, one, out):
            return
        if stream.same(one) is False:
            self._refuse_otherwise(stream, one, out)
        elif not self._refuse_unfilled(stream, one, out) and (newer or stream.overtaken(one)):
            self._refuse_once(stream, one, f" after {stream.last}: it is no copy, and its place is gone", out)
        self._drop(stream, one)

    def _refuse_otherwise(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        self._refuse_once(stream, one, " again, with something else in it: the first is kept", out)

    def _refuse_unfilled(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        """Whether its id lies in a hole that it does not fill: by its time it is something else, or a book has gone on."""
        if not stream.missing(one):
            return False
        why = "but the book has gone on without it" if stream.kind == Kind.depth else "but is later than what stands behind it"
        self._refuse_once(stream, one, f", which is missing, {why}", out)
        return True

    def _refuse_once(self, stream: ArbitratedStream, one: Offer, why: str, out: list[bytearray]) -> None:
        key = key_of(one.first_id, one.last_id, one.event)
        if key not in stream.named:  # else another line's copy of it
            stream.named.append(key)
            out.append(self._refusal(stream, one, f"{stream.topic} says id {one.last_id}{why}"))

    def _decide(self, stream: ArbitratedStream, line: str, out: list[bytearray]) -> None:
        run = stream.doubts.runs.get(line)
        if run is None:
            return
        above = stream.above_sure(run.offers[0])
        verdict = stream.doubts.verdict(line, above, line == stream.teller, self.now, self.hold_ns)
        untimed = verdict is doubts.DoubtVerdict.copies and run.at == stream.last and not run.newer
        if untimed and self._may_be_anew(stream.subject, line):
            return  # its book's ids are later than all that is known: what becomes of that decides
        if verdict is doubts.DoubtVerdict.copies or run.at != stream.last:
            for one in stream.doubts.runs.pop(line).offers:
                self._copy(stream, one, out, newer=run.newer)
        elif verdict is doubts.DoubtVerdict.contradiction and self.check_ids:
            self._go_back(stream, out)
        elif verdict is doubts.DoubtVerdict.era and self.follow_eras:
            self._begin_era(stream, stream.doubts.earliest(line), out)

    def _refute(self, stream: ArbitratedStream, one: Offer, behind: Offer, out: list[bytearray]) -> None:
        """An event whose line goes on below its id is refused with its bytes; it was held, so nothing was built on it."""
        key = key_of(one.first_id, one.last_id, one.event)
        if key in stream.refused:  # another line's copy
            self._drop(stream, one)
            return
        self.contradictions += 1
        stream.refused.append(key)
        stream.refuted = stream.last
        why = f"{stream.topic} says id {one.last_id} after {stream.last}, and its line goes on with {behind.first_id}"
        out.append(self._refusal(stream, one, why))
        self._alert("warning", "contradiction", stream, why, "the event is refused, what lies between is a gap", out)
        if stream.rule == "rising" and behind.last_id > (stream.last or 0):
            low, high = (stream.last or 0) + 1, behind.last_id - 1
            self._say(stream, [(low, high)], GapState.unrecoverable, Reason.contradiction, behind.venue_ns, out)
            stream.go_back(low - 1, high)

    @staticmethod
    def _refusal(stream: ArbitratedStream, one: Offer, why: str) -> bytearray:
        content = {"node": "sequencer", "why": why, "raw": bytes(one.event[:REFUSED_BYTES]), "raw_bytes": len(one.event)}
        return encode(Kind.refusal, stream.subject, content)

    def _go_back(self, stream: ArbitratedStream, out: list[bytearray]) -> None:
        """The last id was absurd, and is in the log: from the last confirmed one on nothing is known up to what goes on."""
        sure = stream.sure
        assert stream.last is not None
        above, absurd = [], stream.last
        stream.refused.append(stream.head)
        for one in stream.doubts.take_all():
            if sure is None or one.first_id > sure:
                above.append(one)
            else:
                self._copy(stream, one, out)
        first = min(above, key=lambda one: one.first_id if stream.rule == "contiguous" else one.last_id)
        high = (first.first_id if stream.rule == "contiguous" else first.last_id) - 1
        low = (high if sure is None else sure) + 1
        runs, state = [(low, high)], GapState.unrecoverable
        if stream.kind == Kind.trade and low <= high:  # some of it may have come late meanwhile
            runs, state = self._still_missing(stream, low, high, first.venue_ns, out), GapState.open
            low = runs[0][0]
        self.contradictions += 1
        why = f"{stream.topic} said id {absurd}, and goes on with {high + 1}: nothing is known above {low - 1}"
        self._alert("critical", "contradiction", stream, why, "what lies between is a gap, ids above it come again", out)
        stream.go_back(low - 1, high)
        for run in runs if state is GapState.open else ():
            stream.gaps.open(*run, 0, first.venue_ns)
        self._say(stream, runs, state, Reason.contradiction, first.venue_ns, out, before_ns=0)
        self._hold(stream, above, before=True)
        self._drain(stream, out)

    def _still_missing(self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray]) -> list[Run]:
        """Of the trades `low` to `high`: runs that nobody has brought, the last one up to `high`, if with nothing in it.
        What was repaired of a gap that an absurd id opened is said."""
        missing, at = [], low
        for gap in stream.gaps.touched(low, high):
            repaired = [(max(first, low), min(last, high)) for first, last in gap.repaired() if first <= high and last >= low]
            if repaired:
                self._say(stream, repaired, GapState.repaired, Reason.none, after_ns, out, gap.before_ns)
            missing += gap.overlap(low, high)
            at = gap.high + 1
        if at <= high:
            missing.append((at, high))
        if not missing or missing[-1][1] < high:
            missing.append((high + 1, high))
        return missing

    def _begin_era(self, stream: ArbitratedStream, line: str, out: list[bytearray]) -> None:
        """The venue's ids began anew without its word: all that is said is lower, and goes on."""
        self._disown(stream, out)
        assert stream.last is not None
        self.eras += 1
        runs = {other: [one.number for one in run.offers] for other, run in stream.doubts.runs.items()}
        offers = list(stream.doubts.take_all())
        own = [one for one in offers if one.line == line]
        why = f"{stream.topic} was at id {stream.last}; now all that is said is lower, and goes on from {own[0].first_id}"
        self._alert("critical", "ids_began_anew", stream, why, "followed as a new era", out)
        for gap in list(stream.gaps.all):
            self._lose(stream, gap, list(gap.missing), Reason.reset, out)
        self._close(stream, out)
        self._say_reset(stream, stream.last, own[0].venue_ns, out)
        first = own[0]
        if stream.kind == Kind.depth:
            self.reset(stream.subject, line, first.number)
        else:
            stream.reset(line, first.number)
        for other in sorted(runs.keys() - {line}):
            self._cross(stream, next(one for one in offers if one.line == other), out)
        set_flags(first.event, first.flags | RESET)
        self._take(stream, first._replace(flags=first.flags | RESET), out)
        self._hold(stream, [one for one in offers if one is not first], before=True)
        self._drain(stream, out)
        quotes = self.streams.get((int(Kind.quote), stream.subject))
        if stream.kind == Kind.depth and quotes is not None and quotes.doubts:  # their ids are of the book
            for run in quotes.doubts.runs.values():
                self._cross(quotes, run.offers[0], out)  # it may have said one before the book's first change
            self._hold(quotes, list(quotes.doubts.take_all()), before=True)
            self._drain(quotes, out)

    # -- telling

    def _tell_deaf(self, out: list[bytearray]) -> None:
        """Whatever the cause: a stream that drops all it hears says so."""
        for stream in self.streams.values():
            lasted_ns = stream.dropped_at - stream.dropping_since if stream.drops else 0
            if not lasted_ns:
                stream.told_deaf = False
            elif lasted_ns > DEAF_HOLDS * self.hold_ns and not stream.told_deaf:
                stream.told_deaf = True
                seconds = lasted_ns / 1e9
                why = f"{stream.topic} is at id {stream.last}; all {stream.drops} events of {seconds:.0f} s were dropped"
                self._alert("critical", "stream_deaf", stream, why, "none: look at what its lines say (tap line)", out)

    def _alert(self, level: str, what: str, stream: ArbitratedStream, why: str, action: str, out: list[bytearray]) -> None:
        key = (what, stream.kind, stream.subject)
        if self.now - self._alerted.get(key, self.now - ALERT_HOLDS * self.hold_ns) >= ALERT_HOLDS * self.hold_ns:
            self._alerted[key] = self.now
            content = {"level": level, "what": what, "target": stream.topic, "why": why, "action": action}
            out.append(encode(Kind.alert, "sequencer", content))

    # -- gaps

    def _open(
        self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray],
        reason: Reason = Reason.skipped,
    ) -> None:  # fmt: skip
        """Trades that are not there. `last` moves to the end of them, in the log too: a restart says no gap twice."""
        stream.gaps.open(low, high, stream.venue_ns, after_ns)
        stream.give_up_to(high)
        self._say(stream, [(low, high)], GapState.open, reason, after_ns, out)
        if len(stream.gaps) > MISSING_MAX:
            self._close(stream, out)  # after a restart the oldest may be decided, and that not said yet
        if len(stream.gaps) > MISSING_MAX:
            self.forgotten += 1
            oldest = stream.gaps.all[0]
            self._lose(stream, oldest, list(oldest.missing), Reason.skipped, out)
            self._close(stream, out)

    def _repair(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        """A late event, or one of backfill, with ids of an open gap: taken after all, flagged.

        Of an event that lies across several holes only the part in the first one is: an event is one run of ids.
        """
        for low, high in stream.gaps.missing(one.first_id, one.last_id):
            (gap,) = stream.gaps.touched(low, high)
            if one.venue_ns - (one.flags and HISTORY_NS) > gap.after_ns > 0:
                continue  # later than what stands behind the hole: it means something else
            event = clipping.clip(one.event, low, high)
            if event is not None:
                part = offer_of(one.line, one.number, event)
                set_flags(event, part.flags | REPAIRED)
                stream.gaps.fill(part.first_id, part.last_id)
                self.late += 1
                out.append(event)
                if not one.flags:
                    stream.doubts.wait_anew(self.now)  # the stream lives: others may be late as well
                self._close(stream, out)
                return True
        return False

    def _lose(self, stream: ArbitratedStream, gap: Gap, runs: list[Run], reason: Reason, out: list[bytearray]) -> None:
        for low, high in runs:
            stream.gaps.lose(low, high)
        self._say(stream, runs, GapState.unrecoverable, reason, gap.after_ns, out, gap.before_ns)

    def _close(self, stream: ArbitratedStream, out: list[bytearray]) -> None:
        """Gaps of which every id is decided: what was repaired is said, what was lost has been."""
        for gap in stream.gaps.pop_decided():
            if runs := gap.repaired():
                self._say(stream, runs, GapState.repaired, Reason.none, gap.after_ns, out, gap.before_ns)

    @staticmethod
    def _say(
        stream: ArbitratedStream, runs: list[Run], state: GapState, reason: Reason, after_ns: int, out: list[bytearray],
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
        held = [one.number for key in self._holding for _, one in self.streams[key].held.get(line, ())]
        return held + [number for key in self._doubting for number in self.streams[key].doubts.numbers(line)]

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
