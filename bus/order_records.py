"""The records of trading, from an intent to its fills, as little-endian numpy dtypes; the others are in bus/schema.py."""

import numpy as np

from tickmesh.bus.names import STRATEGY_BYTES


def each(code: str, *names: str) -> list[tuple[str, str]]:
    """Fields of one type, one behind the other."""
    return [(name, code) for name in names]


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
        ("reduce_only", "u1"),
        ("reserved3", "S7"),
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

SHADOW = np.dtype(
    [
        ("strategy", f"S{STRATEGY_BYTES}"),
        ("client_order_id", "S36"),
        ("side", "i1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("status", "u1"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("fill_ticks", "<i8"),
    ]
)

FUNDING = np.dtype(
    [
        ("asset", "S16"),
        ("amount", "<i8"),
        ("transaction_id", "<i8"),
        ("venue_ns", "<i8"),
        ("scale", "<i4"),
        ("reserved", "<u4"),
    ]
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
        *each("<i8", "begun_ns", "deadline_ns", "bid_ticks", "ask_ticks", "end_bid_ticks", "end_ask_ticks"),
        *each("<i8", "wanted_lots", "filled_lots"),
        *((f"{money}_{half}", code) for money in ("value", "fee_cost", "shortfall") for half, code in WIDE),
        ("children", "<u4"),
        ("reprices", "<u4"),
    ]
)
