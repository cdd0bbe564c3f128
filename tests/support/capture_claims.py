"""What must be true of every line of a capture once it has been replayed, by a naive reading of its own (json, Decimal).

A line that says a trade, a best bid and ask, or a change of a book is stored, or named, or counted with a reason. `account`
puts each into one of FATES, or fails with it.
"""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import NamedTuple

from tests.support.capture_run import Outcome
from tickmesh.bus.schema import Reason

LINE = re.compile(rb"([0-9]{13}|[0-9]{16}|[0-9]{19}) (\{.*\})\s*", re.DOTALL)
NUMBER = re.compile(r"[0-9]{1,10}(\.[0-9]{1,8})?")
KINDS = {"trade": "trade", "bookTicker": "quote", "depth": "depth", "depth@100ms": "depth"}
FATES = {
    "stored": "in the log, as the line says it",
    "refused": "nothing of the capture is served, and `mesh up` says why",
    "not understood": "refused by the feed, with its bytes",
    "contradiction": "refused by the sequencer, in a sentence with its id",
    "doubted": "its ids are said to be unknown, since ids contradicted each other or began anew",
    "late gap": "its line had gone on beyond it, and its ids are said not to be there",
    "covered": "a change whose ids lie within those of another one, which is stored",
    "conflict": "another line said something else under the same id before",
    "overtaken": "its line had gone on beyond it; the sequencer counts it among copies",
    "other speed": "the same book at another speed, counted by the exchange",
}


class Claim(NamedTuple):
    """What a line of a capture states: ids `first` to `last`, and `content` as `capture_run.content` gives it of an event."""

    kind: str
    symbol: str
    first: int
    last: int
    content: tuple
    frame: bytes
    channel: str


def claim(line: bytes) -> Claim | None:
    """Reads a line that nobody could read otherwise; None for any other."""
    match = LINE.fullmatch(line)
    if not match:
        return None
    try:
        text = match[2].decode()
        message = json.loads(text)
        json.dumps(message, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        stream, data = message["stream"], message["data"]
        symbol, _, channel = stream.partition("@")
        kind = KINDS[channel]
        if not re.fullmatch("[a-z0-9]{2,20}", symbol) or data["s"] != symbol.upper():
            return None
        return Claim(kind, data["s"], *_content(kind, data), text.rstrip().encode(), channel)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Unusual):
        return None


class Unusual(Exception):
    """Raised for a line of a capture whose fate is not checked here."""


def _content(kind: str, data: dict) -> tuple[int, int, tuple]:
    if kind == "trade":
        if data.get("X") is not None or data["e"] != "trade" or not isinstance(data["m"], bool):
            raise Unusual
        _time(data["E"]), _time(data["T"])
        ident, price, quantity = _id(data["t"]), _units(data["p"]), _units(data["q"])
        if not (ident and price and quantity):
            raise Unusual
        return ident, ident, ((ident, price, quantity, -1 if data["m"] else 1),)
    if kind == "quote":
        if "e" in data or "T" in data or "E" in data:
            raise Unusual
        ident = _id(data["u"])
        return ident, ident, ((ident, *(_units(data[key]) for key in ("b", "B", "a", "A"))),)
    first, last = _id(data["U"]), _id(data["u"])
    if "pu" in data or data["e"] != "depthUpdate" or not 0 < first <= last:
        raise Unusual
    _time(data["E"])
    levels = [(side, *_level(row)) for side, rows in ((1, data["b"]), (-1, data["a"])) for row in rows]
    return first, last, (first, last, tuple(levels))


def _level(row: list) -> tuple[int, int]:
    price, quantity = row
    return _units(price), _units(quantity)


def _id(number: object) -> int:
    if type(number) is not int or not 0 < number < 1 << 62:
        raise Unusual
    return number


def _time(number: object) -> None:
    if type(number) is not int or not 10**12 <= number < 4 * 10**12:
        raise Unusual


def _units(text: object) -> int:
    if not isinstance(text, str) or not NUMBER.fullmatch(text):
        raise Unusual
    return int(Decimal(text).scaleb(8))


def account(lines: list[bytes], outcome: Outcome) -> Counter:
    """Sorts lines into FATES and counts them. Raises AssertionError for a line without one, and an event without a line."""
    claims = [one for one in map(claim, lines) if one is not None]
    claimed = {(one.kind, one.symbol, one.last) for one in claims}
    fates: Counter = Counter()
    first_content: dict[tuple[str, str, int], tuple] = {}  # the first content of an id
    highest: dict[tuple[str, str], int] = {}  # id that the capture has said so far
    for one in claims:
        key = (one.kind, one.symbol)
        late = one.last <= highest.get(key, -1) or _unclaimed_above(one, outcome, claimed)
        fates[_fate(one, outcome, first_content, late)] += 1
        first_content.setdefault((*key, one.last), one.content)
        highest[key] = max(highest.get(key, -1), one.last)
    assert fates["overtaken"] <= outcome.duplicates
    _nothing_invented(claims, len(lines) - len(claims), outcome)
    return fates


def _fate(one: Claim, outcome: Outcome, first_content: dict, late: bool) -> str:
    """`late`: the capture had said a higher id of that stream before."""
    if outcome.unfit:
        return "refused"
    key = (one.kind, one.symbol)
    if one.content in outcome.stored[key].get(one.last, ()):
        return "stored"
    if one.frame in outcome.refused:
        return "not understood"
    if any(f"id {one.last} after" in why and one.symbol in why for why in outcome.words):
        return "contradiction"
    if one.kind == "depth" and one.channel != outcome.survey.depths[one.symbol]:
        return "other speed"
    reasons = {reason for low, high, reason in outcome.gaps[key] if low <= one.last and one.first <= high}
    if reasons & {Reason.contradiction, Reason.reset}:
        return "doubted"
    if reasons and late:
        return "late gap"
    if first_content.get((*key, one.last), one.content) != one.content:
        return "conflict"
    changes = [change for many in outcome.stored[key].values() for change in many] if one.kind == "depth" else []
    if any(first <= one.first and one.last <= last for first, last, _ in changes):
        return "covered"
    if late:
        return "overtaken"
    raise AssertionError(f"neither stored nor named: {one.frame[:300]!r} of {one.kind} {one.first}..{one.last}, gaps {reasons}")


def _unclaimed_above(one: Claim, outcome: Outcome, claimed: set[tuple[str, str, int]]) -> bool:
    """Whether a line that this reader does not judge was stored under a higher id: it may have come before."""
    ids = outcome.stored[one.kind, one.symbol]
    return any(ident >= one.last and (one.kind, one.symbol, ident) not in claimed for ident in ids)


def _nothing_invented(claims: list[Claim], others: int, outcome: Outcome) -> None:
    """`others`: lines that this reader does not judge; each of them may have become an event, too."""
    said = {(one.kind, one.symbol, one.content) for one in claims}
    unsaid = 0
    for (kind, symbol), events in outcome.stored.items():
        for contents in events.values():
            unsaid += sum((kind, symbol, one) not in said for one in contents)
    assert unsaid <= others, f"{unsaid} events are stored that no line says"
