"""Which stretch of what is stored belongs to which era of the exchange: ids that began anew are the same numbers again.

The exchange's ledger says when its ids began anew. The mesh says it with an event flagged RESET (docs/messages.md). They are
put together by the exchange's own clock, which stands in both; quotes, which have no time, go with their book.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tickmesh.tools.judge.against_capture import COMPARED, StoredMarket
from tickmesh.tools.judge.exchange_ledger import LedgerContents, TrueEra, stream_of, subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import RESET
from tickmesh.tools.judge.log import SNAPSHOT, Event

CONTRADICTION = 12
UNRECOVERABLE = 3
KINDS = {2: "trade", 3: "quote", 4: "depth"}


class StoredEra:
    """The stored events of one stream of one instrument, from one beginning of its ids to the next."""

    def __init__(self, kind: str, seq: int):
        self.kind = kind
        self.seq = seq  # of the event with which it begins, as coverage names its era; 0: of the log's beginning
        self.venue_ms = 0.0  # of its first event, by the exchange's clock; 0: none says it
        self.stored = StoredMarket()
        self.taken_back: list[int] = []  # ids that a later gap contradicts: what they claimed counts for nothing

    def take(self, event: Event) -> None:
        """Adds an event of the stream."""
        if not self.venue_ms and not event.flags & SNAPSHOT:
            self.venue_ms = (event.records[0][3] if event.kind == "trade" else event.venue_ns) / 1e6
        self.stored.take(event)

    def take_back(self, above: int) -> None:
        """Removes what claims ids beyond `above`: a later gap contradicts them."""
        mine = self.stored
        self.taken_back += [row[0] for row in (*mine.trades, *mine.quotes) if row[0] > above]
        self.taken_back += [change.last for change in mine.depth if change.last > above]
        mine.trades = [row for row in mine.trades if row[0] <= above]
        mine.quotes = [row for row in mine.quotes if row[0] <= above]
        mine.depth = [change for change in mine.depth if change.last <= above]


StoredEras = dict[str, list[StoredEra]]  # subject → in order of seq


def gather_stored(events: Iterable[Event]) -> StoredEras:
    """Sorts events by instrument, stream and era: subject → its stored eras, in order of seq."""
    out: StoredEras = {}
    current: dict[tuple[str, str], StoredEra] = {}
    for event in events:
        key = (event.subject, event.kind)
        if event.kind in COMPARED:
            if key not in current or event.flags & RESET:
                current[key] = StoredEra(event.kind, event.seq if event.flags & RESET else 0)
                out.setdefault(event.subject, []).append(current[key])
            current[key].take(event)
        elif event.kind == "gap":
            for first, last, stream, state, reason, *_ in event.records:
                era = current.get((event.subject, KINDS.get(stream, "")))
                if era is not None and KINDS[stream] == "trade" and state == UNRECOVERABLE:
                    era.stored.given_up.append((first, last))
                if reason == CONTRADICTION and era is not None:
                    era.take_back(last)
    return out


class EraPair(NamedTuple):
    """One era of one instrument by the exchange's ledger, and its stored events. `seqs`: (kind, seq) of the stored eras."""

    subject: str
    truth: TrueEra
    stored: StoredMarket
    seqs: list[tuple[str, int]]
    last: bool = True  # the exchange is in this era still


def pair_eras(ledger: LedgerContents, stored_eras: StoredEras, findings: Findings) -> list[EraPair]:
    """Pairs every era that the exchange's ledger has with what is stored of it; a stored one without a true one is a fault."""
    out = []
    for name, truths in ledger.eras.items():
        subject = subject_of(name)
        mine: dict[int, list[StoredEra]] = {}
        for era, place in _places(stored_eras.get(subject, []), truths, ledger):
            if place is None:
                findings.count("before_ledger")
                continue
            if any(other.kind == era.kind for other in mine.setdefault(place, [])):
                what = f"{era.kind}.{subject}: ids are said to begin anew with seq {era.seq}"
                findings.fault("false_era", f"{what}; the exchange's did not")
            mine[place].append(era)
            _taken_back(subject, era, ledger, findings)
        for place, truth in enumerate(truths):
            own = mine.get(place, [])
            seqs = [(era.kind, era.seq) for era in own]
            out.append(EraPair(subject, truth, _together(own), seqs, place == len(truths) - 1))
    for subject in sorted(stored_eras.keys() - {subject_of(name) for name in ledger.eras}):
        findings.count("invented")
        findings.fault("invented", f"{subject} is stored, but the exchange never had it")
    return out


def _places(
    stored_eras: list[StoredEra], truths: list[TrueEra], ledger: LedgerContents
) -> Iterable[tuple[StoredEra, int | None]]:
    """Each era with the index of the era in which it begins; None: it is older than the ledger."""
    kinds = [era.kind for era in stored_eras]
    if ledger.market != "synthetic" or len(truths) == 1 and len(set(kinds)) == len(kinds):
        yield from ((era, 0) for era in stored_eras)
        return
    books: list[tuple[int, int | None]] = []  # seq and place of each of the book's
    for era in sorted(stored_eras, key=lambda one: (one.kind == "quote", one.seq)):
        if era.kind == "quote" and books:
            place = [place for seq, place in books if seq <= max(era.seq, books[0][0])][-1]
        else:
            place = _place(era.venue_ms, truths, ledger)
        if era.kind == "depth":
            books.append((era.seq, place))
        yield era, place


def _place(venue_ms: float, truths: list[TrueEra], ledger: LedgerContents) -> int | None:
    if venue_ms and ledger.complete and venue_ms < truths[0].began_ms - 1000:
        return None
    return next((place for place, truth in enumerate(truths[:-1]) if venue_ms <= truth.ended_ms), len(truths) - 1)


def _together(stored_eras: list[StoredEra]) -> StoredMarket:
    out = StoredMarket()
    for era in stored_eras:
        out.trades += era.stored.trades
        out.quotes += era.stored.quotes
        out.depth += era.stored.depth
        out.repaired |= era.stored.repaired
        out.given_up += era.stored.given_up
    return out


def _taken_back(subject: str, era: StoredEra, ledger: LedgerContents, findings: Findings) -> None:
    """Only what the exchange was made to say wrongly may be taken back."""
    part = {"trade": "trade", "quote": "bookTicker", "depth": "depth@100ms"}[era.kind]
    absurd = ledger.absurd.get(stream_of(subject, part), set())
    for number in era.taken_back:
        findings.count("taken_back")
        if number not in absurd:
            findings.fault("taken_back", f"{era.kind}.{subject}: {number} was taken back; the exchange never said it so")
