"""What must hold for the venue's ids of a log: they rise, holes are declared, no trade is there twice, flags are true."""

from bisect import bisect_left, bisect_right

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import CONTRADICTION, DEPTH, GAP_REPAIRED, RESET, STREAMS, TRADE, counted_of
from tickmesh.tools.judge.log import REPAIRED, SNAPSHOT, Event

UNSYNCED = 8
COUNTS = {"trade": "trades", "quote": "quotes", "depth": "depth_events"}
NAMES = {number: name for name, number in STREAMS.items()}


class SeenIds:
    """A set of ids, kept as runs that follow one another: a log's trades are few runs."""

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.lasts: list[int] = []

    def add(self, first: int, last: int) -> bool:
        """Adds the ids first … last; whether any of them was there before."""
        low, high = bisect_left(self.lasts, first - 1), bisect_right(self.firsts, last + 1)
        touched = range(low, high)
        known = any(self.firsts[i] <= last and first <= self.lasts[i] for i in touched)
        if touched:
            first, last = min(first, self.firsts[low]), max(last, self.lasts[high - 1])
        self.firsts[low:high], self.lasts[low:high] = [first], [last]
        return known

    def forget_from(self, first: int) -> None:
        """Removes all ids from `first` on: they come again."""
        place = bisect_left(self.lasts, first)
        if place < len(self.lasts):
            begun = self.firsts[place] < first
            del self.firsts[place + begun :], self.lasts[place + begun :]
            if begun:
                self.lasts[place] = first - 1


class StreamCheck:
    """Checks the venue's ids: they rise, holes are declared, no trade comes twice, flags of books are true."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.last_ids: dict[tuple[str, str], int] = {}
        self.gaps: dict[tuple[str, str], list[tuple[int, int]]] = {}  # since the stream's ids last began anew
        self.trades: dict[str, SeenIds] = {}
        self.subjects: set[str] = set()
        self.books: dict[str, bool] = {}  # whether there is one that a change can be applied to

    def look(self, event: Event) -> None:
        """Checks one trade, quote, depth event or gap; they come in order."""
        if event.kind == "gap":
            for row in event.records:
                self._gap(event.subject, *row[:5])
            return
        self.findings.count(COUNTS[event.kind])
        self.subjects.add(event.subject)
        topic = (event.kind, event.subject)
        if event.flags & RESET:
            self.last_ids.pop(topic, None)
            self.gaps.pop(topic, None)
            if event.kind == "trade":
                self.trades.pop(event.subject, None)
        if event.kind == "depth":
            self._book(event)
        if not event.flags & REPAIRED:
            self._rises(topic, event)
        if event.kind == "trade" and event.first_id <= event.last_id:
            self._once(event)

    def _once(self, event: Event) -> None:
        if self.trades.setdefault(event.subject, SeenIds()).add(event.first_id, event.last_id):
            late = ", flagged REPAIRED," if event.flags & REPAIRED else ""
            ids = event.last_id if event.first_id == event.last_id else f"{event.first_id} to {event.last_id}"
            self.findings.fault("trade_twice", f"seq {event.seq}: trade {ids} of {event.subject}{late} is there already")

    def _gap(self, subject: str, first: int, last: int, stream: int, state: int, reason: int) -> None:
        self.findings.count("gaps")
        if stream not in NAMES or state == GAP_REPAIRED:
            return
        topic = (NAMES[stream], subject)
        if reason == CONTRADICTION and topic in self.last_ids:
            self.last_ids[topic] = last
            if stream == TRADE and subject in self.trades:
                self.trades[subject].forget_from(first)
        if first <= last:
            self.gaps.setdefault(topic, []).append((first, last))
        if stream == DEPTH:
            self.books[subject] = False

    def _book(self, event: Event) -> None:
        self.findings.count("depth_levels", len(event.records))
        marked = bool(event.flags & UNSYNCED)
        if event.flags & RESET:
            self.books[event.subject] = False
        if event.flags & SNAPSHOT:
            self.books[event.subject] = True
            wrong = "a snapshot is flagged UNSYNCED" if marked else ""
        elif self.books.get(event.subject, False):
            wrong = "flagged UNSYNCED, but there is a book to apply it to" if marked else ""
        else:
            wrong = "" if marked else "not flagged UNSYNCED, but there is no book to apply it to"
        if wrong:
            self.findings.fault(
                "unsynced", f"seq {event.seq}: change {event.first_id} to {event.last_id} of {event.subject}: {wrong}"
            )

    def _rises(self, topic: tuple[str, str], event: Event) -> None:
        last = self.last_ids.get(topic)
        if event.flags & SNAPSHOT:  # moves no id: the next change may straddle it, and has to follow on the one before
            if event.flags & RESET:
                self.last_ids[topic] = event.last_id
            return
        self.last_ids[topic] = max(event.last_id, last or event.last_id)
        if last is None:
            return
        if event.last_id <= last:
            self.findings.fault("id", f"seq {event.seq}: {event.kind} id {event.last_id} comes after {last}")
        elif event.first_id > last + 1 and self._numbered(event):
            hole = (last + 1, event.first_id - 1)
            if not _covered(*hole, self.gaps.get(topic, [])):
                self.findings.fault(
                    "hole", f"seq {event.seq}: {event.kind} ids {hole[0]} to {hole[1]} are missing and no gap says so"
                )

    @staticmethod
    def _numbered(event: Event) -> bool:
        """Quotes are conflated, and what a feed counts itself has holes: their ids skip."""
        return event.kind != "quote" and event.kind not in counted_of(event.subject)


def _covered(first: int, last: int, gaps: list[tuple[int, int]]) -> bool:
    """Whether gaps, in any order and however many, name every id from `first` to `last`."""
    for low, high in sorted(gap for gap in gaps if gap[1] >= first and gap[0] <= last):
        if low > first:
            return False
        first = max(first, high + 1)
    return first > last
