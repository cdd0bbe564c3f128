"""Feed arbitration: the same stream over N lines, first arrival of each venue id wins.

Trades and depth changes have contiguous ids: an event that skips some is held until another line fills them, or until
`hold_ns` has passed; then a `gap` is said. Quotes have rising ids with holes: there a line that has just connected is
held until it overlaps with what is known, so that it cannot overtake another line that is still behind. Where ids mean
nothing on another line, one line is taken at a time (exclusive.py).

An id is evidence only when a neighbour confirms it: a jump out of proportion is held for its line's next event, and ids that go
on below one that was taken are a contradiction, or a new era (doubts.py, docs/decisions/absurd-ids.md).
All that a decision depends on, but time, is in the log: recovery.py finds it there again after a crash.
"""

import numpy as np

from tickmesh.bus.schema import GapState, Kind, Reason
from tickmesh.bus.wire import add_flags
from tickmesh.nodes.sequencer import doubts, eras, exclusive, holding, statements
from tickmesh.nodes.sequencer.copies import Copies
from tickmesh.nodes.sequencer.holding import HeldEvents
from tickmesh.nodes.sequencer.offer import REPAIRED, RESET, SNAPSHOT, Offer, key_of, offer_of
from tickmesh.nodes.sequencer.packed_stream import PackedStream
from tickmesh.nodes.sequencer.statements import Alerts
from tickmesh.nodes.sequencer.stream import DISORDER, ArbitratedStream
from tickmesh.nodes.sequencer.trade_gaps import TradeGaps

ARBITRATED = frozenset((int(Kind.trade), int(Kind.quote), int(Kind.depth)))
UNUSUAL = REPAIRED | RESET


