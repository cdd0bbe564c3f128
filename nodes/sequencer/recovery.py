"""What arbitration knew, found again in the log: each event changes its state as saying it did. No I/O."""

from tickmesh.bus.schema import Flag, GapState, Kind, Reason
from tickmesh.bus.wire import Event
from tickmesh.nodes.sequencer import eras
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.sequencer.offer import Offer
from tickmesh.nodes.sequencer.stream import ArbitratedStream


def observe(arbiter: Arbiter, event: Event) -> None:
    """Brings the arbiter to where it was after an event that is in the log already."""
    if event.kind in ARBITRATED:
        _taken(arbiter, arbiter.stream(event.kind, event.subject), event)
    elif event.kind == Kind.instrument:
        if event.last_id:
            arbiter.connected(event.producer, event.number, event.subject, event.k, live=False)
    elif event.kind == Kind.run:
        arbiter.connected(event.producer, event.number, live=False)
    elif event.kind == Kind.gap:
        for record in event.records.tolist():
            _gap(arbiter, event.subject, record)
    elif event.kind == Kind.line:
        for record in event.records:
            if record["joined"]:
                _joined(arbiter, event, record["line"].decode(), int(record["stream"]))


def _taken(arbiter: Arbiter, stream: ArbitratedStream, event: Event) -> None:
    if stream.kind == Kind.trade and event.flags & Flag.REPAIRED:
        stream.gaps.observe(event)
        arbiter.trade_gaps.undecided.add((stream.kind, stream.subject))
        return
    if stream.rule == "exclusive":
        stream.owner, stream.away = event.producer, False
    elif event.flags & Flag.RESET:
        if stream.kind == Kind.depth:
            eras.begin(arbiter.streams, stream.subject, event.producer, event.number)
        elif not stream.anew:
            stream.reset(event.producer, event.number)
        stream.anew = False
    if stream.rule == "rising":
        stream.begin(Offer(event.producer, event.number, 0, 0, 0, 0, 0, bytearray()))
        stream.joined.add(event.producer)
    stream.took(event.producer, event.first_id, event.last_id, event.flags, event.venue_ns, event.raw)


def _gap(arbiter: Arbiter, subject: str, record: tuple[int, ...]) -> None:
    first, last, kind, state, reason, _, before_ns, after_ns, _ = record
    stream = arbiter.stream(kind, subject)
    if reason == Reason.contradiction:  # first, since it takes back what is known above it
        stream.go_back(first - 1, last)
    if kind == Kind.trade and stream.rule != "exclusive":
        stream.gaps.observe_record(first, last, kind, state, reason, before_ns, after_ns)
        arbiter.trade_gaps.undecided.add((kind, subject))
    if reason == Reason.reset:  # the event that says so comes next
        if not stream.anew:
            stream.crossed = {}
    elif reason != Reason.contradiction and (kind != Kind.trade or stream.rule == "exclusive" or state == GapState.open):
        stream.give_up_to(last)
        stream.away = stream.rule == "exclusive"


def _joined(arbiter: Arbiter, event: Event, line: str, kind: int) -> None:
    if kind == Kind.depth:
        eras.cross(arbiter.streams, event.subject, line, event.last_id)
        return
    stream = arbiter.stream(kind, event.subject)
    if stream.crossed is not None:
        stream.cross(line, event.last_id)
    if kind == Kind.quote:
        stream.joined.add(line)
        stream.marks.pop(line, None)
