"""A naive parser of raw captures in Binance's dialects: json and Decimal, nothing clever. Every line is read, or named.

A line is `<receive time> <JSON>`: a frame of a combined stream, or a REST depth snapshot. What each of them came to is counted
in `CaptureContents`: compared, repeated, named with the reason why it cannot be read, or not compared because nothing here
records its stream.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from io import BufferedReader
from pathlib import Path
from typing import Any, Generic, TypeVar

from tickmesh.tools.judge.book import ChangeValue, Level, QuoteValue
from tickmesh.tools.judge.log_facts import LogFacts

Message = dict[str, Any]  # a venue's JSON object
TradeValue = tuple[
    int, int, int, int, int, *tuple[str, ...]
]  # price, quantity, trade ns, event ns, side; whether it is off the book, the ids it stands for
Key = TypeVar("Key")
Value = TypeVar("Value")

OFF_THE_BOOK = "off the book"  # the word beside a trade that never met the book: `X` is not MARKET
LINE_MAX = 16 << 20  # bytes; a whole book of a REST snapshot has some MB
EXPONENTS = (-8, -8)  # of price and quantity where the log tells none: Binance spot sends eight decimals
TEXT_MAX = 64
INTEGER_MAX = (1 << 63) - 1
NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
DIFFERENCES = re.compile(r"depth(@\d+ms)?")  # depth5 and the like are partial books, not changes
COIN_M = re.compile(r".*USD_(PERP|\d{6})")
UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile)


class NotComparable(Exception):
    """A line that cannot be compared, with the reason."""


@dataclass
class CapturedTable(Generic[Key, Value]):
    """The lines of one stream in a capture, by id; a line that repeats an id (overlapping files) counts once.

    `again`: the same id with another value: ids that began anew, or a venue that contradicts itself. `refused`: keys of lines
    that the mesh has kept as refusals.
    """

    values: dict[Key, Value] = field(default_factory=dict)
    again: list[tuple[Key, Value]] = field(default_factory=list)
    refused: set[Key] = field(default_factory=set)
    repeated: int = 0

    def add(self, key: Key, value: Value, refused: bool) -> None:
        """Adds a line's value under its id. `refused`: the mesh has kept the line as a refusal."""
        if refused:
            self.refused.add(key)
        if key not in self.values:
            self.values[key] = value
        elif self.values[key] == value or (key, value) in self.again[-64:]:
            self.repeated += 1
        else:
            self.again.append((key, value))


@dataclass
class CapturedStream:
    """The lines of one instrument in a capture: tables of trades, quotes and depth changes, and REST snapshots. Mantissas, ns.

    trades: id → (price, quantity, trade time, event time, side), and a word where it stands for several ids; quotes: id → (bid,
    bid quantity, ask, ask quantity); depths: name of the stream → (first id, last id) → (event time, levels: price, quantity,
    side); snapshots: [(id, levels)].
    """

    trades: CapturedTable[int, TradeValue] = field(default_factory=CapturedTable)
    aggregates: CapturedTable[int, TradeValue] = field(default_factory=CapturedTable)
    quotes: CapturedTable[int, QuoteValue] = field(default_factory=CapturedTable)
    depths: dict[str, CapturedTable[tuple[int, int], ChangeValue]] = field(default_factory=dict)
    snapshots: list[tuple[int, list[Level]]] = field(default_factory=list)
    voids: set[int] = field(default_factory=set)  # ids that stand for no trade; the next trade's event covers them
    spans: dict[int, int] = field(default_factory=dict)  # last id of an aggregate → its first

    @property
    def changes(self) -> dict[tuple[int, int], ChangeValue]:
        """The depth changes of the stream that has the most of them: (first id, last id) → event time, levels."""
        return max((table.values for table in self.depths.values()), key=len, default={})

    @property
    def repeated(self) -> int:
        """How many lines repeated an earlier one, over all tables."""
        own = self.trades.repeated + self.aggregates.repeated + self.quotes.repeated
        return own + sum(table.repeated for table in self.depths.values())


