"""What tests of doubted ids ask of an arbiter's output, and events of a later time or of a repair."""

from tests.support.arbitration import event
from tickmesh.bus.schema import Flag, Kind, Reason
from tickmesh.bus.wire import stamp_venue_ns

STREAMS = [Kind.trade, Kind.quote, Kind.depth]


def refusals(lines):
    """Contents of the refusals that came out."""
    return [one.map() for one in lines.out if one.kind == Kind.refusal]


def alerts(lines):
    """What the alerts that came out are about."""
    return [one.map()["what"] for one in lines.out if one.kind == Kind.alert]


def contradictions(lines):
    """(first id, last id) of the gaps for contradiction that came out."""
    found = [record for one in lines.out if one.kind == Kind.gap for record in one.records.tolist()]
    return [record[:2] for record in found if record[4] == Reason.contradiction]


def repaired(i):
    """Builds a trade that backfill brings."""
    raw = event(Kind.trade, i, i)
    raw[10] = Flag.REPAIRED
    return raw


def later(kind, first, seconds):
    """Builds an event whose venue time is so many seconds."""
    raw = event(kind, first, first)
    stamp_venue_ns(raw, int(seconds * 1e9))
    return raw
