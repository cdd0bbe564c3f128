"""Streams whose ids mean nothing on another line (books without ids): one line is taken at a time. No I/O."""

from enum import Enum

from tickmesh.bus.schema import GapState, Kind, Reason
from tickmesh.bus.wire import add_flags
from tickmesh.nodes.sequencer import statements
from tickmesh.nodes.sequencer.offer import RESET, Offer
from tickmesh.nodes.sequencer.stream import ArbitratedStream

AWAY_HOLDS = 3  # after so many holds without the line, another is taken even if its clock-made ids are lower


class OwnerVerdict(Enum):
    """What is done with an event of a stream that one line owns."""

    take = 1
    drop = 2
    take_over = 3  # and what lies between is a hole


def judge(stream: ArbitratedStream, one: Offer, now: int, hold_ns: int) -> OwnerVerdict:
    """Judges one event of an exclusive stream by its owner, and notes when each line last brought one.

    Another line takes over with something whole (a snapshot, any quote or trade) once the line that is taken has gone, or has
    been silent for longer than `hold_ns` about what another has brought. A quiet market is no silent line: what came
    within `hold_ns` of the line's last word is taken for a copy of it.
    The line itself, when it comes back with ids that are lower, has begun anew: its clock was lost (docs/decisions/time.md).
    """
    if stream.owner_seen_at is None:  # the first since a restart: the clock of silence begins
        stream.owner_seen_at = now
    if stream.last is None:
        stream.owner, stream.owner_seen_at = one.line, now
        return OwnerVerdict.take
    whole = one.snapshot or stream.kind != Kind.depth
    if one.line == stream.owner and not stream.away:
        stream.owner_seen_at, stream.behind_since = now, None
        return OwnerVerdict.take if one.last_id > stream.last else OwnerVerdict.drop
    silent = stream.behind_since is not None and now - stream.behind_since > hold_ns
    if stream.behind_since is None and not one.snapshot and now - stream.owner_seen_at > hold_ns:
        stream.behind_since = now
    if not (whole and (stream.away or silent)):
        return OwnerVerdict.drop
    if one.last_id <= stream.last and one.line != stream.owner and now - stream.owner_seen_at <= AWAY_HOLDS * hold_ns:
        return OwnerVerdict.drop  # another line's, made before what is known already; the next one will not be
    stream.owner, stream.away = one.line, False
    stream.owner_seen_at, stream.behind_since = now, None
    return OwnerVerdict.take_over


def hand_over(stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
    """Makes this event's line the owner from here on; ids between it and the last one become a gap, or a new era."""
    low, high = (stream.last or 0) + 1, one.last_id - 1
    if one.last_id <= (stream.last or 0):
        add_flags(one.event, RESET)
    elif stream.kind != Kind.quote and low <= high:
        stream.give_up_to(high)
        out.append(statements.gap(stream, [(low, high)], GapState.unrecoverable, Reason.resync, one.venue_ns))
