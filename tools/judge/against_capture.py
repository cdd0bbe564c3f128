"""What the mesh has stored against what a capture has: every trade, quote and depth change, field by field."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import TypeVar

from tickmesh.tools.judge import book
from tickmesh.tools.judge.book import ChangeValue, QuoteValue
from tickmesh.tools.judge.capture import OFF_THE_BOOK, CaptureContents, CapturedStream, CapturedTable, TradeValue
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import RESET
from tickmesh.tools.judge.log import OFF_BOOK, REPAIRED, SNAPSHOT, Event
from tickmesh.tools.judge.log_facts import LogFacts

COMPARED = {
    "trade": [
        "trade_id", "price_ticks", "quantity_lots", "venue_ns", "event_ns", "side", "first_id", "last_id", "off the book",
    ],
    "quote": ["update_id", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots", "last_id"],
    "depth": ["first_id", "last_id", "venue_ns", "price_ticks", "quantity_lots", "side", "number and order of levels"],
}  # fmt: skip

Ids = int | tuple[int, int]  # of a trade or quote; first and last of a change
Key = TypeVar("Key", bound=Ids)
Value = TypeVar("Value", bound=tuple[object, ...])


class StoredMarket:
    """The stored events of one instrument, in order of `seq`, in the shape of `capture.CapturedStream`."""

    def __init__(self) -> None:
        self.trades: list[tuple[int, TradeValue]] = []
        self.quotes: list[tuple[int, QuoteValue]] = []
        self.changes: list[tuple[tuple[int, int], ChangeValue]] = []
        self.depth: list[book.BookChange] = []  # snapshots too
        self.given_up: list[tuple[int, int]] = []  # runs of trade ids that are said to be missing for good
        self.repaired: set[int] = set()  # trade ids that came late, from a line or over REST: in any order
        self.restarted: set[str] = set()  # kinds whose ids began anew: the same id may come again

    def take(self, event: Event) -> None:
        """Adds a trade, quote or depth event."""
        if event.flags & RESET:
            self.restarted.add(event.kind)
        if event.kind == "trade":
            self._trades(event)
        elif event.kind == "quote":
            for update_id, bid, bid_lots, ask, ask_lots, _venue_ns in event.records:
                odd = () if event.last_id == update_id else (f"header id {event.last_id}",)
                self.quotes.append((update_id, (bid, bid_lots, ask, ask_lots, *odd)))
        elif event.kind == "depth":
            snapshot = bool(event.flags & SNAPSHOT)
            self.depth.append(book.BookChange(event.first_id, event.last_id, snapshot, event.records))
            if not snapshot:
                self.changes.append(((event.first_id, event.last_id), (event.venue_ns, tuple(event.records))))

    def _trades(self, event: Event) -> None:
        """The header's ids are compared as part of the value: of one trade they are its id, or it stands for several."""
        ids = [record[0] for record in event.records]
        run = len(ids) > 1 and (event.first_id, event.last_id) == (ids[0], ids[-1])
        for trade_id, price, quantity, trade_ns, event_ns, side in event.records:
            value: TradeValue = (price, quantity, trade_ns, event_ns, side)
            if event.flags & OFF_BOOK:
                value = (*value, OFF_THE_BOOK)
            if not run and not event.first_id == event.last_id == trade_id:
                value = (*value, header_ids(event.first_id, event.last_id))
            self.trades.append((trade_id, value))
            if event.flags & REPAIRED:
                self.repaired.add(trade_id)


def header_ids(first: int, last: int) -> str:
    """The words beside a trade whose header has other ids than its own: it stands for several."""
    return f"header ids {first}, {last}"


def gather_stored(events: Iterable[Event], facts: LogFacts | None = None) -> dict[str, StoredMarket]:
    """Sorts events by instrument: subject → what is stored of it. `facts` takes every other event."""
    out: dict[str, StoredMarket] = {}
    for event in events:
        if event.kind in COMPARED:
            out.setdefault(event.subject, StoredMarket()).take(event)
        elif facts is not None:
            facts.take(event)
    return out


def compare(
    capture: CaptureContents, stored: dict[str, StoredMarket], facts: LogFacts, findings: Findings, levels_asked: int = 1000
) -> None:
    """Compares captures with what is stored and fills the findings: every difference, and every line not compared, is a fault.

    `levels_asked`: how many levels the feed asks for in a REST snapshot.
    """
    for name in ("trades", "quotes", "depth_events", "depth_levels", "book_expected", "book_checks", "book_equal"):
        findings.count(name, 0)
    for name in ("lost", "duplicated", "different", "invented", "out_of_order", "refused", "snapshots_compared"):
        findings.count(name, 0)
    for subject, stream in capture.streams.items():
        mine = stored.get(subject, StoredMarket())
        comparison = Comparison(subject, facts, findings)
        comparison.compare_stream("trade", _trades_of(stream, capture), mine.trades, mine)
        comparison.compare_stream("quote", stream.quotes, mine.quotes, mine)
        comparison.compare_stream("depth", _changes_of(stream, mine, capture), mine.changes, mine)
        findings.count("trades", len(mine.trades))
        findings.count("quotes", len(mine.quotes))
        findings.count("depth_events", len(mine.changes))
        findings.count("depth_levels", sum(len(levels) for _, (_, levels) in mine.changes))
        findings.count("repeated_in_capture", stream.repeated)
        _check_book(subject, stream, mine, findings, levels_asked)
    for subject in stored.keys() - capture.streams.keys():
        findings.fault("invented", f"{subject} is stored, but no capture has it")
    _account(capture, findings)


