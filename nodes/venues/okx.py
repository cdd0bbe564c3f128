"""OKX v5, public market data. Sans I/O.

Protocol: OKX API v5, "WebSocket" (subscribe, notice, connection), "Trades channel", "Order book channel" (seqId, checksum),
"Get trades history". All numbers and times (ms) are JSON strings but `seqId`, `prevSeqId` and `checksum`. A trade stands for
the fills of one taker order at one price: `count` ids, the last of which is its own. A checksum of 0 is none (since June 2026).

Looked through on 2026-11-29: the venue's change log, ccxt 4.5.90 and nautilus_trader, which both use port 443 (docs/venues.md).
"""

import re
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from tickmesh.bus.schema import Flag
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import stamp_checksum
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind, no_recent_trades
from tickmesh.nodes.venues.books.chained import ChainedBook
from tickmesh.nodes.venues.books.checked import crc
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.okx_definitions import decode_definition as decode_definition
from tickmesh.nodes.venues.okx_definitions import definitions as definitions
from tickmesh.nodes.venues.okx_definitions import listed as listed
from tickmesh.nodes.venues.okx_definitions import listings as listings
from tickmesh.nodes.venues.okx_definitions import spell as spell
from tickmesh.nodes.venues.okx_definitions import standing as standing
from tickmesh.nodes.venues.okx_forms import forms as forms
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer, text
from tickmesh.nodes.venues.parsing.dialect import (
    UNREADABLE,
    Control,
    FrameError,
    OddRows,
    Request,
    RestRules,
    Unwell,
    batched,
)
from tickmesh.nodes.venues.parsing.times import milliseconds_ns, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Routes, Writer, book_subject

VENUE = "okx"
WS = ("wss://ws.okx.com:443",)
REST = ("https://www.okx.com",)
REST_RULES = RestRules()
QUIET_S = 30.0
PING, PING_S = "ping", 15.0
LIFE_S = 0.0
CLOCK_STEP_NS = 0
CONNECTIONS_PER_5_MINUTES = 900  # 3 in a second
MESSAGES_PER_S = 10.0  # it is by the hour that they are counted
WEIGHT_PER_MINUTE = 600
REQUESTS_PER_S = 10.0  # trades of the past: 20 in 2 s, the least of those used here
HISTORY: HistoryKind = "backward"
UNKNOWN = ()  # it says so inside a 200
INSTRUMENTS_MAX = 0
FRAME_BYTES_MAX = 8 << 20  # a book of 400 levels a side has 30 kB
BOOK: BookKind = "chain"
CHANNELS = ("trades", "bbo-tbt", "books")
SUBSCRIBES_MAX = 240  # of 480 an hour and connection that the venue takes; the rest is for books that are asked for anew
CLOSING_SOON = "64008"  # notice: the connection will be closed for an upgrade
SIDES = {"buy": 1, "sell": -1}
IN_BOOK = ("0", "1")  # `source`: an order of the book, one of the liquidity programme that the book does not show
CHECKED_LEVELS = 25
HISTORY_ROWS = 100


class Argument(msgspec.Struct, frozen=True, gc=False):
    """The channel and instrument that a message is about."""

    channel: str = ""
    instId: str = ""  # noqa: N815 (the venue's name)


class _Message(msgspec.Struct, gc=False):
    """Every JSON message: pushed data, or an answer with `event`."""

    arg: Argument = Argument()
    action: str = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str = ""
    code: str = ""
    msg: str = ""


class Trade(msgspec.Struct, gc=False):
    """A row of channel `trades` or of history; `side` is the taker's, `source` as in IN_BOOK."""

    tradeId: str  # noqa: N815
    px: str
    sz: str
    side: str
    ts: str
    count: str = "1"
    source: str = "0"


class OkxBook(msgspec.Struct):
    """One of `books` or `bbo-tbt`, or the REST book. Levels are [price, size, "0", orders]; size 0 removes."""

    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]
    ts: str
    checksum: int = 0
    prevSeqId: int | None = None  # noqa: N815
    seqId: int | None = None  # noqa: N815


class _Ticker(msgspec.Struct, gc=False):
    """One of `tickers`: best bid and ask among much else; an empty text where a side is empty."""

    bidPx: str  # noqa: N815
    bidSz: str  # noqa: N815
    askPx: str  # noqa: N815
    askSz: str  # noqa: N815
    ts: str


class Trades(msgspec.Struct):
    """The rows of a trades message."""

    data: list[Trade]


class History(msgspec.Struct):
    """`GET /api/v5/market/history-trades`, each row unread; code "0" means success."""

    data: list[msgspec.Raw]
    code: str = ""
    msg: str = ""


class Books(msgspec.Struct):
    """The answer about a book over REST: one row."""

    data: list[OkxBook]


class Stamp(msgspec.Struct):
    """A row of `GET /api/v5/public/time`: the venue's time, ms."""

    ts: str


class Stamps(msgspec.Struct):
    """`GET /api/v5/public/time`; there is one row."""

    data: list[Stamp]


