"""What the mesh has stored against the exchange's own ledger: every trade once and equal, every book equal at its id."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Sequence

from tickmesh.tools.judge import listening
from tickmesh.tools.judge.against_capture import StoredMarket
from tickmesh.tools.judge.book import BookChange, Level, QuoteValue, Sides
from tickmesh.tools.judge.capture import OFF_THE_BOOK
from tickmesh.tools.judge.eras import EraPair
from tickmesh.tools.judge.exchange_ledger import BookStep, LedgerContents, TrueEra, stream_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.listening import ListeningTimes

# What was printed so late may not be stored yet: of a mesh that runs it is on its way; of one that was brought down (the
# exchange first) only what that sent while it ended.
ON_ITS_WAY_MS = 5000
LAST_WORDS_MS = 500
ERA_MS = 20_000  # before its ids begin anew: what a mesh had not got or repaired by then is gone, and nobody has it any more
STEP_MS = 1000  # between a change of the book and the last depth frame that could have had it
SNAPSHOT_LEAST = 100  # levels of a side that no snapshot is without, where the book has them and as many were asked for
COMPARED = {
    "trade": ["trade_id", "price_ticks", "quantity_lots", "venue_ns", "side", "first_id", "last_id", "off the book"],
    "quote": ["update_id", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots", "last_id"],
    "depth": ["first_id", "last_id", "price_ticks", "quantity_lots", "side", "no level twice"],
}
WHOLE_NUMBER = re.compile(r"[0-9]+")
VOIDS_MAX = 10_000  # ids for nothing before one trade
Quotes = dict[int, list[QuoteValue]]  # update id → what is stored of it
Snapshots = dict[int, list[Sequence[Level]]]
NAMES = ("lost", "invented", "different", "duplicated", "out_of_order")


def compare(
    ledger: LedgerContents, pairs: Iterable[EraPair], findings: Findings, begun_ms: float = 0.0, levels_asked: int = 1000
) -> None:
    """Compares what is stored with the exchange's ledger, era by era, and fills the findings: every difference is a fault.

    `begun_ms`: since when a mesh that runs is looked at; 0: it is down. `levels_asked`: of a snapshot.
    """
    for name in (
        *NAMES,
        "trades",
        "off_book",
        "quotes_checked",
        "depth_checked",
        "books_checked",
        "changes_checked",
        "before_listening",
        "on_its_way",
        "gone_with_era",
        "repaired",
    ):
        findings.count(name, 0)
    findings.count("withheld", len(ledger.withheld))
    lines = ListeningTimes(ledger)
    late_ms = min(begun_ms, ledger.last_ms) - ON_ITS_WAY_MS if begun_ms else ledger.last_ms - LAST_WORDS_MS
    for pair in pairs:
        findings.count("void_in_ledger", pair.truth.void)
        findings.count("eras", int(bool(pair.stored.trades)))
        _trades(pair, ledger, lines, late_ms, findings)
        due_ms = late_ms if pair.last else pair.truth.ended_ms - ERA_MS
        _books(pair, ledger, lines, due_ms, min(levels_asked, SNAPSHOT_LEAST), findings)
        if ledger.market == "synthetic":
            listening.check_changes(pair.subject, pair.truth, pair.stored, lines, findings)


def _trades(pair: EraPair, ledger: LedgerContents, lines: ListeningTimes, late_ms: float, findings: Findings) -> None:
    subject, truth, mine = pair.subject, pair.truth, pair.stored
    seen: set[int] = set()
    last = 0
    floor = min(truth.trades, default=0)
    whole_ms = ledger.market == "synthetic"  # a capture's trades may be in µs
    for trade_id, (price, quantity, trade_ns, _event_ns, side, *wrong) in mine.trades:
        findings.count("trades")
        if trade_id in seen:
            _fault(findings, "duplicated", f"trade.{subject}: {trade_id} is stored twice")
            continue
        seen.add(trade_id)
        if trade_id in mine.repaired:
            findings.count("repaired")
        elif trade_id < last:
            _fault(findings, "out_of_order", f"trade.{subject}: {trade_id} is stored after {last}")
        last = max(last, trade_id)
        printed = truth.trades.get(trade_id)
        if printed is None:
            if not ledger.complete and trade_id < floor:
                findings.count("before_ledger")
            else:
                _fault(findings, "invented", f"trade.{subject}: {trade_id} is stored, but was never printed")
        elif printed != (price, quantity, trade_ns // 1_000_000, side) or whole_ms and trade_ns % 1_000_000:
            _fault(
                findings, "different", f"trade.{subject}: {trade_id} is {(price, quantity, trade_ns, side)}, printed {printed}"
            )
        elif (OFF_THE_BOOK in wrong) != (trade_id in truth.off_book):
            what = "never met the book" if trade_id in truth.off_book else "is a trade of the book"
            _fault(findings, "different", f"trade.{subject}: {trade_id} {what}; it is flagged otherwise")
        elif others := [one for one in wrong if one != OFF_THE_BOOK and not _spans_nothing(one, trade_id, truth.trades)]:
            _fault(findings, "different", f"trade.{subject}: {trade_id} has {others[0]}")
        findings.count("off_book", int(OFF_THE_BOOK in wrong))
    first = min(seen, default=0)
    stream = stream_of(subject, "trade")
    for trade_id, printed in truth.trades.items():
        if trade_id in seen:
            continue
        sent = lines.was_received(stream, printed[2])
        if first and trade_id < first and not sent:
            findings.count("before_listening")
        elif not pair.last and printed[2] > truth.ended_ms - ERA_MS and not sent:
            findings.count("gone_with_era")
        elif trade_id > last and printed[2] > late_ms:
            findings.count("on_its_way")
        elif trade_id in truth.off_book and any(low <= trade_id <= high for low, high in mine.given_up):
            findings.count("off_book_given_up")  # who did not hear it cannot ask for it: REST has trades of the book only
        else:
            _fault(findings, "lost", f"trade.{subject}: {trade_id} was printed, but is not stored")


def _spans_nothing(words: str, trade_id: int, printed: Container[int]) -> bool:
    """Whether a trade's header stands for itself and ids before it that no trade of the ledger has: they are void."""
    ids = WHOLE_NUMBER.findall(words)
    first, last = map(int, ids) if len(ids) == 2 else (0, 0)
    return last == trade_id and 0 < last - first <= VOIDS_MAX and not any(one in printed for one in range(first, last))


