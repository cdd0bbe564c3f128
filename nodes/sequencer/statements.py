"""Events that arbitration itself makes: gaps, refusals with their bytes, alerts, marks of a line that counts again. Pure."""

from collections.abc import Iterable

import numpy as np

from tickmesh.bus.schema import GAP, GapState, Kind, Reason
from tickmesh.bus.wire import encode
from tickmesh.nodes.gaps.gaps import Run
from tickmesh.nodes.sequencer import line_quality
from tickmesh.nodes.sequencer.offer import Offer
from tickmesh.nodes.sequencer.stream import ArbitratedStream

ALERT_HOLDS = 10  # between two alerts about the same of one stream
DEAF_HOLDS = 30  # for so long a stream may drop all that it hears before an alert is raised
REFUSED_BYTES = 4096  # of an absurd event that its refusal keeps


def gap(
    stream: ArbitratedStream, runs: list[Run], state: GapState, reason: Reason, after_ns: int, before_ns: int | None = None
) -> bytearray:
    """Builds one gap event, a record for each run. `before_ns`, `after_ns`: venue times of its neighbours; None: of the last
    event that was taken."""
    records = np.zeros(len(runs), GAP)
    before_ns = stream.venue_ns if before_ns is None else before_ns
    for i, (low, high) in enumerate(runs):
        records[i] = (low, high, stream.kind, state, reason, 0, before_ns, after_ns, 0)
    return encode(Kind.gap, stream.subject, records, first_id=runs[0][0], last_id=runs[-1][1])


def reset_gap(stream: ArbitratedStream, last: int, after_ns: int) -> bytearray:
    """Builds the gap before the first event of a new era: how many ids the old one still had after `last` is unknown."""
    return gap(stream, [(last + 1, last + 1)], GapState.unrecoverable, Reason.reset, after_ns)


def refusal(stream: ArbitratedStream, one: Offer, why: str) -> bytearray:
    """Builds the refusal of an event that is not taken, with its first REFUSED_BYTES bytes and the reason."""
    content = {"node": "sequencer", "why": why, "raw": bytes(one.event[:REFUSED_BYTES]), "raw_bytes": len(one.event)}
    return encode(Kind.refusal, stream.subject, content)


def joined(stream: ArbitratedStream, one: Offer) -> bytearray:
    """Builds a `line` event: the line counts from `one` on, which overlaps with what is known or lies in the new era."""
    record = line_quality.joined(one.line, stream.kind, one.recv_ns)
    return encode(Kind.line, stream.subject, record, first_id=one.number, last_id=one.number)


def line_reports(streams: Iterable[ArbitratedStream], now_ns: int) -> list[bytearray]:
    """Builds a `line` event for each subject: what its lines were worth since the last report."""
    records: dict[str, list[np.ndarray]] = {}
    for stream in streams:
        if len(report := stream.lines.report(now_ns)):
            records.setdefault(stream.subject, []).append(report)
    return [encode(Kind.line, subject, np.concatenate(many)) for subject, many in records.items()]


class Alerts:
    """Builds alerts about streams; the same one about a stream is not built again for ALERT_HOLDS holds."""

    def __init__(self, hold_ns: int):
        self.hold_ns = hold_ns
        self._raised: dict[tuple[str, int, str], int] = {}

    def about(self, stream: ArbitratedStream, level: str, what: str, why: str, action: str, now: int) -> list[bytearray]:
        """Builds [an alert] about a stream; [] where the same was raised about it a short time ago."""
        key = (what, stream.kind, stream.subject)
        if now - self._raised.get(key, now - ALERT_HOLDS * self.hold_ns) < ALERT_HOLDS * self.hold_ns:
            return []
        self._raised[key] = now
        content = {"level": level, "what": what, "target": stream.topic, "why": why, "action": action}
        return [encode(Kind.alert, "sequencer", content)]

    def deaf(self, stream: ArbitratedStream, now: int) -> list[bytearray]:
        """Builds [an alert], once, about a stream that drops every event, whatever the cause; else []."""
        lasted_ns = stream.dropped_at - stream.dropping_since if stream.drops else 0
        if not lasted_ns:
            stream.deaf_reported = False
        if lasted_ns <= DEAF_HOLDS * self.hold_ns or stream.deaf_reported:
            return []
        stream.deaf_reported = True
        why = f"{stream.topic} is at id {stream.last}; all {stream.drops} events of {lasted_ns / 1e9:.0f} s were dropped"
        return self.about(stream, "critical", "stream_deaf", why, "none: look at what its lines say (tap line)", now)


def forgotten_gaps(count: int, open_max: int) -> bytearray:
    """Builds the alert that so many of the oldest open gaps are declared unrecoverable, since more than `open_max` are open."""
    why = f"more than {open_max} gaps of a stream are open: {count} of the oldest are given up for good"
    action = "declared unrecoverable; is backfill running?"
    alert = {"level": "critical", "what": "gaps_forgotten", "target": "sequencer", "why": why, "action": action}
    return encode(Kind.alert, "sequencer", alert)