@dataclass
class CaptureContents:
    """Everything that captures have, by instrument, and the use made of each of their lines.

    streams: subject → CapturedStream. By name of a stream: `taken`, lines that are compared; `unreadable`, lines that cannot be
    read; `unrecorded`, lines that nothing here records. `reasons`: why lines cannot be read → how many; `examples`: where the
    first is.
    """

    streams: dict[str, CapturedStream] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)  # name of a stream → lines of it that cannot be read
    unrecorded: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    lines: int = 0
    snapshots: int = 0
    refused: int = 0  # of the named ones: the mesh has kept their bytes as a refusal


def mantissa(text: Any, exponent: int = -8) -> int:
    """A decimal number as text → its mantissa. Raises NotComparable for what no venue sends, or the exponent cannot hold."""
    if not isinstance(text, str) or len(text) > TEXT_MAX or not NUMBER.fullmatch(text):
        raise NotComparable("a price or quantity is no plain decimal number")
    value = Decimal(text).scaleb(-exponent)
    if value != int(value):
        raise NotComparable(f"a price or quantity has more than {-exponent} decimals")
    if value > INTEGER_MAX:
        raise NotComparable("a price or quantity is beyond 64 bits")
    return int(value)


def whole_number(message: Message, name: str) -> int:
    """A field of a message as an integer from 0 to 2^63 − 1. Raises NotComparable for any other."""
    value = message.get(name)
    if type(value) is not int:
        raise NotComparable(f"{name} is no whole number")
    if not 0 <= value <= INTEGER_MAX:
        raise NotComparable(f"{name} is beyond 64 bits" if value > 0 else f"{name} is negative")
    return value


def nanoseconds(message: Message, name: str) -> int:
    """A field with a time, in ns: Binance sends milliseconds; spot microseconds since 2025 where asked for."""
    stamp = whole_number(message, name)
    ns = stamp * (1_000 if stamp >= 10**14 else 1_000_000)
    if ns > INTEGER_MAX:
        raise NotComparable(f"{name} is beyond 64 bits in ns")
    return ns


def side_of(message: Message) -> int:
    """The taker's side of a trade, from `m` (the buyer was the maker): +1 bought, −1 sold."""
    if type(message.get("m")) is not bool:
        raise NotComparable("m is neither true nor false")
    return -1 if message["m"] else 1


