"""How far the venue's clock is from this machine's, and what time it is at the venue.

As NTP does it: of several questions the one with the shortest round trip says most, since its answer was under way for
the least time; the error is at most half of that round trip (RFC 5905, section 10: the clock filter).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tickmesh.bus.clock import elapsed_ns, now_ns

SAMPLES = 4
MEASURE_S = 60.0  # a step of the venue's clock is known by then; four questions of weight 1
AGAIN_S = 1.0  # between two measurements that something asked for


class Sample(NamedTuple):
    """One measurement of the venue's clock: `offset_ns`, venue less local, and `round_trip_ns`, twice its largest error."""

    offset_ns: int
    round_trip_ns: int


async def measure(
    ask: Callable[[], Awaitable[int | None]],
    local_ns: Callable[[], int],
    turn: Callable[[], Awaitable[None]] | None = None,
) -> Sample | None:
    """Asks SAMPLES times; gives the measurement of the shortest round trip, None when no question was answered.

    `ask`: gives the venue's time in ns, or None where there was no answer. `turn`: waits, before each question, until it may
    be asked; that is no part of its round trip.
    """
    samples = []
    for _ in range(SAMPLES):
        if turn is not None:
            await turn()
        local, begin = local_ns(), time.perf_counter_ns()
        venue_ns = await ask()
        round_trip_ns = time.perf_counter_ns() - begin
        if venue_ns is not None:
            samples.append(Sample(venue_ns - local - round_trip_ns // 2, round_trip_ns))
    return min(samples, key=lambda sample: sample.round_trip_ns, default=None)


class VenueTime:
    """The time at the venue, by which a session signs its requests; no step of this machine's wall clock moves it."""

    def __init__(self) -> None:
        self.offset_ns: int | None = None  # of the venue's clock from elapsed time; None: never measured
        self.measured = 0
        self._wanted = asyncio.Event()

    def now_ns(self) -> int:
        """The time at the venue, ns; the mesh's time before the first measurement."""
        return now_ns() if self.offset_ns is None else elapsed_ns() + self.offset_ns

    def now_ms(self) -> int:
        """The time at the venue, in whole ms."""
        return self.now_ns() // 1_000_000

    def wrong(self) -> None:
        """Takes notice that the venue refused a timestamp: `keep` measures anew, at once and then at most every AGAIN_S."""
        self._wanted.set()

    @property
    def known(self) -> bool:
        """Whether the venue's clock was measured, and no timestamp was refused since."""
        return self.offset_ns is not None and not self._wanted.is_set()

    async def measure(self, ask: Callable[[], Awaitable[int | None]]) -> None:
        """Measures the venue's clock by `ask`; where the venue does not answer, the measurement before holds."""
        self._wanted.clear()
        sample = await measure(ask, elapsed_ns)
        if sample is not None:
            self.offset_ns = sample.offset_ns
            self.measured += 1

    async def keep(self, ask: Callable[[], Awaitable[int | None]]) -> None:
        """For ever: measures every MEASURE_S, and when a timestamp was refused."""
        while True:
            try:
                async with asyncio.timeout(MEASURE_S):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            await self.measure(ask)
            await asyncio.sleep(AGAIN_S)
