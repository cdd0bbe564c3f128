"""Whether the coverage ledger is true: what files and log claim, against what they hold, and what the exchange did."""

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py

from tickmesh.tools.judge import archive, book, exchange_ledger
from tickmesh.tools.judge.eras import EraPair
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import (
    COMPLETE,
    DEPTH,
    MISSING,
    REPAIRED_STATE,
    STATES,
    STREAMS,
    TRADE,
    Claim,
    MergedClaims,
    ProvenIntervals,
    merge_claims,
)
from tickmesh.tools.judge.log import Event, Values

NAMES = {number: name for name, number in STREAMS.items()}
BestLevels = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]  # of bids and asks: price, quantity
RESET_REASON = 6
BEST = 10  # levels a side that a stored book is compared in: a snapshot may hold no more than the venue gives


class CoverageWatch:
    """Computes from events what coverage is true, and compares it with what archive files and log claim."""

    def __init__(self, archived_seq: int):
        self.archived_seq = archived_seq
        self.archived: dict[str, ProvenIntervals] = {}  # what is true of the archive
        self.confirmed: dict[str, ProvenIntervals] = {}  # … and of everything up to the log's newest watermark
        self.later: list[Event] = []  # after that watermark's archived_seq, so far
        self.confirmed_seq = 0
        self.logged: dict[str, dict[tuple[int, int], list[Claim]]] = defaultdict(
            lambda: defaultdict(list)
        )  # by coverage events
        self.pending: list[tuple[str, Values]] = []  # claimed in the log, but no watermark stands behind it yet

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes events in order and passes them on; `judge` comes after the last one."""
        for event in events:
            self.look(event)
            yield event

    def look(self, event: Event) -> None:
        """Takes one event."""
        if event.kind in STREAMS or event.kind == "gap":
            if event.seq <= self.archived_seq:
                self.archived.setdefault(event.subject, ProvenIntervals(event.subject)).take(event)
            self.later.append(event)
        elif event.kind == "coverage":
            self.pending += [(event.subject, row) for row in event.records]
        elif event.kind == "watermark":
            self._confirm(event.records[-1][0])

    def _confirm(self, upto: int) -> None:
        for subject, row in self.pending:
            key, claim = _claim(row)
            self.logged[subject][key].append(claim)
        self.pending.clear()
        self.confirmed_seq = max(self.confirmed_seq, upto)
        for event in [event for event in self.later if event.seq <= self.confirmed_seq]:
            self.confirmed.setdefault(event.subject, ProvenIntervals(event.subject)).take(event)
        self.later = [event for event in self.later if event.seq > self.confirmed_seq]

    def judge(self, folder: Path, findings: Findings) -> dict[str, MergedClaims]:
        """Compares claims with the truth and fills the findings; gives what the archive's files claim, by subject."""
        stored, silent = read(folder, self.archived_seq, findings)
        findings.count("coverage_not_judged", len(silent))
        for subject in sorted((stored.keys() | self.archived.keys()) - silent):
            compare(
                f"archive, {subject}", stored.get(subject, {}), self.archived.get(subject, ProvenIntervals(subject)), findings
            )
        if self.logged:  # an older recorder says nothing
            for subject in sorted((self.logged.keys() | self.confirmed.keys()) - silent):
                claimed = merge_claims(self.logged.get(subject, {}))
                compare(f"log, {subject}", claimed, self.confirmed.get(subject, ProvenIntervals(subject)), findings)
                findings.count("coverage_said", sum(map(len, claimed.values())))
        return stored


def _claim(row: Values) -> tuple[tuple[int, int], Claim]:
    first, last, _begin, _end, stream, state, evidence, reason, *era = row
    return (stream, era[0] if era else 0), Claim(first, last, state, evidence, reason)


