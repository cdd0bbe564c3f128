"""Every record kind as a little-endian numpy dtype, and the hash that names the whole schema.

`docs/messages.md` gives the meaning and unit of each field, in the same order.
"""

import hashlib
import json
from enum import IntEnum, IntFlag

import numpy as np

from tickmesh.bus.names import FEATURE_BYTES, KERNEL_BYTES, PRODUCER_BYTES, SUBJECT_BYTES
from tickmesh.bus.order_records import BALANCE as BALANCE
from tickmesh.bus.order_records import FILL as FILL
from tickmesh.bus.order_records import FUNDING as FUNDING
from tickmesh.bus.order_records import INTENT as INTENT
from tickmesh.bus.order_records import PARENT as PARENT
from tickmesh.bus.order_records import SHADOW as SHADOW
from tickmesh.bus.order_records import UPDATE as UPDATE
from tickmesh.bus.order_records import each

SCHEMA_VERSION = 4


class Kind(IntEnum):
    """The number of a record kind, as it stands in the header; a number is never given to another kind."""

    instrument = 1
    trade = 2
    quote = 3
    depth = 4
    gap = 5
    signal = 6
    intent = 7
    update = 8
    fill = 9
    balance = 10
    clock = 11
    cursor = 12
    run = 13
    health = 14
    refusal = 15
    watermark = 16
    coverage = 17
    line = 18
    raw = 19
    alert = 20
    command = 21
    shadow = 22
    parent = 23
    funding = 24
    feature = 25


class Flag(IntFlag):
    """Bits of an event's header that state what is special about it."""

    SNAPSHOT = 1
    REPAIRED = 2
    RESET = 4
    UNSYNCED = 8
    OFF_BOOK = 16


class Action(IntEnum):
    """What an intent asks the venue for: to place an order, to cancel one, or to reduce the quantity of one in its place."""

    NEW = 1
    CANCEL = 2
    AMEND = 3


class OrderType(IntEnum):
    """How an order is to be executed, as an intent has it."""

    LIMIT = 1
    MARKET = 2
    LIMIT_MAKER = 3


class TimeInForce(IntEnum):
    """How long an order stays in force at the venue."""

    GTC = 1
    IOC = 2
    FOK = 3


class Status(IntEnum):
    """Order states as in FIX (OrdStatus, tag 39), plus Unknown."""

    PendingNew = 1
    New = 2
    PartiallyFilled = 3
    Filled = 4
    PendingCancel = 5
    Canceled = 6
    Rejected = 7
    Expired = 8
    Unknown = 9
    PendingReplace = 10


class ParentState(IntEnum):
    """Whether a parent order is being worked, or is over."""

    begun = 1
    ended = 2


class GapState(IntEnum):
    """What has become of the ids of a gap."""

    open = 1
    repaired = 2
    unrecoverable = 3


class Coverage(IntEnum):
    """What is known of an interval of ids of one stream."""

    complete = 1
    repaired = 2
    missing = 3
    unproven = 4


class Evidence(IntEnum):
    """What proves an interval complete."""

    none = 0
    ids = 1
    checksum = 2
    book = 3


class Reason(IntEnum):
    """Why ids are missing, or cannot be proven."""

    none = 0
    skipped = 1
    retention = 2
    refused = 3
    no_history = 4
    resync = 5
    reset = 6
    disk = 7
    conflated = 8
    no_ids = 9
    unreadable = 10
    no_snapshot = 11
    contradiction = 12


HEADER = np.dtype(
    [
        ("size", "<u4"),
        ("count", "<u4"),
        ("kind", "<u2"),
        ("flags", "<u2"),
        ("k", "<u4"),
        ("producer", f"S{PRODUCER_BYTES}"),
        ("subject", f"S{SUBJECT_BYTES}"),
        *each("<u8", "epoch", "number", "seq", "link", "cause_seq"),
        *each("<i8", "first_id", "last_id", "venue_ns", "recv_ns", "sent_ns", "seq_ns"),
        ("reserved", "<u8"),
    ]
)

INSTRUMENT = np.dtype(
    [
        ("price_exponent", "<i4"),
        ("quantity_exponent", "<i4"),
        ("tick_size", "<i8"),
        ("lot_size", "<i8"),
        ("min_quantity", "<i8"),
        ("min_notional", "<i8"),
        ("reserved", "<i8"),
    ]
)

