"""How far the venue's clock is from this machine's.

As NTP does it: of several questions the one with the shortest round trip says most, since its answer was under way for
the least time; the error is at most half of that round trip (RFC 5905, section 10: the clock filter).
"""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

SAMPLES = 4


class Sample(NamedTuple):
    """`offset_ns`: venue less local; `round_trip_ns`: twice its largest error."""

    offset_ns: int
    round_trip_ns: int


async def measure(ask: Callable[[], Awaitable[int | None]]) -> Sample | None:
    """`ask`: the venue's time in ns, or None where there was no answer. None when none of the questions was answered."""
    samples = []
    for _ in range(SAMPLES):
        wall, begin = time.time_ns(), time.perf_counter_ns()
        venue_ns = await ask()
        round_trip_ns = time.perf_counter_ns() - begin
        if venue_ns is not None:
            samples.append(Sample(venue_ns - wall - round_trip_ns // 2, round_trip_ns))
    return min(samples, key=lambda sample: sample.round_trip_ns, default=None)
