"""Files as publishers of history lay them out, written from plain numbers by code that shares nothing with what reads them."""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from tickmesh.storage.archive.reader import ArchiveReader


class MadeTrade(NamedTuple):
    """A trade as its publisher knows it; time in ns."""

    id: int
    price: str
    quantity: str
    at_ns: int
    sold: bool


def trades(first_id: int, count: int, start_ns: int, step_ns: int = 250_000_000) -> list[MadeTrade]:
    """Trades whose ids follow one another, of prices and quantities that wander."""
    made = []
    for n in range(count):
        price = Decimal(6_000_000 + (n * 7919) % 5003) / 100
        quantity = Decimal(1 + (n * 104_729) % 99_991) / 100_000
        made.append(MadeTrade(first_id + n, str(price), f"{quantity:.5f}", start_ns + n * step_ns, n % 3 == 0))
    return made


def stamp(at_ns: int, microseconds: bool) -> int:
    """A time as spot files have it: microseconds from 2025 on, milliseconds before; USD-M milliseconds."""
    return at_ns // (1_000 if microseconds else 1_000_000)


def trade_lines(made: Iterable[MadeTrade], spot: bool = True, microseconds: bool = False) -> list[str]:
    """Rows of a trades file."""
    rows = []
    for one in made:
        flag = str(one.sold) if spot else str(one.sold).lower()
        row = [
            one.id,
            one.price,
            one.quantity,
            Decimal(one.price) * Decimal(one.quantity),
            stamp(one.at_ns, microseconds),
            flag,
        ]
        rows.append(",".join(map(str, [*row, "True"] if spot else row)))
    return rows


def aggregate_lines(made: list[MadeTrade], each: int) -> list[str]:
    """Rows of a USD-M aggTrades file, each of so many trades."""
    rows = []
    for number in range(0, len(made), each):
        part = made[number : number + each]
        quantity = sum(Decimal(one.quantity) for one in part)
        last = part[-1]
        rows.append(
            f"{number},{last.price},{quantity},{part[0].id},{last.id},{stamp(last.at_ns, False)},{str(last.sold).lower()}"
        )
    return rows


def kline_lines(made: list[MadeTrade], every_ns: int, microseconds: bool = False) -> list[str]:
    """Rows of a klines file: the bars of these trades."""
    bars: dict[int, list[MadeTrade]] = {}
    for one in made:
        bars.setdefault(one.at_ns // every_ns, []).append(one)
    rows = []
    for number, part in sorted(bars.items()):
        prices, quantities = [Decimal(one.price) for one in part], [Decimal(one.quantity) for one in part]
        bought = sum((q for q, one in zip(quantities, part) if not one.sold), Decimal(0))
        begin, end = stamp(number * every_ns, microseconds), stamp((number + 1) * every_ns, microseconds) - 1
        values = sum(p * q for p, q in zip(prices, quantities))
        row = (begin, prices[0], max(prices), min(prices), prices[-1], sum(quantities), end, values, len(part), bought, 0, 0)
        rows.append(",".join(map(str, row)))
    return rows


def zipped(path: Path, lines: Iterable[str], checksum: bool = False) -> Path:
    """A zip with one CSV in it, and on demand its checksum file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name.replace(".zip", ".csv"), "".join(f"{line}\n" for line in lines))
    if checksum:
        said = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(f"{path.name}.CHECKSUM").write_text(f"{said}  {path.name}\n")
    return path


def gzipped(path: Path, lines: Iterable[str]) -> Path:
    """A gzip of lines."""
    data = io.BytesIO()
    with gzip.open(data, "wt") as file:
        file.writelines(f"{line}\n" for line in lines)
    path.write_bytes(data.getvalue())
    return path


def stored_events(folder: Path, kind: str = "") -> list:
    """The events of an imported source, of one kind or of all, in order."""
    return [event for event in ArchiveReader(folder / "archive").events() if kind in ("", event.topic.partition(".")[0])]
