"""Binance spot, market data: stream names, frames in → events out. Sans I/O; orders are in `binance_orders`.

Protocol: Binance spot API documentation, "WebSocket Streams" (payloads, live subscribing, local order book), "Market
data endpoints" (depth), "General endpoints" and "Filters" (exchangeInfo). All prices and quantities are JSON strings,
ids and times are JSON integers.
"""

import struct
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from bus.config import Instrument
from bus.schema import DTYPES, Flag, Kind
from bus.wire import encode
from nodes.venues.decimals import DecimalError, level_words, level_words_at_once, mantissa
from nodes.venues.dialect import FrameError, Request

VENUE = "binance"
WEIGHT_PER_MINUTE = 6000
STREAMS_PER_SUBSCRIBE = 200  # of 1024 a connection; keeps a control message small
# A time in ms or in µs is told by its size: 10^14 ms is the year 5138, 10^14 µs was 1973.
MILLISECONDS_BELOW = 100_000_000_000_000


class Trade(msgspec.Struct):
    """`<symbol>@trade`: one message per fill. `m`: the buyer is the maker, so the taker sold."""

    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class BookTicker(msgspec.Struct):
    """`<symbol>@bookTicker`: best bid and ask; no time, no event name."""

    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class DepthUpdate(msgspec.Struct):
    """`<symbol>@depth@100ms`: absolute quantities per level, ids U…u inclusive."""

    E: int
    s: str
    U: int
    u: int
    b: msgspec.Raw
    a: msgspec.Raw


class TradeFrame(msgspec.Struct):
    data: Trade


class BookTickerFrame(msgspec.Struct):
    data: BookTicker


class DepthFrame(msgspec.Struct):
    data: DepthUpdate


