"""Kraken spot, WebSocket v2. Sans I/O.

Protocol: Kraken API, "Spot WebSocket v2" (trade, ticker, book, book checksum, heartbeat, status) and REST "Market Data".
Numbers are bare JSON decimals, read as text and never as a float. Trades have ids, contiguous for each pair; the book has
neither ids nor sequence numbers, a CRC-32 of its best ten levels comes with every message. It is made of the texts at the
pair's full precision, so the instrument's exponents must be those precisions (`decode_definition` refuses others).

Looked through on 2026-11-29: the venue's pages and change log to 2026-06-22 and ccxt 4.5.90 (docs/venues.md).
"""

import re
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from tickmesh.bus.schema import Flag
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import stamp_checksum
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind, no_forms, no_recent_trades, no_snapshot, no_snapshot_answer
from tickmesh.nodes.venues.books.checked import CheckedBook, crc
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.kraken_definitions import decode_definition as decode_definition
from tickmesh.nodes.venues.kraken_definitions import definition_event as definition_event
from tickmesh.nodes.venues.kraken_definitions import definitions as definitions
from tickmesh.nodes.venues.kraken_definitions import listed as listed
from tickmesh.nodes.venues.kraken_definitions import listings as listings
from tickmesh.nodes.venues.kraken_definitions import rest_name
from tickmesh.nodes.venues.kraken_definitions import spell as spell
from tickmesh.nodes.venues.kraken_definitions import standing as standing
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.decimals import DecimalError, plain
from tickmesh.nodes.venues.parsing.dialect import (
    UNREADABLE,
    Control,
    FrameError,
    OddRows,
    Request,
    RestRules,
    Unwell,
)
from tickmesh.nodes.venues.parsing.times import rfc3339_ns, seconds_ns, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Routes, Writer, book_subject

VENUE = "kraken"
WS = ("wss://ws.kraken.com",)
REST = ("https://api.kraken.com",)
REST_RULES = RestRules()
QUIET_S = 5.0  # a heartbeat comes every second
PING, PING_S = None, 0.0
LIFE_S = 0.0
CLOCK_STEP_NS = 1_000_000_000  # whole seconds, rounded down
CONNECTIONS_PER_5_MINUTES = 75  # 150 in 10 minutes
MESSAGES_PER_S = 5.0
WEIGHT_PER_MINUTE = 60
REQUESTS_PER_S = 1.0  # about, of an address
HISTORY: HistoryKind = "time"
UNKNOWN = ()  # it says so inside a 200
INSTRUMENTS_MAX = 0
FRAME_BYTES_MAX = 8 << 20  # a book of 1000 levels a side has 150 kB
BOOK: BookKind = "checksum"
DEPTHS = (10, 25, 100, 500, 1000)
CHECKED_LEVELS = 10
SIDES = {"buy": 1, "sell": -1}
IN_BOOK = ("limit", "market", "l", "m")  # a taker's order; settling a position, or what else may come, is no trade of the book


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Book(msgspec.Struct):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str = ""


class _Trade(msgspec.Struct, gc=False):
    """`side` and `ord_type` are the taker's."""

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: int
    timestamp: str
    ord_type: str = "limit"


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    bid: msgspec.Raw
    bid_qty: msgspec.Raw
    ask: msgspec.Raw
    ask_qty: msgspec.Raw
    timestamp: str = ""


class BookMessage(msgspec.Struct):
    """A message of channel `book`: a snapshot or an update, of one or more pairs."""

    type: str
    data: list[_Book]


class TradesOrTickers(msgspec.Struct):
    """A message of channel `trade` or `ticker`: its rows, each unread."""

    data: list[msgspec.Raw]


class _Message(msgspec.Struct):
    """What else comes: heartbeat, status, and answers, which have a method."""

    channel: str = ""
    method: str = ""
    success: bool = True
    error: str = ""


class _History(msgspec.Struct):
    """`GET /0/public/Trades`: for the key of the pair [price, volume, time, b or s, l or m, misc, id]…; and `last`."""

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


class Unixtime(msgspec.Struct):
    """The `result` of `GET /0/public/Time`: the venue's time, in whole seconds."""

    unixtime: int


class _Time(msgspec.Struct):
    result: Unixtime