class CaptureReader:
    """Reads captures line by line into `capture`. `facts`: exponents and refusals that the log has."""

    def __init__(self, facts: LogFacts) -> None:
        self.facts = facts
        self.capture = CaptureContents()
        self.subject = ""  # of the last stream: a REST answer names no instrument
        self.snapshots: list[tuple[Message, str, str]] = []  # message, subject of the stream before it, and where it is
        self.name = ""  # of the line's stream
        self.place = ""

    def read_line(self, line: bytes, place: str) -> None:
        """Takes one line, `<receive time> <JSON>`. `place`: file and line number, for a person."""
        self.capture.lines += 1
        self.name, self.place = "", place
        stamp, _, payload = line.partition(b" ")
        try:
            if not stamp.isdigit():
                raise NotComparable("no receive time before it")
            self._message(payload.strip(), self._parsed(payload))
        except NotComparable as reason:
            self.count_unreadable(str(reason), payload.strip(), place)
            if self.name:
                self.capture.unreadable[self.name] += 1

    def count_unreadable(self, why: str, payload: bytes, place: str) -> None:
        """Counts a line that cannot be read, with the reason, and whether the mesh has refused its bytes."""
        self.capture.reasons[why] += 1
        self.capture.examples.setdefault(why, place)
        self.capture.refused += self.facts.refused_frame(payload)

    @staticmethod
    def _parsed(payload: bytes) -> Message:
        try:
            message = json.loads(payload)
        except RecursionError:
            raise NotComparable("nested too deep") from None
        except ValueError:
            raise NotComparable("no JSON, or half of it") from None
        if not isinstance(message, dict):
            raise NotComparable("JSON, but no object")
        return message

    def _message(self, payload: bytes, message: Message) -> None:
        if "lastUpdateId" in message:
            self.snapshots.append((message, self.subject, self.place))
        elif "stream" in message:
            if not isinstance(message["stream"], str) or "@" not in message["stream"]:
                raise NotComparable("the stream has no name")
            self.name = message["stream"]
            if not isinstance(message.get("data"), dict):
                raise NotComparable("data is no object")
            self._frame(payload, message["data"])
        elif "result" in message or "error" in message or "code" in message:
            raise NotComparable("an answer to a request")
        else:
            self.capture.unrecorded[f"messages without a stream (e = {str(message.get('e', 'none'))[:20]})"] += 1

    def _frame(self, payload: bytes, data: Message) -> None:
        """One message of the stream that `name` says."""
        symbol, _, channel = self.name.partition("@")
        take = {"trade": self._trade, "aggTrade": self._aggregate, "bookTicker": self._quote}.get(channel)
        if take is None and DIFFERENCES.fullmatch(channel):
            take = self._depth
        if take is None:
            self.capture.unrecorded[self.name] += 1
            return
        if data.get("s") != symbol.upper():
            raise NotComparable("the symbol is not its stream's")
        subject = f"{venue_of(data)}.{symbol.upper()}"
        stream = self.capture.streams.setdefault(subject, CapturedStream())
        exponents = self.facts.exponents.get(subject, EXPONENTS)
        self.subject = subject
        take(stream, data, exponents, self.facts.refused_frame(payload))
        self.capture.taken[self.name] += 1

    def _trade(self, stream: CapturedStream, data: Message, exponents: tuple[int, int], refused: bool) -> None:
        number = whole_number(data, "t")
        quantity = mantissa(data.get("q"), exponents[1])
        if data.get("X", "MARKET") != "MARKET" and not quantity:
            stream.voids.add(number)
            return
        value: TradeValue = (*self._fill(data, exponents), side_of(data))
        stream.trades.add(number, (*value, OFF_THE_BOOK) if data.get("X", "MARKET") != "MARKET" else value, refused)

    def _aggregate(self, stream: CapturedStream, data: Message, exponents: tuple[int, int], refused: bool) -> None:
        first, last = whole_number(data, "f"), whole_number(data, "l")
        if first > last:
            raise NotComparable("f is beyond l")
        stream.spans[last] = first
        stream.aggregates.add(last, (*self._fill(data, exponents), side_of(data)), refused)

    @staticmethod
    def _fill(data: Message, exponents: tuple[int, int]) -> tuple[int, int, int, int]:
        price, quantity = mantissa(data.get("p"), exponents[0]), mantissa(data.get("q"), exponents[1])
        if not price or not quantity:
            raise NotComparable("a trade's price or quantity is 0")
        return price, quantity, nanoseconds(data, "T"), nanoseconds(data, "E")

    @staticmethod
    def _quote(stream: CapturedStream, data: Message, exponents: tuple[int, int], refused: bool) -> None:
        bid, bid_lots, ask, ask_lots = (mantissa(data.get(name), exponents[name in "BA"]) for name in ("b", "B", "a", "A"))
        stream.quotes.add(whole_number(data, "u"), (bid, bid_lots, ask, ask_lots), refused)

    def _depth(self, stream: CapturedStream, data: Message, exponents: tuple[int, int], refused: bool) -> None:
        first, last = whole_number(data, "U"), whole_number(data, "u")
        if first > last:
            raise NotComparable("U is beyond u")
        if "pu" in data:  # futures: ids are counted over all symbols, so the change begins behind the one before it
            if (before := whole_number(data, "pu")) >= first:
                raise NotComparable("pu is not before U")
            first = before + 1
        table = stream.depths.setdefault(self.name, CapturedTable())
        table.add((first, last), (self._moment(data), tuple(levels(data, ("b", "a"), exponents))), refused)

    @staticmethod
    def _moment(data: Message) -> int:
        """Of a change, which is one without its time, too: 0 where that is before 1970, or beyond 64 bits."""
        try:
            return nanoseconds(data, "E")
        except NotComparable:
            if type(data.get("E")) is int:
                return 0
            raise

    def finish(self) -> None:
        """Gives each REST snapshot to the instrument whose changes have its id, else to that of the stream before it."""
        for message, subject, place in self.snapshots:
            try:
                self._snapshot(message, subject)
            except NotComparable as reason:
                self.count_unreadable(str(reason), b"", place)

    def _snapshot(self, message: Message, subject: str) -> None:
        update_id = whole_number(message, "lastUpdateId")
        streams = self.capture.streams
        subject = subject or next(iter(streams), "")
        if not subject:
            raise NotComparable("a REST snapshot, but no stream that it could be of")
        if not _spans(streams[subject], update_id):
            subject = next((other for other, stream in streams.items() if _spans(stream, update_id)), subject)
        exponents = self.facts.exponents.get(subject, EXPONENTS)
        streams[subject].snapshots.append((update_id, levels(message, ("bids", "asks"), exponents)))
        self.capture.snapshots += 1


