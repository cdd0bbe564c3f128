"""What a sweep showed, read from the log that it left: recovery times, and how often each recovery path was used."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tickmesh.bus.schema import Flag, GapState, Kind, Reason
from tickmesh.bus.wire import Event
from tickmesh.tools.chaos.sweep_mesh import Kill

MARKET = (Kind.trade, Kind.quote, Kind.depth)
EARLY_NS = 500_000_000  # a slew is published by the 10 ms, but one of 1 % over a suspend only with the first tick after it
LATE_NS = 60_000_000_000  # longer than anything holds up an event in a sweep
WINDOW_NS = 5_000_000_000

# Recovery path → the counters in `health` that show its use. Counters begin anew with each process.
COUNTERS: dict[str, tuple[str, ...]] = {
    "outbox_read": ("outbox_caught_up",),  # the sequencer was away: it read what producers had published meanwhile
    "log_read": ("log_caught_up",),  # a reader had missed a ring: it read the log
    "book_resync": ("resyncs",),  # a book's chain broke: a fresh snapshot
    "reconnect": ("reconnects",),
    "renewal": ("renewals",),  # a new connection beside the old one
    "shutdown": ("shutdowns",),  # because the venue had announced that it would close
    "outbox_spill": ("outbox_spills",),  # an outbox went on on disk, for RAM was full
    "respawn": ("respawns",),  # a sentinel saw a death at once
}

# Paths that the log itself shows.
SEEN = ("frame_refused", "repair", "other_line", "restart", "contradiction", "era", "unsynced", "clock", "unknown")


class LogPace:
    """Compares how fast the log's time goes with the venue's, which is true in a sweep; published corrections are allowed for.

    Both stand in every live event. The log's is later by the event's way, never earlier, and in the long run not by much.
    """

    def __init__(self) -> None:
        self.moved_ns = 0  # published so far
        self.wrong: list[str] = []
        self._least_ns = 0  # by which the log was behind: both begin with the same clock
        self._until_ns = 0  # of the venue's time: until then a larger one may be a hold-up
        self._now: list[int] = []

    def take(self, event: Event) -> None:
        """Takes one event of the market; adds a sentence to `wrong` where the log's time went off."""
        if event.kind == Kind.quote or not event.venue_ns or event.flags & (Flag.REPAIRED | Flag.SNAPSHOT):
            return
        behind_ns = event.seq_ns - event.venue_ns - self.moved_ns
        if behind_ns < self._least_ns - EARLY_NS:
            self._report(f"went {(self._least_ns - behind_ns) / 1e9:.3f} s less than the venue's by seq {event.seq}")
            self._least_ns = behind_ns
        self._now.append(behind_ns)
        if event.venue_ns > self._until_ns:
            least_ns = min(self._now)
            if least_ns > self._least_ns + LATE_NS:
                self._report(f"went {(least_ns - self._least_ns) / 1e9:.3f} s more than the venue's by seq {event.seq}")
                self._least_ns = least_ns
            self._until_ns, self._now = event.venue_ns + WINDOW_NS, []

    def _report(self, what: str) -> None:
        if len(self.wrong) < 5:
            self.wrong.append(f"the log's time {what}, and nothing says so")


