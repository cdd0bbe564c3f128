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
    """One stream's rate: an event every `interval_s`, 0 before it is known. `patience`: times the usual limit it has."""

    last_event_s: float
    first_look_s: float = 0.0
    has_events: bool = False  # ever, in this process: one that has none renews nothing
    reported: bool = False  # given by `newly_without_events`
    count: int = 0
    interval_s: float = 0.0
    patience: int = 1
    seconds: float = 0.0  # of the memory, weighted
    events: float = 0.0


class Freshness:
    """Judges which streams are silent: beyond `least_s`, and `times` their usual interval. Times are monotonic, in seconds."""

    def __init__(self, least_s: float, times: float):
        self.least_s = least_s
        self.times = times
        self.pulses: dict[Key, Pulse] = {}

    def connection_began(self, now_s: float) -> None:
        """Counts every stream's silence from `now_s` on, and its events from 0: a connection is new."""
        for pulse in self.pulses.values():
            pulse.last_event_s, pulse.count = now_s, 0

    def count_silence_from(self, now_s: float) -> None:
        """Counts every stream's silence from `now_s` on: nobody read the socket until then, so it was not the venue's."""
        for pulse in self.pulses.values():
            pulse.last_event_s = now_s

    def limit_s(self, pulse: Pulse) -> float:
        """How long the stream may be silent now."""
        return max(self.least_s, self.times * pulse.interval_s) * pulse.patience

    def look(self, now_s: float, counts: Mapping[Key, int]) -> dict[Key, float]:
        """Takes the `counts` of events since the connection began; gives streams just found stale → seconds of silence."""
        stale = {}
        for key, count in counts.items():
            pulse = self.pulses.get(key)
            if pulse is None:
                pulse = self.pulses[key] = Pulse(now_s, now_s)
            silent_s = now_s - pulse.last_event_s
            if count > pulse.count:
                kept = max(0.0, 1 - silent_s / MEMORY_S)
                pulse.seconds = pulse.seconds * kept + silent_s
                pulse.events = pulse.events * kept + count - pulse.count
                pulse.interval_s = pulse.seconds / pulse.events
                pulse.last_event_s, pulse.count, pulse.patience, pulse.has_events = now_s, count, 1, True
            elif pulse.has_events and silent_s > self.limit_s(pulse):
                stale[key] = silent_s
                pulse.last_event_s = now_s
                pulse.patience = min(pulse.patience * 2, PATIENCE_MAX)
        return stale

    def newly_without_events(self, now_s: float) -> list[Key]:
        """Streams that have had no event for `least_s` since this process began; each is given once."""
        silent = [
            k for k, p in self.pulses.items() if not (p.has_events or p.reported) and now_s - p.first_look_s > self.least_s
        ]
        for key in silent:
            self.pulses[key].reported = True
        return silent

    @property
    def without_events(self) -> list[Key]:
        """Streams that were reported (`newly_without_events`) never to have had an event, and still have none."""
        return [key for key, pulse in self.pulses.items() if pulse.reported and not pulse.has_events]
