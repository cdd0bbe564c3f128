"""What a venue lists: the names of its instruments, their steps as exact decimals, and the exponents that hold them."""

import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.parsing.decimals import MANTISSA_MAX, DecimalError, mantissa
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE

USUAL_EXPONENT = -8  # what Binance writes; the same everywhere makes instruments of several venues comparable
LEAST_EXPONENT = -18
STEPS_HELD = 10**6  # 64 bits must hold so many ticks, and lots


class Listed(NamedTuple):
    """An instrument as its venue lists it: its name in mesh.toml, its tick and lot size as the venue writes them.

    `standing`: the venue's own word where it is not traded, else "". `decimals`: of price and quantity, where the venue's
    checksums are made of texts with these: then the exponents must be theirs.
    """

    symbol: str
    tick_size: str
    lot_size: str
    standing: str = ""
    decimals: tuple[int, int] | None = None


def read_listed(rows: Iterable[msgspec.Raw], read: Callable[[msgspec.Raw], Listed]) -> dict[str, Listed]:
    """What `read` makes of each row, by name; a row that it cannot read is left out."""
    found: dict[str, Listed] = {}
    for row in rows:
        with contextlib.suppress(*UNREADABLE):
            one = read(row)
            found[one.symbol] = one
    return found


def exponents_of(listed: Listed) -> tuple[int, int]:
    """(price_exponent, quantity_exponent): −8, or less where a step is finer, or the venue's decimals where it counts them.

    Raises DecimalError for what 64 bits cannot hold.
    """
    steps = ((listed.tick_size, "price"), (listed.lot_size, "quantity"))
    fixed = (None, None) if listed.decimals is None else tuple(-count for count in listed.decimals)
    price, quantity = (_exponent(step, of, one, listed.symbol) for (step, of), one in zip(steps, fixed, strict=True))
    return price, quantity


def _exponent(step: str, of: str, fixed: int | None, symbol: str) -> int:
    exponent = min(USUAL_EXPONENT, -_decimals(step)) if fixed is None else fixed
    what = f"{of}_exponent of {symbol} cannot be decided: its step is {step}"
    if exponent < LEAST_EXPONENT or -_decimals(step) < exponent:
        raise DecimalError(f"{what}, {max(-exponent, _decimals(step))} decimals; {-LEAST_EXPONENT} can be held")
    if mantissa(step, exponent) * STEPS_HELD > MANTISSA_MAX:
        raise DecimalError(f"{what}, and 64 bits hold less than {STEPS_HELD:,} such steps at exponent {exponent}")
    return exponent


def _decimals(step: str) -> int:
    """How many decimals a step needs; 0 for "0", where the venue has no such rule. Raises DecimalError for no plain number."""
    whole, dot, fraction = step.partition(".")
    if not ((whole + fraction).isdigit() and step.isascii() and whole and (fraction or not dot)):
        raise DecimalError(f"{step!r} is not a plain decimal number")
    return len(fraction.rstrip("0"))


def misfit(instrument: Instrument, listed: Listed) -> str:
    """Why the instrument's exponents cannot hold what the venue lists now, and which could; "" where they can."""
    seen = instrument.price_exponent, instrument.quantity_exponent
    try:
        needed = exponents_of(listed)
        finest = -_decimals(listed.tick_size), -_decimals(listed.lot_size)
    except DecimalError as error:
        return str(error)
    if seen == needed if listed.decimals is not None else all(one <= least for one, least in zip(seen, finest, strict=True)):
        return ""
    price, quantity = needed if listed.decimals is not None else map(min, needed, seen)
    return (
        f"the venue's tick size is {listed.tick_size} and its lot size {listed.lot_size}; price_exponent {seen[0]} and "
        f"quantity_exponent {seen[1]} cannot hold them: {price} and {quantity} can"
    )
