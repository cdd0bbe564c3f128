"""A naive parser of raw captures in the Binance spot dialect: json and Decimal, nothing clever."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

EXPONENT = 8  # Binance spot sends eight decimals


@dataclass
class Stream:
    """What a capture has of one instrument. Ids are keys; a line that repeats an id (overlapping files) counts once.

    trades: id → (price, quantity, trade time, event time, side); quotes: id → (bid, bid quantity, ask, ask quantity);
    changes: (U, u) → (event time, [(price, quantity, side), …]); snapshots: [(id, levels)]. Mantissas, ns.
    """

    trades: dict[int, tuple] = field(default_factory=dict)
    quotes: dict[int, tuple] = field(default_factory=dict)
    changes: dict[tuple[int, int], tuple] = field(default_factory=dict)
    snapshots: list[tuple[int, list]] = field(default_factory=list)
    repeated: int = 0


def mantissa(text: str) -> int:
    value = Decimal(text).scaleb(EXPONENT)
    if value != int(value):
        raise ValueError(f"{text} has more than {EXPONENT} decimals")
    return int(value)


def nanoseconds(stamp: int) -> int:
    """Binance spot sends milliseconds; microseconds since 2025 where asked for."""
    return stamp * (1_000 if stamp > 10**14 else 1_000_000)


def levels(message: dict) -> list[tuple[int, int, int]]:
    """Bids first, as they came; an empty change is one row of zeros."""
    bids = message.get("b", message.get("bids", []))
    asks = message.get("a", message.get("asks", []))
    rows = [(mantissa(p), mantissa(q), 1) for p, q in bids] + [(mantissa(p), mantissa(q), -1) for p, q in asks]
    return rows or [(0, 0, 0)]


def read(files: Iterable[Path]) -> dict[str, Stream]:
    """symbol → Stream, of several captures in their order. Raises ValueError with file and line."""
    streams: dict[str, Stream] = {}
    symbol = ""
    unnamed: list[tuple[int, list]] = []
    for path in files:
        for number, line in _lines(path):
            try:
                message = json.loads(line.split(b" ", 1)[1])
                if "stream" in message:
                    symbol = message["stream"].split("@")[0].upper()
                    stream = streams.setdefault(symbol, Stream())
                    stream.snapshots += unnamed
                    unnamed.clear()
                    _take(stream, message["data"])
                elif "lastUpdateId" in message:
                    # A REST answer names no instrument: a capture has one instrument, whose stream may begin after it.
                    taken = streams[symbol].snapshots if symbol else unnamed
                    taken.append((message["lastUpdateId"], levels(message)))
            except (ValueError, KeyError, IndexError, TypeError, ArithmeticError) as error:
                raise ValueError(f"{path}, line {number} cannot be read: {error!r}") from None
    return streams


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _take(stream: Stream, message: dict) -> None:
    kind = message.get("e", "bookTicker")
    key: Any
    table: dict
    if kind == "trade":
        key, table = message["t"], stream.trades
        value: tuple = (
            mantissa(message["p"]), mantissa(message["q"]), nanoseconds(message["T"]), nanoseconds(message["E"]),
            -1 if message["m"] else 1,
        )  # fmt: skip
    elif kind == "bookTicker":
        key, table = message["u"], stream.quotes
        value = tuple(mantissa(message[name]) for name in ("b", "B", "a", "A"))
    elif kind == "depthUpdate":
        key, table = (message["U"], message["u"]), stream.changes
        value = (nanoseconds(message["E"]), levels(message))
    else:
        return
    if key in table:
        stream.repeated += 1
    else:
        table[key] = value