# For refusals: a book's message, and its pair.
_BOOK_OF = re.compile(rb'"channel"\s*:\s*"book".*?"symbol"\s*:\s*"([^"]+)"', re.DOTALL)
_book = msgspec.json.Decoder(BookMessage).decode
_several = msgspec.json.Decoder(TradesOrTickers).decode
_trade = msgspec.json.Decoder(_Trade).decode
_ticker = msgspec.json.Decoder(_Ticker).decode
_message = msgspec.json.Decoder(_Message).decode
_rows = msgspec.json.Decoder(_History).decode
_pair_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_row = msgspec.json.Decoder(tuple[str, str, msgspec.Raw, str, str, str, int]).decode
_time = msgspec.json.Decoder(_Time).decode


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path after the base address; the same for all instruments."""
    return "/v2"


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """One subscribe message a channel, answered once a symbol. The last 50 trades come first: they close a short hole."""
    symbols = [instrument.symbol for instrument in instruments]
    yield _request("subscribe", {"channel": "trade", "symbol": symbols, "snapshot": True})
    yield _request("subscribe", {"channel": "ticker", "symbol": symbols, "event_trigger": "bbo", "snapshot": True})
    if books:
        yield _request("subscribe", {"channel": "book", "symbol": symbols, "depth": depth(settings), "snapshot": True})


def resubscribe(instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
    """Messages that end and begin the book's channel anew: it begins with a snapshot."""
    channel = {"channel": "book", "symbol": [instrument.symbol], "depth": depth(settings)}
    yield _request("unsubscribe", channel)
    yield _request("subscribe", channel | {"snapshot": True})


def _request(method: str, parameters: dict[str, object]) -> str:
    return msgspec.json.encode({"method": method, "params": parameters}).decode()


def depth(settings: FeedSettings) -> int:
    """The least depth of a book that the venue offers and that is not below `feed.depth_limit`."""
    return next((offered for offered in DEPTHS if offered >= settings.depth_limit), DEPTHS[-1])


def digest(levels: Levels) -> int:
    """The venue's CRC-32 of the best ten asks, then bids: each price and size as digits without dot and leading zeros."""
    best = (*levels.best_asks(CHECKED_LEVELS), *levels.best_bids(CHECKED_LEVELS))
    return zlib.crc32("".join(f"{price}{lots}" for price, lots in best).encode())