def _books(
    pair: EraPair, ledger: LedgerContents, lines: ListeningTimes, late_ms: float, least: int, findings: Findings
) -> None:
    """Walks the true book once, and looks at every id that something stored speaks of."""
    subject, truth, mine = pair.subject, pair.truth, pair.stored
    quotes: Quotes = {}
    for update_id, best in mine.quotes:
        quotes.setdefault(update_id, []).append(best)
    if truth.quotes:  # a replayed capture has its own quotes: a book need not be known at their ids
        for update_id, found in quotes.items():
            for best in found:
                findings.count("quotes_checked")
                _equal(findings, f"quote.{subject}: {update_id}", best, truth.quotes.get(update_id))
        quotes = {}
    snapshots: Snapshots = {}
    changes: dict[int, BookChange] = {}
    for change in mine.depth:
        if change.snapshot:
            snapshots.setdefault(change.last, []).append(change.levels)
        else:
            if change.last in changes:
                _fault(findings, "duplicated", f"depth.{subject}: the change up to {change.last} is stored twice")
            changes[change.last] = change
    if mine.trades:  # it listened
        _to_the_end(subject, truth, mine, lines, late_ms, findings)
    floor = 0 if ledger.complete or not truth.steps else truth.steps[0][1]
    _Walk(subject, findings, ledger.market == "synthetic", floor, least).through(truth.steps, quotes, snapshots, changes)


def _to_the_end(
    subject: str, truth: TrueEra, mine: StoredMarket, lines: ListeningTimes, late_ms: float, findings: Findings
) -> None:
    """A book that fell silent for good shows nowhere else: no later id is there to miss something by."""
    stream = stream_of(subject, "depth@100ms")
    times = ((last, at_ms) for (_, _, last, _), at_ms in zip(truth.steps, truth.times) if last and at_ms <= late_ms - STEP_MS)
    due = max((last for last, at_ms in times if not lines.known or lines.was_received(stream, at_ms)), default=0)
    last = max((change.last for change in mine.depth), default=0)
    if last < due:
        _fault(findings, "lost", f"depth.{subject} ends with {last}; the exchange had gone on to {due} by then")