def _trades_of(stream: CapturedStream, capture: CaptureContents) -> CapturedTable[int, TradeValue]:
    """The single trades; where a capture has none, the aggregates, each with the ids that it stands for."""
    table = stream.trades
    if not table.values:
        table = stream.aggregates
        for last, first in stream.spans.items():
            if first != last:
                table.values[last] = (*table.values[last], header_ids(first, last))
        return table
    if uncovered := [last for last, first in stream.spans.items() if not table.values.keys() >= set(_span(first, last))]:
        capture.unrecorded[f"aggTrade, of ids that no @trade line has (first {uncovered[0]})"] += len(uncovered)
    for last in table.values.keys() & {void + 1 for void in stream.voids}:  # the run of void ids before it
        first = last
        while first - 1 in stream.voids:
            first -= 1
        table.values[last] = (*table.values[last], header_ids(first, last))
    return table


def _span(first: int, last: int) -> range:
    return range(first, min(last, first + 10_000) + 1)  # no taker's order has more fills


def _changes_of(
    stream: CapturedStream, mine: StoredMarket, capture: CaptureContents
) -> CapturedTable[tuple[int, int], ChangeValue]:
    """The depth stream that the mesh has; others of the same instrument cut the same ids in another way."""
    if not stream.depths:
        return CapturedTable()
    keys = {key for key, _ in mine.changes}
    ranked = sorted(stream.depths.items(), key=lambda item: (len(keys & item[1].values.keys()), len(item[1].values)))
    for name, table in ranked[:-1]:
        if rest := len(table.values.keys() - ranked[-1][1].values.keys()):
            capture.unrecorded[f"{name}, beside {ranked[-1][0]}"] += rest
            capture.taken[name] -= rest
    return ranked[-1][1]


class Comparison:
    """Compares one instrument's streams, captured and stored, and adds what differs to the findings."""

    def __init__(self, subject: str, facts: LogFacts, findings: Findings):
        self.subject, self.facts, self.findings = subject, facts, findings

    def compare_stream(
        self, kind: str, captured: CapturedTable[Key, Value], stored: list[tuple[Key, Value]], mine: StoredMarket
    ) -> None:
        """Compares one kind: order, values, what is missing, doubled or invented. `mine`: all that is stored."""
        repaired: Set[Ids] = (
            mine.repaired if kind == "trade" else set()
        )  # they may stand anywhere; REST does not tell their event time
        topic = f"{kind}.{self.subject}"
        place = {key: i for i, key in enumerate(captured.values)}
        again: Counter[tuple[Ids, tuple[object, ...]]] = Counter(captured.again)
        seen: set[Key] = set()
        last = -1
        for key, value in stored:
            if key in seen:
                if again[key, value] > 0:
                    again[key, value] -= 1
                else:
                    self._add("duplicated", f"{topic}: {key} is stored twice")
                continue
            seen.add(key)
            if key not in place:
                self._add("invented", f"{topic}: {key} is stored, but not in the capture")
                continue
            compared: tuple[object, ...] = value
            expected: tuple[object, ...] = captured.values[key]
            if key in repaired:
                self.findings.count("repaired")
                compared, expected = _without_event_time(compared), _without_event_time(expected)
            if compared != expected and again[key, compared] > 0:
                again[key, compared] -= 1
                again[key, expected] += 1
            elif compared != expected:
                self._add("different", f"{topic}: {key} is {_short(compared)}, in the capture {_short(expected)}")
            if key in repaired:
                continue
            if place[key] < last:
                self._add("out_of_order", f"{topic}: {key} is stored after what came later")
            last = max(last, place[key])
        self._lost(kind, topic, captured, seen)
        if kind in mine.restarted:
            self._refused_again(kind, again)
        if rest := sum(again.values()):
            if kind in mine.restarted:
                self.findings.count("lost", rest)
                self.findings.fault("lost", f"{topic}: {rest} of the ids that began anew are in the capture, but not stored")
            else:
                self.findings.count("said_otherwise", rest)

    def _refused_again(self, kind: str, again: Counter[tuple[Ids, tuple[object, ...]]]) -> None:
        """Counts, of ids that came with more than one value, the values that the mesh has refused."""
        for key in {key for key, _ in again}:
            refused = self.facts.refused_events(kind, self.subject, *_ids(key))
            for value in [value for other, value in again if other == key]:
                named = min(again[key, value], refused)
                again[key, value] -= named
                refused -= named
                self.findings.count("refused", named)

    def _lost(self, kind: str, topic: str, captured: CapturedTable[Key, Value], seen: set[Key]) -> None:
        for key in captured.values:
            if key in seen:
                continue
            if key in captured.refused or self.facts.refused_events(kind, self.subject, *_ids(key)):
                self.findings.count("refused")
            else:
                self._add("lost", f"{topic}: {key} is in the capture, but not stored")

    def _add(self, name: str, sentence: str) -> None:
        self.findings.count(name)
        self.findings.fault(name, sentence)


