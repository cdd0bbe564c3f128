"""Which stretch of what is stored belongs to which era of the exchange: ids that began anew are the same numbers again.

The exchange's ledger says when its ids began anew. The mesh says it with an event flagged RESET (docs/messages.md). They are
put together by the exchange's own clock, which stands in both; quotes, which have no time, go with their book.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tickmesh.tools.judge.against_capture import COMPARED, Stored
from tickmesh.tools.judge.exchange_ledger import LedgerContents, TrueEra
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import RESET
from tickmesh.tools.judge.log import SNAPSHOT, Event

CONTRADICTION = 12
KINDS = {2: "trade", 3: "quote", 4: "depth"}


class EraSegment:
    """What is stored of one stream of one instrument, between two beginnings of its ids."""

    def __init__(self, kind: str, seq: int):
        self.kind = kind
        self.seq = seq  # of the event with which it begins, as coverage names its era; 0: of the log's beginning
        self.venue_ms = 0.0  # of its first event, by the exchange's clock; 0: none says it
        self.mine = Stored()
        self.taken_back: list[int] = []  # ids that a later gap contradicts: what they claimed counts for nothing

    def take(self, event: Event) -> None:
        if not self.venue_ms and not event.flags & SNAPSHOT:
            self.venue_ms = (event.records[0][3] if event.kind == "trade" else event.venue_ns) / 1e6
        self.mine.take(event)

    def take_back(self, above: int) -> None:
        mine = self.mine
        self.taken_back += [row[0] for row in (*mine.trades, *mine.quotes) if row[0] > above]
        self.taken_back += [change.last for change in mine.depth if change.last > above]
        mine.trades = [row for row in mine.trades if row[0] <= above]
        mine.quotes = [row for row in mine.quotes if row[0] <= above]
        mine.depth = [change for change in mine.depth if change.last <= above]


Segments = dict[str, list[EraSegment]]  # subject → in order of seq


def gather(events: Iterable[Event]) -> Segments:
    """What is stored, stream by stream and era by era."""
    out: Segments = {}
    current: dict[tuple[str, str], EraSegment] = {}
    for event in events:
        key = (event.subject, event.kind)
        if event.kind in COMPARED:
            if key not in current or event.flags & RESET:
                current[key] = EraSegment(event.kind, event.seq if event.flags & RESET else 0)
                out.setdefault(event.subject, []).append(current[key])
            current[key].take(event)
        elif event.kind == "gap":
            for _first, last, stream, _state, reason, *_ in event.records:
                segment = current.get((event.subject, KINDS.get(stream, "")))
                if reason == CONTRADICTION and segment is not None:
                    segment.take_back(last)
    return out


class Pair(NamedTuple):
    """One era of one instrument, and what is stored of it. `seqs`: (kind, seq) of the stored segments."""

    subject: str
    truth: TrueEra
    mine: Stored
    seqs: list[tuple[str, int]]
    last: bool = True  # the exchange is in this era still


def pairs(ledger: LedgerContents, segments: Segments, findings: Findings) -> list[Pair]:
    """Every era of every instrument that the ledger has. A segment too many is a fault, one from before the ledger counted."""
    out = []
    for symbol, truths in ledger.eras.items():
        subject = f"binance.{symbol}"
        mine: dict[int, list[EraSegment]] = {}
        for segment, place in _places(segments.get(subject, []), truths, ledger):
            if place is None:
                findings.count("before_ledger")
                continue
            if any(other.kind == segment.kind for other in mine.setdefault(place, [])):
                what = f"{segment.kind}.{subject}: ids are said to begin anew with seq {segment.seq}"
                findings.fault("false_era", f"{what}; the exchange's did not")
            mine[place].append(segment)
            _taken_back(subject, segment, ledger, findings)
        for place, truth in enumerate(truths):
            own = mine.get(place, [])
            seqs = [(segment.kind, segment.seq) for segment in own]
            out.append(Pair(subject, truth, _together(own), seqs, place == len(truths) - 1))
    for subject in sorted(segments.keys() - {f"binance.{symbol}" for symbol in ledger.eras}):
        findings.count("invented")
        findings.fault("invented", f"{subject} is stored, but the exchange never had it")
    return out


def _places(
    segments: list[EraSegment], truths: list[TrueEra], ledger: LedgerContents
) -> Iterable[tuple[EraSegment, int | None]]:
    """Each segment with the index of the era in which it begins; None: it is older than the ledger."""
    kinds = [segment.kind for segment in segments]
    if ledger.market != "synthetic" or len(truths) == 1 and len(set(kinds)) == len(kinds):
        yield from ((segment, 0) for segment in segments)
        return
    books: list[tuple[int, int | None]] = []  # seq and place of each of the book's
    for segment in sorted(segments, key=lambda one: (one.kind == "quote", one.seq)):
        if segment.kind == "quote" and books:
            place = [place for seq, place in books if seq <= max(segment.seq, books[0][0])][-1]
        else:
            place = _place(segment.venue_ms, truths, ledger)
        if segment.kind == "depth":
            books.append((segment.seq, place))
        yield segment, place


def _place(venue_ms: float, truths: list[TrueEra], ledger: LedgerContents) -> int | None:
    if venue_ms and ledger.complete and venue_ms < truths[0].began_ms - 1000:
        return None
    return next((place for place, truth in enumerate(truths[:-1]) if venue_ms <= truth.ended_ms), len(truths) - 1)


def _together(segments: list[EraSegment]) -> Stored:
    out = Stored()
    for segment in segments:
        out.trades += segment.mine.trades
        out.quotes += segment.mine.quotes
        out.depth += segment.mine.depth
        out.repaired |= segment.mine.repaired
    return out


def _taken_back(subject: str, segment: EraSegment, ledger: LedgerContents, findings: Findings) -> None:
    """Only what the exchange was made to say wrongly may be taken back."""
    stream = {"trade": "@trade", "quote": "@bookTicker", "depth": "@depth@100ms"}[segment.kind]
    absurd = ledger.absurd.get(f"{subject.partition('.')[2].lower()}{stream}", set())
    for number in segment.taken_back:
        findings.count("taken_back")
        if number not in absurd:
            findings.fault("taken_back", f"{segment.kind}.{subject}: {number} was taken back; the exchange never said it so")