class Arbiter:
    """Decides for every market event whether it goes into the log now, later or not.

    `hold_ns`: how long a skipped id may be filled by another line. All times are a monotonic clock's.
    """

    def __init__(self, hold_ns: int, contradictions: bool = True, eras: bool = True, unsynced: bool = True):
        self.hold_ns = hold_ns
        self.check_ids, self.follow_eras, self.keep_unsynced = contradictions, eras, unsynced
        self.now = 0  # of the last call
        self.streams: dict[tuple[int, str], ArbitratedStream] = {}
        self.stale_snapshots = 0
        self.taken_over = 0  # exclusive streams that went on with another line
        self.contradictions = 0  # absurd ids: refused, or gone back from
        self.brought_up = 0  # snapshots that were older than the changes before them
        self.eras = 0  # streams whose ids began anew without the venue's word
        self._doubting: set[tuple[int, str]] = set()
        self._looked = 0
        self.trade_gaps = TradeGaps()
        self.copies = Copies(self.trade_gaps)
        self.alerts = Alerts(hold_ns)
        self.waiting = HeldEvents(hold_ns, contradictions, self.trade_gaps, self.alerts, self._settle, self._refute)

    def stream(self, kind: int, subject: str) -> ArbitratedStream:
        key = (int(kind), subject)
        if (stream := self.streams.get(key)) is None:
            stream = self.streams[key] = ArbitratedStream(*key)
        return stream

    def connected(self, line: str, number: int, subject: str = "", kind: int = 0, live: bool = True) -> None:
        """Notes a line's new connection (of one subject or "" for all, of one kind or 0 for all): its events beyond `number`
        need not follow on. `live`: it is heard of now, and not found in the log."""
        for (one, name), stream in self.streams.items():
            if subject in ("", name) and kind in (0, one):
                stream.mark(line, number, live)

    # -- taking

    def offer(self, kind: int, subject: str, line: str, number: int, event: bytearray, now: int) -> list[bytearray]:
        """Takes one event of a line; gives what goes into the log because of it, in order."""
        self.now = now
        stream = self.streams.get((kind, subject)) or self.stream(kind, subject)
        one, last = offer_of(line, number, event), stream.last
        if last is not None and one.last_id <= last and self.copies.glance(stream, one, now):
            return []
        if not one.flags and stream.lines.note(line, one.last_id, one.recv_ns, last):
            one = one._replace(behind=True)
        if line in stream.fresh:
            stream.note_first(one)
        out: list[bytearray] = []
        if stream.rule == "exclusive":
            self._settle_exclusive(stream, one, now, out)
            return out
        if one.flags & SNAPSHOT:  # it goes on after its own id, whatever its line brought next
            one = one._replace(first_id=one.last_id + 1)
        queue = stream.held.get(line)
        if queue or not self._settle(stream, one, out):
            self.waiting.hold(stream, [one], self.now)
            if len(stream.held[line]) > 1:
                self.waiting.drain(stream, self.now, out)  # it may confirm the one before it, or contradict it
            if len(stream.held.get(line, ())) > holding.HELD_MAX:
                self.waiting.give_up(stream, [queue[0][1] for queue in stream.held.values()], now, out)
        elif stream.held and stream.last != last:
            self.waiting.drain(stream, self.now, out)
        return out

    def due(self, now: int) -> list[bytearray]:
        """Gives what goes into the log now because nothing filled a hole in time, or nothing resolved a doubt."""
        self.now = now
        out: list[bytearray] = []
        self.trade_gaps.close_undecided(self.streams, out)
        for key in sorted(self._doubting):
            stream = self.streams[key]
            for line in sorted(stream.doubts.runs):
                self._decide(stream, line, out)
            if not stream.doubts:
                self._doubting.discard(key)
        self.waiting.give_up_holes(now, out, lambda deadline, one, stream: deadline <= now)
        if now - self._looked >= self.hold_ns:
            self._looked = now
            for stream in self.streams.values():
                out += self.alerts.deaf(stream, now)
        return out

    def end(self) -> list[bytearray]:
        """Gives up holes and drops copies at a clean stop; what may be more stays in its outbox for the next start."""
        out: list[bytearray] = []
        for key in sorted(self._doubting):
            stream = self.streams[key]
            for line, run in sorted(stream.doubts.runs.items()):
                if not (stream.above_sure(run.offers[0]) or eras.may_have_begun(self.streams, key[1], line)):
                    for one in stream.doubts.runs.pop(line).offers:
                        self.copies.judge(stream, one, self.now, out)
        self.waiting.give_up_holes(self.now, out, lambda deadline, one, stream: not stream.doubtful(one))
        return out

    def declare(self, subject: str, line: str, records: np.ndarray) -> list[bytearray]:
        """Takes backfill's word that ids will not come; gives gap events about those still missing, with its reason."""
        out: list[bytearray] = []
        for record in records:
            if not self.trade_gaps.declare(self.stream(record["stream"], subject), record, out):
                self.copies.count(line)
        return out

    def _settle(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        """Takes or drops the event if that is decided; False if it has to wait."""
        last = stream.last
        if one.flags & UNUSUAL:
            if one.flags & RESET:
                self._settle_reset(stream, one, out)
            elif last is None or not self.trade_gaps.repair(stream, one, self.now, out):
                self.copies.refuse_unfilled(stream, one, out)
                self.copies.drop(stream, one.line, self.now)
            return True
        if not stream.counts(one):
            if not stream.crosses(one):
                self.copies.drop(stream, one.line, self.now)  # of the time before the venue's ids began anew
                return True
            eras.cross_line(self.streams, stream, one, out)
        if stream.refused and key_of(one.first_id, one.last_id, one.event) in stream.refused:
            self.copies.drop(stream, one.line, self.now)  # another line's copy of what was taken back
            return True
        if stream.rule == "rising":
            return self._settle_rising(stream, one, out)
        if last is None:
            self._take(stream, one, out)
        elif one.first_id > last + 1 or (one.last_id - last > DISORDER and self.waiting.unconfirmed(stream, one)):
            return False
        elif one.flags & SNAPSHOT:
            self._settle_snapshot(stream, one, last, out)
        elif one.last_id <= last:
            self._doubt(stream, one, last, out)
        elif one.first_id <= last and stream.is_trades:
            rest = self.trade_gaps.take_rest(stream, one, last, out)
            if rest is None:
                self.copies.drop(stream, one.line, self.now)
            else:
                self._take(stream, rest, out)
        else:
            self._take(stream, one, out)
        return True

    def _settle_snapshot(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> None:
        """A book that is known already needs none. One that is not: the snapshot with the changes since applied to it."""
        if stream.synced:
            self._doubt(stream, one, last, out)  # where ids begin anew lower, the book that they are of
            return
        image = stream.unsynced.brought_up(one.event, one.last_id, last, max(one.venue_ns, stream.venue_ns))
        if image is None:
            self.stale_snapshots += 1
            self.copies.drop(stream, one.line, self.now)
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
                    out.append(statements.joined(stream, one))
            self._doubt(stream, one, last, out)
        elif last is None or one.line in stream.joined:
            if last is not None and one.last_id - last > DISORDER:
                if self.waiting.unconfirmed(stream, one):
                    return False
                holding.publish_owed_gap(stream, one, out)
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
                eras.cross_line(self.streams, stream, one, out)
            self.copies.drop(stream, one.line, self.now)
            return
        if stream.last is not None and crossed != {}:
            self.contradictions += eras.disown(self.streams, stream, out) if self.check_ids else 0
            out.append(statements.reset_gap(stream, stream.last, one.venue_ns))
        eras.begin(self.streams, stream.subject, one.line, one.number)
        self._take(stream, one, out)

    def _settle_exclusive(self, stream: ArbitratedStream, one: Offer, now: int, out: list[bytearray]) -> None:
        verdict = exclusive.judge(stream, one, now, self.hold_ns)
        if verdict is exclusive.OwnerVerdict.drop:
            self.copies.drop(stream, one.line, self.now)
            return
        if verdict is exclusive.OwnerVerdict.take_over:
            self.taken_over += 1
            exclusive.hand_over(stream, one, out)
        self._take(stream, one, out)

    def _take(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        flags = one.flags
        if not self.keep_unsynced and stream.is_book and not (stream.synced or flags & SNAPSHOT):
            self.copies.drop(stream, one.line, self.now)
            return
        if stream.anew:
            stream.anew = False
            out.append(statements.reset_gap(stream, stream.before, one.venue_ns))
            flags |= RESET
        flags = stream.took(one.line, one.first_id, one.last_id, flags, one.venue_ns, one.event)
        if flags != one.flags:
            add_flags(one.event, flags)
        out.append(one.event)
        if stream.doubts:
            newer = {line for line, run in stream.doubts.runs.items() if run.newer}
            for copy in stream.doubts.take_all():
                self.copies.judge(stream, copy, self.now, out, copy.line in newer)

    # -- doubts

    def _doubt(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> None:
        """An id at or below the last one: a copy of what is known, or more than that."""
        same = stream.same(one)
        if same is None and one.last_id == last and not stream.is_book:
            same = not (one.flags or stream.jumped)
        if same:
            self.copies.drop(stream, one.line, self.now)
            return
        if not stream.above_sure(one) and self.trade_gaps.fills(stream, one, self.now, out):
            return
        if stream.doubts.lower_again(one, last) and self.follow_eras:
            self._begin_era(stream, stream.doubts.earliest(one.line), out)
            if not self._settle(stream, one, out):
                self.waiting.hold(stream, [one], self.now)
            return
        if stream.doubts.older(one, stream.venue_ns):
            self.copies.judge(stream, one, self.now, out)
            return
        for other in stream.doubts.ended(one, last, stream.venue_ns):
            self.copies.judge(stream, other, self.now, out)
        if stream.doubts.astray(one):
            same = stream.doubts.same(one)
            if same is False:
                self.copies.refuse_otherwise(stream, one, out)
            if same is not None:
                self.copies.drop(stream, one.line, self.now)
            else:
                self.copies.judge(stream, one, self.now, out)
            return
        if not stream.drops:
            stream.dropping_since = self.now
        stream.doubts.add(one, last, self.now, stream.venue_ns)
        self._doubting.add((stream.kind, stream.subject))
        self._decide(stream, one.line, out)

    def _decide(self, stream: ArbitratedStream, line: str, out: list[bytearray]) -> None:
        run = stream.doubts.runs.get(line)
        if run is None:
            return
        verdict = stream.verdict(line, self.now, self.hold_ns)
        untimed = verdict is doubts.DoubtVerdict.copies and run.at == stream.last and not run.newer
        if untimed and eras.may_have_begun(self.streams, stream.subject, line):
            return  # its book's ids are later than all that is known: what becomes of that decides
        if verdict is doubts.DoubtVerdict.copies or run.at != stream.last:
            for one in stream.doubts.runs.pop(line).offers:
                self.copies.judge(stream, one, self.now, out, run.newer)
        elif verdict is doubts.DoubtVerdict.contradiction and self.check_ids:
            self._go_back(stream, out)
        elif verdict is doubts.DoubtVerdict.era and self.follow_eras:
            self._begin_era(stream, stream.doubts.earliest(line), out)

    def _refute(self, stream: ArbitratedStream, one: Offer, behind: Offer, out: list[bytearray]) -> None:
        """An event whose line goes on below its id is refused with its bytes; it was held, so nothing was built on it."""
        if (key := key_of(one.first_id, one.last_id, one.event)) in stream.refused:  # another line's copy
            self.copies.drop(stream, one.line, self.now)
            return
        self.contradictions += 1
        stream.refused.append(key)
        why = f"{stream.topic} says id {one.last_id} after {stream.last}, and its line goes on with {behind.first_id}"
        out.append(statements.refusal(stream, one, why))
        action = "the event is refused, what lies between is a gap"
        out += self.alerts.about(stream, "warning", "contradiction", why, action, self.now)
        if stream.numbered or stream.doubtful(behind):  # it is decided later what the stream goes on with
            stream.refuted = stream.last
        elif behind.last_id > (stream.last or 0):
            holding.publish_gap_before(stream, behind, out)

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
                self.copies.judge(stream, one, self.now, out)
        first = min(above, key=lambda one: one.first_id if stream.rule == "contiguous" else one.last_id)
        high = (first.first_id if stream.rule == "contiguous" else first.last_id) - 1
        low = (high if sure is None else sure) + 1
        runs, state = [(low, high)], GapState.unrecoverable
        if stream.is_trades and low <= high:  # some of it may have come late meanwhile
            runs, state = self.trade_gaps.still_missing(stream, low, high, first.venue_ns, out), GapState.open
            low = runs[0][0]
        self.contradictions += 1
        why = f"{stream.topic} said id {absurd}, and goes on with {high + 1}: nothing is known above {low - 1}"
        action = "what lies between is a gap, ids above it come again"
        out += self.alerts.about(stream, "critical", "contradiction", why, action, self.now)
        stream.go_back(low - 1, high)
        for run in runs if state is GapState.open else ():
            stream.gaps.open(*run, 0, first.venue_ns)
        out.append(statements.gap(stream, runs, state, Reason.contradiction, first.venue_ns, before_ns=0))
        self.waiting.hold_first(stream, above, self.now)
        self.waiting.drain(stream, self.now, out)

    def _begin_era(self, stream: ArbitratedStream, line: str, out: list[bytearray]) -> None:
        """The venue's ids began anew without its word: all that is said is lower, and goes on."""
        self.contradictions += eras.disown(self.streams, stream, out) if self.check_ids else 0
        assert stream.last is not None
        self.eras += 1
        runs = {other: [one.number for one in run.offers] for other, run in stream.doubts.runs.items()}
        offers = list(stream.doubts.take_all())
        own = [one for one in offers if one.line == line]
        why = f"{stream.topic} was at id {stream.last}; now all that is said is lower, and goes on from {own[0].first_id}"
        out += self.alerts.about(stream, "critical", "ids_began_anew", why, "followed as a new era", self.now)
        self.trade_gaps.lose_all(stream, Reason.reset, out)
        out.append(statements.reset_gap(stream, stream.last, own[0].venue_ns))
        first = own[0]
        if stream.is_book:
            eras.begin(self.streams, stream.subject, line, first.number)
        else:
            stream.reset(line, first.number)
        for other in sorted(runs.keys() - {line}):
            eras.cross_line(self.streams, stream, next(one for one in offers if one.line == other), out)
        add_flags(first.event, RESET)
        self._take(stream, first._replace(flags=first.flags | RESET), out)
        self.waiting.hold_first(stream, [one for one in offers if one is not first], self.now)
        self.waiting.drain(stream, self.now, out)
        quotes = self.streams.get((int(Kind.quote), stream.subject))
        if stream.is_book and quotes is not None and quotes.doubts:  # their ids are of the book
            for run in quotes.doubts.runs.values():
                eras.cross_line(self.streams, quotes, run.offers[0], out)  # it may have said one before the book's first change
            self.waiting.hold_first(quotes, list(quotes.doubts.take_all()), self.now)
            self.waiting.drain(quotes, self.now, out)

    # -- what is known of it

    @property
    def open_gaps(self) -> int:
        return sum(len(stream.gaps) for stream in self.streams.values())

    def held_numbers(self, line: str) -> list[int]:
        """The numbers of a line's events that wait: its cursor stays before the smallest."""
        return self.waiting.numbers(line) + [
            number for key in self._doubting for number in self.streams[key].doubts.numbers(line)
        ]

    def in_order(self) -> list[ArbitratedStream]:
        """Every stream, in order of kind and subject."""
        return [stream for _, stream in sorted(self.streams.items())]

    def state(self) -> dict[str, PackedStream]:
        """Every stream's state by "kind subject"; `restore` takes it."""
        return {f"{kind} {subject}": stream.state() for (kind, subject), stream in self.streams.items()}

    def restore(self, state: dict[str, PackedStream]) -> None:
        """Puts every stream where `state` was taken."""
        for key, value in state.items():
            kind, _, subject = key.partition(" ")
            self.stream(int(kind), subject).restore(value)
            self.trade_gaps.undecided.add((int(kind), subject))
