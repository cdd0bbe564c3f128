"""A naive reader of the local exchange's ledger, from docs/ledger.md: what truly happened, by instrument."""

import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.order_events import OPENED, Asked, BalanceEvent, OrderEvent, OrderNames, read_order_event, units

HEAD = struct.Struct("<IIQI")
FORMATS = (1, 2)  # the first knew no eras
IDS = {"trade": "t", "bookTicker": "u", "depth": "u", "depth@100ms": "u"}  # streams whose frames have an id → its field

WS_API = ("/ws-api", "/binance_usdm/ws-fapi")  # how the paths begin at which one can order
EVERY_CONNECTION = 0  # in place of a number: all that were open when the exchange began again, with numbers from 1

Row = list[Any]  # [number, kind, time_ms, …], as docs/ledger.md has it


class BookStep(NamedTuple):
    """One step of a true book: "book" (the whole of it at id `first`) or "depth" (a change). Levels: side, price, quantity."""

    kind: str
    first: int
    last: int
    levels: Sequence[Sequence[int]]


def subject_of(name: str) -> str:
    """The mesh's `venue.symbol` of a symbol of the ledger, which stands without its venue where that is binance."""
    return name if "." in name else f"binance.{name}"


def stream_of(subject: str, part: str) -> str:
    """The name in the ledger of an instrument's stream; `part`: what follows the @."""
    venue, _, symbol = subject.partition(".")
    return f"{'' if venue == 'binance' else f'{venue}.'}{symbol.lower()}@{part}"


def ledger_files(folder: Path) -> list[Path]:
    """The ledger's files in a folder, oldest first."""
    return sorted(folder.glob("ledger-*.bin"))


def read_rows(folder: Path, findings: Findings) -> Iterator[Row]:
    """Reads every row `[number, kind, time_ms, …]` in order; whatever is not as docs/ledger.md says becomes a finding."""
    expected = 0
    paths = ledger_files(folder)
    for path in paths:
        data = path.read_bytes()
        offset = 0
        number = int(path.stem.partition("-")[2])
        if expected and number != expected:
            findings.fault("ledger_hole", f"{path.name}: begins with row {number}, the file before ended with {expected - 1}")
        while offset < len(data):
            size, crc, first, count = HEAD.unpack_from(data, offset) if len(data) - offset >= HEAD.size else (0, 0, 0, 0)
            end = offset + HEAD.size + size
            if not count or end > len(data) or zlib.crc32(data[offset + 8 : end]) != crc:
                if path == paths[-1]:
                    findings.count("ledger_torn_bytes", len(data) - offset)  # being written, or cut by a crash: never sent
                else:
                    findings.fault("ledger_crc", f"{path.name}: the batch at byte {offset} has a wrong CRC or size")
                break
            rows = list(msgpack.Unpacker(BytesIO(data[offset + HEAD.size : end])))
            if first != number or [row[0] for row in rows] != list(range(first, first + count)):
                findings.fault("ledger_number", f"{path.name}: the batch at byte {offset} does not begin with row {number}")
            for row in rows:
                if row[1] == "head" and row[3] not in FORMATS:
                    findings.fault("ledger_format", f"{path.name} has format {row[3]}, this judge reads {FORMATS}")
                yield row
            number, offset = first + count, end
        expected = number


class TrueEra:
    """The true events of one era of an instrument. Mantissas at 10^−8; side +1 bid or buyer, −1 ask or seller.

    trades: id → (price, quantity, trade ms, side); off_book: those that never met the book. steps: of its book, in
    order. quotes: those of a replayed capture, id → best bid, quantity, ask, quantity.
    """

    def __init__(self, era: int = 0, began_ms: int = 0) -> None:
        self.era = era
        self.began_ms = began_ms
        self.trades: dict[int, tuple[int, int, int, int]] = {}
        self.off_book: set[int] = set()
        self.quotes: dict[int, tuple[int, int, int, int]] = {}
        self.steps: list[BookStep] = []
        self.times: list[int] = []  # of each step, ms
        self.void = 0  # trades that were never sent: the exchange died between its files
        self.doubled: list[int] = []

    def start(self, update_id: int, trade_id: int) -> None:
        """Notes that an exchange process began: trades beyond `trade_id` were sent to nobody, and their ids are given again."""
        for number in [n for n in self.trades if n > trade_id]:
            del self.trades[number]
            self.off_book.discard(number)
            self.void += 1
        self.add_step(BookStep("book", update_id, 0, []), self.times[-1] if self.times else 0)

    def add_step(self, step: BookStep, time_ms: int) -> None:
        """Adds a step of the book, at this time."""
        self.steps.append(step)
        self.times.append(time_ms)

    @property
    def ended_ms(self) -> int:
        """The time of the newest trade or change of the book."""
        newest = next(reversed(self.trades.values()))[2] if self.trades else 0
        return max(self.began_ms, newest, self.times[-1] if self.times else 0)


