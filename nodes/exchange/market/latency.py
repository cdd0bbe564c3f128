"""How long our orders take to the exchange, and its answers back to us: entry and response latency, in seconds.

As hftbacktest has them ("Latency Models", hftbacktest.readthedocs.io: ConstantLatency, IntpOrderLatency). A recorded market
holds the latency of its own feed; that of orders has to be added, or a model that reacts at once gets prices that no
one could have had. Pure: time and chance come from outside or from a seed.
"""

import math
import random
from bisect import bisect_right
from typing import NamedTuple, Protocol


class Latency(NamedTuple):
    """Seconds until the exchange has the order, and from there until we have its answer."""

    entry_s: float
    response_s: float


class LatencyModel(Protocol):
    """Gives the latency of each order that is sent to a recorded market."""

    def at(self, now_ns: int) -> Latency:
        """The latency of an order that is sent now; `now_ns` is the recorded time."""


class ConstantLatency:
    """One latency for every order."""

    def __init__(self, entry_ms: float, response_ms: float):
        self.latency = Latency(entry_ms / 1000, response_ms / 1000)

    def at(self, now_ns: int) -> Latency:
        """The latency of any order; `now_ns` does not matter."""
        return self.latency


class SampledLatency:
    """One of the measured pairs, drawn anew for each order: keeps the tail that a mean would hide."""

    def __init__(self, pairs_ms: list[tuple[float, float]], seed: int):
        if not pairs_ms:
            raise ValueError("there is no latency to draw from: the file has no rows")
        self.pairs = [Latency(entry / 1000, response / 1000) for entry, response in pairs_ms]
        self.chance = random.Random(seed)

    def at(self, now_ns: int) -> Latency:
        """A latency drawn from the measured ones, for an order that is sent at `now_ns`."""
        return self.chance.choice(self.pairs)


class InterpolatedLatency:
    """Latency measured at known times, linear between them, constant before the first and after the last."""

    def __init__(self, rows: list[tuple[int, float, float]]):
        if not rows:
            raise ValueError("there is no latency to interpolate: the file has no rows")
        self.rows = sorted(rows)
        self.times = [row[0] for row in self.rows]

    def at(self, now_ns: int) -> Latency:
        """The latency of an order that is sent at `now_ns`, from those measured before and after."""
        place = bisect_right(self.times, now_ns)
        if place == 0 or place == len(self.rows):
            _, entry, response = self.rows[max(place - 1, 0)]
            return Latency(entry / 1000, response / 1000)
        (t0, entry0, response0), (t1, entry1, response1) = self.rows[place - 1], self.rows[place]
        share = (now_ns - t0) / (t1 - t0) if t1 > t0 else 0.0
        return Latency((entry0 + share * (entry1 - entry0)) / 1000, (response0 + share * (response1 - response0)) / 1000)


def read_latencies(text: str, seed: int) -> LatencyModel:
    """Reads rows of `entry_ms,response_ms` (drawn from) or `time_ns,entry_ms,response_ms` (interpolated). Raises ValueError."""
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for row in rows:
        if wrong := [word for word in row[-2:] if not 0.0 <= float(word) < math.inf]:
            raise ValueError(f"a latency of {wrong[0]} ms is none; 0 or more is allowed")
    widths = {len(row) for row in rows}
    if widths == {2}:
        return SampledLatency([(float(a), float(b)) for a, b in rows], seed)
    if widths == {3}:
        return InterpolatedLatency([(int(t), float(a), float(b)) for t, a, b in rows])
    raise ValueError(f"rows of {sorted(widths)} numbers; there are 2 (entry_ms, response_ms) or 3 (time_ns before them)")
