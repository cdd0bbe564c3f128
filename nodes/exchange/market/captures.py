"""Raw captures: bytes of a file to lines, a line to a frame or to the reason why it is none. Pure: files are opened elsewhere.

A line is `<receive time> <json>`: 13 digits of ms, 16 of µs or 19 of ns; the JSON is a frame of a combined stream
(`{"stream":…,"data":…}`), or a REST depth snapshot (`{"lastUpdateId":…}`). Survey and replay read lines with the same
`read_line`, so what the survey counts is what the replay serves.

A line shows by its fields whether it is of Binance spot or of USD-M: only futures have `pu` (the change before) in a change,
`X` in a trade, `e` in a bookTicker, times in a snapshot. Source: USD-M futures, "Websocket Market Streams" and "Order Book".
"""

import re
import zlib
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, NamedTuple

import msgspec

from tickmesh.bus.config import LOCAL_SYMBOL
from tickmesh.bus.names import SUBJECT_BYTES
from tickmesh.nodes.exchange.market.frames import MARKET
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM, market_name
from tickmesh.nodes.exchange.protocol import DECIMAL, MANTISSA_MAX, Level, mantissa

LINE = re.compile(r"^([0-9]+) (\{.*\})\s*$", re.DOTALL)
UNITS = {13: ("ms", 10**6), 16: ("µs", 10**3), 19: ("ns", 1)}  # digits of a receive time → unit, ns of one
CHUNK_BYTES = 1 << 16
LINE_BYTES_MAX = 8 << 20  # a longer line is cut there, and so is no frame; a whole book of 5,000 levels has 0.4 MB
# The same changes, joined over different times: the finest is served
DEPTHS = {
    SPOT: ("depth@100ms", "depth", "depth@1000ms"),
    USDM: ("depth@0ms", "depth@100ms", "depth", "depth@250ms", "depth@500ms"),
}
SERVED_DEPTH = "depth@100ms"  # the name that feeds of both venues subscribe to
MARKS = ("markPrice@1s", "markPrice")
TITLES = {SPOT: "spot", USDM: "USD-M futures"}
COIN_M = re.compile(r"USD_(PERP|[0-9]{6})$")
TIME_MS_MAX = 4_102_444_800_000  # the year 2100: a venue's time beyond it is no time
USDM_ONLY = re.compile(r"(markPrice|forceOrder|compositeIndex|assetIndex|continuousKline|rpiDepth)")

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
    E: Any = None  # only futures have it
    pair: Any = None  # only COIN-M has it


class _Trade(msgspec.Struct):
    s: str
    t: Id
    p: str
    q: str
    T: Id
    m: bool
    E: Any = None
    X: str = ""  # only futures have it


class _Ticker(msgspec.Struct):
    s: str
    u: Id
    b: str
    B: str
    a: str
    A: str
    E: Any = None
    e: str = ""  # only futures have it
    ps: str = ""  # only COIN-M has it


class _Depth(msgspec.Struct):
    s: str
    U: Id
    u: Id
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    E: Any = None
    pu: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 2)] | None = None  # only futures have it
    ps: str = ""  # only COIN-M has it


class _Mark(msgspec.Struct):
    s: str
    p: str
    i: str = ""
    r: str = ""
    T: Id = 0
    E: Any = None


class _Aggregate(msgspec.Struct):
    M: bool | None = None  # only spot has it


class RecordedTrade(NamedTuple):
    """A recorded trade. Prices and quantities are mantissas at 10^−8; `time` is the venue's, ms or µs as it was recorded.

    `type`: MARKET, or the venue's word for a fill that met no order of the book; one without a quantity is no trade at all."""

    id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: bool
    type: str = MARKET


class RecordedQuote(NamedTuple):
    """Recorded best prices and quantities, with their update id."""

    id: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class RecordedDepth(NamedTuple):
    """A recorded change of a book: its first and last update id, and the levels as they are after it.

    Of USD-M, whose ids are counted over all symbols, the first is the one behind the change before (`pu`)."""

    first: int
    last: int
    levels: list[Level]


class RecordedBook(NamedTuple):
    """A recorded snapshot of a book: its update id, and its levels."""

    last: int
    levels: list[Level]


class RecordedMark(NamedTuple):
    """A recorded mark price of a contract, its index, and its next funding: rate at 10^−8, time in ms (0: there is none)."""

    mark: int
    index_price: int
    rate: int
    next_ms: int


class RecordedFrame(NamedTuple):
    """One line of a capture. `kind`: trade, bookTicker, depth, snapshot (which has no stream), or another stream's name.

    `venue_ms`: the venue's time of the frame, as far as it is read: of USD-M; else 0."""

    recv_ns: int
    stream: str
    symbol: str
    kind: str
    text: str
    raw: msgspec.Raw
    row: RecordedTrade | RecordedQuote | RecordedDepth | RecordedBook | RecordedMark | None  # None for another stream
    venue: str = SPOT
    venue_ms: int = 0

    @property
    def market(self) -> str:
        """The name of its market in the exchange; of a snapshot, which names no symbol, that of none."""
        return market_name(self.venue, self.symbol)

    @property
    def name(self) -> str:
        """The name of its stream in the whole exchange."""
        return self.stream if self.venue == SPOT else f"{self.venue}.{self.stream}"

    @property
    def data(self) -> str:
        """The payload as it was recorded, character by character."""
        return bytes(self.raw).decode()