class LedgerContents:
    """All rows of an exchange's ledger, sorted. `complete` is False when older files were removed.

    orders, balances: what the account's user stream said of them. orders_lost_ms: when the exchange last forgot open orders.
    asked: what was asked about the account, in order, and each new connection on which one can order; None of a
    ledger that is older than these rows.

    eras: of each symbol, in order. clients: (ms, connection, what, detail), and EVERY_CONNECTION closed where the exchange
    began again, if only after it was killed. withheld: rows of frames and requests; absurd: ids
    that frames were given in place of theirs, by stream.
    """

    def __init__(self) -> None:
        self.eras: dict[str, list[TrueEra]] = {}
        self.clients: list[tuple[int, int, str, str]] = []
        self.absurd: dict[str, set[int]] = defaultdict(set)
        self._by: dict[int, int] = {}  # faults that make ids absurd → by how much
        self._era = 0  # of a file's books
        self.market = ""
        self.complete = True
        self.first_ms = 0  # of the oldest row: before it there was another exchange, or none
        self.last_ms = 0
        self._acted_ms = 0  # of the newest row that is not of a beginning
        self.withheld: list[Row] = []
        self.orders: dict[str, list[OrderEvent]] = {}  # by symbol, as the rows of markets name it
        self.asked: list[Asked] | None = None
        self._names = OrderNames()
        self.balances: dict[str, list[BalanceEvent]] = {}  # by asset
        self.orders_lost_ms = 0
        self._losing: set[int] = set()  # faults that forget open orders
        self._orders_before: dict[str, int] = {}  # symbol → how many of its `orders` are older than its newest era
        self.rows = 0

    def take(self, row: Row) -> None:
        """Adds one row."""
        number, kind, time_ms, *values = row
        if not self.rows:
            self.complete = number == 1
        self.rows += 1
        if kind == "start" and self.clients:
            self.clients.append((self._acted_ms, EVERY_CONNECTION, "closed", ""))
        self.first_ms = self.first_ms or time_ms
        self.last_ms = time_ms
        if kind not in ("head", "book", "unsent", "start"):
            self._acted_ms = time_ms
        if kind == "head":
            self.market = values[1]
            if self.asked is None and "asked" in values[2]:
                self.asked = []
            self._era = values[3] if len(values) > 3 else 0
        elif kind in ("frame", "request"):
            self.withheld.append(row)
            if kind == "frame" and values[0] in self._by:
                self._absurd(*values)
        elif kind == "client":
            self.clients.append((time_ms, *values))
            if self.asked is not None and values[1] == "opened" and values[2].startswith(WS_API):
                self.asked.append(Asked(time_ms, values[0], OPENED + values[2], "", 200))
        elif kind == "asked":
            if self.asked is not None:
                self.asked.append(Asked(time_ms, *values))
        elif kind == "event":
            self._account_event(json.loads(values[0]), values[1] if len(values) > 1 else "", time_ms, number)
        elif kind == "fault" and values[1] != "added" and values[0] in self._losing:
            self.orders_lost_ms = time_ms
        elif kind == "fault" and values[1] == "added":
            fault = json.loads(values[2])
            self._by.pop(values[0], None)
            self._losing.discard(values[0])
            if fault.get("lose_orders"):
                self._losing.add(values[0])
            if fault.get("kind") == "jump":
                self._by[values[0]] = fault.get("by", 10**12)
        elif kind in ("start", "book", "depth", "trade", "off_book", "quote"):
            self._market(kind, values, time_ms)

    @property
    def newest_eras(self) -> dict[str, TrueEra]:
        """The newest era of each symbol."""
        return {symbol: truths[-1] for symbol, truths in self.eras.items()}

    def order_events(self, until_ms: float = float("inf")) -> list[OrderEvent]:
        """The orders' events of all symbols up to this time, in the order of the ledger."""
        events = [one for one in chain.from_iterable(self.orders.values()) if one.time_ms <= until_ms]
        return sorted(events, key=lambda one: one.row)

    def _account_event(self, of: dict[str, Any], venue: str, time_ms: int, row: int) -> None:
        if (event := read_order_event(of, venue, time_ms, row)) is not None:
            self.orders.setdefault(event.symbol, []).append(self._names.named(event))
        elif of["e"] == "outboundAccountPosition":
            for held in of["B"]:
                self.balances.setdefault(held["a"], []).append(BalanceEvent(time_ms, units(held["f"]), units(held["l"])))
        elif of["e"] == "ACCOUNT_UPDATE":  # of a margin account the whole wallet: what orders and positions bind is in it
            for held in of["a"]["B"]:
                self.balances.setdefault(f"{venue}.{held['a']}", []).append(BalanceEvent(time_ms, units(held["wb"]), 0))

    def _absurd(self, fault: int, _connection: int, stream: str, what: str, text: str) -> None:
        message = json.loads(text)
        field = IDS.get(stream.partition("@")[2])
        if what == "altered" and field:
            self.absurd[stream].add(message.get("data", message)[field] + self._by[fault])

    def _market(self, kind: str, values: list[Any], time_ms: int) -> None:
        truths = self.eras.setdefault(values[0], [])
        era = (values[3] if len(values) > 3 else 0) if kind == "start" else truths[-1].era if truths else self._era
        while truths and truths[-1].era > era:
            truths.pop()  # its beginning was written, and never sent
        if not truths or truths[-1].era < era:
            truths.append(TrueEra(era, time_ms))
            self._orders_before[values[0]] = len(self.orders.get(values[0], ()))
        truth = truths[-1]
        if kind == "start":
            truth.start(values[1], values[2])
            if self.market == "synthetic":
                self._void_orders(values[0], values[2])
        elif kind == "book":
            truth.add_step(BookStep("book", values[1], 0, values[2]), time_ms)
        elif kind == "depth":
            truth.add_step(BookStep("depth", values[1], values[2], values[3]), time_ms)
        elif kind == "quote":
            truth.quotes[values[1]] = (values[2], values[3], values[4], values[5])
        else:
            trade_id, price, quantity, side, trade_ms = values[1:6]
            if kind == "off_book":
                truth.off_book.add(trade_id)
            if trade_id in truth.trades and truth.trades[trade_id] != (price, quantity, trade_ms, side):
                truth.doubled.append(trade_id)
            truth.trades[trade_id] = (price, quantity, trade_ms, side)

    def _void_orders(self, symbol: str, trade_id: int) -> None:
        """What was written of trades beyond this one was never sent, as in TrueEra.start."""
        orders, before = self.orders.get(symbol, []), self._orders_before.get(symbol, 0)
        void_ms = {one.time_ms for one in orders[before:] if one.trade_id > trade_id}
        orders[before:] = [one for one in orders[before:] if one.trade_id <= trade_id]
        for held in self.balances.values() if void_ms else ():
            held[:] = [one for one in held if one.time_ms not in void_ms]


def read_contents(folder: Path, findings: Findings) -> LedgerContents:
    """Reads a folder's whole ledger; a trade that it has twice, with different values, is a fault."""
    ledger = LedgerContents()
    for row in read_rows(folder, findings):
        ledger.take(row)
    for symbol, truths in ledger.eras.items():
        for trade_id in (number for truth in truths for number in truth.doubled):
            findings.fault("ledger_doubled", f"{symbol}: the ledger has trade {trade_id} twice, with different values")
    return ledger