def _spans(stream: CapturedStream, update_id: int) -> bool:
    """Whether an id lies among those of the depth changes."""
    keys = stream.changes.keys()
    return bool(keys) and min(first for first, _ in keys) - 1 <= update_id <= max(last for _, last in keys)


def venue_of(data: Message) -> str:
    """The venue that a message comes from: spot, USD-M and COIN-M futures differ in the fields that they send."""
    if "ps" in data or COIN_M.fullmatch(str(data.get("s"))):
        return "binance_coinm"
    kind = data.get("e")
    futures = kind == "bookTicker" or "pu" in data
    futures = futures or (kind == "trade" and "X" in data) or (kind == "aggTrade" and "M" not in data)
    return "binance_usdm" if futures else "binance"


def levels(message: Message, names: tuple[str, str], exponents: tuple[int, int]) -> list[Level]:
    """The levels of a change or snapshot, bids first, as they came; one row of zeros where there are none."""
    rows = []
    for name, side in zip(names, (1, -1)):
        many = message.get(name)
        if not isinstance(many, list):
            raise NotComparable(f"{name} is no list")
        for level in many:
            if not isinstance(level, list) or len(level) < 2:
                raise NotComparable(f"a level of {name} is no pair")
            if price := level_value(level[0], exponents[0]):  # who cannot hold a level has the others all the same
                rows.append((price, level_value(level[1], exponents[1]), side))
    return rows or [(0, 0, 0)]


def level_value(text: Any, exponent: int) -> int:
    """A level's price or quantity as mantissa; 0 for what is below 0 or beyond 64 bits. Raises NotComparable for no number."""
    if isinstance(text, str) and text.startswith("-") and NUMBER.fullmatch(text[1:]):
        return 0
    try:
        return mantissa(text, exponent)
    except NotComparable as reason:
        if "beyond" in str(reason):
            return 0
        raise


def read_captures(files: Iterable[Path], facts: LogFacts | None = None) -> CaptureContents:
    """Reads several captures, in this order, into one. Raises OSError where a file cannot be opened."""
    reader = CaptureReader(facts or LogFacts())
    for path in files:
        place = f"{path.name}, line"
        number = 0
        try:
            for number, line in enumerate(_lines(path), 1):
                if len(line) > LINE_MAX:
                    reader.capture.lines += 1
                    reader.count_unreadable(f"longer than {LINE_MAX} bytes", b"", f"{place} {number}")
                elif line.strip():
                    reader.read_line(line, f"{place} {number}")
        except UNREADABLE:
            reader.capture.lines += 1
            reader.count_unreadable("the gzip file is cut off or damaged here", b"", f"{place} {number + 1}")
    reader.finish()
    return reader.capture


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a gzip or plain file; of one that is too long its beginning, longer than LINE_MAX."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=file) if packed else file
        while line := source.readline(LINE_MAX + 1):
            yield line
            while len(line) > LINE_MAX and not line.endswith(b"\n"):
                if not (line := source.readline(LINE_MAX + 1)):
                    return
