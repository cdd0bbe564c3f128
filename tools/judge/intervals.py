"""What is true of every id, computed naively from the events, and claims painted over one another; from docs/coverage.md."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tools.judge.log import REPAIRED, SNAPSHOT, Event

RESET = 4
TRADE, QUOTE, DEPTH = 2, 3, 4
STREAMS = {"trade": TRADE, "quote": QUOTE, "depth": DEPTH}
COMPLETE, REPAIRED_STATE, MISSING, UNPROVEN = 1, 2, 3, 4
STATES = {COMPLETE: "complete", REPAIRED_STATE: "repaired", MISSING: "missing", UNPROVEN: "unproven"}
BELIEVED = {MISSING: 0, UNPROVEN: 1, REPAIRED_STATE: 2, COMPLETE: 3}
NONE, IDS, CHECKSUM = 0, 1, 2
SKIPPED, RESYNC, CONFLATED, NO_IDS = 1, 5, 8, 9
VAGUE = {0: -3, SKIPPED: -2, RESYNC: -1}
GAP_REPAIRED = 2
CHECKED = 1 << 33  # in the header's last field: the book had the venue's checksum
COUNTED = {  # streams whose ids a feed counts itself, with holes (docs/coverage.md)
    "kraken": ("quote", "depth"),
    "kraken_v1": ("trade", "quote", "depth"),
    "coinbase": ("depth",),
}


class Claim(NamedTuple):
    """Ids of one stream and era with one state. Evidence and reason by their numbers."""

    first: int
    last: int
    state: int
    evidence: int = NONE
    reason: int = 0


Painted = dict[tuple[int, int], list[Claim]]  # (stream, era) → disjoint claims in order of id


def paint(claims: dict[tuple[int, int], list[Claim]]) -> Painted:
    """Of several claims on an id the best is kept; neighbours that say the same become one."""
    return {key: _paint(rows) for key, rows in claims.items() if rows}


def _paint(rows: list[Claim]) -> list[Claim]:
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


class Truth:
    """What one instrument's events prove, one event after the other."""

    def __init__(self, subject: str) -> None:
        self.counted = COUNTED.get(subject.partition(".")[0], ())
        self.claims: dict[tuple[int, int], list[Claim]] = defaultdict(list)
        self.traded: dict[int, int] = {}  # id → state
        self.lost_trades: list[Claim] = []
        self.reached: dict[int, int] = {}  # unproven streams: the highest id of which something is stated
        self.at: int | None = None  # depth: likewise
        self.valid = False
        self.era = 0

    def take(self, event: Event) -> None:
        if event.kind == "trade" and "trade" not in self.counted:
            state = REPAIRED_STATE if event.flags & REPAIRED else COMPLETE
            for number in range(event.first_id, event.last_id + 1):
                self.traded[number] = max(state, self.traded.get(number, state), key=BELIEVED.__getitem__)
        elif event.kind in ("trade", "quote"):
            self._unproven(STREAMS[event.kind], event.last_id, NO_IDS if event.kind in self.counted else CONFLATED)
        elif event.kind == "depth":
            self._depth(event)
        elif event.kind == "gap":
            for first, last, stream, state, reason, *_ in event.records:
                if state != GAP_REPAIRED:
                    self._gap(first, last, stream, reason or SKIPPED)

    def _unproven(self, stream: int, number: int, reason: int) -> None:
        before = self.reached.get(stream, number - 1)
        self._add((stream, 0), Claim(min(number, before + 1), number, UNPROVEN, NONE, reason))
        self.reached[stream] = max(before, number)

    def _add(self, key: tuple[int, int], claim: Claim) -> None:
        rows = self.claims[key]
        if rows and rows[-1].last == claim.first - 1 and rows[-1][2:] == claim[2:]:
            rows[-1] = rows[-1]._replace(last=claim.last)
        else:
            rows.append(claim)

    def _gap(self, first: int, last: int, stream: int, reason: int) -> None:
        if stream == DEPTH:
            self.valid = False
            self._unknown(first - 1, 0)
            self._unknown(last, reason)
        elif stream == TRADE and "trade" not in self.counted:
            self.lost_trades.append(Claim(first, last, MISSING, NONE, reason))
        elif stream in self.reached and last > self.reached[stream]:
            self._add((stream, 0), Claim(self.reached[stream] + 1, last, MISSING, NONE, reason))
            self.reached[stream] = last

    def _unknown(self, last: int, reason: int) -> None:
        if self.at is not None and last > self.at:
            self.claims[DEPTH, self.era].append(Claim(self.at + 1, last, MISSING, NONE, reason))
            self.at = last

    def _known(self, first: int, event: Event) -> None:
        last = event.last_id
        if event.reserved & CHECKED:
            claim = Claim(first, last, COMPLETE, CHECKSUM)
        elif "depth" in self.counted:
            claim = Claim(first, last, UNPROVEN, NONE, NO_IDS)
        else:
            claim = Claim(first, last, COMPLETE, IDS)
        self._add((DEPTH, self.era), claim)
        self.at = last

    def _depth(self, event: Event) -> None:
        last = event.last_id
        numbered = "depth" not in self.counted
        if event.flags & SNAPSHOT:
            first = last
            if event.flags & RESET:
                self.era, self.at = event.seq, None
            elif self.valid and not numbered and self.at is not None:
                first = min(self.at + 1, last)
            else:
                self._unknown(last - 1, RESYNC)
            self.valid = True
            self._known(first, event)
        elif self.at is not None and last > self.at:
            if self.valid and numbered and event.first_id > self.at + 1:
                self.valid = False
                self._unknown(event.first_id - 1, 0)
            if self.valid:
                self._known(self.at + 1, event)
            else:
                self._unknown(last, RESYNC)

    def painted(self) -> Painted:
        claims = {key: list(rows) for key, rows in self.claims.items()}
        if self.traded or self.lost_trades:
            claims[TRADE, 0] = [*self.lost_trades, *_runs(self.traded)]
            claims[TRADE, 0] += _holes(self.traded)
        return paint(claims)


def _runs(traded: dict[int, int]) -> Iterable[Claim]:
    run: Claim | None = None
    for number in sorted(traded):
        if run is not None and number == run.last + 1 and traded[number] == run.state:
            run = run._replace(last=number)
            continue
        if run is not None:
            yield run
        run = Claim(number, number, traded[number], IDS)
    if run is not None:
        yield run


def _holes(traded: dict[int, int]) -> list[Claim]:
    """What lies between the trades that are there is missing, whether a gap says so or not."""
    numbers = sorted(traded)
    return [Claim(low + 1, high - 1, MISSING) for low, high in zip(numbers, numbers[1:]) if high > low + 1]
