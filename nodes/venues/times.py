"""Venue times as text to nanoseconds since the Unix epoch (UTC), exactly; no float anywhere."""

import re
from datetime import datetime
from functools import lru_cache

from nodes.venues.decimals import DecimalError, integer

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_SECONDS = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9})0*)?")


@lru_cache(256)
def _whole_seconds(day: str, time: str, zone: str) -> int:
    return int(datetime.fromisoformat(f"{day}T{time}{zone.replace('Z', '+00:00')}").timestamp())


def rfc3339_ns(text: str) -> int:
    """ "2021-04-17T16:43:30.244075Z": ns, from no fraction to nine digits of it. Raises DecimalError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise DecimalError(f"{text[:64]!r} is not a time like 2021-04-17T16:43:30.244075Z")
    day, time, fraction, zone = match.groups()
    try:
        return _whole_seconds(day, time, zone) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    except (ValueError, OverflowError) as error:
        raise DecimalError(f"{text[:64]!r} is no time: {error}") from None


def seconds_ns(text: str) -> int:
    """ "1618678142.557535": ns. Raises DecimalError."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise DecimalError(f"{text[:64]!r} is not a time in seconds like 1618678142.557535")
    return int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def milliseconds_ns(text: str) -> int:
    """ "1652459225464": ns. Raises DecimalError."""
    return integer(text) * 1_000_000


def doubt(venue_ns: int, recv_ns: int, ahead_ns: int, behind_ns: int) -> str | None:
    """A sentence when a message's venue time cannot be right: none, after its receipt by more than `ahead_ns`, or long before.

    Clocks differ, so the bounds must be well beyond the known offset of the two; nothing is dropped for a doubt.
    """
    if venue_ns <= 0:
        return "the venue's time is 0"
    lag = recv_ns - venue_ns
    if lag < -ahead_ns:
        return f"the venue's time is {-lag / 1e9:.6f} s after the receipt; {ahead_ns / 1e9:.6f} s are allowed"
    if lag > behind_ns:
        return f"the venue's time is {lag / 1e9:.6f} s before the receipt; {behind_ns / 1e9:.6f} s are allowed"
    return None
