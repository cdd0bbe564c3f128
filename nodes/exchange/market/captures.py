"""Raw captures: bytes of a file to lines, a line to a frame or to the reason why it is none. Pure: files are opened elsewhere.

A line is `<receive time> <json>`: 13 digits of ms, 16 of µs or 19 of ns; the JSON is a frame of a combined stream
(`{"stream":…,"data":…}`), or a REST depth snapshot (`{"lastUpdateId":…}`). Survey and replay read lines with the same
`read_line`, so what the survey counts is what the replay serves.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Annotated, BinaryIO, NamedTuple

import msgspec

from tickmesh.bus.config import LOCAL_SYMBOL
from tickmesh.nodes.exchange.protocol import DECIMAL, MANTISSA_MAX, Level, mantissa

LINE = re.compile(r"^([0-9]+) (\{.*\})\s*$", re.DOTALL)
UNITS = {13: ("ms", 10**6), 16: ("µs", 10**3), 19: ("ns", 1)}  # digits of a receive time → unit, ns of one
CHUNK_BYTES = 1 << 16
LINE_BYTES_MAX = 8 << 20  # a longer line is cut there, and so is no frame; a whole book of 5,000 levels has 0.4 MB
DEPTHS = ("depth@100ms", "depth", "depth@1000ms")  # the same changes, joined over different times; the finest is served
SERVED_DEPTH = DEPTHS[0]  # the name that feeds subscribe to
SYMBOL_BYTES_MAX = 24  # with the venue's name it has to fit into an event's subject
COIN_M = re.compile(r"USD_(PERP|[0-9]{6})$")

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Unserved(ValueError):
    """The reason why a line of a capture is not served: `reason` in a few words (counted), `str()` with what was seen."""

    def __init__(self, reason: str, seen: str):
        super().__init__(f"{reason}: {seen}")
        self.reason = reason


class _Head(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    lastUpdateId: Id | None = None
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class _Trade(msgspec.Struct):
    s: str
    t: Id
    p: str
    q: str
    T: Id
    m: bool
    X: str = ""  # only futures have it


class _Ticker(msgspec.Struct):
    s: str
    u: Id
    b: str
    B: str
    a: str
    A: str
    e: str = ""  # only futures have it


class _Depth(msgspec.Struct):
    s: str
    U: Id
    u: Id
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    pu: int | None = None  # only futures have it
    ps: str = ""  # only COIN-M has it


class RecordedTrade(NamedTuple):
    """A recorded trade. Prices and quantities are mantissas at 10^−8; `time` is the venue's, ms or µs as it was recorded."""

    id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: bool


class RecordedQuote(NamedTuple):
    """Recorded best prices and quantities, with their update id."""

    id: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class RecordedDepth(NamedTuple):
    """A recorded change of a book: its first and last update id, and the levels as they are after it."""

    first: int
    last: int
    levels: list[Level]


class RecordedBook(NamedTuple):
    """A recorded snapshot of a book: its update id, and its levels."""

    last: int
    levels: list[Level]


class RecordedFrame(NamedTuple):
    """One line of a capture. `kind`: trade, bookTicker, depth, snapshot (which has no stream), or another stream's name."""

    recv_ns: int
    stream: str
    symbol: str
    kind: str
    text: str
    raw: msgspec.Raw
    row: RecordedTrade | RecordedQuote | RecordedDepth | RecordedBook | None  # None for another stream

    @property
    def data(self) -> str:
        """The payload as it was recorded, character by character."""
        return bytes(self.raw).decode()


_head = msgspec.json.Decoder(_Head)
_trade, _ticker, _depth = msgspec.json.Decoder(_Trade), msgspec.json.Decoder(_Ticker), msgspec.json.Decoder(_Depth)


