"""Venue times as text to nanoseconds since the Unix epoch (UTC), exactly; no float anywhere."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer

# A time in ms or in µs is told by its size: 10^14 ms is the year 5138, 10^14 µs was 1973.
MILLISECONDS_BELOW = 100_000_000_000_000
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
VenueStamp = TypeVar("VenueStamp", int, str)  # a time as a venue sends it
_SECONDS = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9})0*)?")


@lru_cache(256)
def _whole_seconds(day: str, time: str, zone: str) -> int:
    return int(datetime.fromisoformat(f"{day}T{time}{zone.replace('Z', '+00:00')}").timestamp())


def rfc3339_ns(text: str) -> int:
    """A time like "2021-04-17T16:43:30.244075Z", of up to nine decimals, as ns. Raises DecimalError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise DecimalError(f"{text[:64]!r} is not a time like 2021-04-17T16:43:30.244075Z")
    day, time, fraction, zone = match.groups()
    try:
        ns = _whole_seconds(day, time, zone) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    except (ValueError, OverflowError) as error:
        raise DecimalError(f"{text[:64]!r} is no time: {error}") from None
    return checked_time(ns, text)


def seconds_ns(text: str) -> int:
    """A time in seconds like "1618678142.557535", of up to nine decimals, as ns. Raises DecimalError."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise DecimalError(f"{text[:64]!r} is not a time in seconds like 1618678142.557535")
    return checked_time(int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0")), text)


def milliseconds_ns(text: str) -> int:
    """A time in whole milliseconds like "1652459225464" as ns. Raises DecimalError."""
    return checked_time(integer(text) * 1_000_000, text)


def time_or_zero(read: Callable[[VenueStamp], int], stamp: VenueStamp, odd: list[str]) -> int:
    """A venue's time as `read` reads it, ns; 0 where there is none, and for one that cannot be, which is added to `odd`."""
    try:
        return read(stamp) if stamp else 0
    except DecimalError as error:
        odd.append(str(error))
        return 0


def checked_time(ns: int, stamp: object) -> int:
    """Gives `ns`, if that is a time from 1970 to 2262; else raises DecimalError with the `stamp` that the venue sent."""
    if not 0 <= ns < 1 << 63:
        raise DecimalError(f"{stamp!r:.64} is no time from 1970 to 2262")
    return ns


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
