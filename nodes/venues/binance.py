"""Binance spot, market data: stream names, frames in → events out. Sans I/O; orders are in `binance_orders`.

Protocol: Binance spot API documentation, "WebSocket Streams" (payloads, live subscribing, local order book), "Market
data endpoints" (depth), "General endpoints" and "Filters" (exchangeInfo). All prices and quantities are JSON strings,
ids and times are JSON integers.

Looked through on 2026-11-29: the venue's pages to 2026-07-21 and ccxt 4.5.90; addresses, weights and limits are as here.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.nodes.venues import binance_streams
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind, no_recent_trades, no_resubscription
from tickmesh.nodes.venues.binance_definitions import decode_definition as decode_definition
from tickmesh.nodes.venues.binance_definitions import definitions as definitions
from tickmesh.nodes.venues.binance_definitions import listed as listed
from tickmesh.nodes.venues.binance_definitions import listings as listings
from tickmesh.nodes.venues.binance_definitions import spell as spell
from tickmesh.nodes.venues.binance_definitions import standing as standing
from tickmesh.nodes.venues.binance_streams import Routes
from tickmesh.nodes.venues.binance_streams import to_ns as to_ns
from tickmesh.nodes.venues.books.booksync import BookSync
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import (
    UNREADABLE,
    Control,
    FrameError,
    OddRows,
    Request,
    RestRules,
    error_text,
)
from tickmesh.nodes.venues.parsing.writer import Writer

VENUE = "binance"
WS = ("wss://stream.binance.com:9443", "wss://stream.binance.com:443", "wss://data-stream.binance.vision")
REST = ("https://api.binance.com", "https://api1.binance.com", "https://api2.binance.com", "https://data-api.binance.vision")
QUIET_S = 60.0  # the server pings every 20 s
PING, PING_S = None, 0.0
LIFE_S = 86_400.0
CLOCK_STEP_NS = 0
CONNECTIONS_PER_5_MINUTES = 300
MESSAGES_PER_S = 5.0  # pings and pongs count; who sends more is disconnected
WEIGHT_PER_MINUTE = 6000
REQUESTS_PER_S = 0.0  # counted by the minute only
HISTORY: HistoryKind = "forward"
UNKNOWN = ((400, -1121), (400, -1100))  # no such symbol; characters that no symbol has
INSTRUMENTS_MAX = 341  # of three streams each; a connection may have 1024
FRAME_BYTES_MAX = 8 << 20  # of a message
BOOK: BookKind = "rest"
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))  # GET /api/v3/depth: weight up to a limit
STREAMS_PER_SUBSCRIBE = 200  # of 1024 a connection; keeps a control message small


class _Error(msgspec.Struct):
    """The body of a REST refusal."""

    code: int = 0
    msg: str = ""


_error = msgspec.json.Decoder(_Error).decode


def _decode_error(body: bytes) -> tuple[int, str]:
    try:
        error = _error(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # an HTML page of a proxy or a firewall
        return error_text(body)
    return error.code, error.msg


# "General API information": X-MBX-USED-WEIGHT-(interval), and 418 for an address that went on after 429.
REST_RULES = RestRules("X-MBX-USED-WEIGHT-1M", "X-MBX-APIKEY", frozenset((418, 429)), _decode_error)

resubscribe = no_resubscription


class Other(msgspec.Struct):
    """Any other message on a stream connection: the answer to a request, an error, or `serverShutdown`."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    code: int | None = None
    msg: str = ""
    error: msgspec.Raw = msgspec.Raw()
    stream: str = ""
    e: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the message is the answer to a request that was carried out."""
        return bytes(self.result) == b"null" and self.id is not None

    @property
    def shutdown(self) -> bool:
        """Whether the server announces that it is about to close: a new connection has to be opened at once."""
        return self.e == "serverShutdown" or self.stream == "!serverShutdown"


class _Snapshot(msgspec.Struct):
    """`GET /api/v3/depth`."""

    lastUpdateId: int  # noqa: N815 (the venue's name)
    bids: msgspec.Raw
    asks: msgspec.Raw


_other = msgspec.json.Decoder(Other).decode
_snapshot = msgspec.json.Decoder(_Snapshot).decode

_START = b'{"stream":"'
_STREAM = re.compile(rb'\s*\{\s*"stream"\s*:\s*"([^"]+)"')


def streams(instrument: Instrument) -> dict[str, Kind]:
    """The streams to subscribe for an instrument, by name, and the kind of event that each gives.

    None for a symbol that is not in capitals: the venue has none such, and its streams would be another symbol's.
    """
    if instrument.symbol != instrument.symbol.upper():
        return {}
    symbol = instrument.symbol.lower()
    return {f"{symbol}@trade": Kind.trade, f"{symbol}@bookTicker": Kind.quote, f"{symbol}@depth@100ms": Kind.depth}


# Of these `decode` makes events; aggregates are in captures of others.
CHANNELS = (
    ("trade", binance_streams.spot_trade, Kind.trade, binance_streams.SPOT_TRADE),
    ("aggTrade", binance_streams.aggregate_trade, Kind.trade, b""),
    ("bookTicker", binance_streams.quote, Kind.quote, binance_streams.SPOT_QUOTE),
    ("depth@100ms", binance_streams.spot_depth, Kind.depth, binance_streams.SPOT_DEPTH),
)


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path of combined streams, where every message names its own; times are in µs where asked for."""
    return "/stream?timeUnit=MICROSECOND" if settings.microseconds else "/stream"


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: by stream name, the function that decodes its frames, and the stream."""
    return binance_streams.routes(instruments, CHANNELS)


forms = binance_streams.forms


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """SUBSCRIBE messages for the streams of all instruments, without those of depth where `books` is False.

    The answer is `{"result":null,"id":n}` also when a stream does not exist.
    """
    names = [
        stream for instrument in instruments for stream, kind in streams(instrument).items() if books or kind != Kind.depth
    ]  # fmt: skip
    for number, start in enumerate(range(0, len(names), STREAMS_PER_SUBSCRIBE), 1):
        request = {"method": "SUBSCRIBE", "params": names[start : start + STREAMS_PER_SUBSCRIBE], "id": number}
        yield msgspec.json.encode(request).decode()


def book(instrument: Instrument, settings: FeedSettings) -> BookSync:
    """A new rule for an instrument's book: changes joined by their ids to a snapshot by REST."""
    return BookSync()