class Figures:
    """Computes from the log what a sweep has shown: times of recovery, uses of each recovery path, gaps that are open."""

    def __init__(self, kills: Sequence[Kill], full: Sequence[tuple[int, int]] = ()):
        self.kills = sorted(kills, key=lambda kill: kill.killed_ns)
        self.next_s: list[float] = []
        self.paths: Counter[str] = Counter(dict.fromkeys((*COUNTERS, *SEEN), 0))
        self.fills: Counter[str] = Counter()  # of our orders, by instrument
        self.used_weight: Counter[str] = Counter()  # by venue: the most that it has counted in a minute, told to a line
        self.open_gaps: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._most: dict[tuple[str, int, str], int] = {}
        self._unanswered = list(self.kills)
        self._runs: Counter[str] = Counter()
        self.pace = LogPace()
        self.full = {window: 0 for window in full}  # (from, to) when the outboxes' tmpfs was full → market events then
        self._dead = [
            (kill.killed_ns, kill.killed_ns + int((kill.ready_s or 0.0) * 1e9), kill.name)
            for kill in self.kills
            if kill.name.startswith("feed-")
        ]

    def read(self, events: Iterable[Event]) -> "Figures":
        """Takes all events; gives itself."""
        for event in events:
            self.take(event)
        return self

    def take(self, event: Event) -> None:
        """Takes one event; they come in order."""
        if event.kind in MARKET:
            self.pace.take(event)
            self.paths["unsynced"] += bool(event.flags & Flag.UNSYNCED)
            self.paths["era"] += bool(event.flags & Flag.RESET)
            while self._unanswered and event.seq_ns > self._unanswered[0].killed_ns:
                self.next_s.append((event.seq_ns - self._unanswered.pop(0).killed_ns) / 1e9)
            self.paths["repair"] += bool(event.flags & Flag.REPAIRED)
            if self._dead:
                self._carried_on(event)
            for begin, end in self.full:
                self.full[begin, end] += begin <= event.seq_ns <= end
        elif event.kind == Kind.health:
            self._health(event)
        elif event.kind == Kind.fill:
            self.fills[event.subject] += event.count
        elif event.kind == Kind.refusal:  # a frame that nobody understands: kept, counted, gone on
            self.paths["frame_refused"] += event.producer.startswith("feed-")
        elif event.kind == Kind.run:
            self._runs[event.subject] += 1
            self.paths["restart"] += self._runs[event.subject] > 1
        elif event.kind == Kind.gap:
            self._gap(event)
            self.paths["contradiction"] += any(record["reason"] == Reason.contradiction for record in event.records)
        elif event.kind == Kind.clock:
            self._moved(int(event.records["correction_ns"][0]), event.seq_ns)
        elif event.kind == Kind.alert:
            content = event.map()
            self.paths["unknown"] += content["what"] == "unknown_instrument"
            if content["what"] == "clock_suspend":
                self._moved(content["size_ns"], event.seq_ns)
            self.paths["clock"] += content["what"] in ("clock_step", "clock_suspend")

    def _moved(self, ns: int, now_ns: int) -> None:
        """Notes a published correction of the mesh's time: what is measured by it, and began before, moves with it."""
        self.pace.moved_ns += ns
        for place, kill in enumerate(self._unanswered):
            if kill.killed_ns > now_ns - ns:
                break
            self._unanswered[place] = kill._replace(killed_ns=kill.killed_ns + ns)

    def _carried_on(self, event: Event) -> None:
        """What one line brought while another one was dead."""
        while self._dead and event.seq_ns > self._dead[0][1]:
            self._dead.pop(0)
        for begin, end, name in self._dead:
            if (
                begin <= event.seq_ns <= end
                and event.producer != name
                and event.producer.rpartition("-")[0] == name.rpartition("-")[0]
            ):
                self.paths["other_line"] += 1
                return

    def _health(self, event: Event) -> None:
        content = event.map()
        if event.subject.startswith("feed-"):
            venue = event.subject.rpartition("-")[0].removeprefix("feed-")
            self.used_weight[venue] = max(self.used_weight[venue], int(content.get("used_weight") or 0))
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
        """How many ids of gaps are neither repaired nor declared unrecoverable."""
        return sum(last - first + 1 for gaps in self.open_gaps.values() for first, last in gaps)

    def as_dict(self) -> dict[str, Any]:
        """The figures as `mesh chaos --json` prints them."""
        ready = [kill.ready_s for kill in self.kills if kill.ready_s is not None]
        return {
            "kills": len(self.kills),
            "killed": dict(Counter(kill.name for kill in self.kills)),
            "next_event_s": quantiles(self.next_s),
            "ready_s": quantiles(ready),
            "paths": dict(self.paths),
            "fills": dict(self.fills),
            "still_open": self.still_open,
        }


def _without(gap: tuple[int, int], first: int, last: int) -> list[tuple[int, int]]:
    low, high = gap
    return [part for part in ((low, min(high, first - 1)), (max(low, last + 1), high)) if part[0] <= part[1]]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum of durations in seconds; empty when there are none."""
    if not seconds:
        return {}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(max(seconds), 4)}