def read(folder: Path, upto: int, findings: Findings) -> tuple[dict[str, MergedClaims], set[str]]:
    """Reads the coverage ledgers of archive files: subject → their claims merged, and the subjects that cannot be judged.

    A file in which an id is claimed twice is a fault. A subject cannot be judged when a file of its is of an older program and
    claims nothing, or a day of it was pruned.
    """
    silent: set[str] = set()
    claims: dict[str, dict[tuple[int, int], list[Claim]]] = defaultdict(lambda: defaultdict(list))
    for _, _, files in archive.cuts(folder, upto):
        for path in files:
            if path.parts[-4:-2] == ("mesh", "system") or path.parts[-4] == "raw":
                continue
            subject = archive.subject_of(path)
            try:
                rows = rows_of(path)
            except archive.FAULTS as error:
                findings.fault("archive_file", f"{path}: its ledger cannot be read: {error!r}")
                continue
            if rows is None or path.name.endswith(".rest.h5"):
                silent.add(subject)
                continue
            findings.count("coverage_rows", len(rows))
            own: dict[tuple[int, int], list[Claim]] = defaultdict(list)
            for row in rows:
                key, claim = _claim(row)
                own[key].append(claim)
            for key, mine in own.items():
                for one, other in zip(sorted(mine), sorted(mine)[1:]):
                    if other.first <= one.last:
                        findings.fault("coverage_twice", f"{path}: {NAMES[key[0]]} ids from {other.first} are stated twice")
                claims[subject][key] += mine
    return {subject: merge_claims(own) for subject, own in claims.items()}, silent


def rows_of(path: Path) -> list[Values] | None:
    """Reads the coverage ledger of an archive file; None where it has none."""
    with h5py.File(path, "r", locking=False) as file:
        return archive.ledger_rows(file)


def compare(where: str, claimed: MergedClaims, truth: ProvenIntervals, findings: Findings) -> None:
    """Compares claims with the truth, id by id, and fills the findings: one fault for each run of ids that differs."""
    true = truth.merged()
    for key in sorted(claimed.keys() | true.keys()):
        name = f"{where}: {NAMES.get(key[0], key[0])}"
        for first, last, mine, real in _side_by_side(claimed.get(key, []), true.get(key, [])):
            findings.count("coverage_checked")
            if real is None and mine is not None and truth.was_taken_back(key, first, last, mine):
                findings.count("coverage_taken_back")
            elif mine is None or real is None or mine.state != real.state:
                says = "nothing is stated" if mine is None else f"stated {STATES.get(mine.state, mine.state)}"
                fact = "nothing was ever seen of them" if real is None else f"truly {STATES[real.state]}"
                findings.fault(_fault(mine, real), f"{name} ids {first} to {last}: {says}, {fact}")
            elif (mine.evidence, mine.reason) != (real.evidence, real.reason):
                findings.fault(
                    "coverage_reason",
                    f"{name} ids {first} to {last}: evidence {mine.evidence} and reason {mine.reason} are stated, "
                    f"{real.evidence} and {real.reason} are true",
                )


def _fault(mine: Claim | None, real: Claim | None) -> str:
    if mine is None:
        return "coverage_unaccounted"
    if real is None or real.state == MISSING or mine.state == COMPLETE:
        return "coverage_false"  # more is claimed than is true
    return "coverage_hidden"


def _side_by_side(mine: list[Claim], real: list[Claim]) -> Iterator[tuple[int, int, Claim | None, Claim | None]]:
    """Runs of ids over which neither changes: (first, last, claim, truth), without those that neither speaks of."""
    edges = sorted({edge for claim in (*mine, *real) for edge in (claim.first, claim.last + 1)})
    places = [0, 0]
    for low, high in zip(edges, edges[1:]):
        found: list[Claim | None] = []
        for side, claims in enumerate((mine, real)):
            while places[side] < len(claims) and claims[places[side]].last < low:
                places[side] += 1
            at = claims[places[side]] if places[side] < len(claims) else None
            found.append(at if at is not None and at.first <= low else None)
        if found != [None, None]:
            yield low, high - 1, found[0], found[1]


# -- against the exchange's ledger


def compare_with_ledger(
    ledger: exchange_ledger.LedgerContents, claimed: dict[str, MergedClaims], pairs: Iterable[EraPair], findings: Findings
) -> None:  # fmt: skip
    """Compares claims with the exchange's ledger: those of trades with what was printed, those of books with the true book."""
    for name in ("coverage_ids", "coverage_missing_ids", "coverage_missing_changes", "coverage_books"):
        findings.count(name, 0)
    for pair in pairs:
        claims = claimed.get(pair.subject, {})
        mine = {stream: _of_era(claims, stream, pair) for stream in (TRADE, DEPTH)}
        _printed(pair.subject, mine[TRADE], pair.truth, ledger, findings)
        findings.count("coverage_missing_changes", _missed_changes(mine[DEPTH], pair.truth))
        _books(pair.subject, mine[DEPTH], pair.truth, pair.stored.depth, findings)


