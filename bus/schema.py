"""Every record kind as a little-endian numpy dtype, and the hash that names the whole schema.

`docs/messages.md` gives the meaning and unit of each field, in the same order.
"""

import hashlib
import json
from enum import IntEnum, IntFlag

import numpy as np

from tickmesh.bus.names import KERNEL_BYTES, PRODUCER_BYTES, STRATEGY_BYTES, SUBJECT_BYTES

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


def _each(code: str, *names: str) -> list[tuple[str, str]]:
    """Fields of one type, one behind the other."""
    return [(name, code) for name in names]


HEADER = np.dtype(
    [
        ("size", "<u4"),
        ("count", "<u4"),
        ("kind", "<u2"),
        ("flags", "<u2"),
        ("k", "<u4"),
        ("producer", f"S{PRODUCER_BYTES}"),
        ("subject", f"S{SUBJECT_BYTES}"),
        *_each("<u8", "epoch", "number", "seq", "link", "cause_seq"),
        *_each("<i8", "first_id", "last_id", "venue_ns", "recv_ns", "sent_ns", "seq_ns"),
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

INTENT = np.dtype(
    [
        ("client_order_id", "S36"),
        ("target_id", "S36"),
        ("action", "u1"),
        ("side", "i1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("reserved", "<u4"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("expires_ns", "<i8"),
        ("reserved2", "<i8"),
        ("strategy", f"S{STRATEGY_BYTES}"),
        ("parent_seq", "<u8"),
    ]
)

UPDATE = np.dtype(
    [
        ("client_order_id", "S36"),
        ("reserved", "<u4"),
        ("order_id", "<i8"),
        ("status", "u1"),
        ("side", "i1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("code", "<i4"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("filled_lots", "<i8"),
        ("venue_ns", "<i8"),
        ("origin", "S16"),
        ("reason", "S80"),
    ]
)

FILL = np.dtype(
    [
        ("client_order_id", "S36"),
        ("side", "i1"),
        ("maker", "u1"),
        ("reserved", "<u2"),
        ("order_id", "<i8"),
        ("trade_id", "<i8"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("fee", "<i8"),
        ("fee_asset", "S16"),
        ("venue_ns", "<i8"),
        ("origin", "S16"),
    ]
)

BALANCE = np.dtype(
    [
        ("asset", "S16"),
        ("free", "<i8"),
        ("locked", "<i8"),
        ("venue_ns", "<i8"),
        ("reserved", "<i8"),
        ("scale", "<i4"),
        ("reserved2", "<u4"),
    ]
)

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
        *_each("<i8", "begin_ns", "end_ns"),
        *_each("<u8", "events", "firsts", "duplicates", "disordered"),
        *_each("<i8", "lead_p50_ns", "lead_p99_ns", "lag_p50_ns", "lag_p99_ns"),
    ]
)

SHADOW = np.dtype(
    [
        ("strategy", f"S{STRATEGY_BYTES}"),
        ("client_order_id", "S36"),
        ("side", "i1"),
        *_each("u1", "order_type", "time_in_force", "status"),
        *_each("<i8", "price_ticks", "quantity_lots", "fill_ticks"),
    ]
)

FUNDING = np.dtype(
    [("asset", "S16"), *_each("<i8", "amount", "transaction_id", "venue_ns"), ("scale", "<i4"), ("reserved", "<u4")]
)

WIDE = (("high", "<i8"), ("low", "<u8"))  # of a whole number of 128 bits: bus/wide.py
PARENT = np.dtype(
    [
        ("strategy", f"S{STRATEGY_BYTES}"),
        ("style", "S16"),
        ("why", "S16"),
        ("parent_seq", "<u8"),
        ("state", "u1"),
        ("side", "i1"),
        ("shadow", "u1"),
        ("reserved", "S5"),
        *_each("<i8", "begun_ns", "deadline_ns", "bid_ticks", "ask_ticks", "end_bid_ticks", "end_ask_ticks"),
        *_each("<i8", "wanted_lots", "filled_lots"),
        *((f"{money}_{half}", code) for money in ("value", "fee_cost", "shortfall") for half, code in WIDE),
        ("children", "<u4"),
        ("reprices", "<u4"),
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
