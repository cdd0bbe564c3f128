"""Decimal text to integer mantissas and back, exactly; no float anywhere.

A venue sends "61837.63000000"; with exponent −8 that is the mantissa 6183763000000.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

MANTISSA_MAX = (1 << 63) - 1
TEXT_MAX = 64  # no venue sends a longer number; also bounds what int() is given


class DecimalError(ValueError):
    """Text that is no plain decimal number, or one that the exponent cannot hold exactly."""


def mantissa(text: str, exponent: int) -> int:
    """The integer m with text = m × 10^exponent, for exponent ≤ 0 and text of digits with at most one dot.

    Raises DecimalError for signs, spaces, exponents, other scripts' digits, more decimals than the exponent has
    (trailing zeros are none), and values beyond a signed 64-bit integer.
    """
    point = len(text) + exponent - 1
    # The common form has all its decimals, so the dot's place is known.
    digits = text[:point] + text[point + 1 :] if exponent and point > 0 and text[point] == "." else None
    if digits is None or len(digits) > 18 or not (digits.isdigit() and digits.isascii()):
        return _careful(text, exponent)
    return int(digits)


def _careful(text: str, exponent: int) -> int:
    whole, dot, fraction = text.partition(".")
    plain = text.isascii() and whole.isdigit() and (fraction.isdigit() if dot else True)
    if not plain or len(text) > TEXT_MAX:
        raise DecimalError(f"{text[:TEXT_MAX]!r} is not a plain decimal number")
    decimals = -exponent
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise DecimalError(f"{text!r} has more than the {decimals} decimals that exponent {exponent} holds")
        fraction = fraction[:decimals]
    value = int(whole + fraction.ljust(decimals, "0"))
    if value > MANTISSA_MAX:
        raise DecimalError(f"{text!r} is beyond {MANTISSA_MAX} × 10^{exponent}")
    return value


def level_words(pairs: Sequence[tuple[str, str]], price_exponent: int, quantity_exponent: int, side: int) -> list[int]:
    """Three 64-bit words a level (price, quantity, side as its low byte): the little-endian image of `depth` records.

    A quantity of 0 is allowed and removes the level; a price of 0 raises DecimalError.
    """
    side_word = side & 0xFF
    words: list[int] = []
    append = words.append
    for price_text, quantity_text in pairs:
        price = mantissa(price_text, price_exponent)
        if not price:
            raise DecimalError("a level at price 0; prices are above 0")
        append(price)
        append(mantissa(quantity_text, quantity_exponent))
        append(side_word)
    return words


@lru_cache
def _full_levels(price_decimals: int, quantity_decimals: int) -> re.Pattern[bytes] | None:
    """A JSON array of levels in which every number has all its decimals and 18 digits at most."""
    if not (0 < price_decimals < 18 and 0 < quantity_decimals < 18):
        return None
    price = rb'"[0-9]{1,%d}\.[0-9]{%d}"' % (18 - price_decimals, price_decimals)
    quantity = rb'"[0-9]{1,%d}\.[0-9]{%d}"' % (18 - quantity_decimals, quantity_decimals)
    level = rb"\[" + price + rb", ?" + quantity + rb"\]"
    return re.compile(rb"\[" + level + rb"(?:, ?" + level + rb")*\]")


def level_words_at_once(raw: bytes, price_exponent: int, quantity_exponent: int, side: int) -> np.ndarray | None:
    """`level_words` for the JSON text of many levels: an int64 array of shape (levels, 3), or None.

    None: the text is not in the venue's usual form (every decimal there, nothing else between); parse it one by one.
    Levels of 18 digits at most cannot overflow, so numpy's integer reader is exact. About six times as fast.
    """
    form = _full_levels(-price_exponent, -quantity_exponent)
    if form is None or form.fullmatch(raw) is None:
        return None
    numbers = np.fromstring(raw.translate(None, b'[]". '), dtype=np.int64, sep=",")
    words = np.empty((len(numbers) // 2, 3), np.int64)
    words[:, 0] = numbers[0::2]
    words[:, 1] = numbers[1::2]
    words[:, 2] = side & 0xFF
    if not words[:, 0].all():
        raise DecimalError("a level at price 0; prices are above 0")
    return words


def text(value: int, exponent: int) -> str:
    """The shortest plain decimal text of value × 10^exponent: `text(6183763000000, -8)` is "61837.63"."""
    if exponent >= 0:
        return str(value * 10**exponent)
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    digits = digits.rjust(1 - exponent, "0")
    fraction = digits[exponent:].rstrip("0")
    return f"{sign}{digits[:exponent]}.{fraction}" if fraction else f"{sign}{digits[:exponent]}"