def book(instrument: Instrument, settings: FeedSettings) -> CheckedBook:
    """A new rule for an instrument's book: a snapshot on the stream, then changes that a checksum proves."""
    return CheckedBook(instrument, digest, depth(settings))


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: the Writer of each instrument, by its symbol."""
    return {instrument.symbol: Writer(instrument) for instrument in instruments}


def decode(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """The events of one message, or none. Raises FrameError when it cannot be read, OddRows when some rows cannot."""
    try:
        # The channel stands at the front, so the frame is parsed once, into the one type that it must have.
        usual = frame.startswith(b'{"channel":"')
        events_of = _EVENTS.get(frame[12 : frame.find(b'"', 12)].decode() if usual else _message(frame).channel)
        if events_of is None:
            _message(frame)
            return []
        return events_of(frame, recv_ns, known)
    except OddRows:
        raise
    except UNREADABLE as error:
        raise FrameError(f"not a Kraken message: {error}", book_subject(frame, _BOOK_OF, known)) from None


def book_of(head: bytes, known: Routes) -> str:
    """The subject whose book a message that begins with `head` would change; "" where that is not enough to know."""
    return book_subject(head, _BOOK_OF, known)


def control(frame: bytes) -> Control:
    """The meaning of a message without events: an acknowledgement, a refusal, an announced end, or nothing."""
    message = _message(frame)
    if not message.success:
        return Control(refused=True, msg=message.error)
    return Control(acknowledged=message.method == "subscribe")


def _known(known: Routes, symbol: str) -> Writer:
    if symbol not in known:
        raise DecimalError(f"{symbol!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
    return known[symbol]


def _text(number: msgspec.Raw) -> str:
    return plain(bytes(number))


def _off_book(order_type: str) -> int:
    return 0 if order_type in IN_BOOK else Flag.OFF_BOOK


def _trade_events(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    fills: dict[str, list[writer.PublicTrade]] = {}
    odd: list[str] = []

    def read(row: msgspec.Raw) -> None:
        trade = _trade(row)
        if trade.side not in SIDES:
            raise DecimalError(f"side {trade.side!r}; buy or sell is needed")
        at = rfc3339_ns(trade.timestamp)
        record = _known(known, trade.symbol).fill(
            trade.trade_id, _text(trade.price), _text(trade.qty), at, at, SIDES[trade.side]
        )  # fmt: skip
        fills.setdefault(trade.symbol, []).append(writer.PublicTrade(trade.trade_id, record, at, _off_book(trade.ord_type)))

    writer.read_each(_several(frame).data, read, odd)
    return writer.unless_odd([event for symbol, some in fills.items() for event in known[symbol].runs(some, recv_ns)], odd)


def _quote_events(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    odd: list[str] = []

    def read(row: msgspec.Raw) -> bytearray:
        data = _ticker(row)
        out = _known(known, data.symbol)
        at = time_or_zero(rfc3339_ns, data.timestamp, odd)
        prices = (
            out.price(_text(data.bid)), out.quantity(_text(data.bid_qty)),
            out.price(_text(data.ask)), out.quantity(_text(data.ask_qty)),
        )  # fmt: skip
        number = out.quote_ids.take(recv_ns)
        return out.quote(number, number, at, recv_ns, number, *prices, at)

    return writer.unless_odd(writer.read_each(_several(frame).data, read, odd), odd)


def _depth_events(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    message = _book(frame)
    if message.type not in ("snapshot", "update"):
        raise DecimalError(f"type {message.type!r}; snapshot or update is needed")
    events, odd = [], list[str]()
    for data in message.data:
        out = _known(known, data.symbol)
        bids = out.levels(((_text(level.price), _text(level.qty)) for level in data.bids), 1, odd)
        records = bids + out.levels(((_text(level.price), _text(level.qty)) for level in data.asks), -1, odd)
        at, number = time_or_zero(rfc3339_ns, data.timestamp, odd), out.depth_ids.take(recv_ns)
        if message.type == "snapshot":
            event = out.snapshot(records, number, at, recv_ns)
        else:
            event = out.change(records, number, number, at, recv_ns)
        stamp_checksum(event, crc(data.checksum))
        events.append(event)
    return writer.unless_odd(events, odd)


_EVENTS = {"trade": _trade_events, "ticker": _quote_events, "book": _depth_events}


snapshot, decode_snapshot = no_snapshot, no_snapshot_answer


def history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request | None:
    """The request for trades from just before `since_ns` on: the venue knows its past by time only. None without a time."""
    if not since_ns:
        return None
    return Request("/0/public/Trades", {"pair": rest_name(instrument.symbol), "since": since_ns - 1, "count": 1000})


recent_trades = no_recent_trades
forms = no_forms


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The trade events of a page of `history`, flagged REPAIRED, ascending by id. Raises FrameError, Unwell."""
    try:
        answer = _rows(body)
        rows = [row for key, of_pair in answer.result.items() if key != "last" for row in _pair_rows(of_pair)]
    except UNREADABLE as error:
        raise FrameError(f"no trades of {instrument.symbol}: {error}") from None
    if answer.error:
        raise Unwell(f"the venue answers {answer.error}")
    out = Writer(instrument)

    def read(raw: msgspec.Raw) -> writer.PublicTrade:
        price, volume, time, side, order_type, _, trade_id = _row(raw)
        if side not in ("b", "s"):
            raise DecimalError(f"side {side!r}; b or s is needed")
        at = seconds_ns(_text(time))
        return writer.PublicTrade(
            trade_id, out.fill(trade_id, price, volume, at, 0, 1 if side == "b" else -1), at, _off_book(order_type)
        )

    return writer.page_events(rows, read, lambda fills: out.runs(fills, recv_ns, Flag.REPAIRED))


def clock() -> Request:
    """The request for the venue's time."""
    return Request("/0/public/Time")


def decode_clock(body: bytes) -> int:
    """The venue's time in the answer to `clock`, ns, of whole seconds. Raises FrameError."""
    try:
        return _time(body).result.unixtime * 1_000_000_000
    except UNREADABLE as error:
        raise FrameError(f"not the venue's time: {error}") from None
