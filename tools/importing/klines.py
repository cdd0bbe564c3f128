"""Binance's bars (klines) beside the bars of the trades that are in the archive, exactly: no float.

A bar is compared where all of its trades are there: its count of trades, from the ids, has to be the file's. What an
aggregate stands for counts as the trades that it is of.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Flag, Kind
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer, plain, reader, text
from tickmesh.storage.query import reader as stored
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.binance_dumps import COLUMNS, KLINES, to_moment
from tickmesh.tools.importing.rows import DAY_NS, READ_ERRORS
from tickmesh.tools.importing.source import SourceFile
from tickmesh.tools.importing.text_files import Progress
from tickmesh.tools.terminal import Failure

DIFFERENCES_SHOWN = 20
FIELDS = ("open", "high", "low", "close", "volume", "trades", "bought")


class Kline(NamedTuple):
    """A bar: its span in ns, prices and quantities as mantissas."""

    begin_ns: int
    end_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    bought: int


class KlineCheck(NamedTuple):
    """What became of a file of bars: how many are equal, differ, have no trades here, or cannot be read; some differences."""

    file: str
    instrument: str
    equal: int
    differ: int
    absent: int
    odd: int
    differences: list[str]


def subject_of(source: SourceFile, subjects: list[str]) -> str:
    """The instrument that a file of bars is of: what it says, or the one here with its symbol. Raises Failure."""
    (said,) = source.subjects
    found = [one for one in subjects if one == said or (said.startswith(".") and one.endswith(said))]
    if len(found) != 1:
        more = f" ({', '.join(found)}): say which with --venue" if found else ": import its trades first"
        raise Failure(
            f"{source.path} has bars of {said.lstrip('.')}, and of that there are {len(found)} instruments here{more}"
        )
    return found[0]


def check(config: Config, source: SourceFile, subject: str, progress: Progress) -> KlineCheck:
    """Compares the bars of a file with those of the trades in the archive."""
    exponents = stored.exponents(config, subject)
    trades = _Trades(config, subject)
    equal = differ = absent = odd = 0
    differences: list[str] = []
    for bar in _bars(source, exponents, progress):
        if bar is None:
            odd += 1
            continue
        own = _own(trades.between(bar.begin_ns, bar.end_ns), bar)
        if own is None:
            absent += bar.trades > 0
            equal += bar.trades == 0
        elif own == bar:
            equal += 1
        else:
            differ += 1
            if len(differences) < DIFFERENCES_SHOWN:
                differences.append(_difference(bar, own, exponents))
    return KlineCheck(source.path.name, subject, equal, differ, absent, odd, differences)


def _bars(source: SourceFile, exponents: tuple[int, int], progress: Progress) -> Iterator[Kline | None]:
    """The rows of the file; None for one that cannot be read."""
    price, quantity = reader(exponents[0]), reader(exponents[1])
    for line in text_files.lines(source.path, progress):
        if line.number == 1 and line.text.startswith(COLUMNS[KLINES].header):
            continue
        try:
            row = line.text.split(b",")
            if len(row) != 12 or not line.ended:
                raise DecimalError(f"{len(row)} columns; 12 are allowed")
            begin_ns, last = to_moment(row[0]), integer(row[6].decode("ascii", "replace"))
            end_ns = to_moment(str(last + 1).encode())  # it says its last millisecond or microsecond
            opened, high, low, closed = (price(plain(one)) for one in row[1:5])
            volume, bought, count = quantity(plain(row[5])), quantity(plain(row[9])), integer(row[8].decode("ascii", "replace"))
            yield Kline(begin_ns, end_ns, opened, high, low, closed, volume, count, bought)
        except READ_ERRORS:
            yield None


class _Trades:
    """The stored trades of one instrument by the venue's time, a day in memory at a time."""

    def __init__(self, config: Config, subject: str):
        self.config, self.topic = config, f"{Kind.trade.name}.{subject}"
        self.begin_ns = self.end_ns = 0
        self.rows = self.times = np.zeros(0, "i8")

    def between(self, begin_ns: int, end_ns: int) -> np.ndarray:
        """The rows with begin ≤ venue_ns < end, in order of trade_id."""
        if not self.begin_ns <= begin_ns <= end_ns <= self.end_ns:
            self._read(begin_ns, end_ns)
        if np.all(self.times[1:] >= self.times[:-1]):
            found: np.ndarray = self.rows[slice(*np.searchsorted(self.times, [begin_ns, end_ns]))]
            return found
        kept: np.ndarray = self.rows[(self.times >= begin_ns) & (self.times < end_ns)]
        return kept

    def _read(self, begin_ns: int, end_ns: int) -> None:
        self.begin_ns = begin_ns // DAY_NS * DAY_NS
        self.end_ns = max(end_ns, self.begin_ns + DAY_NS)
        rows = stored.arrays(self.config, self.topic, self.begin_ns, self.end_ns, order="id", gaps="ignore")
        self.rows = rows[(rows["flags"] & Flag.OFF_BOOK) == 0]
        self.times = self.rows["venue_ns"]


def _own(rows: np.ndarray, bar: Kline) -> Kline | None:
    """The bar of these trades over the span of another one; None where there is none."""
    if not len(rows):
        return None
    prices, lots = rows["price_ticks"], rows["quantity_lots"]
    return Kline(
        bar.begin_ns, bar.end_ns, int(prices[0]), int(prices.max()), int(prices.min()), int(prices[-1]), _sum(lots),
        int((rows["last_id"] - rows["first_id"] + 1).sum()), _sum(lots[rows["side"] > 0]),
    )  # fmt: skip


def _sum(lots: np.ndarray) -> int:
    """A sum that cannot wrap."""
    return (int((lots >> 32).sum()) << 32) + int((lots & 0xFFFFFFFF).sum())


def _difference(bar: Kline, own: Kline, exponents: tuple[int, int]) -> str:
    scale = {"trades": 0, "volume": exponents[1], "bought": exponents[1]}
    parts = [
        f"{name} {text(said, scale.get(name, exponents[0]))}, here {text(seen, scale.get(name, exponents[0]))}"
        for name, said, seen in zip(FIELDS, bar[2:], own[2:])
        if said != seen
    ]
    return f"{np.datetime64(bar.begin_ns, 'ns')}: {'; '.join(parts)}"
