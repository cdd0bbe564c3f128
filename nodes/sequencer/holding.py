"""Events that wait for a hole to be filled or for a neighbour's word: each line's in its own order. Pure."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable

from tickmesh.bus.schema import GapState, Reason
from tickmesh.nodes.sequencer import statements
from tickmesh.nodes.sequencer.leap import CONFIRM
from tickmesh.nodes.sequencer.offer import Offer
from tickmesh.nodes.sequencer.statements import Alerts
from tickmesh.nodes.sequencer.stream import DISORDER, ArbitratedStream
from tickmesh.nodes.sequencer.trade_gaps import TradeGaps

HELD_MAX = 50_000  # events held per stream; beyond it the oldest hole is given up at once
OVERTAKEN_MAX = 64  # places by which an event may have been overtaken on its own line
HURRY = 10  # a hole that no line can fill waits for a tenth of a hold: what was overtaken on its own line comes within that
DOUBT_HOLDS = 10  # a jump out of proportion that nothing confirms or contradicts is believed after so many holds

Queue = deque[tuple[int, Offer]]  # (deadline, event)


def lines_in_turn(stream: ArbitratedStream) -> list[str]:
    """Lines with events that wait. Where holes mean nothing, the lowest id of all is next: what only one line has must not come
    behind what another has said since."""
    return sorted(stream.held, key=lambda line: (0 if stream.numbered else stream.held[line][0][1].last_id, line))


def overtaken(stream: ArbitratedStream, queue: Queue) -> Offer | None:
    """Takes the event that fills the hole out of its line's queue, where what waits for it has overtaken it; None for none."""
    if not stream.numbered or stream.last is None:
        return None
    wanted = stream.last + 1
    for place in range(1, min(len(queue), OVERTAKEN_MAX)):
        one = queue[place][1]
        if one.first_id <= wanted <= one.last_id and not one.flags and not stream.doubtful(one):
            del queue[place]
            return one
    return None


def least_overtaken(stream: ArbitratedStream, one: Offer) -> int:
    """The smallest id that waits behind the hole before `one`, on any line: overtaken events stand behind it in a queue."""
    queues = (itertools.islice(queue, OVERTAKEN_MAX) for queue in stream.held.values())
    others = [other for queue in queues for _, other in queue if not (other.flags or stream.doubtful(other))]
    before = [other.first_id for other in others if (stream.last or 0) < other.first_id <= other.last_id < one.first_id]
    return min(before, default=one.first_id)


def below(stream: ArbitratedStream, one: Offer) -> Offer | None:
    """The first of two events of its line that go on below an event behind a hole; None where that is mere disorder."""
    disorder = DISORDER if stream.numbered else stream.in_proportion
    if stream.last is None or one.first_id - stream.last <= disorder:
        return None
    lower = [behind for _, behind in stream.held[one.line] if stream.last < behind.last_id < one.first_id]
    return lower[0] if len(lower) > 1 and lower[0].last_id < lower[1].last_id else None


def refuted_by(stream: ArbitratedStream, one: Offer, queue: Queue) -> Offer | None:
    """The next event of the line, if it refutes an id out of proportion by going on below it. Where enough go on near it, the
    event is trusted from here on."""
    near = 0
    for _, behind in queue:
        if behind.last_id < one.last_id:
            return behind
        near += 0 < behind.last_id - one.last_id <= stream.proportion  # farther above it confirms nothing
        if near == CONFIRM:
            stream.trusted[one.line] = one.number
            return None
    return None