# For refusals: a book's message, and its instrument.
_BOOK_OF = re.compile(rb'"channel"\s*:\s*"books"\s*,\s*"instId"\s*:\s*"([^"]+)"')
_message = msgspec.json.Decoder(_Message).decode
_several = msgspec.json.Decoder(list[msgspec.Raw]).decode
_books = msgspec.json.Decoder(list[OkxBook]).decode
_one_book = msgspec.json.Decoder(OkxBook).decode
_ticker = msgspec.json.Decoder(_Ticker).decode
_history = msgspec.json.Decoder(History).decode
_row = msgspec.json.Decoder(Trade).decode
_rest_books = msgspec.json.Decoder(Books).decode
_stamps = msgspec.json.Decoder(Stamps).decode


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path after the base address; the same for all instruments."""
    return "/ws/v5/public"


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """One subscribe message an instrument, so that a refused one costs no other; fewer where that would be too many."""
    many = list(instruments)
    for some in batched(many, -(-len(many) // SUBSCRIBES_MAX)) if many else ():
        channels = [channel for channel in CHANNELS if books or channel != "books"]
        yield _request("subscribe", [_argument(channel, instrument) for instrument in some for channel in channels])


def resubscribe(instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
    """Messages that end and begin the book's channel anew: it begins with a snapshot."""
    yield _request("unsubscribe", [_argument("books", instrument)])
    yield _request("subscribe", [_argument("books", instrument)])


def _argument(channel: str, instrument: Instrument) -> dict[str, str]:
    return {"channel": channel, "instId": instrument.symbol}


def _request(operation: str, arguments: list[dict[str, str]]) -> str:
    return msgspec.json.encode({"op": operation, "args": arguments}).decode()


def digest(levels: Levels, instrument: Instrument) -> int:
    """The venue's CRC-32 of the best 25 levels: bid and ask in turn, price and size as texts, joined by colons."""
    price_exponent, quantity_exponent = instrument.price_exponent, instrument.quantity_exponent
    bids, asks = levels.best_bids(CHECKED_LEVELS), levels.best_asks(CHECKED_LEVELS)
    texts: list[str] = []
    for place in range(max(len(bids), len(asks))):
        for price, lots in (*bids[place : place + 1], *asks[place : place + 1]):
            texts += (text(price, price_exponent), text(lots, quantity_exponent))
    return zlib.crc32(":".join(texts).encode())


