"""Lines of a raw USD-M capture as rows of a recorded market: the exchange itself replays spot. Pure.

A line is `<receive time> <json>`, as nodes/exchange/market/captures.py has it. What is different from spot: a change of the
book names the one before it (`pu`) and its own ids may skip, and a trade may be of the venue's own making (`X` is not MARKET),
which met no order of the book and is left out.
"""

import msgspec

from tickmesh.nodes.exchange.market.captures import (
    RecordedBook,
    RecordedDepth,
    RecordedFrame,
    RecordedQuote,
    RecordedTrade,
    recv_ns_of,
)
from tickmesh.nodes.exchange.protocol import Level, mantissa

MARKET = "MARKET"


class _Data(msgspec.Struct):
    e: str = ""
    t: int = 0
    p: str = "0"
    q: str = "0"
    T: int = 0
    m: bool = False
    X: str = MARKET
    u: int = 0
    pu: int = 0
    b: str | list[tuple[str, str]] = ""
    B: str = "0"
    a: str | list[tuple[str, str]] = ""
    A: str = "0"


class _Line(msgspec.Struct):
    stream: str = ""
    data: _Data | None = None
    lastUpdateId: int = 0  # noqa: N815 (the venue's name)
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


_decode = msgspec.json.Decoder(_Line).decode
_NO_TEXT = msgspec.Raw(b"")


def read_usdm_line(line: str, symbol: str) -> RecordedFrame | None:
    """The frame of one line; None for what no recorded market takes. Raises msgspec.DecodeError for what is no such line."""
    at_ns = recv_ns_of(line)
    seen = _decode(line.partition(" ")[2])
    if seen.data is None:
        book = RecordedBook(seen.lastUpdateId, _levels(seen.bids, seen.asks))
        return RecordedFrame(at_ns, "", symbol, "snapshot", "", _NO_TEXT, book)
    row = _row(seen.data)
    return RecordedFrame(at_ns, seen.stream, symbol, seen.data.e, "", _NO_TEXT, row) if row is not None else None


def _row(data: _Data) -> RecordedTrade | RecordedQuote | RecordedDepth | None:
    if data.e == "trade" and data.X == MARKET:
        return RecordedTrade(data.t, mantissa(data.p), mantissa(data.q), data.T, data.m)
    if data.e == "bookTicker" and isinstance(data.b, str) and isinstance(data.a, str):
        return RecordedQuote(data.u, mantissa(data.b), mantissa(data.B), mantissa(data.a), mantissa(data.A))
    if data.e == "depthUpdate" and isinstance(data.b, list) and isinstance(data.a, list):
        return RecordedDepth(data.pu + 1, data.u, _levels(data.b, data.a))
    return None


def _levels(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> list[Level]:
    return [(side, mantissa(price), mantissa(quantity)) for side, rows in ((1, bids), (-1, asks)) for price, quantity in rows]