def _ids(key: Ids) -> tuple[int, int]:
    return key if isinstance(key, tuple) else (key, key)


def _without_event_time(trade: tuple[object, ...]) -> tuple[object, ...]:
    return (*trade[:3], *trade[4:])


def _short(value: tuple[object, ...]) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _check_book(subject: str, stream: CapturedStream, mine: StoredMarket, findings: Findings, levels_asked: int) -> None:
    """The stored book against the capture's quotes, wherever the capture's own book meets them; then its snapshots.

    `book_expected` is all of those; the stored book begins with the snapshot that a feed fetched, perhaps some ids later.
    """
    own = book.changes_of_capture(stream.snapshots, stream.changes)
    expected = book.compare_best(own, stream.quotes.values)
    checks = book.compare_best(mine.depth, stream.quotes.values)
    wrong = [update_id for update_id, equal in checks.items() if not equal]
    findings.count("book_expected", len(expected))
    findings.count("book_checks", len(checks))
    findings.count("book_equal", len(checks) - len(wrong))
    if wrong:
        findings.fault("book", f"{subject}: best bid and ask differ at {len(wrong)} of {len(checks)} ids, first {wrong[0]}")
    begins = min((last for _, last, snapshot, _ in mine.depth if snapshot), default=0)
    missed = [update_id for update_id in expected if update_id >= begins and update_id not in checks]
    if missed:
        findings.fault("book", f"{subject}: no valid book at {len(missed)} ids of quotes, first {missed[0]}")
    compared = _check_snapshots(subject, own, mine, findings, levels_asked) if all(expected.values()) else 0
    if stream.snapshots and not compared and not checks:
        why = f"{subject}: {len(stream.snapshots)} REST snapshots of the capture met nothing that is stored"
        findings.fault("not_compared", why)


def _check_snapshots(
    subject: str, own: list[book.BookChange], mine: StoredMarket, findings: Findings, levels_asked: int
) -> int:
    """Each logged snapshot against the capture's own book at its id. How many could be.

    One that was fetched has the levels that were asked for, with the changes since: all of them are in the book, and its best
    ones are all there.
    """
    images: dict[int, list[Sequence[book.Level]]] = {}
    for _, last, snapshot, rows in mine.depth:
        if snapshot:
            images.setdefault(last, []).append(rows)
    compared = 0
    for update_id, sides in book.books_at(own, images.keys()):
        for rows in images.pop(update_id, ()):
            compared += 1
            wrong = _unequal(rows, sides, levels_asked // 10)
            if wrong:
                findings.count("different")
                findings.fault(
                    "different", f"depth.{subject}: the snapshot of {update_id} differs from the capture's book: {wrong}"
                )
    findings.count("snapshots_compared", compared)
    return compared


def _unequal(rows: Sequence[book.Level], sides: book.Sides, least: int) -> str:
    image: book.Sides = {1: {}, -1: {}}
    for price, quantity, side in rows:
        if side:
            image[side][price] = quantity
    for side, name in ((1, "bid"), (-1, "ask")):
        for price, quantity in image[side].items():
            if sides[side].get(price, 0) != quantity:
                return f"{name} {price} has {quantity}, there {sides[side].get(price, 0)}"
        best = sorted(sides[side], reverse=side > 0)[:least]
        if missing := [price for price in best if price not in image[side]]:
            return f"{name} {missing[0]} is missing"
    return ""


def _account(capture: CaptureContents, findings: Findings) -> None:
    """Every line of the capture came to something; a stream of which none was compared takes the verdict with it."""
    repeated = sum(stream.repeated for stream in capture.streams.values())
    spoilt, foreign = sum(capture.reasons.values()), sum(capture.unrecorded.values())
    findings.count("lines", capture.lines)
    findings.count("lines_compared", capture.lines - repeated - spoilt - foreign)
    findings.count("lines_repeated", repeated)
    findings.count("lines_named", spoilt)
    findings.count("lines_refused", capture.refused)
    findings.count("lines_not_compared", foreign)
    for name, count in capture.unrecorded.items():
        findings.fault(
            "not_compared", f"{count} lines of {name} are in the capture and were not compared: nothing here records them"
        )
    for name, count in capture.unreadable.items():
        if not capture.taken[name]:
            findings.fault("not_compared", f"none of the {count} lines of {name} can be read, so the stream was not compared")
    if not capture.streams and not capture.unrecorded:
        findings.fault("not_compared", f"nothing in {capture.lines} lines of the capture can be compared")
