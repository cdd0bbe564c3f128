"""What is true of every id, computed naively from the events, and claims painted over one another; from docs/coverage.md."""

from collections import defaultdict
from typing import NamedTuple

from tickmesh.tools.judge.log import REPAIRED, SNAPSHOT, Event

RESET = 4
TRADE, QUOTE, DEPTH = 2, 3, 4
STREAMS = {"trade": TRADE, "quote": QUOTE, "depth": DEPTH}
COMPLETE, REPAIRED_STATE, MISSING, UNPROVEN = 1, 2, 3, 4
STATES = {COMPLETE: "complete", REPAIRED_STATE: "repaired", MISSING: "missing", UNPROVEN: "unproven"}
BELIEVED = {MISSING: 0, UNPROVEN: 1, REPAIRED_STATE: 2, COMPLETE: 3}
NONE, IDS, CHECKSUM = 0, 1, 2
SKIPPED, RESYNC, CONFLATED, NO_IDS, NO_SNAPSHOT, CONTRADICTION = 1, 5, 8, 9, 11, 12
VAGUE = {0: -3, SKIPPED: -2, RESYNC: -1}
GAP_REPAIRED = 2
WITHOUT_BOOK = (UNPROVEN, NONE, NO_SNAPSHOT)
CHECKED = 1 << 33  # in the header's last field: the book had the venue's checksum
COUNTED = {  # streams whose ids a feed counts itself, with holes (docs/coverage.md)
    "kraken": ("quote", "depth"),
    "kraken_v1": ("trade", "quote", "depth"),
    "coinbase": ("depth",),
    "hftbacktest": ("trade", "quote", "depth"),  # imported, whose ids the import counts (docs/import.md)
    "tardis_binance": ("quote", "depth"),
    "tardis_binance_usdm": ("quote", "depth"),
    "tardis_coinbase": ("quote", "depth"),
}


def counted_of(subject: str) -> tuple[str, ...]:
    """The streams of an instrument whose ids nobody but their feed, or their import, gives."""
    venue = subject.partition(".")[0]
    return COUNTED.get(venue, ("trade", "quote", "depth") if venue.startswith("tardis_") else ())


class Claim(NamedTuple):
    """A claim on a run of ids of one stream and era: state, evidence and reason, by their numbers."""

    first: int
    last: int
    state: int
    evidence: int = NONE
    reason: int = 0


MergedClaims = dict[tuple[int, int], list[Claim]]  # (stream, era) → disjoint claims in order of id


def merge_claims(claims: dict[tuple[int, int], list[Claim]]) -> MergedClaims:
    """Merges overlapping claims: of several on an id the best is kept, equal neighbours become one."""
    return {key: _merge(rows) for key, rows in claims.items() if rows}


def _merge(rows: list[Claim]) -> list[Claim]:
    begins: dict[int, list[Claim]] = defaultdict(list)
    for row in rows:
        begins[row.first].append(row)
    edges = sorted({row.first for row in rows} | {row.last + 1 for row in rows})
    active: list[Claim] = []
    out: list[Claim] = []
    for low, high in zip(edges, edges[1:]):
        active = [row for row in active if row.last >= low] + begins.get(low, [])
        if not active:
            continue
        best = max(active, key=_belief)._replace(first=low, last=high - 1)
        if out and out[-1].last == low - 1 and out[-1][2:] == best[2:]:
            out[-1] = out[-1]._replace(last=best.last)
        else:
            out.append(best)
    return out


def _belief(claim: Claim) -> tuple[int, int, int]:
    return BELIEVED.get(claim.state, -1), claim.evidence, VAGUE.get(claim.reason, claim.reason)


