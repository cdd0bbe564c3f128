"""What each line of a stream is worth: how often it was first and by how much, how often late, how often out of order.

Judged by arrival: an event is a first if nobody had brought its id before, whether or not it had to wait for others.
The memory is the last `SLOTS` ids of a stream; a copy that comes later than that is counted, but not timed. No I/O.
"""

import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from tickmesh.bus.schema import LINE

SLOTS = 2048  # a power of two; two seconds of a thousand events
SAMPLES = 1024  # leads and lags kept of an interval: the newest


class LineCounts:
    """One line's counts since the last report. `highest`: the largest id that it ever brought."""

    __slots__ = ("name", "highest", "firsts", "duplicates", "repeated", "disordered", "leads", "lags")

    def __init__(self, name: str):
        self.name = name
        self.highest = -(1 << 63)
        self.begin()

    def begin(self) -> None:
        """Sets all counts to 0, for the next report."""
        self.firsts = self.duplicates = self.repeated = self.disordered = 0
        self.leads: deque[int] = deque(maxlen=SAMPLES)
        self.lags: deque[int] = deque(maxlen=SAMPLES)


class Lines:
    """The counts of all lines of one stream."""

    __slots__ = ("stream", "lines", "slots", "begin_ns")

    def __init__(self, stream: int):
        self.stream = stream
        self.lines: dict[str, LineCounts] = {}
        # id modulo SLOTS → (id, recv_ns of the first copy, its line, or None when a second copy has been timed against it)
        self.slots: list[tuple[int, int, LineCounts | None]] = [(-1, 0, None)] * SLOTS
        self.begin_ns = 0

    def note(self, name: str, ident: int, recv_ns: int, last: int | None) -> bool:
        """Counts an event of a line; True where its own line is beyond it. `last`: the stream's highest id before it."""
        line = self.lines.get(name)
        if line is None:
            line = self.lines[name] = LineCounts(name)
        behind = False
        if ident > line.highest:
            line.highest = ident
        else:
            line.disordered += 1
            behind = last is not None and ident < line.highest <= last
        slot = ident % SLOTS
        known, first_ns, leader = self.slots[slot]
        if known != ident:
            if last is None or ident > last:
                line.firsts += 1
                self.slots[slot] = (ident, recv_ns, line)
            else:
                line.duplicates += 1
            return behind
        if leader is line:
            line.repeated += 1
            return behind
        line.duplicates += 1
        line.lags.append(recv_ns - first_ns)
        if leader is not None:
            leader.leads.append(recv_ns - first_ns)
            self.slots[slot] = (ident, first_ns, None)
        return behind

    def begin_anew(self) -> None:
        """Forgets the highest id of each line: the venue's ids began anew."""
        self.slots = [(-1, 0, None)] * SLOTS
        for line in self.lines.values():
            line.highest = -(1 << 63)

    def report(self, now_ns: int) -> np.ndarray:
        """Builds one record for each line of the stream, none if nobody brought anything: shape (n,), dtype schema.LINE."""
        busy = any(line.firsts or line.duplicates or line.repeated for line in self.lines.values())
        out = np.zeros(len(self.lines) if busy else 0, LINE)
        for row, line in zip(out, sorted(self.lines.values(), key=lambda line: line.name)):
            row["line"], row["stream"] = line.name.encode(), self.stream
            row["begin_ns"], row["end_ns"] = self.begin_ns or now_ns, now_ns
            row["events"] = line.firsts + line.duplicates + line.repeated
            row["firsts"], row["duplicates"], row["disordered"] = line.firsts, line.duplicates, line.disordered
            row["lead_p50_ns"], row["lead_p99_ns"] = quantiles(line.leads)
            row["lag_p50_ns"], row["lag_p99_ns"] = quantiles(line.lags)
            line.begin()
        self.begin_ns = now_ns
        return out


def quantiles(samples: Iterable[int]) -> tuple[int, int]:
    """(median, 99th percentile): the smallest sample that so many are not above; 0 for no samples."""
    ordered = sorted(samples)
    if not ordered:
        return 0, 0
    return ordered[math.ceil(0.5 * len(ordered)) - 1], ordered[math.ceil(0.99 * len(ordered)) - 1]


def joined(line: str, stream: int, recv_ns: int) -> np.ndarray:
    """Builds the record that states from where on a line counts (docs/decisions/arbitration.md). Its counts are 0."""
    out = np.zeros(1, LINE)
    out["line"], out["stream"], out["joined"] = line.encode(), stream, 1
    out["begin_ns"] = out["end_ns"] = recv_ns
    return out
