"""Money in a record: 128 bits, as two fields. Price × quantity outgrows 64 bits, and nothing is rounded."""

_WORD = 1 << 64


def split(value: int) -> tuple[int, int]:
    """(high, low) of a whole number: value = high × 2^64 + low, low from 0. Raises OverflowError beyond 128 bits."""
    high, low = divmod(value, _WORD)
    if not -(1 << 63) <= high < 1 << 63:
        raise OverflowError(f"{value} has more than 128 bits")
    return high, low


def joined(high: int, low: int) -> int:
    """The number of which `split` made (high, low); numpy's integers are taken too."""
    return int(high) * _WORD + int(low)