def publish_gap_before(stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
    """Publishes that nothing is known of the ids before `one`, and moves the stream there; ids only rise, an absurd one was
    refused, and its line goes on with `one`."""
    low, high = (stream.last or 0) + 1, one.last_id - 1
    out.append(statements.gap(stream, [(low, high)], GapState.unrecoverable, Reason.contradiction, one.venue_ns))
    stream.go_back(low - 1, high)


def publish_owed_gap(stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
    """Publishes the gap before an event out of proportion that is taken after all, if an absurd one before it was refused."""
    if stream.refuted == stream.last and stream.doubtful(one):
        publish_gap_before(stream, one, out)


class HeldEvents:
    """The events of all streams that wait. `settle(stream, one, out)` takes or drops one if that is decided now;
    `refute(stream, one, behind, out)` refuses one that its own line contradicts. `out`: events for the log, appended to."""

    def __init__(
        self,
        hold_ns: int,
        check_ids: bool,
        trade_gaps: TradeGaps,
        alerts: Alerts,
        settle: Callable[[ArbitratedStream, Offer, list[bytearray]], bool],
        refute: Callable[[ArbitratedStream, Offer, Offer, list[bytearray]], None],
    ):
        self.hold_ns, self.check_ids = hold_ns, check_ids
        self.trade_gaps, self.alerts = trade_gaps, alerts
        self.settle, self.refute = settle, refute
        self.given_up = 0  # holes
        self.streams: dict[tuple[int, str], ArbitratedStream] = {}  # those with events that wait

    def hold(self, stream: ArbitratedStream, offers: Iterable[Offer], now: int) -> None:
        """Puts events behind what their lines brought before."""
        for one in offers:
            stream.held.setdefault(one.line, deque()).append((self._deadline(stream, one, now), one))
            if len(stream.held[one.line]) == 1:
                self._hurry(stream, one.line, now)
        self.streams[stream.kind, stream.subject] = stream

    def hold_first(self, stream: ArbitratedStream, offers: list[Offer], now: int) -> None:
        """Puts events before all that waits of their lines."""
        for one in reversed(offers):
            stream.held.setdefault(one.line, deque()).appendleft((self._deadline(stream, one, now), one))
        self.streams[stream.kind, stream.subject] = stream

    def _hurry(self, stream: ArbitratedStream, line: str, now: int) -> None:
        """Waits no longer than a tenth of a hold for what no line can bring: each line's events that wait begin with the first
        of a connection, which had what lies before behind it. `line`: the one whose event waits last."""
        heads = [queue[0][1] for queue in stream.held.values()]
        if any(stream.doubtful(one) or not stream.began_with(one) for one in heads):
            return
        if stream.lines_of(line) <= stream.held.keys():
            for queue in stream.held.values():
                deadline, one = queue[0]
                queue[0] = min(deadline, now + self.hold_ns // HURRY), one

    def _deadline(self, stream: ArbitratedStream, one: Offer, now: int) -> int:
        return now + (DOUBT_HOLDS if stream.doubtful(one) else 1) * self.hold_ns

    def unconfirmed(self, stream: ArbitratedStream, one: Offer) -> bool:
        """Whether the event's ids are out of proportion, and nothing has confirmed them yet."""
        return self.check_ids and stream.doubtful(one) and stream.trusted.get(one.line) != one.number

    def drain(self, stream: ArbitratedStream, now: int, out: list[bytearray]) -> None:
        """Takes or drops the held events that are decided now, each line's in its own order."""
        moved = True
        while moved:
            moved = False
            for line in lines_in_turn(stream):
                while queue := stream.held.get(line):
                    deadline, one = queue.popleft()
                    if not (self._refused(stream, one, queue, out) or self.settle(stream, one, out)):
                        if stream.trusted.get(one.line) == one.number:  # it waits for a hole alone now
                            deadline = min(deadline, now + self.hold_ns)
                        queue.appendleft((deadline, one))
                        filling = overtaken(stream, queue)
                        if filling is None or not self.settle(stream, filling, out):
                            break
                    moved = True
                    if not stream.numbered:
                        break
                if not stream.held.get(line):
                    stream.held.pop(line, None)
                if moved and not stream.numbered:
                    break

    def _refused(self, stream: ArbitratedStream, one: Offer, queue: Queue, out: list[bytearray]) -> bool:
        """Whether its line's next events contradict an id that is out of proportion."""
        if not (queue and self.check_ids):
            return False
        behind = None if stream.numbered else below(stream, one)
        if behind is None and self.unconfirmed(stream, one):
            behind = refuted_by(stream, one, queue)
        if behind is not None:
            self.refute(stream, one, behind, out)
        return behind is not None

    def give_up_holes(self, now: int, out: list[bytearray], over: Callable[[int, Offer, ArbitratedStream], bool]) -> None:
        """Gives up every hole for which `over(deadline, the first event behind it, its stream)` is true."""
        for key in sorted(self.streams):
            stream = self.streams[key]
            while any(over(*queue[0], stream) for queue in stream.held.values()):
                heads = [queue[0] for queue in stream.held.values()]
                due = [one for at, one in heads if over(at, one, stream) or not stream.doubtful(one)]
                self.give_up(stream, due, now, out)
            if not stream.held:
                del self.streams[key]

    def give_up(self, stream: ArbitratedStream, heads: list[Offer], now: int, out: list[bytearray]) -> None:
        """Lets the held event with the smallest id go on; the ids before it become a gap."""
        one = min(heads, key=lambda one: (one.first_id, one.line))
        if self.check_ids and (behind := below(stream, one)) is not None:
            stream.held[one.line].popleft()
            self.refute(stream, one, behind, out)
            self.drain(stream, now, out)
            return
        if self.unconfirmed(stream, one):
            stream.trusted[one.line] = one.number
            why = f"{stream.topic} jumps from {stream.last} to {one.last_id}; nothing confirmed or contradicted that in time"
            action = "it is believed until something contradicts it"
            out += self.alerts.about(stream, "warning", "unconfirmed_jump", why, action, now)
        if stream.rule == "rising":
            stream.begin(one)
            stream.joined.add(one.line)  # whether quotes are missing cannot be known from ids with holes
        elif stream.counts(one):  # else it is dropped
            low, high = (stream.last or 0) + 1, least_overtaken(stream, one) - 1
            if low <= high:
                self.given_up += 1
                self.trade_gaps.give_up(stream, low, high, one.venue_ns, out)
        self.drain(stream, now, out)

    def numbers(self, line: str) -> list[int]:
        """The numbers of a line's events that wait."""
        return [one.number for stream in self.streams.values() for _, one in stream.held.get(line, ())]
