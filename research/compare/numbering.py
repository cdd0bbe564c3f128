"""Numbers with room between them: events that are in no recording get places in its order, and names that follow from those.

An event of the recording with `seq` n has n × 2^16 here, so what is added after it has a number of its own. Client order ids
name the event that caused an order; they are written anew for it.
"""

import re
from collections.abc import Callable

import numpy as np

from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event, encode, stamp_sent, stamp_sequenced

SEQ_BITS = 16
WITH_IDS = (Kind.intent, Kind.update, Kind.fill)
_OWN_ID = re.compile(rb"(t[^-]{16})-([0-9a-f]+)-([0-9]+)")


def roomy_id(client_order_id: bytes) -> bytes:
    """A client order id of the recording as it is here; one that names no event stays."""
    return _renamed(client_order_id, lambda seq: seq << SEQ_BITS)


def recorded_id(client_order_id: bytes) -> bytes:
    """The reverse of `roomy_id`. An id that names an event which is in no recording stays, and is none of the recording's."""
    return _renamed(client_order_id, lambda seq: seq if seq & (1 << SEQ_BITS) - 1 else seq >> SEQ_BITS)


def _renamed(client_order_id: bytes, number: Callable[[int], int]) -> bytes:
    found = _OWN_ID.fullmatch(client_order_id)
    return client_order_id if found is None else b"%s-%x-%s" % (found[1], number(int(found[2], 16)), found[3])


def roomy(event: Event, row: int | None = None) -> Event:
    """An event of the recording with its number here, and with the ids in it. `row`: only this record of it."""
    if event.kind in WITH_IDS:
        records = event.records.copy() if row is None else event.records[row : row + 1].copy()
        for name in ("client_order_id", "target_id"):
            if name in (records.dtype.names or ()):
                records[name] = [roomy_id(bytes(one)) for one in records[name]]
        if event.kind == Kind.intent:
            records["parent_seq"] <<= SEQ_BITS
        given = added(Kind(event.kind), event.subject, records, event.producer, 0, event.seq_ns, event.k, event.venue_ns)
        given.recv_ns = event.recv_ns
    else:
        given = Event(event.raw)
    given.seq, given.cause_seq = event.seq << SEQ_BITS, event.cause_seq << SEQ_BITS
    return given


def recorded_body(event: Event) -> bytes:
    """The records of what an executor publishes here as they would be in the recording."""
    if event.kind != Kind.intent:
        return bytes(event.body)
    records = event.records.copy()
    for name in ("client_order_id", "target_id"):
        records[name] = [recorded_id(bytes(one)) for one in records[name]]
    whole = records["parent_seq"] & ((1 << SEQ_BITS) - 1) == 0
    records["parent_seq"][whole] >>= SEQ_BITS
    return records.tobytes()


def added(
    kind: Kind, subject: str, records: np.ndarray | bytes, producer: str, seq: int, now_ns: int, k: int = 0, venue_ns: int = 0,
    cause_seq: int = 0,
) -> Event:  # fmt: skip
    """An event as the log would have it, with this number and time."""
    raw = encode(kind, subject, records, k=k, cause_seq=cause_seq, venue_ns=venue_ns)
    stamp_sent(raw, producer_bytes(producer), 1, 0, now_ns)
    stamp_sequenced(raw, seq, 0, now_ns)
    return Event(raw)
