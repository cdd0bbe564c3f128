"""The open gaps of one stream of trades: which of their ids are still missing, and what became of the others. No I/O.

The sequencer keeps them to know a late event from a duplicate, backfill to know what to ask for; both from the same log.
"""

from bisect import bisect_left

from tickmesh.bus.schema import GAP, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import Event

Run = tuple[int, int]  # ids, inclusive
PackedGap = tuple[int, int, int, int, list[Run], list[Run]]  # low, high, before_ns, after_ns, missing, lost


class Gap:
    """Ids `low` to `high` that no line brought. `missing` and `lost`: runs of them, ascending, apart from one another."""

    __slots__ = ("low", "high", "before_ns", "after_ns", "missing", "lost")

    def __init__(self, low: int, high: int, before_ns: int = 0, after_ns: int = 0):
        self.low, self.high = low, high
        self.before_ns, self.after_ns = before_ns, after_ns
        self.missing: list[Run] = [(low, high)]
        self.lost: list[Run] = []

    def overlap(self, first: int, last: int) -> list[Run]:
        """The missing ids among `first` to `last`."""
        start = bisect_left(self.missing, first, key=lambda run: run[1])
        out = []
        for low, high in self.missing[start:]:
            if low > last:
                break
            out.append((max(low, first), min(high, last)))
        return out

    def take_out(self, first: int, last: int) -> list[Run]:
        """Takes ids out of what is missing; returns which of them were missing."""
        start = bisect_left(self.missing, first, key=lambda run: run[1])
        stop = start
        out: list[Run] = []
        rest: list[Run] = []
        while stop < len(self.missing) and self.missing[stop][0] <= last:
            low, high = self.missing[stop]
            out.append((max(low, first), min(high, last)))
            rest += [run for run in ((low, first - 1), (last + 1, high)) if run[0] <= run[1]]
            stop += 1
        self.missing[start:stop] = rest
        return out

    def repaired(self) -> list[Run]:
        """The runs that are neither missing nor lost."""
        out, at = [], self.low
        for low, high in sorted(self.missing + self.lost):
            if at < low:
                out.append((at, low - 1))
            at = high + 1
        if at <= self.high:
            out.append((at, self.high))
        return out

    def state(self) -> PackedGap:
        """Packs the gap as plain values, for a checkpoint; `of` makes the same gap of them."""
        return self.low, self.high, self.before_ns, self.after_ns, list(self.missing), list(self.lost)

    @classmethod
    def of(cls, state: PackedGap) -> "Gap":
        """Makes the gap that `state` packed, also after msgpack made lists of its tuples."""
        low, high, before_ns, after_ns, missing, lost = state
        gap = cls(low, high, before_ns, after_ns)
        gap.missing, gap.lost = ([(low, high) for low, high in runs] for runs in (missing, lost))
        return gap


class Gaps:
    """Gaps in ascending order of id, none of which overlaps another."""

    def __init__(self) -> None:
        self.all: list[Gap] = []

    def __len__(self) -> int:
        return len(self.all)

    @property
    def high(self) -> int:
        """The highest id of all gaps, above which none is missing; −1 for no gaps."""
        return self.all[-1].high if self.all else -1

    def open(self, low: int, high: int, before_ns: int = 0, after_ns: int = 0) -> Gap | None:
        """Adds a gap of the ids `low` to `high` and gives it; None where all of it is known already."""
        low = max(low, self.high + 1)
        if low > high:
            return None
        self.all.append(gap := Gap(low, high, before_ns, after_ns))
        return gap

    def touched(self, first: int, last: int) -> list[Gap]:
        """The gaps that have any of the ids `first` to `last`."""
        start = bisect_left(self.all, first, key=lambda gap: gap.high)
        stop = start
        while stop < len(self.all) and self.all[stop].low <= last:
            stop += 1
        return self.all[start:stop]

    def missing(self, first: int, last: int) -> list[Run]:
        """The ids among `first` to `last` that are missing."""
        return [run for gap in self.touched(first, last) for run in gap.overlap(first, last)]

    def fill(self, first: int, last: int) -> list[Run]:
        """Takes out the ids `first` to `last`, whose trades have come after all; returns which of them were missing."""
        return [run for gap in self.touched(first, last) for run in gap.take_out(first, last)]

    def lose(self, first: int, last: int) -> list[Run]:
        """Marks the ids `first` to `last` as lost for good; returns which of them were missing."""
        out = []
        for gap in self.touched(first, last):
            runs = gap.take_out(first, last)
            gap.lost = sorted(gap.lost + runs)
            out += runs
        return out

    def take_back(self, sure: int) -> None:
        """Forgets what is missing above `sure`: an absurd event brought those ids, and nothing is known about them."""
        for gap in self.touched(sure + 1, self.high):
            gap.high = min(gap.high, sure)
            gap.missing = [(low, min(high, sure)) for low, high in gap.missing if low <= sure]
            gap.lost = [(low, min(high, sure)) for low, high in gap.lost if low <= sure]
        self.all = [gap for gap in self.all if gap.low <= gap.high]

    def pop_decided(self) -> list[Gap]:
        """Takes out and gives the gaps of which no id is missing any more."""
        decided = [gap for gap in self.all if not gap.missing]
        if decided:
            self.all = [gap for gap in self.all if gap.missing]
        return decided

    def observe(self, event: Event) -> None:
        """Follows one event of the log: gap events about trades open, fill and lose ids; others change nothing."""
        if event.kind == Kind.trade:
            if event.flags & Flag.REPAIRED:
                self.fill(event.first_id, event.last_id)
        elif event.kind == Kind.gap:
            for record in event.records.tolist():
                self.observe_record(*record[:5], *record[6:8])

    def observe_record(
        self, first: int, last: int, stream: int, state: int, reason: int, before_ns: int, after_ns: int
    ) -> None:  # fmt: skip
        """Follows one record of a gap event; records of other streams than trades change nothing."""
        if stream != Kind.trade:
            return
        if reason == Reason.contradiction:
            self.take_back(first - 1)
        if state == GapState.open:
            self.open(first, last, before_ns, after_ns)
        elif state == GapState.repaired:
            self.fill(first, last)
            self.all = [gap for gap in self.all if gap.missing or gap.high < first or gap.low > last]
        else:
            self.lose(first, last)  # if nothing of the gap was repaired, there is nothing more to be said of it
            self.all = [gap for gap in self.all if gap.missing or gap.repaired()]

    def state(self) -> list[PackedGap]:
        """Packs all gaps as plain values, for a checkpoint; `restore` takes them."""
        return [gap.state() for gap in self.all]

    def restore(self, state: list[PackedGap]) -> None:
        """Replaces all gaps by those that `state` gave."""
        self.all = [Gap.of(one) for one in state]


assert GAP.names is not None and GAP.names[:5] == ("first_id", "last_id", "stream", "state", "reason")
