"""What the mesh has stored against what a capture has: every trade, quote and depth change, field by field."""

from collections.abc import Iterable, Set

from tools.judge import book
from tools.judge.capture import Stream
from tools.judge.findings import Findings
from tools.judge.log import REPAIRED, SNAPSHOT, Event

COMPARED = {
    "trade": ["trade_id", "price_ticks", "quantity_lots", "venue_ns", "event_ns", "side", "first_id", "last_id"],
    "quote": ["update_id", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots", "last_id"],
    "depth": ["first_id", "last_id", "venue_ns", "price_ticks", "quantity_lots", "side", "number and order of levels"],
}


class Stored:
    """What the mesh has of one instrument, in the order of `seq`, in the shape of `capture.Stream`."""

    def __init__(self) -> None:
        self.trades: list[tuple[int, tuple]] = []
        self.quotes: list[tuple[int, tuple]] = []
        self.changes: list[tuple[tuple[int, int], tuple]] = []
        self.depth: list[book.Change] = []  # snapshots too
        self.repaired: set[int] = set()  # trade ids that came late, from a line or over REST: in any order

    def take(self, event: Event) -> None:
        if event.kind == "trade":
            for trade_id, price, quantity, trade_ns, event_ns, side in event.records:
                # The header's ids are compared as part of the key: they must all be the trade's id.
                value: tuple = (price, quantity, trade_ns, event_ns, side)
                if not event.first_id == event.last_id == trade_id:
                    value = (*value, f"header ids {event.first_id}, {event.last_id}")
                self.trades.append((trade_id, value))
                if event.flags & REPAIRED:
                    self.repaired.add(trade_id)
        elif event.kind == "quote":
            for update_id, *best, _venue_ns in event.records:
                value = tuple(best) if event.last_id == update_id else (*best, f"header id {event.last_id}")
                self.quotes.append((update_id, value))
        elif event.kind == "depth":
            snapshot = bool(event.flags & SNAPSHOT)
            self.depth.append((event.first_id, event.last_id, snapshot, event.records))
            if not snapshot:
                self.changes.append(((event.first_id, event.last_id), (event.venue_ns, list(event.records))))


def gather(events: Iterable[Event]) -> dict[str, Stored]:
    """subject → what is stored of it."""
    out: dict[str, Stored] = {}
    for event in events:
        if event.kind in COMPARED:
            out.setdefault(event.subject, Stored()).take(event)
    return out


def against(captured: dict[str, Stream], stored: dict[str, Stored], findings: Findings) -> None:
    """Fills the findings; every difference is a fault."""
    for name in ("trades", "quotes", "depth_events", "depth_levels", "book_expected", "book_checks", "book_equal"):
        findings.count(name, 0)
    for name in ("lost", "duplicated", "different", "invented", "out_of_order"):
        findings.count(name, 0)
    for symbol, stream in captured.items():
        subject = f"binance.{symbol}"
        mine = stored.get(subject, Stored())
        _compare(f"trade.{subject}", stream.trades, mine.trades, findings, mine.repaired)
        _compare(f"quote.{subject}", stream.quotes, mine.quotes, findings)
        _compare(f"depth.{subject}", stream.changes, mine.changes, findings)
        findings.count("trades", len(mine.trades))
        findings.count("quotes", len(mine.quotes))
        findings.count("depth_events", len(mine.changes))
        findings.count("depth_levels", sum(len(levels) for _, (_, levels) in mine.changes))
        findings.count("repeated_in_capture", stream.repeated)
        _check_book(subject, stream, mine, findings)
    for subject in stored.keys() - {f"binance.{symbol}" for symbol in captured}:
        findings.fault("invented", f"{subject} is stored, but no capture has it")


def _compare(topic: str, captured: dict, stored: list[tuple], findings: Findings, repaired: Set[int] = frozenset()) -> None:
    """`repaired`: keys that may stand anywhere; REST does not tell their event time."""
    place = {key: i for i, key in enumerate(captured)}
    seen: set = set()
    last = -1
    for key, value in stored:
        if key in seen:
            _add(findings, "duplicated", f"{topic}: {key} is stored twice")
            continue
        seen.add(key)
        if key not in place:
            _add(findings, "invented", f"{topic}: {key} is stored, but not in the capture")
            continue
        told = captured[key]
        if key in repaired:
            findings.count("repaired")
            value, told = _without_event_time(value), _without_event_time(told)
        if value != told:
            _add(findings, "different", f"{topic}: {key} is {_short(value)}, in the capture {_short(told)}")
        if key in repaired:
            continue
        if place[key] < last:
            _add(findings, "out_of_order", f"{topic}: {key} is stored after what came later")
        last = max(last, place[key])
    for key in captured:
        if key not in seen:
            _add(findings, "lost", f"{topic}: {key} is in the capture, but not stored")


def _without_event_time(trade: tuple) -> tuple:
    return (*trade[:3], *trade[4:])


def _add(findings: Findings, name: str, sentence: str) -> None:
    findings.count(name)
    findings.fault(name, sentence)


def _short(value: tuple) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _check_book(subject: str, stream: Stream, mine: Stored, findings: Findings) -> None:
    """The stored book against the capture's quotes, wherever the capture's own book meets them.

    `book_expected` is all of those; the stored book begins with the snapshot that a feed fetched, perhaps some ids later.
    """
    expected = book.check(book.of_capture(stream.snapshots, stream.changes), stream.quotes)
    checks = book.check(mine.depth, stream.quotes)
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