_head = msgspec.json.Decoder(_Head)
_trade, _ticker, _depth = msgspec.json.Decoder(_Trade), msgspec.json.Decoder(_Ticker), msgspec.json.Decoder(_Depth)
_mark, _aggregate = msgspec.json.Decoder(_Mark), msgspec.json.Decoder(_Aggregate)


def read_line(line: str, usual: str = SPOT) -> RecordedFrame:
    """Reads one line of a capture. `usual`: the venue of a frame that does not show its own (klines, tickers).

    Raises Unserved for one that cannot be served, whatever it holds."""
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
            return _streamed(recv_ns_of(line), match[2], head, usual)
        if head.lastUpdateId is None:
            raise Unserved("neither a frame of a combined stream nor a depth snapshot", repr(line[:60]))
        if head.pair is not None:
            raise Unserved("a frame of COIN-M futures", f"a depth snapshot of {str(head.pair)[:40]}")
        book = RecordedBook(head.lastUpdateId, _levels(head.bids, head.asks))
        venue = SPOT if head.E is None else USDM
        return RecordedFrame(recv_ns_of(line), "", "", "snapshot", match[2], head.data, book, venue, _moment(head.E))
    except RecursionError:
        raise Unserved("nested too deeply", repr(line[:60])) from None
    except (msgspec.ValidationError, _Amount) as error:
        raise Unserved("a field of the wrong type, or beyond its bounds", f"{error} in {line[:120]!r}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Unserved("not JSON", f"{error} in {line[:60]!r}") from None


def _streamed(at_ns: int, text: str, head: _Head, usual: str) -> RecordedFrame:
    name, _, kind = head.stream.partition("@")
    symbol = name.upper()
    row: RecordedTrade | RecordedQuote | RecordedDepth | RecordedMark
    if kind == "trade":
        trade = _trade.decode(head.data)
        venue, moment = USDM if trade.X else SPOT, trade.E
        _check(symbol, trade.s, venue)
        sizes = _amount(trade.p), _amount(trade.q)
        row = RecordedTrade(trade.t, *sizes, trade.T, trade.m, trade.X[:40] or MARKET)
    elif kind == "bookTicker":
        tick = _ticker.decode(head.data)
        venue, moment = USDM if tick.e else SPOT, tick.E
        _check(symbol, tick.s, venue, tick.ps)
        row = RecordedQuote(tick.u, _amount(tick.b), _amount(tick.B), _amount(tick.a), _amount(tick.A))
    elif kind == "depth" or kind.startswith("depth@"):
        change = _depth.decode(head.data)
        venue, moment = SPOT if change.pu is None else USDM, change.E
        _check(symbol, change.s, venue, change.ps)
        if kind not in DEPTHS[venue]:
            raise Unserved(f"a depth stream that {TITLES[venue]} does not have", repr(head.stream[:60]))
        first = change.U if change.pu is None else change.pu + 1
        row, kind = RecordedDepth(first, change.u, _levels(change.b, change.a)), "depth"
    elif kind in MARKS:
        mark = _mark.decode(head.data)
        venue, moment = USDM, mark.E
        _check(symbol, mark.s, venue)
        row = _marked(mark)
    else:
        if kind == "aggTrade":
            usual = USDM if _aggregate.decode(head.data).M is None else SPOT
        venue = USDM if USDM_ONLY.match(kind) else usual
        _check(symbol, symbol, venue)
        return RecordedFrame(at_ns, head.stream, symbol, kind[:40], text, head.data, None, venue)
    venue_ms = 0 if venue == SPOT else _moment(moment)
    return RecordedFrame(at_ns, head.stream, symbol, kind, text, head.data, row, venue, venue_ms)


def _check(symbol: str, named: str, venue: str, pair: str = "") -> None:
    """Raises Unserved unless a frame is of a venue that is served, and of the symbol that its stream has."""
    if pair or COIN_M.search(symbol):
        raise Unserved("a frame of COIN-M futures", symbol[:40])
    if named != symbol:
        raise Unserved("a frame of another symbol than its stream", f"{named[:40]!r} on the stream of {symbol[:40]!r}")
    subject = f"{venue}.{symbol}"  # it has to fit into an event
    if len(subject.encode()) > SUBJECT_BYTES or not LOCAL_SYMBOL.fullmatch(symbol) or not symbol.isprintable():
        raise Unserved(f"a symbol that {TITLES[venue]} cannot have", repr(symbol[:60]))


def _moment(stamp: object) -> int:
    """A time of the venue in ms; 0 for what is none."""
    return stamp if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 < stamp < TIME_MS_MAX else 0


def _marked(mark: _Mark) -> RecordedMark:
    rate = -_amount(mark.r[1:]) if mark.r.startswith("-") else _amount(mark.r or "0")
    price = _amount(mark.p)
    if not price:
        raise _Amount("a mark price of 0")
    return RecordedMark(price, _amount(mark.i or "0") or price, rate, mark.T if mark.T < TIME_MS_MAX else 0)


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