class Control(msgspec.Struct):
    """What else comes on a stream connection: the answer to a request, an error, or `serverShutdown`."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    code: int | None = None
    msg: str = ""
    error: msgspec.Raw = msgspec.Raw()
    stream: str = ""
    e: str = ""

    @property
    def acknowledged(self) -> bool:
        return bytes(self.result) == b"null" and self.id is not None

    @property
    def shutdown(self) -> bool:
        """The server is about to close: open a new connection at once."""
        return self.e == "serverShutdown" or self.stream == "!serverShutdown"


class Snapshot(msgspec.Struct):
    """`GET /api/v3/depth`."""

    lastUpdateId: int  # noqa: N815 (the venue's name)
    bids: msgspec.Raw
    asks: msgspec.Raw


_trade = msgspec.json.Decoder(TradeFrame).decode
_book_ticker = msgspec.json.Decoder(BookTickerFrame).decode
_depth = msgspec.json.Decoder(DepthFrame).decode
_control = msgspec.json.Decoder(Control).decode
_snapshot = msgspec.json.Decoder(Snapshot).decode
_pairs = msgspec.json.Decoder(list[tuple[str, str]]).decode

# The records as schema.TRADE and schema.QUOTE have them; a test compares.
_TRADE = struct.Struct("<qqqqqb7x")
_QUOTE = struct.Struct("<qqqqqq")
_START = b'{"stream":"'
MANY_LEVELS_BYTES = 250  # JSON text of a side, about 8 levels: from there numpy wins over the loop
EMPTY_CHANGE = bytes(DTYPES[Kind.depth].itemsize)


def streams(instrument: Instrument) -> dict[str, Kind]:
    """The streams to subscribe for an instrument, and the kind each gives. Symbols are in lower case there."""
    symbol = instrument.symbol.lower()
    return {f"{symbol}@trade": Kind.trade, f"{symbol}@bookTicker": Kind.quote, f"{symbol}@depth@100ms": Kind.depth}


Routes = dict[str, tuple]


def routes(instruments: Iterable[Instrument]) -> Routes:
    """What `decode` needs to know: stream name → (function, instrument)."""
    functions = {Kind.trade: _trade_event, Kind.quote: _quote_event, Kind.depth: _depth_event}
    return {stream: (functions[kind], instrument) for instrument in instruments for stream, kind in streams(instrument).items()}


def subscribe(instruments: Iterable[Instrument]) -> Iterator[str]:
    """SUBSCRIBE messages for all streams. The venue allows 5 messages a second from a client: send them with pauses.

    The answer is `{"result":null,"id":n}` also when a stream does not exist.
    """
    names = [stream for instrument in instruments for stream in streams(instrument)]
    for number, start in enumerate(range(0, len(names), STREAMS_PER_SUBSCRIBE), 1):
        request = {"method": "SUBSCRIBE", "params": names[start : start + STREAMS_PER_SUBSCRIBE], "id": number}
        yield msgspec.json.encode(request).decode()


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
        return [route[0](frame, recv_ns, route[1])]
    except msgspec.DecodeError as error:
        raise FrameError(f"not a {stream or 'Binance'} message: {error}") from None
    except (DecimalError, UnicodeDecodeError) as error:
        raise FrameError(f"{stream}: {error}") from None
    except struct.error:
        raise FrameError(f"{stream}: an id or a time does not fit 64 bits") from None


def control(frame: bytes) -> Control:
    """A control message, for the frames of which `decode` makes no event."""
    return _control(frame)


def _unusual(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """A control message, or a wrapped one with other spacing or order of keys than the venue's."""
    message = _control(frame)
    if message.shutdown:
        return []
    route = known.get(message.stream)
    if route is not None:
        return [route[0](frame, recv_ns, route[1])]
    if message.stream:
        raise FrameError(f"stream {message.stream!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
    if message.id is None and message.code is None and not bytes(message.error):
        raise FrameError("neither a message of a stream nor the answer to a request")
    return []


def _trade_event(frame: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    data = _trade(frame).data
    _same(data.s, instrument)
    price = mantissa(data.p, instrument.price_exponent)
    quantity = mantissa(data.q, instrument.quantity_exponent)
    if not (price and quantity and data.t >= 0):
        raise DecimalError(f"trade {data.t} of {data.q!r} at {data.p!r}; all three must be above 0")
    event_ns = to_ns(data.E)
    record = _TRADE.pack(data.t, price, quantity, to_ns(data.T), event_ns, -1 if data.m else 1)
    return encode(Kind.trade, instrument.subject, record, first_id=data.t, last_id=data.t, venue_ns=event_ns, recv_ns=recv_ns)


def _quote_event(frame: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    data = _book_ticker(frame).data
    _same(data.s, instrument)
    price_exponent, quantity_exponent = instrument.price_exponent, instrument.quantity_exponent
    record = _QUOTE.pack(
        data.u,
        mantissa(data.b, price_exponent), mantissa(data.B, quantity_exponent),
        mantissa(data.a, price_exponent), mantissa(data.A, quantity_exponent),
        0,
    )  # fmt: skip
    return encode(Kind.quote, instrument.subject, record, first_id=data.u, last_id=data.u, recv_ns=recv_ns)


def _depth_event(frame: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    data = _depth(frame).data
    _same(data.s, instrument)
    if not 0 <= data.U <= data.u:
        raise DecimalError(f"a depth change of ids U={data.U} to u={data.u}; U ≤ u is needed")
    return encode(
        Kind.depth, instrument.subject, _levels(data.b, data.a, instrument),
        first_id=data.U, last_id=data.u, venue_ns=to_ns(data.E), recv_ns=recv_ns,
    )  # fmt: skip


def _levels(bids: msgspec.Raw, asks: msgspec.Raw, instrument: Instrument) -> bytes:
    """`depth` records as bytes, bids first, in the venue's order."""
    exponents = instrument.price_exponent, instrument.quantity_exponent
    return (_side(bytes(bids), exponents, 1) + _side(bytes(asks), exponents, -1)) or EMPTY_CHANGE


def _side(raw: bytes, exponents: tuple[int, int], side: int) -> bytes:
    if len(raw) > MANY_LEVELS_BYTES:
        many = level_words_at_once(raw, *exponents, side)
        if many is not None:
            return many.tobytes()
    words = level_words(_pairs(raw), *exponents, side)
    return struct.pack(f"<{len(words)}q", *words)


def _same(symbol: str, instrument: Instrument) -> None:
    if symbol != instrument.symbol:
        raise DecimalError(f"symbol {symbol!r} on the stream of {instrument.symbol}")


def to_ns(stamp: int) -> int:
    """A venue time in ms, or in µs where the connection asked for `timeUnit=MICROSECOND`, as ns since the epoch."""
    return stamp * (1_000_000 if stamp < MILLISECONDS_BELOW else 1_000)


def decode_snapshot(body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
    """(L, event) of `GET /api/v3/depth`: a depth event, flag SNAPSHOT, ids L = lastUpdateId. Raises FrameError."""
    try:
        data = _snapshot(body)
        levels = _levels(data.bids, data.asks, instrument)
        last = data.lastUpdateId
        event = encode(
            Kind.depth, instrument.subject, levels, flags=Flag.SNAPSHOT, first_id=last, last_id=last, recv_ns=recv_ns
        )
    except (msgspec.DecodeError, UnicodeDecodeError, DecimalError, struct.error) as error:
        raise FrameError(f"not a depth snapshot of {instrument.symbol}: {error}") from None
    return last, event


class HistoricalTrade(msgspec.Struct):
    """A row of `GET /api/v3/historicalTrades`."""

    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815


_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_row = msgspec.json.Decoder(HistoricalTrade).decode


def history(instrument: Instrument, first_id: int, since_ns: int = 0) -> Request:
    """The thousand trades from `first_id` on, inclusive. Of an older one than the venue keeps: from the oldest it has."""
    return Request("/api/v3/historicalTrades", {"symbol": instrument.symbol, "fromId": first_id, "limit": 1000}, 25)


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """Trade events, flag REPAIRED, ascending by id; event_ns 0, since REST tells the trade's time only.

    Raises FrameError; its `readable` has the events of a page of which some rows could not be read.
    """
    events: list[bytearray] = []
    try:
        rows = _rows(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError(f"no trades of {instrument.symbol}: {error}") from None
    unreadable = ""
    for raw in rows:
        try:
            events.append(_historical(_row(raw), recv_ns, instrument))
        except (msgspec.DecodeError, UnicodeDecodeError, DecimalError, struct.error) as error:
            unreadable = unreadable or f"{bytes(raw)[:200]!r}: {error}"
    events.sort(key=_last_id)
    if unreadable:
        refusal = FrameError(f"{len(rows) - len(events)} of {len(rows)} trades of {instrument.symbol}: {unreadable}")
        refusal.readable = events
        raise refusal
    return events


def _historical(row: HistoricalTrade, recv_ns: int, instrument: Instrument) -> bytearray:
    price = mantissa(row.price, instrument.price_exponent)
    quantity = mantissa(row.qty, instrument.quantity_exponent)
    if not (price and quantity and row.id >= 0):
        raise DecimalError(f"trade {row.id} of {row.qty!r} at {row.price!r}; all three must be above 0")
    at = to_ns(row.time)
    record = _TRADE.pack(row.id, price, quantity, at, 0, -1 if row.isBuyerMaker else 1)
    return encode(
        Kind.trade, instrument.subject, record,
        flags=Flag.REPAIRED, first_id=row.id, last_id=row.id, venue_ns=at, recv_ns=recv_ns,
    )  # fmt: skip


def _last_id(event: bytearray) -> int:
    return struct.unpack_from("<q", event, 112)[0]


class Filter(msgspec.Struct, rename={"kind": "filterType"}):
    kind: str
    tickSize: str = "0"  # noqa: N815
    stepSize: str = "0"  # noqa: N815
    minQty: str = "0"  # noqa: N815
    minNotional: str = "0"  # noqa: N815


class Symbol(msgspec.Struct):
    symbol: str
    status: str = ""
    filters: list[Filter] = []


class ExchangeInfo(msgspec.Struct):
    symbols: list[Symbol] = []


_exchange_info = msgspec.json.Decoder(ExchangeInfo).decode


def decode_exchange_info(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event from `GET /api/v3/exchangeInfo?symbol=…`. Raises FrameError.

    tickSize of PRICE_FILTER, stepSize and minQty of LOT_SIZE, minNotional of NOTIONAL or the older MIN_NOTIONAL;
    0 where the venue has no such rule.
    """
    try:
        symbols = [symbol for symbol in _exchange_info(body).symbols if symbol.symbol == instrument.symbol]
        if not symbols:
            raise FrameError(f"exchangeInfo has no symbol {instrument.symbol}")
        rules = {rule.kind: rule for rule in symbols[0].filters}
        nothing = Filter(kind="")
        price, lot = rules.get("PRICE_FILTER", nothing), rules.get("LOT_SIZE", nothing)
        notional = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL", nothing)
        record = np.zeros(1, DTYPES[Kind.instrument])
        record["price_exponent"] = instrument.price_exponent
        record["quantity_exponent"] = instrument.quantity_exponent
        record["tick_size"] = mantissa(price.tickSize, instrument.price_exponent)
        record["lot_size"] = mantissa(lot.stepSize, instrument.quantity_exponent)
        record["min_quantity"] = mantissa(lot.minQty, instrument.quantity_exponent)
        record["min_notional"] = mantissa(notional.minNotional, instrument.price_exponent)
    except (msgspec.DecodeError, UnicodeDecodeError, DecimalError) as error:
        raise FrameError(f"not an exchangeInfo of {instrument.symbol}: {error}") from None
    return encode(Kind.instrument, instrument.subject, record, recv_ns=recv_ns)