def book(instrument: Instrument, settings: FeedSettings) -> ChainedBook:
    """A new rule for an instrument's book: a snapshot on the stream, then changes that name the one before."""
    return ChainedBook(instrument, lambda levels: digest(levels, instrument))


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: the Writer of each instrument, by its symbol."""
    return {instrument.symbol: Writer(instrument) for instrument in instruments}


def decode(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """The events of one message, or none. Raises FrameError when it cannot be read, OddRows when some rows cannot."""
    if frame == b"pong":
        return []
    try:
        message = _message(frame)
        if message.event:
            return []
        events_of = _EVENTS.get(message.arg.channel)
        if events_of is None:
            raise DecimalError(f"channel {message.arg.channel!r} was not subscribed")
        out = known.get(message.arg.instId)
        if out is None:
            raise DecimalError(f"{message.arg.instId!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
        return events_of(message, recv_ns, out)
    except OddRows:
        raise
    except UNREADABLE as error:
        raise FrameError(f"not an OKX message: {error}", book_subject(frame, _BOOK_OF, known)) from None


def book_of(head: bytes, known: Routes) -> str:
    """The subject whose book a message that begins with `head` would change; "" where that is not enough to know."""
    return book_subject(head, _BOOK_OF, known)


def control(frame: bytes) -> Control:
    """The meaning of a message without events: an acknowledgement, a refusal, an announced end, or nothing."""
    if frame == b"pong":
        return Control()
    message = _message(frame)
    if message.event == "error":
        return Control(refused=True, code=message.code, msg=message.msg)
    return Control(
        acknowledged=message.event == "subscribe", shutdown=message.event == "notice" and message.code == CLOSING_SOON,
        code=message.code, msg=message.msg,
    )  # fmt: skip


def _trade_events(message: _Message, recv_ns: int, out: Writer) -> list[bytearray]:
    odd: list[str] = []
    return writer.unless_odd(
        out.runs(writer.read_each(_several(message.data), lambda row: _fill(_row(row), out, streamed=True), odd), recv_ns), odd
    )


def _fill(trade: Trade, out: Writer, streamed: bool) -> writer.PublicTrade:
    at, last_id, count = milliseconds_ns(trade.ts), integer(trade.tradeId), integer(trade.count)
    if trade.side not in SIDES or not 0 < count <= last_id + 1:
        raise DecimalError(f"trade {last_id} of side {trade.side!r} stands for {count} ids")
    record = out.fill(last_id, trade.px, trade.sz, at, at if streamed else 0, SIDES[trade.side])
    return writer.PublicTrade(last_id - count + 1, record, at, 0 if trade.source in IN_BOOK else Flag.OFF_BOOK)


def _depth_events(message: _Message, recv_ns: int, out: Writer) -> list[bytearray]:
    if message.action not in ("snapshot", "update"):
        raise DecimalError(f"action {message.action!r}; snapshot or update is needed")
    events, odd = [], list[str]()
    for data in _books(message.data):
        at, records = time_or_zero(milliseconds_ns, data.ts, odd), _records(data, out, odd)
        last_id, previous = data.seqId or 0, data.prevSeqId
        if message.action == "snapshot":
            event = out.snapshot(records, last_id, at, recv_ns)
        else:
            event = out.change(records, (previous if previous is not None else last_id - 1) + 1, last_id, at, recv_ns)
        if data.checksum:
            stamp_checksum(event, crc(data.checksum))
        events.append(event)
    return writer.unless_odd(events, odd)


def _records(data: OkxBook, out: Writer, odd: list[str]) -> bytes:
    bids = out.levels(((level[0], level[1]) for level in data.bids), 1, odd)
    return bids + out.levels(((level[0], level[1]) for level in data.asks), -1, odd)


def _best_events(message: _Message, recv_ns: int, out: Writer) -> list[bytearray]:
    odd: list[str] = []

    def read(row: msgspec.Raw) -> bytearray:
        data = _one_book(row)
        at = time_or_zero(milliseconds_ns, data.ts, odd)
        bid, ask = data.bids[0][:2] if data.bids else ("0", "0"), data.asks[0][:2] if data.asks else ("0", "0")
        prices = out.price(bid[0]), out.quantity(bid[1]), out.price(ask[0]), out.quantity(ask[1])
        number = data.seqId if data.seqId is not None else out.quote_ids.take(recv_ns)
        return out.quote(number, number, at, recv_ns, number, *prices, at)

    return writer.unless_odd(writer.read_each(_several(message.data), read, odd), odd)


def _ticker_events(message: _Message, recv_ns: int, out: Writer) -> list[bytearray]:
    """Of captures; tickers have no ids, and come ten times as seldom as `bbo-tbt`."""
    odd: list[str] = []

    def read(row: msgspec.Raw) -> bytearray:
        data = _ticker(row)
        at = time_or_zero(milliseconds_ns, data.ts, odd)
        prices = (
            out.price(data.bidPx or "0"), out.quantity(data.bidSz or "0"),
            out.price(data.askPx or "0"), out.quantity(data.askSz or "0"),
        )  # fmt: skip
        number = out.quote_ids.take(recv_ns)
        return out.quote(number, number, at, recv_ns, number, *prices, at)

    return writer.unless_odd(writer.read_each(_several(message.data), read, odd), odd)


_EVENTS = {"trades": _trade_events, "books": _depth_events, "bbo-tbt": _best_events, "tickers": _ticker_events}


def snapshot(instrument: Instrument, limit: int) -> Request:
    """The request for a snapshot, for a stream that begins without one; `source` 0 is the book whose seqId is the stream's."""
    return Request("/api/v5/market/books", {"instId": instrument.symbol, "sz": min(limit, 400), "source": 0})


def decode_snapshot(body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
    """(seqId, depth event of that id flagged SNAPSHOT) of `GET /api/v5/market/books`. Raises FrameError, OddRows."""
    try:
        (data,) = _rest_books(body).data
        if data.seqId is None:
            raise DecimalError("it has no seqId, so the stream cannot be joined to it")
        out, odd = Writer(instrument), list[str]()
        event = out.snapshot(_records(data, out, odd), data.seqId, time_or_zero(milliseconds_ns, data.ts, odd), recv_ns)
    except UNREADABLE as error:
        raise FrameError(f"not a book of {instrument.symbol}: {error}") from None
    return data.seqId, writer.unless_odd([event], odd)[0]


def history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request:
    """The request for the 100 trades from `first_id` on; near the newest one the page begins below `first_id`.

    It pages backwards: `after` is older than an id, newest first. `until_id`: those before this one instead.
    """
    after = until_id or first_id + HISTORY_ROWS
    query = {"instId": instrument.symbol, "type": 1, "after": after, "limit": HISTORY_ROWS}
    return Request("/api/v5/market/history-trades", query)


recent_trades = no_recent_trades


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The trade events of a page of `history`, flagged REPAIRED, ascending by id. Raises FrameError, Unwell."""
    try:
        answer = _history(body)
    except UNREADABLE as error:
        raise FrameError(f"no trades of {instrument.symbol}: {error}") from None
    if answer.code not in ("", "0"):
        raise Unwell(f"the venue answers {answer.code} {answer.msg}")
    out = Writer(instrument)
    return writer.page_events(
        answer.data, lambda row: _fill(_row(row), out, streamed=False), lambda fills: out.runs(fills, recv_ns, Flag.REPAIRED)
    )


def clock() -> Request:
    """The request for the venue's time."""
    return Request("/api/v5/public/time", weight=2.0)  # 10 in 2 s, half of what the others take


def decode_clock(body: bytes) -> int:
    """The venue's time in the answer to `clock`, ns. Raises FrameError."""
    try:
        return milliseconds_ns(_stamps(body).data[0].ts)
    except (*UNREADABLE, IndexError) as error:
        raise FrameError(f"not the venue's time: {error}") from None
