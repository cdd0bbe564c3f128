"""How long each hop between a venue's event and our order takes: of the last minutes, and counted since the gateway began."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tickmesh.bus.wire import Event
from tickmesh.nodes.hops.counts import LatencyCounts
from tickmesh.nodes.hops.tracker import HOPS, KINDS, HopTracker

EDGES_NS = tuple(1000 << n for n in range(4, 25))  # 16 µs, 32 µs … 16.8 s
SLOTS = 10  # that the window moves on by
BITS = 7  # a quantile is too small by less than a part in 64, and the edges fall between two lengths that are told apart
CAUSES = 5000  # remembered of each kind: some seconds of a busy market, at 250 bytes each
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class HopTotal:
    """All that was counted of a hop. `buckets`: how many took less than each of EDGES_NS; below 0 counts as 0 in `sum_ns`."""

    hop: str
    count: int
    sum_ns: int
    buckets: tuple[int, ...]


class _Slot(NamedTuple):
    number: int
    counts: dict[str, LatencyCounts]


class HopLatency:
    """Follows the events of the log and counts their hops. `window_s`: of `rows`; `since_ns`: what comes later is in `totals`.

    Time is the log's (`seq_ns`). The memory that it takes does not grow with the number of events.
    """

    def __init__(self, window_s: float, since_ns: int = 0):
        self.window_s = window_s
        self._slot_ns = max(int(window_s * 1e9) // SLOTS, 1)
        self._since_ns = since_ns
        self._tracker = HopTracker(CAUSES)
        self._slots: deque[_Slot] = deque(maxlen=SLOTS + 1)
        self._between = {name: [0] * (len(EDGES_NS) + 1) for name in HOPS}
        self._sums_ns = dict.fromkeys(HOPS, 0)

    def take(self, events: Iterable[Event]) -> None:
        """Takes in events of the log, in their order."""
        for event in events:
            if event.kind in _OF_HOPS and (hops := self._tracker.add(event)[0]):
                counts = self._counts_at(event.seq_ns)
                counted = event.seq_ns >= self._since_ns
                for name, ns in hops:
                    own = counts.get(name)
                    if own is None:
                        own = counts[name] = LatencyCounts(BITS)
                    own.add(ns)
                    if counted:
                        self._between[name][bisect_right(EDGES_NS, ns)] += 1
                        self._sums_ns[name] += max(ns, 0)

    def rows(self, now_ns: int) -> list[JsonObject]:
        """An object for each hop that was seen in the window before `now_ns`, in the order of the way.

        `hop`, `count`, `p50_ns`, `p99_ns`, `max_ns`; `buckets`: [upper_ns, how many took less], ascending.
        """
        out = []
        for name, counts in self._window(now_ns).items():
            buckets, below = [], 0
            for edge, count in zip(EDGES_NS, counts.between(EDGES_NS), strict=False):
                below += count
                buckets.append([edge, below])
            out.append({
                "hop": name, "count": counts.total, "p50_ns": counts.quantile(0.5), "p99_ns": counts.quantile(0.99),
                "max_ns": counts.most, "buckets": buckets,
            })  # fmt: skip
        return out

    def p99_ms(self, now_ns: int) -> dict[str, float]:
        """Hop → ms that 99 of 100 did not exceed, in the window before `now_ns`."""
        return {name: round((counts.quantile(0.99) or 0) / 1e6, 3) for name, counts in self._window(now_ns).items()}

    def totals(self) -> list[HopTotal]:
        """What was counted of each hop since `since_ns`, also of those that were never seen."""
        out = []
        for name, between in self._between.items():
            below = [sum(between[: place + 1]) for place in range(len(EDGES_NS))]
            out.append(HopTotal(name, sum(between), self._sums_ns[name], tuple(below)))
        return out

    def _counts_at(self, seq_ns: int) -> dict[str, LatencyCounts]:
        number = seq_ns // self._slot_ns
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(_Slot(number, {}))
        return self._slots[-1].counts

    def _window(self, now_ns: int) -> dict[str, LatencyCounts]:
        first = now_ns // self._slot_ns - SLOTS
        slots = [slot.counts for slot in self._slots if slot.number > first]
        out: dict[str, LatencyCounts] = {}
        for name in HOPS:
            if parts := [counts[name] for counts in slots if name in counts]:
                out[name] = LatencyCounts(BITS)
                for part in parts:
                    out[name].add_all(part)
        return out


_OF_HOPS = frozenset(KINDS)
