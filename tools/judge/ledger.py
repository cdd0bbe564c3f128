"""A naive reader of the local exchange's ledger, from docs/ledger.md: what truly happened, by instrument."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgpack

from tools.judge.findings import Findings

HEAD = struct.Struct("<IIQI")
FORMAT = 1


def files(folder: Path) -> list[Path]:
    """The ledger's files in a folder, oldest first."""
    return sorted(folder.glob("ledger-*.bin"))


def read(folder: Path, findings: Findings) -> Iterator[list[Any]]:
    """Every row `[number, kind, time_ms, …]` in order; reports whatever is not as the page says."""
    expected = 0
    paths = files(folder)
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
                    findings.count("ledger_torn_bytes", len(data) - offset)  # being written, or cut by a crash: never told
                else:
                    findings.fault("ledger_crc", f"{path.name}: the batch at byte {offset} has a wrong CRC or size")
                break
            rows = list(msgpack.Unpacker(BytesIO(data[offset + HEAD.size : end])))
            if first != number or [row[0] for row in rows] != list(range(first, first + count)):
                findings.fault("ledger_number", f"{path.name}: the batch at byte {offset} does not begin with row {number}")
            for row in rows:
                if row[1] == "head" and row[3] != FORMAT:
                    findings.fault("ledger_format", f"{path.name} has format {row[3]}, this judge reads {FORMAT}")
                yield row
            number, offset = first + count, end
        expected = number


class Truth:
    """One instrument as the ledger has it. Mantissas at 10^−8; side +1 bid or buyer, −1 ask or seller.

    trades: id → (price, quantity, trade ms, side). `steps`: ("book", id, 0, levels) and ("depth", first, last, levels),
    in order. quotes: those of a replayed capture, id → best bid, quantity, ask, quantity.
    """

    def __init__(self) -> None:
        self.trades: dict[int, tuple[int, int, int, int]] = {}
        self.quotes: dict[int, tuple[int, int, int, int]] = {}
        self.steps: list[tuple[str, int, int, list]] = []
        self.times: list[int] = []  # of each step, ms
        self.void = 0  # trades that were never told: the exchange died between its files
        self.doubled: list[int] = []

    def start(self, update_id: int, trade_id: int) -> None:
        """A process began. Trades beyond `trade_id` were never told, and their ids are given again."""
        for number in [n for n in self.trades if n > trade_id]:
            del self.trades[number]
            self.void += 1
        self.step(("book", update_id, 0, []), self.times[-1] if self.times else 0)

    def step(self, step: tuple[str, int, int, list], time_ms: int) -> None:
        self.steps.append(step)
        self.times.append(time_ms)


class Ledger:
    """Everything the ledger says. `first_file` is False when older files were removed."""

    def __init__(self) -> None:
        self.symbols: dict[str, Truth] = {}
        self.market = ""
        self.complete = True
        self.last_ms = 0
        self.withheld: list[list[Any]] = []
        self.rows = 0

    def take(self, row: list[Any]) -> None:
        number, kind, time_ms, *values = row
        if not self.rows:
            self.complete = number == 1
        self.rows += 1
        self.last_ms = time_ms
        if kind == "head":
            self.market = values[1]
        elif kind in ("frame", "request"):
            self.withheld.append(row)
        elif kind in ("start", "book", "depth", "trade", "quote"):
            self._market(kind, values, time_ms)

    def _market(self, kind: str, values: list[Any], time_ms: int) -> None:
        truth = self.symbols.setdefault(values[0], Truth())
        if kind == "start":
            truth.start(values[1], values[2])
        elif kind == "book":
            truth.step(("book", values[1], 0, values[2]), time_ms)
        elif kind == "depth":
            truth.step(("depth", values[1], values[2], values[3]), time_ms)
        elif kind == "quote":
            truth.quotes[values[1]] = (values[2], values[3], values[4], values[5])
        else:
            trade_id, price, quantity, side, trade_ms = values[1:]
            if trade_id in truth.trades and truth.trades[trade_id] != (price, quantity, trade_ms, side):
                truth.doubled.append(trade_id)
            truth.trades[trade_id] = (price, quantity, trade_ms, side)


def gather(folder: Path, findings: Findings) -> Ledger:
    ledger = Ledger()
    for row in read(folder, findings):
        ledger.take(row)
    for symbol, truth in ledger.symbols.items():
        for trade_id in truth.doubled:
            findings.fault("ledger_doubled", f"{symbol}: the ledger has trade {trade_id} twice, with different values")
    return ledger
