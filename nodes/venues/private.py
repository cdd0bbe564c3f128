"""Binance user events → reports and balances; how amounts and names of assets are held. Sans I/O."""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from tickmesh.bus.names import fitting
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import FEE_EXPONENT, Report
from tickmesh.nodes.venues.parsing.decimals import MANTISSA_MAX, Unholdable, text, whole_mantissa

ASSET_BYTES = DTYPES[Kind.balance]["asset"].itemsize
SCALE_MAX = 11  # so that an amount has 38 digits at most, as exports have room for
MARK_BYTES = 5  # of what tells apart long names that begin alike


class Reported(NamedTuple):
    """What the venue said of one asset, in its own words."""

    asset: str
    free: str
    locked: str


class UserEvent(NamedTuple):
    """What a user event says: the state of an order, or the balances that changed at a time, or that the stream ends."""

    report: Report | None = None
    balances: tuple[Reported, ...] = ()
    venue_ns: int = 0
    ended: bool = False


def read_user_event(event: bytes, instrument_of: Callable[[str], Instrument | None]) -> UserEvent:
    """Reads a user event. `instrument_of` gives the instrument of a symbol; reports of those it does not know are left out.

    Raises msgspec.DecodeError or ValueError for what cannot be understood. Kinds of events that do not concern orders or
    absolute balances (balanceUpdate, listStatus, …) give nothing.
    """
    kind = venue.decode_event_type(event).e
    if kind == "executionReport":
        execution = venue.decode_execution(event)
        instrument = instrument_of(execution.s)
        return UserEvent(venue.report_of_event(execution, instrument) if instrument else None)
    if kind == "outboundAccountPosition":
        position = venue.decode_position(event)
        return UserEvent(None, tuple(Reported(one.a, one.f, one.l) for one in position.B), to_ns(position.E))
    return UserEvent(ended=kind in ("eventStreamTerminated", "serverShutdown"))


def held_amounts(free: str, locked: str) -> tuple[int, int, int]:
    """(free, locked, scale) of two amounts of one asset: mantissas at 10^(scale − 8), the least scale at which both are exact.

    Raises DecimalError for text that is no plain decimal number, Unholdable for amounts that no scale holds in 64 bits.
    """
    amounts = whole_mantissa(free, FEE_EXPONENT), whole_mantissa(locked, FEE_EXPONENT)
    for scale in range(SCALE_MAX + 1):
        unit = 10**scale
        if max(amounts) <= MANTISSA_MAX * unit:
            if any(amount % unit for amount in amounts):
                break  # a coarser one holds them no better
            return amounts[0] // unit, amounts[1] // unit, scale
    shown = " and ".join(text(amount, FEE_EXPONENT) for amount in amounts)
    raise Unholdable(f"{shown} have more digits than the 19 that 64 bits hold")


def asset_name(asset: str) -> bytes:
    """The name of an asset as records have it; a longer one keeps its beginning, and a mark that tells it from others."""
    raw = asset.encode()
    if len(raw) <= ASSET_BYTES:
        return raw
    return fitting(asset, ASSET_BYTES - MARK_BYTES) + b"~" + sha256(raw).hexdigest()[: MARK_BYTES - 1].encode()
