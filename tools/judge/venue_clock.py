"""How far the log's time is from the venue's, by the stamps of what it says: the ledger is in the venue's time.

A mesh's time never goes back. After a clock that was ahead, or a machine that slept, it is ahead of every venue for long.
"""

from collections import deque

from tickmesh.tools.judge.log import REPAIRED, SNAPSHOT, Event

LOOK_BACK_NS = 10_000_000_000  # what is logged late is on its way for less than that, and something else in time
STAMPED = ("trade", "depth", "update", "fill")  # streams that may be late one at a time: the least counts
USUAL_NS = 5_000_000_000  # nearer than that they are called equal: the rules' own bounds allow for it


class VenueClock:
    """Follows a log's events, and gives moments of the log by the venue's clock."""

    def __init__(self) -> None:
        self._stamps: deque[tuple[int, int]] = deque()  # (seq_ns, how far ahead it is), those that are less than all before

    def take(self, event: Event) -> None:
        """Takes the next event; they come in order."""
        while self._stamps and self._stamps[0][0] < event.seq_ns - LOOK_BACK_NS:
            self._stamps.popleft()
        if event.kind not in STAMPED or not event.venue_ns or event.flags & (REPAIRED | SNAPSHOT):
            return
        ahead_ns = event.seq_ns - event.venue_ns
        while self._stamps and self._stamps[-1][1] >= ahead_ns:
            self._stamps.pop()
        self._stamps.append((event.seq_ns, ahead_ns))

    def ms(self, log_ns: int) -> float:
        """A moment near the newest event, ns of the log, in ms of the venue."""
        ahead_ns = self._stamps[0][1] if self._stamps else 0
        return (log_ns - (ahead_ns if abs(ahead_ns) > USUAL_NS else 0)) / 1e6
