"""What a sweep showed, read from the log that it left: recovery times, and how often each recovery path was used."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bus.schema import Flag, GapState, Kind
from bus.wire import Event
from tools.chaos.field import Kill

MARKET = (Kind.trade, Kind.quote, Kind.depth)

# Recovery path → the counters in `health` that show its use. Counters begin anew with each process.
COUNTERS: dict[str, tuple[str, ...]] = {
    "outbox_read": ("outbox_caught_up",),  # the sequencer was away: it read what producers had said meanwhile
    "log_read": ("log_caught_up",),  # a reader had missed a ring: it read the log
    "book_resync": ("resyncs",),  # a book's chain broke: a fresh snapshot
    "reconnect": ("reconnects",),
    "renewal": ("renewals",),  # a new connection beside the old one
    "shutdown": ("shutdowns",),  # because the venue had said that it would close
    "respawn": ("respawns",),  # a sentinel saw a death at once
}

SEEN = ("frame_refused", "repair", "other_line", "restart")  # paths that the log itself shows


class Figures:
    """Takes every event of the log once, in order."""

    def __init__(self, kills: Sequence[Kill]):
        self.kills = sorted(kills, key=lambda kill: kill.killed_ns)
        self.next_s: list[float] = []
        self.paths: Counter[str] = Counter(dict.fromkeys((*COUNTERS, *SEEN), 0))
        self.open_gaps: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._most: dict[tuple[str, int, str], int] = {}
        self._unanswered = list(self.kills)
        self._runs: Counter[str] = Counter()
        self._dead = [
            (kill.killed_ns, kill.killed_ns + int((kill.ready_s or 0.0) * 1e9), kill.name)
            for kill in self.kills
            if kill.name.startswith("feed-")
        ]

    def read(self, events: Iterable[Event]) -> "Figures":
        for event in events:
            self.take(event)
        return self

    def take(self, event: Event) -> None:
        if event.kind in MARKET:
            while self._unanswered and event.seq_ns > self._unanswered[0].killed_ns:
                self.next_s.append((event.seq_ns - self._unanswered.pop(0).killed_ns) / 1e9)
            self.paths["repair"] += bool(event.flags & Flag.REPAIRED)
            if self._dead:
                self._carried_on(event)
        elif event.kind == Kind.health:
            self._health(event)
        elif event.kind == Kind.refusal:  # a frame that nobody understands: kept, counted, gone on
            self.paths["frame_refused"] += event.producer.startswith("feed-")
        elif event.kind == Kind.run:
            self._runs[event.subject] += 1
            self.paths["restart"] += self._runs[event.subject] > 1
        elif event.kind == Kind.gap:
            self._gap(event)

    def _carried_on(self, event: Event) -> None:
        """What one line brought while another one was dead."""
        while self._dead and event.seq_ns > self._dead[0][1]:
            self._dead.pop(0)
        for begin, end, name in self._dead:
            if begin <= event.seq_ns <= end and event.producer.startswith("feed-") and event.producer != name:
                self.paths["other_line"] += 1
                return

    def _health(self, event: Event) -> None:
        content = event.map()
        for path, names in COUNTERS.items():
            for name in names:
                key = (event.subject, content.get("pid", 0), name)
                now, before = content.get(name, 0), self._most.get(key, 0)
                if now > before:
                    self._most[key] = now
                    self.paths[path] += now - before

    def _gap(self, event: Event) -> None:
        for record in event.records:
            key = (event.subject, int(record["stream"]))
            first, last = int(record["first_id"]), int(record["last_id"])
            open_gaps = self.open_gaps.setdefault(key, [])
            if record["state"] == GapState.open:
                open_gaps.append((first, last))
            else:
                self.open_gaps[key] = [part for gap in open_gaps for part in _without(gap, first, last)]

    @property
    def still_open(self) -> int:
        """Ids of trades that are neither repaired nor declared unrecoverable."""
        return sum(last - first + 1 for gaps in self.open_gaps.values() for first, last in gaps)

    def as_dict(self) -> dict[str, Any]:
        ready = [kill.ready_s for kill in self.kills if kill.ready_s is not None]
        return {
            "kills": len(self.kills),
            "killed": dict(Counter(kill.name for kill in self.kills)),
            "next_event_s": quantiles(self.next_s),
            "ready_s": quantiles(ready),
            "paths": dict(self.paths),
            "still_open": self.still_open,
        }


def _without(gap: tuple[int, int], first: int, last: int) -> list[tuple[int, int]]:
    low, high = gap
    return [part for part in ((low, min(high, first - 1)), (max(low, last + 1), high)) if part[0] <= part[1]]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max, in seconds; empty when there is nothing."""
    if not seconds:
        return {}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(max(seconds), 4)}