TRADE = np.dtype(
    [
        ("trade_id", "<i8"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("venue_ns", "<i8"),
        ("event_ns", "<i8"),
        ("side", "i1"),
        ("reserved", "S7"),
    ]
)

QUOTE = np.dtype(
    [
        ("update_id", "<i8"),
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("venue_ns", "<i8"),
    ]
)

DEPTH = np.dtype([("price_ticks", "<i8"), ("quantity_lots", "<i8"), ("side", "i1"), ("reserved", "S7")])

GAP = np.dtype(
    [
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("stream", "<u2"),
        ("state", "<u2"),
        ("reason", "<u2"),
        ("reserved", "<u2"),
        ("before_ns", "<i8"),
        ("after_ns", "<i8"),
        ("reserved2", "<i8"),
    ]
)

SIGNAL = np.dtype(
    [
        ("model", f"S{KERNEL_BYTES}"),
        ("value", "<f8"),
        ("price", "<f8"),
        ("horizon_ns", "<i8"),
        ("reference_ticks", "<i8"),
    ]
)

FEATURE = np.dtype([("feature", f"S{FEATURE_BYTES}"), ("value", "<f8"), ("at_ns", "<i8")])

CLOCK = np.dtype([("now_ns", "<i8"), ("durable_seq", "<u8"), ("correction_ns", "<i8")])

CURSOR = np.dtype(
    [("producer", f"S{PRODUCER_BYTES}"), ("epoch", "<u8"), ("number", "<u8"), ("duplicates", "<u8"), ("held", "<u8")]
)

WATERMARK = np.dtype([("archived_seq", "<u8"), ("recent_seq", "<u8")])

COVERAGE = np.dtype(
    [
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("begin_ns", "<i8"),
        ("end_ns", "<i8"),
        ("stream", "<u2"),
        ("state", "<u2"),
        ("evidence", "<u2"),
        ("reason", "<u2"),
        ("era", "<u8"),
    ]
)

LINE = np.dtype(
    [
        ("line", f"S{PRODUCER_BYTES}"),
        ("stream", "<u2"),
        ("joined", "<u2"),
        ("reserved", "<u4"),
        *each("<i8", "begin_ns", "end_ns"),
        *each("<u8", "events", "firsts", "duplicates", "disordered"),
        *each("<i8", "lead_p50_ns", "lead_p99_ns", "lag_p50_ns", "lag_p99_ns"),
    ]
)

# A msgpack kind's "record" is one byte of the packed map.
MSGPACK = np.dtype("u1")

DTYPES: dict[Kind, np.dtype] = {
    Kind.instrument: INSTRUMENT,
    Kind.trade: TRADE,
    Kind.quote: QUOTE,
    Kind.depth: DEPTH,
    Kind.gap: GAP,
    Kind.signal: SIGNAL,
    Kind.intent: INTENT,
    Kind.update: UPDATE,
    Kind.fill: FILL,
    Kind.balance: BALANCE,
    Kind.clock: CLOCK,
    Kind.cursor: CURSOR,
    Kind.run: MSGPACK,
    Kind.health: MSGPACK,
    Kind.refusal: MSGPACK,
    Kind.watermark: WATERMARK,
    Kind.coverage: COVERAGE,
    Kind.line: LINE,
    Kind.raw: MSGPACK,
    Kind.alert: MSGPACK,
    Kind.command: MSGPACK,
    Kind.shadow: SHADOW,
    Kind.parent: PARENT,
    Kind.funding: FUNDING,
    Kind.feature: FEATURE,
}

# Old files are read by their own description; this one is written into every new file and hello.
DESCRIPTION: dict[str, list[list[str]]] = {
    "header": [[name, HEADER[name].str] for name in HEADER.names or ()],
    **{
        kind.name: [[name, dtype[name].str] for name in dtype.names] if dtype.names else [["msgpack", dtype.str]]
        for kind, dtype in DTYPES.items()
    },
}
SCHEMA_HASH = hashlib.sha256(json.dumps([SCHEMA_VERSION, DESCRIPTION], sort_keys=True).encode()).hexdigest()[:16]