def _missed_changes(claims: list[Claim], truth: exchange_ledger.TrueEra) -> int:
    """How many ids of the true book's changes are called missing: none of those that it never had."""
    changes = sorted((step.first, step.last) for step in truth.steps if step.kind == "depth")
    lasts = [last for _, last in changes]
    found = 0
    for claim in (claim for claim in claims if claim.state == MISSING):
        for first, last in changes[bisect_left(lasts, claim.first) : bisect_right(lasts, claim.last) + 1]:
            found += max(min(last, claim.last) - max(first, claim.first) + 1, 0)
    return found


def _of_era(claims: MergedClaims, stream: int, pair: EraPair) -> list[Claim]:
    return [claim for kind, seq in pair.seqs if STREAMS[kind] == stream for claim in claims.get((stream, seq), [])]


def _printed(
    subject: str,
    claims: list[Claim],
    truth: exchange_ledger.TrueEra,
    ledger: exchange_ledger.LedgerContents,
    findings: Findings,
) -> None:
    numbers = sorted(truth.trades)
    place = 0
    for claim in claims:
        while place < len(numbers) and numbers[place] < claim.first:
            place += 1
        start = place
        while place < len(numbers) and numbers[place] <= claim.last:
            place += 1
        findings.count("coverage_ids", place - start)
        if claim.state == MISSING:
            findings.count("coverage_missing_ids", place - start)
        short = claim.last - claim.first + 1 - (place - start)
        if claim.state == MISSING and claim.reason == RESET_REASON:
            short -= short == 1  # the id after an era's last stands for what nobody knows
        if short and (ledger.complete or (numbers and claim.first >= numbers[0])):
            ids = f"{claim.first} to {claim.last}"
            sentence = f"trade.{subject}: {ids} are {STATES[claim.state]}; the exchange printed {place - start} of them"
            findings.fault("coverage_false", sentence)


def _books(
    subject: str, claims: list[Claim], truth: exchange_ledger.TrueEra, depth: list[book.BookChange], findings: Findings
) -> None:
    """The stored book beside the true one, in their best levels, at every id up to which a stored change or snapshot goes."""
    known = sorted(claim for claim in claims if claim.state in (COMPLETE, REPAIRED_STATE))
    mine = book.NaiveBook()
    stored = iter(sorted(depth, key=lambda change: (change.last, not change.snapshot)))
    change = next(stored, None)
    place = 0
    for update_id, best in _images(truth, {change.last for change in depth}):
        while change is not None and change.last <= update_id:
            mine.apply(change)
            change = next(stored, None)
        while place < len(known) and known[place].last < update_id:
            place += 1
        if place == len(known) or known[place].first > update_id:
            continue
        findings.count("coverage_books")
        if not mine.valid or _best(mine.sides) != best:
            findings.fault(
                "coverage_false", f"depth.{subject}: {update_id} is stated complete; its book is not the one that was"
            )


def _images(truth: exchange_ledger.TrueEra, wanted: set[int]) -> Iterator[tuple[int, BestLevels]]:
    """(id, best levels) of the true book at every wanted id, in order."""
    sides: book.Sides = {1: {}, -1: {}}
    for kind, first, last, levels in truth.steps:
        if kind == "book":
            sides = {1: {}, -1: {}}
            for side, price, quantity in levels:
                sides[side][price] = quantity
            continue
        single = len(levels) == last - first + 1  # an id for each level, or one for all
        for place, (side, price, quantity) in enumerate(levels):
            if quantity:
                sides[side][price] = quantity
            else:
                sides[side].pop(price, None)
            if single and first + place in wanted and first + place != last:
                yield first + place, _best(sides)
        if last in wanted:
            yield last, _best(sides)


def _best(sides: book.Sides) -> BestLevels:
    bids, asks = heapq.nlargest(BEST, sides[1].items()), heapq.nsmallest(BEST, sides[-1].items())
    return tuple(bids), tuple(asks)
