"""How amounts and names of assets are held in records, whatever the venue. Sans I/O."""

from hashlib import sha256

from tickmesh.bus.names import fitting
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.nodes.venues.order_venue import FEE_EXPONENT
from tickmesh.nodes.venues.parsing.decimals import MANTISSA_MAX, Unholdable, text, whole_mantissa

ASSET_BYTES = DTYPES[Kind.balance]["asset"].itemsize
SCALE_MAX = 11  # so that an amount has 38 digits at most, as exports have room for
MARK_BYTES = 5  # of what tells apart long names that begin alike


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