class ProvenIntervals:
    """Computes from one instrument's events, one after the other, which claims on its ids are true.

    Trades: each id is there or missing. Quotes and what a feed counts itself: one interval that rises. Depth: `at` is the
    highest id of which something is stated, `head` the newest change's last one; what lies between waits for a neighbour.
    """

    def __init__(self, subject: str) -> None:
        self.counted = counted_of(subject)
        self.claims: dict[tuple[int, int], list[Claim]] = defaultdict(list)
        self.eras = {TRADE: 0, QUOTE: 0, DEPTH: 0}  # seq of the event with which the stream's ids last began anew
        self.reached: dict[int, int] = {}  # trades and quotes: the highest id of the era that was seen or given up
        self.at: int | None = None
        self.head: int | None = None
        self.valid = False
        # Depth: stated of changes without a book, and taken back by their line. An earlier cut may have it in its ledger.
        self.taken_back: dict[tuple[int, int], list[Claim]] = defaultdict(list)

    def take(self, event: Event) -> None:
        """Takes one event: trade, quote, depth or gap."""
        if event.kind == "depth":
            self._depth(event)
        elif event.kind in STREAMS:
            self._rising(event, STREAMS[event.kind])
        elif event.kind == "gap":
            for first, last, stream, state, reason, *_ in event.records:
                if state != GAP_REPAIRED:
                    self._gap(first, last, stream, reason or SKIPPED)

    def _add(self, stream: int, claim: Claim) -> None:
        rows = self.claims[stream, self.eras[stream]]
        if rows and rows[-1].last == claim.first - 1 and rows[-1][2:] == claim[2:]:
            rows[-1] = rows[-1]._replace(last=claim.last)
        elif claim.last >= claim.first:
            rows.append(claim)

    def _missing(self, stream: int, first: int, last: int, reason: int) -> None:
        self._add(stream, Claim(first, last, MISSING, NONE, reason))

    def _gap(self, first: int, last: int, stream: int, reason: int) -> None:
        if stream == DEPTH:
            self._depth_gap(first, last, reason)
        elif stream == TRADE and "trade" not in self.counted:
            self._missing(TRADE, first, last, reason)
            if reason == CONTRADICTION and TRADE in self.reached:
                self.reached[TRADE] = last
        elif stream in self.reached and reason == CONTRADICTION:
            self._add(stream, Claim(first, last, UNPROVEN, NONE, CONTRADICTION))
            self.reached[stream] = last
        elif stream in self.reached and last > self.reached[stream]:
            self._missing(stream, self.reached[stream] + 1, last, reason)
            self.reached[stream] = last

    # -- trades and quotes

    def _rising(self, event: Event, stream: int) -> None:
        if event.flags & RESET:
            self.eras[stream] = event.seq
            self.reached.pop(stream, None)
        if stream == TRADE and "trade" not in self.counted:
            self._trade(event)
            return
        number = event.last_id
        before = self.reached.get(stream, number - 1)
        reason = NO_IDS if event.kind in self.counted else CONFLATED
        self._add(stream, Claim(min(number, before + 1), number, UNPROVEN, NONE, reason))
        self.reached[stream] = max(before, number)

    def _trade(self, event: Event) -> None:
        """What lies between the trades that are there is missing, whether a gap says so or not."""
        first, last = event.first_id, event.last_id
        if event.flags & REPAIRED:
            self._add(TRADE, Claim(first, last, REPAIRED_STATE, IDS))
            return
        before = self.reached.get(TRADE, first - 1)
        self._missing(TRADE, before + 1, first - 1, 0)
        self._add(TRADE, Claim(first, last, COMPLETE, IDS))
        self.reached[TRADE] = max(before, last)

    # -- depth

    def _depth(self, event: Event) -> None:
        if event.flags & RESET:
            self.eras[DEPTH] = event.seq
            self.at, self.head, self.valid = None, None, False
        if event.flags & SNAPSHOT:
            self._snapshot(event)
        elif "depth" in self.counted:
            self._counted_change(event)
        else:
            self._change(event)

    def _state(self, first: int, last: int, event: Event | None) -> None:
        """These ids are in the book, `event` (or what confirms it) says so."""
        if event is not None and event.reserved & CHECKED:
            claim = Claim(first, last, COMPLETE, CHECKSUM)
        elif "depth" in self.counted:
            claim = Claim(first, last, UNPROVEN, NONE, NO_IDS)
        else:
            claim = Claim(first, last, COMPLETE, IDS)
        self._add(DEPTH, claim)
        self.at = last

    def _confirm(self) -> None:
        """A neighbour shows that the newest change's last id was true."""
        if self.valid and self.at is not None and self.head is not None and self.head > self.at:
            self._state(self.at + 1, self.head, None)

    def _unknown(self, last: int, reason: int) -> None:
        if self.at is not None and last > self.at:
            self._missing(DEPTH, self.at + 1, last, reason)
            self.at = self.head = last

    def _snapshot(self, event: Event) -> None:
        first = last = event.last_id
        if self.head is not None and last >= self.head:
            self._confirm()
        if self.valid and "depth" in self.counted and self.at is not None:
            first = min(self.at + 1, last)
        else:
            self._unknown(last - 1, RESYNC)
        self.valid = True
        self._state(first, last, event)
        self.head = last

    def _counted_change(self, event: Event) -> None:
        """Its ids mean nothing by themselves; before the first book they are no part of the ledger."""
        if self.at is None or event.last_id <= self.at:
            return
        if self.valid:
            self._state(self.at + 1, event.last_id, event)
        else:
            self._unknown(event.last_id, RESYNC)
        self.head = self.at

    def _change(self, event: Event) -> None:
        first, last = event.first_id, event.last_id
        if self.head is not None and last <= self.head:
            return
        if self.valid and self.head is not None:
            self._confirm()
            if first > self.head + 1:
                self.valid = False
            elif event.reserved & CHECKED or first == last:
                self._state(self.head + 1, last, event)
            elif first > self.head:
                self._state(first, first, event)
        if not self.valid:
            self._unknown(first - 1, 0)
            self._add(DEPTH, Claim(first if self.at is None else self.at + 1, last, UNPROVEN, NONE, NO_SNAPSHOT))
            self.at = last
        self.head = last

    def _depth_gap(self, first: int, last: int, reason: int) -> None:
        if reason == CONTRADICTION:
            self._take_back(first)
            self.valid = False
            if last >= first:
                self._add(DEPTH, Claim(first, last, UNPROVEN, NONE, CONTRADICTION))
                self.at = self.head = last
            return
        if self.head is not None and first > self.head:
            self._confirm()
        self.valid = False
        self._unknown(first - 1, 0)
        self._unknown(last, reason)

    def _take_back(self, first: int) -> None:
        """Removes every claim on ids from `first` on."""
        if self.at is None:
            return
        key = DEPTH, self.eras[DEPTH]
        rows = self.claims[key]
        gone = [claim._replace(first=max(claim.first, first)) for claim in rows if claim.last >= first]
        self.taken_back[key] += [claim for claim in gone if claim[2:] == WITHOUT_BOOK]
        self.claims[key] = [claim._replace(last=min(claim.last, first - 1)) for claim in rows if claim.first < first]
        self.at = self.head = min(self.at, first - 1)

    def was_taken_back(self, key: tuple[int, int], first: int, last: int, claim: Claim) -> bool:
        """Whether this claim on ids was true until their line took the ids back: a coverage ledger may still state it."""
        return claim[2:] == WITHOUT_BOOK and any(gone.first <= first and last <= gone.last for gone in self.taken_back[key])

    def merged(self) -> MergedClaims:
        """The true claims, merged."""
        return merge_claims(self.claims)
