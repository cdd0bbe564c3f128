"""Decimal text to integer mantissas and back, exactly; no float anywhere.

A venue sends "61837.63000000"; with exponent −8 that is the mantissa 6183763000000.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import numpy as np

MANTISSA_MAX = (1 << 63) - 1
TEXT_MAX = 64  # no venue sends a longer number; also bounds what int() is given
REMEMBERED = 1 << 14  # texts of one exponent: about 3 MB


class DecimalError(ValueError):
    """Text that is no plain decimal number, or one that the exponent cannot hold exactly."""


class Unholdable(DecimalError):
    """A number below 0, or beyond 64 bits at this exponent: odd by itself, while what stands beside it may be read."""


POWERS: tuple[int, ...] = tuple(10**n for n in range(19))


def mantissa(text: str, exponent: int) -> int:
    """The integer m with text = m × 10^exponent, for exponent ≤ 0 and text of digits with at most one dot.

    Raises DecimalError for signs, spaces, exponents, other scripts' digits, more decimals than the exponent has
    (trailing zeros are none), and values beyond a signed 64-bit integer.
    """
    whole, dot, fraction = text.partition(".")
    digits = whole + fraction
    missing = -exponent - len(fraction)
    if (
        missing >= 0 and len(digits) + missing <= 18 and digits.isdigit() and digits.isascii()
        and whole and (fraction or not dot)
    ):  # fmt: skip
        return int(digits) * POWERS[missing]  # 18 digits at most: no overflow
    value = whole_mantissa(text, exponent)
    if value > MANTISSA_MAX:
        raise Unholdable(f"{text!r} is beyond {MANTISSA_MAX} × 10^{exponent}")
    return value


def whole_mantissa(text: str, exponent: int) -> int:
    """As `mantissa`, of any size. Raises DecimalError, and Unholdable for what is below 0."""
    whole, dot, fraction = text.removeprefix("-").partition(".")
    plain = text.isascii() and whole.isdigit() and (fraction.isdigit() if dot else True)
    if plain and len(text) <= TEXT_MAX and text.startswith("-"):
        raise Unholdable(f"{text!r} is below 0")
    if not plain or len(text) > TEXT_MAX:
        raise DecimalError(f"{text[:TEXT_MAX]!r} is not a plain decimal number")
    decimals = -exponent
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise DecimalError(f"{text!r} has more than the {decimals} decimals that exponent {exponent} holds")
        fraction = fraction[:decimals]
    return int(whole + fraction.ljust(decimals, "0"))


@lru_cache
def reader(exponent: int) -> Callable[[str | bytes], int]:
    """Makes a function from text (str or ASCII bytes) to its mantissa at one exponent; it keeps results, for prices recur."""

    @lru_cache(REMEMBERED)
    def read(text: str | bytes) -> int:
        return mantissa(text.decode("ascii", "replace") if isinstance(text, bytes) else text, exponent)

    return read


def plain(number: bytes) -> str:
    """Rewrites a bare JSON number as plain decimal text: "1e-7" is "0.0000001". Exact; no float. Raises DecimalError."""
    shown = number[: TEXT_MAX + 1].decode("ascii", "replace")
    if "e" not in shown and "E" not in shown:
        return shown
    try:
        value = Decimal(shown)
    except InvalidOperation:
        raise DecimalError(f"{shown!r} is not a number") from None
    if not value.is_finite() or abs(value.adjusted()) > TEXT_MAX:
        raise DecimalError(f"{shown!r} is beyond what any venue sends")
    return f"{value:f}"


def integer(text: str) -> int:
    """Reads an id or a time that a venue sends as text: 1 to 19 digits. Raises DecimalError."""
    if not (text.isdigit() and text.isascii() and len(text) <= 19):
        raise DecimalError(f"{text[:TEXT_MAX]!r} is not a whole number of at most 19 digits")
    return int(text)


def level_words(
    pairs: Iterable[tuple[str, str]], price_exponent: int, quantity_exponent: int, side: int, odd: list[str]
) -> list[int]:
    """Builds `depth` records of (price, quantity) texts, as three 64-bit words a level: price, quantity, side as its low byte.

    A quantity of 0 removes the level. A level that cannot be held is named in `odd`: at an odd price it is left out, one of an
    odd quantity is removed.
    """
    side_word = side & 0xFF
    price_of, quantity_of = reader(price_exponent), reader(quantity_exponent)
    words: list[int] = []
    for price_text, quantity_text in pairs:
        try:
            price = price_of(price_text)
        except Unholdable as error:
            odd.append(f"a level's price {error}")
            continue
        if not price:
            odd.append("a level at price 0; prices are above 0")
            continue
        try:
            words += (price, quantity_of(quantity_text), side_word)
        except Unholdable as error:
            odd.append(f"the quantity of the level at {price_text}: {error}")
            words += (price, 0, side_word)
    return words


_FIRST_LEVEL = re.compile(rb'\[\["[0-9]+(?:\.([0-9]+))?", ?"[0-9]+(?:\.([0-9]+))?"\]')


@lru_cache
def _same_decimals(price_decimals: int, quantity_decimals: int, price_digits: int, quantity_digits: int) -> re.Pattern[bytes]:
    """A JSON array of levels whose prices all have so many decimals and at most so many digits, and so its quantities."""

    def number(decimals: int, digits: int) -> bytes:
        whole = rb"[0-9]{1,%d}+" % (digits - decimals)  # possessive: no form begins where another one could end
        return rb'"%s"' % (whole + rb"\.[0-9]{%d}" % decimals if decimals else whole)

    level = rb"\[" + number(price_decimals, price_digits) + rb", ?" + number(quantity_decimals, quantity_digits) + rb"\]"
    return re.compile(rb"\[" + level + rb"(?:, ?" + level + rb")*+\]")


@lru_cache
def _powers(price_missing: int, quantity_missing: int) -> np.ndarray:
    return np.array((POWERS[price_missing], POWERS[quantity_missing]))


def level_words_at_once(raw: bytes, price_exponent: int, quantity_exponent: int, side: int) -> np.ndarray | None:
    """`level_words` for the JSON text of many levels: an int64 array of shape (levels, 3), or None.

    None: the text is not in a usual form (every price with as many decimals as the first one, and so every quantity,
    nothing else between); parse it one by one. Mantissas of 18 digits at most cannot overflow, so numpy's integer
    reader and its multiplication are exact. About six times as fast.
    """
    first = _FIRST_LEVEL.match(raw)
    if first is None:
        return None
    decimals = [len(digits or b"") for digits in first.groups()]
    missing = -price_exponent - decimals[0], -quantity_exponent - decimals[1]
    digits = 18 - missing[0], 18 - missing[1]
    if min(missing) < 0 or digits[0] <= decimals[0] or digits[1] <= decimals[1]:
        return None
    if _same_decimals(*decimals, *digits).fullmatch(raw) is None:
        return None
    numbers = np.fromstring(raw.translate(None, b'[]". '), dtype=np.int64, sep=",").reshape(-1, 2)
    words = np.empty((len(numbers), 3), np.int64)
    np.multiply(numbers, _powers(*missing), out=words[:, :2])
    words[:, 2] = side & 0xFF
    return words if words[:, 0].all() else None  # a price of 0 is to be named


def text(value: int, exponent: int) -> str:
    """The shortest plain decimal text of value × 10^exponent: `text(6183763000000, -8)` is "61837.63"."""
    if exponent >= 0:
        return str(value * 10**exponent)
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    digits = digits.rjust(1 - exponent, "0")
    fraction = digits[exponent:].rstrip("0")
    return f"{sign}{digits[:exponent]}.{fraction}" if fraction else f"{sign}{digits[:exponent]}"
