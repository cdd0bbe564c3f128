"""Which streams have fallen silent, judged by each stream's own rate. Sans I/O: the caller brings time and counts.

A healthy socket proves nothing of a single stream: venues acknowledge subscriptions that bring nothing, and lose some of
the streams of a connection. A market that is merely quiet must not cost a renewal again and again: a stream that a
renewal did not help may be silent for twice as long the next time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tickmesh.nodes.feed.streams import Key

MEMORY_S = 600.0  # over which a stream's usual interval is taken
PATIENCE_MAX = 64


@dataclass
class Pulse:
    """One stream. `interval_s`: its usual interval, 0 before it is known. `patience`: times the usual limit it has."""

    heard_s: float
    begun_s: float = 0.0
    spoken: bool = False  # ever, in this process: one that has not renews nothing
    told: bool = False  # that it has never spoken
    count: int = 0
    interval_s: float = 0.0
    patience: int = 1
    seconds: float = 0.0  # of the memory, weighted
    events: float = 0.0


class Freshness:
    """A stream may be silent for `least_s`, and for `times` its usual interval. Times are of a monotonic clock, seconds."""

    def __init__(self, least_s: float, times: float):
        self.least_s = least_s
        self.times = times
        self.pulses: dict[Key, Pulse] = {}

    def began(self, now_s: float) -> None:
        """A connection began: every stream's silence begins here, and counts from 0."""
        for pulse in self.pulses.values():
            pulse.heard_s, pulse.count = now_s, 0

    def excuse(self, now_s: float) -> None:
        """The silence until now was not the venue's: nobody read the socket."""
        for pulse in self.pulses.values():
            pulse.heard_s = now_s

    def limit_s(self, pulse: Pulse) -> float:
        return max(self.least_s, self.times * pulse.interval_s) * pulse.patience

    def look(self, now_s: float, counts: Mapping[Key, int]) -> dict[Key, float]:
        """Streams that have just become stale → seconds of silence. `counts`: events since the connection began."""
        stale = {}
        for key, count in counts.items():
            pulse = self.pulses.get(key)
            if pulse is None:
                pulse = self.pulses[key] = Pulse(now_s, now_s)
            silent_s = now_s - pulse.heard_s
            if count > pulse.count:
                kept = max(0.0, 1 - silent_s / MEMORY_S)
                pulse.seconds = pulse.seconds * kept + silent_s
                pulse.events = pulse.events * kept + count - pulse.count
                pulse.interval_s = pulse.seconds / pulse.events
                pulse.heard_s, pulse.count, pulse.patience, pulse.spoken = now_s, count, 1, True
            elif pulse.spoken and silent_s > self.limit_s(pulse):
                stale[key] = silent_s
                pulse.heard_s = now_s
                pulse.patience = min(pulse.patience * 2, PATIENCE_MAX)
        return stale

    def unheard(self, now_s: float) -> list[Key]:
        """Streams that have never spoken, and of which that has not been told yet."""
        silent = [k for k, p in self.pulses.items() if not (p.spoken or p.told) and now_s - p.begun_s > self.least_s]
        for key in silent:
            self.pulses[key].told = True
        return silent

    @property
    def never(self) -> list[Key]:
        """Streams of which it has been told that they never spoke, and that have not since."""
        return [key for key, pulse in self.pulses.items() if pulse.told and not pulse.spoken]