def read_line(line: str) -> RecordedFrame:
    """Reads one line of a capture. Raises Unserved for one that cannot be served, whatever it holds."""
    match = LINE.match(line)
    if not match:
        raise Unserved("not `<receive time> <json>`", repr(line[:60]))
    if len(match[1]) not in UNITS:
        raise Unserved(
            "a receive time of neither 13 digits (ms), 16 (µs) nor 19 (ns)", f"{match[1][:40]!r} has {len(match[1])}"
        )
    try:
        head = _head.decode(match[2])
        if head.stream:
            return _streamed(recv_ns_of(line), match[2], head)
        if head.lastUpdateId is None:
            raise Unserved("neither a frame of a combined stream nor a depth snapshot", repr(line[:60]))
        book = RecordedBook(head.lastUpdateId, _levels(head.bids, head.asks))
        return RecordedFrame(recv_ns_of(line), "", "", "snapshot", match[2], head.data, book)
    except RecursionError:
        raise Unserved("nested too deeply", repr(line[:60])) from None
    except (msgspec.ValidationError, _Amount) as error:
        raise Unserved("a field of the wrong type, or beyond its bounds", f"{error} in {line[:120]!r}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Unserved("not JSON", f"{error} in {line[:60]!r}") from None


def _streamed(at_ns: int, text: str, head: _Head) -> RecordedFrame:
    name, _, kind = head.stream.partition("@")
    symbol = name.upper()
    row: RecordedTrade | RecordedQuote | RecordedDepth
    if kind == "trade":
        trade = _trade.decode(head.data)
        _own(symbol, trade.s, "USD-M" if trade.X else "")
        row = RecordedTrade(trade.t, _amount(trade.p), _amount(trade.q), trade.T, trade.m)
    elif kind == "bookTicker":
        tick = _ticker.decode(head.data)
        _own(symbol, tick.s, "USD-M" if tick.e else "")
        row = RecordedQuote(tick.u, _amount(tick.b), _amount(tick.B), _amount(tick.a), _amount(tick.A))
    elif kind in DEPTHS or kind.startswith("depth@"):
        change = _depth.decode(head.data)
        _own(symbol, change.s, "COIN-M" if change.ps else "USD-M" if change.pu is not None else "")
        if kind not in DEPTHS:
            raise Unserved("a depth stream that spot does not have", repr(head.stream[:60]))
        row = RecordedDepth(change.U, change.u, _levels(change.b, change.a))
    else:
        _own(symbol, symbol, "")
        return RecordedFrame(at_ns, head.stream, symbol, kind[:40], text, head.data, None)
    return RecordedFrame(at_ns, head.stream, symbol, "depth" if kind in DEPTHS else kind, text, head.data, row)


def _own(symbol: str, named: str, futures: str) -> None:
    """Raises Unserved unless the frame is of spot, and of the symbol that its stream has."""
    if futures:
        kind = "COIN-M" if COIN_M.search(symbol) else futures
        raise Unserved(f"a frame of {kind} futures", f"{symbol[:40]} has fields that spot does not have")
    if named != symbol:
        raise Unserved("a frame of another symbol than its stream", f"{named[:40]!r} on the stream of {symbol[:40]!r}")
    if len(symbol.encode()) > SYMBOL_BYTES_MAX or not LOCAL_SYMBOL.fullmatch(symbol) or not symbol.isprintable():
        raise Unserved("a symbol that spot cannot have", repr(symbol[:60]))


class _Amount(ValueError):
    pass


def _amount(text: str) -> int:
    if not DECIMAL.match(text):
        raise _Amount(f"{text[:40]!r} is no plain decimal")
    try:
        number = mantissa(text)
    except ValueError as error:
        raise _Amount(str(error)) from None
    if number > MANTISSA_MAX:
        raise _Amount(f"{text[:40]} is beyond 64 bits at 10^−8")
    return number


def _levels(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> list[Level]:
    return [(side, _amount(p), _amount(q)) for side, rows in ((1, bids), (-1, asks)) for p, q in rows]


def recv_ns_of(line: str) -> int:
    """The receive time of a line; 0 when it has none of a known unit."""
    head = line[:20].partition(" ")[0]
    if len(head) not in UNITS or not (head.isascii() and head.isdigit()):
        return 0
    return int(head) * UNITS[len(head)][1]


def is_snapshot(line: str) -> bool:
    """Whether a line is a depth snapshot, by its first characters."""
    return '{"lastUpdateId"' in line[:36]


def lines_of(file: BinaryIO) -> Iterator[str]:
    """The lines of a gzip or plain file. Raises EOFError or zlib.error after the last line that can be read.

    Bytes that are not UTF-8 stay what they are (surrogates), so that no such line passes for a frame.
    """
    rest = b""
    try:
        for chunk in _chunks(file):
            *whole, rest = (rest + chunk).split(b"\n")
            rest = rest[: LINE_BYTES_MAX + 1]
            for line in whole:
                yield line[:LINE_BYTES_MAX].decode(errors="surrogateescape")
    except (EOFError, zlib.error):
        rest = b""  # half a line is no line
        raise
    if rest:
        yield rest[:LINE_BYTES_MAX].decode(errors="surrogateescape")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Decompressed bytes as far as the file goes: a cut gzip file gives all before the cut, then EOFError."""
    data = file.read(CHUNK_BYTES)
    if not data.startswith(b"\x1f\x8b"):
        while data:
            yield data
            data = file.read(CHUNK_BYTES)
        return
    inflate = zlib.decompressobj(31)
    while data:
        yield inflate.decompress(data, CHUNK_BYTES << 4)
        data = inflate.unconsumed_tail or inflate.unused_data or file.read(CHUNK_BYTES)
        if inflate.eof:
            if not data:
                return
            inflate = zlib.decompressobj(31)  # files that were appended to have several members
    raise EOFError("the gzip stream is cut off")
