"""Times as people write them, to nanoseconds."""

import re
from datetime import UTC, datetime

import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.bus.segments import LogError

UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 604_800 * 10**9}
AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)(?:\s+ago)?")
NOW = "now"
LEAST_NS, MOST_NS = -(2**63) + 1, 2**63 - 1
Time = int | str | datetime | None


class ReadError(LogError):
    """A request that cannot be answered: a sentence for the person who asked."""


def to_ns(when: Time) -> int | None:
    """Reads a time as ns since the epoch from an int (ns already), a datetime, or a text.

    A text is ISO 8601 (UTC where it names no zone), how long ago (`30s`, `5m`, `1h`, `2d`), or `now`.

    Raises ReadError for anything else, and for a time that 64 bits of nanoseconds cannot hold.
    """
    if when is None:
        return None
    ns = int(when) if isinstance(when, (int, np.integer)) else _of_text(when)
    if not LEAST_NS <= ns <= MOST_NS:
        raise ReadError(f"{when!r} is beyond what nanoseconds of 64 bits can say; allowed is 1677-09-22 to 2262-04-11")
    return ns


def span_ns(start: Time, end: Time) -> tuple[int | None, int | None]:
    """Reads both ends of a span as `to_ns` does. Raises ReadError as it does, and where nothing lies between them."""
    start_ns, end_ns = to_ns(start), to_ns(end)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ReadError(f"the start {start} is not before the end {end}: nothing lies between")
    return start_ns, end_ns


def span_words(start: Time, end: Time) -> str:
    """The words of a span, for a sentence: "from 2024-08-09 to the end of what is recorded"."""
    begin = "the beginning" if start is None else start
    return f"from {begin} to {'the end of what is recorded' if end is None else end}"


def ago_ns(text: str) -> int | None:
    """The time of `now`, or so long ago (`30s`, `1h`), ns; None for another text."""
    text = text.strip()
    if text == NOW:
        return now_ns()
    match = AGO.fullmatch(text)
    return now_ns() - int(float(match[1]) * UNITS_NS[match[2]]) if match else None


def _of_text(when: str | datetime) -> int:
    if isinstance(when, str) and (ago := ago_ns(when)) is not None:
        return ago
    try:
        if isinstance(when, datetime):
            zoned = when if when.tzinfo else when.replace(tzinfo=UTC)
            return (int(zoned.timestamp()) * 1_000_000 + zoned.microsecond) * 1000
        text = str(when).strip().replace("Z", "+00:00")
        head, dot, tail = text.partition(".")
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
        zoned = datetime.fromisoformat(head + tail[len(digits) :])
        zoned = zoned if zoned.tzinfo else zoned.replace(tzinfo=UTC)
        return int(zoned.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9] or 0)
    except (ValueError, OverflowError):
        raise ReadError(
            f"{when!r} is no time; allowed are nanoseconds as an integer, or like 2024-08-09, 2024-08-09T12:30:00.5, "
            "1h (so long ago) or now"
        ) from None