def decode(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """The events of one frame of a combined stream, not yet stamped: one, or none for a control message.

    `known`: from `routes`. Raises FrameError when it is not JSON, a field is missing or of the wrong type, a number
    cannot be held exactly, or the stream is not one that was asked for.
    """
    # The name stands at the front, so the frame is parsed once, into the one type that it must have.
    stream = frame[11 : frame.find(b'"', 11)].decode("utf-8", "replace") if frame[:11] == _START else ""
    route = known.get(stream)
    try:
        if route is None:
            return _unusual(frame, recv_ns, known)
        event = route[0](frame, recv_ns, route[1])
        return [event] if event is not None else []
    except OddRows:
        raise
    except UNREADABLE as error:
        lost = route[1].book if route else error.subject if isinstance(error, FrameError) else ""
        raise FrameError(f"{stream or 'not a message of Binance'}: {binance_streams.unreadable(error)}", lost) from None


def book_of(head: bytes, known: Routes) -> str:
    """The subject whose book a message that begins with `head` would change; "" where that is not enough to know."""
    found = _STREAM.match(head)
    route = known.get(found[1].decode("utf-8", "replace")) if found else None
    return route[1].book if route else ""


def control(frame: bytes) -> Control:
    """The meaning of a message without events: an acknowledgement, a refusal, an announced end, or nothing."""
    message = _other(frame)
    refused = message.code is not None or bool(bytes(message.error))
    return Control(message.acknowledged, message.shutdown, refused, message.code or 0, message.msg)


def _unusual(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """A control message, or a wrapped one with other spacing or order of keys than the venue's."""
    message = _other(frame)
    if message.shutdown:
        return []
    route = known.get(message.stream)
    if route is not None:
        event = route[0](frame, recv_ns, route[1])
        return [event] if event is not None else []
    if message.stream:
        raise FrameError(f"stream {message.stream!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
    if message.id is None and message.code is None and not bytes(message.error):
        raise FrameError("neither a message of a stream nor the answer to a request")
    return []


def snapshot(instrument: Instrument, limit: int) -> Request:
    """The request for a snapshot of at most `limit` levels a side."""
    weight = next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), DEPTH_WEIGHTS[-1][1])
    return Request("/api/v3/depth", {"symbol": instrument.symbol, "limit": limit}, weight)


def decode_snapshot(body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
    """(lastUpdateId, depth event of that id flagged SNAPSHOT) of `GET /api/v3/depth`. Raises FrameError, OddRows."""
    try:
        data = _snapshot(body)
        out, last, odd = Writer(instrument), data.lastUpdateId, list[str]()
        event = out.snapshot(out.side(bytes(data.bids), 1, odd) + out.side(bytes(data.asks), -1, odd), last, 0, recv_ns)
    except UNREADABLE as error:
        raise FrameError(f"not a depth snapshot of {instrument.symbol}: {error}") from None
    return last, writer.unless_odd([event], odd)[0]


class HistoricalTrade(msgspec.Struct):
    """A row of `GET /api/v3/historicalTrades`."""

    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815


_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_row = msgspec.json.Decoder(HistoricalTrade).decode


def history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request:
    """The request for the thousand trades from `first_id` on; the oldest that the venue has, where it keeps none so old."""
    return Request("/api/v3/historicalTrades", {"symbol": instrument.symbol, "fromId": first_id, "limit": 1000}, 25)


recent_trades = no_recent_trades


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The trade events of a page of `history`, flagged REPAIRED, ascending by id; event_ns 0, for REST states none.

    Raises FrameError; its `readable` has the events of a page of which some rows could not be read.
    """
    writer.refuse_unwell(body, instrument)
    try:
        rows = _rows(body)
    except UNREADABLE as error:
        raise FrameError(f"no trades of {instrument.symbol}: {error}") from None
    out = Writer(instrument)

    def read(raw: msgspec.Raw) -> writer.PublicTrade:
        row = _row(raw)
        at = to_ns(row.time)
        return writer.PublicTrade(row.id, out.fill(row.id, row.price, row.qty, at, 0, -1 if row.isBuyerMaker else 1), at)

    def events(fills: list[writer.PublicTrade]) -> list[bytearray]:
        return [out.trades(one.record, one.first_id, one.first_id, one.venue_ns, recv_ns, Flag.REPAIRED) for one in fills]

    return writer.page_events(rows, read, events)


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815


_time = msgspec.json.Decoder(_Time).decode


def clock() -> Request:
    """The request for the venue's time."""
    return Request("/api/v3/time")


def decode_clock(body: bytes) -> int:
    """The venue's time in the answer to `clock`, ns. Raises FrameError."""
    try:
        return to_ns(_time(body).serverTime)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"not an answer of /api/v3/time: {error}") from None
