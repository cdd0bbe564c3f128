"""Binance user events → reports and balance events. Sans I/O."""

from collections.abc import Callable, Iterable

from tickmesh.bus.layout import record_struct
from tickmesh.bus.names import fitting
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import encode
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import FEE_EXPONENT, Report
from tickmesh.nodes.venues.parsing.decimals import mantissa

BALANCE = record_struct(Kind.balance)
ASSET_BYTES = DTYPES[Kind.balance]["asset"].itemsize


def read_user_event(
    event: bytes, instrument_of: Callable[[str], Instrument | None], recv_ns: int
) -> tuple[Report | None, list[bytearray], bool]:
    """Reads a user event: (report of an order, balance events, whether the stream ends).

    `instrument_of` gives the instrument of a symbol; reports of those that it does not know are left out.

    Raises msgspec.DecodeError or ValueError for what cannot be understood. Kinds of events that do not concern orders or
    absolute balances (balanceUpdate, listStatus, …) give nothing.
    """
    kind = venue.decode_event_type(event).e
    if kind == "executionReport":
        execution = venue.decode_execution(event)
        instrument = instrument_of(execution.s)
        return (venue.report_of_event(execution, instrument) if instrument else None), [], False
    if kind == "outboundAccountPosition":
        position = venue.decode_position(event)
        rows = [(amount.a, amount.f, amount.l) for amount in position.B]
        return None, build_balance_event("binance", rows, to_ns(position.E), recv_ns), False
    return None, [], kind in ("eventStreamTerminated", "serverShutdown")


def build_balance_event(name: str, rows: Iterable[tuple[str, str, str]], venue_ns: int, recv_ns: int) -> list[bytearray]:
    """One `balance` event of subject `name.account` with a record per (asset, free, locked); none for no rows."""
    rows = list(rows)
    if not rows:
        return []
    records = b"".join(
        BALANCE.pack(fitting(asset, ASSET_BYTES), mantissa(free, FEE_EXPONENT), mantissa(locked, FEE_EXPONENT), venue_ns)
        for asset, free, locked in rows
    )
    return [encode(Kind.balance, f"{name}.account", records, venue_ns=venue_ns, recv_ns=recv_ns)]