class _Walk:
    """The true book, one step after the other."""

    def __init__(self, subject: str, findings: Findings, single: bool, floor: int, least: int):
        self.subject, self.findings = subject, findings
        self.floor = floor  # the ledger knows nothing before this id
        self.least = least  # levels of a side that a snapshot has, where there are so many
        self.single = single  # each level is an update id of its own
        self.sides: Sides = {1: {}, -1: {}}
        self.known = True  # False while changes are recorded that no snapshot has led to
        self.last = -1  # of the book
        self.ids: list[int] = []  # of the steps since the last book
        self.levels: list[tuple[int, int, int]] = []  # side, price, quantity of each

    def through(self, steps: Iterable[BookStep], quotes: Quotes, snapshots: Snapshots, changes: dict[int, BookChange]) -> None:
        done: set[int] = set()
        for kind, first, last, levels in steps:
            if kind == "book":
                self.sides = {1: {}, -1: {}}
                if not self.ids or self.ids[-1] != first:  # else a new file begins where the book was
                    self.ids, self.levels = [], []
                for side, price, quantity in levels:
                    self.sides[side][price] = quantity
                self.known, self.last = first >= 0, first
                self._look(first, quotes, snapshots)
                continue
            if not self.single:
                self.known = self.known and first <= self.last + 1
                self.last = max(last, self.last)
            for place, (side, price, quantity) in enumerate(levels):
                if quantity:
                    self.sides[side][price] = quantity
                else:
                    self.sides[side].pop(price, None)
                self.ids.append(first + place if self.single else last)
                self.levels.append((side, price, quantity))
                if self.single:
                    self._at(first + place, quotes, snapshots, changes, done)
            if not self.single:
                self._at(last, quotes, snapshots, changes, done)
        for last in changes.keys() - done:
            self._never("depth", last, "a change up to it")
        for update_id in quotes:
            self._never("quote", update_id, "it")
        for update_id in snapshots:
            self._never("depth", update_id, "a snapshot of it")

    def _at(self, update_id: int, quotes: Quotes, snapshots: Snapshots, changes: dict[int, BookChange], done: set[int]) -> None:
        self._look(update_id, quotes, snapshots)
        change = changes.get(update_id)
        if change is not None and update_id not in done:
            done.add(update_id)
            self._change(change)
        if len(self.ids) > 200_000:  # a stored change spans far less
            del self.ids[:100_000], self.levels[:100_000]

    def _look(self, update_id: int, quotes: Quotes, snapshots: Snapshots) -> None:
        for best in quotes.pop(update_id, ()):
            self.findings.count("quotes_checked")
            bid, ask = max(self.sides[1], default=0), min(self.sides[-1], default=0)
            true = (bid, self.sides[1].get(bid, 0), ask, self.sides[-1].get(ask, 0))
            _equal(self.findings, f"quote.{self.subject}: {update_id}", best, true)
        for levels in snapshots.pop(update_id, ()) if self.known else ():
            self.findings.count("books_checked")
            self._snapshot(update_id, levels)

    def _snapshot(self, update_id: int, levels: Sequence[Level]) -> None:
        for side in (1, -1):
            mine = [(price, quantity) for price, quantity, s in levels if s == side]
            true = sorted(self.sides[side].items(), reverse=side > 0)[: max(len(mine), self.least)]
            if mine != true:
                self._fault("different", f"depth.{self.subject}: the book at {update_id} is not the one that was")
                return

    def _change(self, change: BookChange) -> None:
        first, last, _, levels = change
        if first <= self.floor:  # part of it was before the ledger
            self.findings.count("before_ledger")
            return
        begin, end = bisect_left(self.ids, first), bisect_right(self.ids, last)
        true = {(side, price): quantity for side, price, quantity in self.levels[begin:end]}
        mine = {(side, price): quantity for price, quantity, side in levels if side}
        self.findings.count("depth_checked")
        if len(mine) != sum(bool(side) for *_, side in levels):
            self._fault("different", f"depth.{self.subject}: {first} to {last} has a level twice")
        elif mine != true:
            wrong = sorted(set(mine.items()) ^ set(true.items()))[0]
            self._fault("different", f"depth.{self.subject}: {first} to {last} differs, e.g. in {wrong}")

    def _never(self, stream: str, update_id: int, what: str) -> None:
        if update_id <= self.floor:
            self.findings.count("before_ledger")
        else:
            self._fault("invented", f"{stream}.{self.subject} {update_id}: {what} is stored, but no book had that id")

    def _fault(self, name: str, sentence: str) -> None:
        _fault(self.findings, name, sentence)


def _equal(findings: Findings, what: str, mine: QuoteValue, true: QuoteValue | None) -> None:
    if true is None:
        _fault(findings, "invented", f"{what} is stored, but was never said")
    elif tuple(mine) != tuple(true):
        _fault(findings, "different", f"{what} is {tuple(mine)}, truly {tuple(true)}")


def _fault(findings: Findings, name: str, sentence: str) -> None:
    findings.count(name)
    findings.fault(name, sentence)
