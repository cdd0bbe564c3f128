"""What arbitration knew, found again in the log: each event changes its state as saying it did. No I/O."""

from bus.schema import Flag, GapState, Kind, Reason
from bus.wire import Event
from nodes.sequencing.arbiter import ARBITRATED, Arbiter
from nodes.sequencing.stream import Offer, Stream


def observe(arbiter: Arbiter, event: Event) -> None:
    """An event that is in the log already."""
    if event.kind in ARBITRATED:
        _taken(arbiter, arbiter.stream(event.kind, event.subject), event)
    elif event.kind == Kind.instrument:
        if event.last_id:
            arbiter.connected(event.producer, event.number, event.subject)
    elif event.kind == Kind.run:
        arbiter.connected(event.producer, event.number)
    elif event.kind == Kind.gap:
        for record in event.records.tolist():
            _gap(arbiter, event.subject, record)
    elif event.kind == Kind.line:
        for record in event.records:
            if record["joined"]:
                _joined(arbiter, event, record["line"].decode(), int(record["stream"]))


def _taken(arbiter: Arbiter, stream: Stream, event: Event) -> None:
    if stream.kind == Kind.trade and event.flags & Flag.REPAIRED:
        stream.gaps.observe(event)
        arbiter.undecided.add((stream.kind, stream.subject))
        return
    if stream.rule == "exclusive":
        stream.owner, stream.away = event.producer, False
    elif event.flags & Flag.RESET:
        arbiter.reset(stream.subject, event.producer, event.number)
    elif stream.rule == "rising":
        stream.begin(Offer(event.producer, event.number, 0, 0, 0, 0, 0, bytearray()))
        stream.joined.add(event.producer)
    stream.last, stream.venue_ns = event.last_id, event.venue_ns
    stream.synced = stream.synced or bool(event.flags & Flag.SNAPSHOT)


def _gap(arbiter: Arbiter, subject: str, record: tuple) -> None:
    first, last, kind, state, reason, _, before_ns, after_ns, _ = record
    stream = arbiter.stream(kind, subject)
    if kind == Kind.trade:
        stream.gaps.observe_record(first, last, kind, state, before_ns, after_ns)
        arbiter.undecided.add((kind, subject))
        if state == GapState.open:
            stream.last = last
    elif reason == Reason.reset:  # the snapshot that says so comes next
        stream.crossed = {}
    else:
        stream.last, stream.synced = last, False
        stream.away = stream.rule == "exclusive"


def _joined(arbiter: Arbiter, event: Event, line: str, kind: int) -> None:
    if kind == Kind.depth:
        arbiter.cross(event.subject, line, event.last_id)
        return
    stream = arbiter.stream(kind, event.subject)
    stream.joined.add(line)
    stream.marks.pop(line, None)
