"""Binance's market streams, spot and USD-M: one frame of a combined stream in, one event out. Sans I/O.

A trade or a best price in the very form in which the venue writes it is read by one regular expression, several times as
fast as by typed decoding and an encoder; any other spelling of the same JSON goes through msgspec, with the same result (a
property test compares the two). Payloads: Binance spot, "WebSocket Streams"; USD-M futures, "Websocket Market Streams".
"""

import re
import struct
from collections.abc import Callable, Iterable

import msgspec

from tickmesh.bus.schema import Flag
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import add_flags
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.times import checked_time, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Writer, unless_odd

# A time in ms or in µs is told by its size: 10^14 ms is the year 5138, 10^14 µs was 1973.
MILLISECONDS_BELOW = 100_000_000_000_000
VOIDS_KEPT = 1024
# `X` of a trade that met the book. Others (INSURANCE_FUND, ADL, whatever comes to be) are fills of the venue's own making, at
# prices that nobody quoted; NA with a quantity of 0 is an id that stands for nothing.
MARKET = "MARKET"


class _Trade(msgspec.Struct, gc=False):
    """`<symbol>@trade`: one message per fill. `m`: the buyer is the maker, so the taker sold. `X`: USD-M only, see MARKET."""

    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool
    X: str = MARKET


class AggregateTrade(msgspec.Struct, gc=False):
    """`<symbol>@aggTrade`: the fills f…l of one taker order at one price."""

    E: int
    s: str
    f: int
    l: int  # noqa: E741 (the venue's name)
    p: str
    q: str
    T: int
    m: bool


class BookTicker(msgspec.Struct, gc=False):
    """`<symbol>@bookTicker`: best bid and ask. Spot sends no time."""

    u: int
    s: str
    b: str
    B: str
    a: str
    A: str
    T: int = 0
    E: int = 0


class DepthUpdate(msgspec.Struct, gc=False):
    """`<symbol>@depth…`: absolute quantities per level, ids U…u inclusive; USD-M's follow on `pu` of the one before."""

    E: int
    s: str
    U: int
    u: int
    b: msgspec.Raw
    a: msgspec.Raw
    pu: int | None = None


class TradeFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream with a trade."""

    data: _Trade


class AggregateTradeFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream with an aggregate trade."""

    data: AggregateTrade


class BookTickerFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream with the best prices."""

    data: BookTicker


class DepthFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream with a depth change."""

    data: DepthUpdate


_trade = msgspec.json.Decoder(TradeFrame).decode
_aggregate_trade = msgspec.json.Decoder(AggregateTradeFrame).decode
_book_ticker = msgspec.json.Decoder(BookTickerFrame).decode
_depth = msgspec.json.Decoder(DepthFrame).decode

NUMBER = rb"([1-9][0-9]{0,17})"
DECIMAL = rb'"([0-9.]{1,20})"'
TRUTH = rb"(true|false)"
SPOT_TRADE = (
    b'"e":"trade","E":' + NUMBER + b',"s":"%s","t":' + NUMBER + b',"p":' + DECIMAL + b',"q":' + DECIMAL
    + b',"T":' + NUMBER + b',"m":' + TRUTH + b',"M":(?:true|false)'
)  # fmt: skip
USDM_TRADE = (
    b'"e":"trade","E":' + NUMBER + b',"T":' + NUMBER + b',"s":"%s","t":' + NUMBER + b',"p":' + DECIMAL + b',"q":' + DECIMAL
    + b',"X":"MARKET","m":' + TRUTH
)  # fmt: skip
PRICES = b',"s":"%s","b":' + DECIMAL + b',"B":' + DECIMAL + b',"a":' + DECIMAL + b',"A":' + DECIMAL
SPOT_QUOTE = b'"u":' + NUMBER + PRICES
USDM_QUOTE = b'"e":"bookTicker","u":' + NUMBER + PRICES + b',"T":' + NUMBER + b',"E":' + NUMBER


class StreamReader:
    """Everything needed to read the frames of one instrument's stream: symbol, usual form, and the writer of its events.

    `usual`: matches a whole frame in the venue's own spelling. `voids`: ids that stand for no trade, each with the first of the
    run of such ids that it ends; the newest VOIDS_KEPT. `book`: the subject whose book its messages change, or "".
    """

    def __init__(self, name: str, instrument: Instrument, form: bytes = b""):
        self.symbol = instrument.symbol
        self.out = Writer(instrument)
        symbol = re.escape(instrument.symbol.encode())
        data = form.replace(b"%s", symbol)
        self.usual = re.compile(rb'\{"stream":"%s","data":\{%s\}\}' % (re.escape(name.encode()), data)).fullmatch
        self.voids: dict[int, int] = {}
        self.book = instrument.subject if "@depth" in name else ""

    def add_void(self, trade_id: int) -> None:
        """Takes notice of an id that stands for no trade: the next trade covers it. Two connections may bring the same."""
        self.voids[trade_id] = self.voids.get(trade_id - 1, trade_id)
        if len(self.voids) > VOIDS_KEPT:
            del self.voids[next(iter(self.voids))]

    def check_symbol(self, symbol: str) -> None:
        """Raises DecimalError for a message of another symbol than the stream's."""
        if symbol != self.symbol:
            raise DecimalError(f"symbol {symbol!r} on the stream of {self.symbol}")


FrameDecoder = Callable[[bytes, int, StreamReader], bytearray | None]  # frame, recv_ns, its stream → event
Routes = dict[str, tuple[FrameDecoder, StreamReader]]  # by the stream's name


def routes(instruments: Iterable[Instrument], channels: Iterable[tuple[str, FrameDecoder, bytes]]) -> Routes:
    """Builds a table by stream name: (function that decodes its frames, stream). `channels`: (name, function, usual form)."""
    known: Routes = {}
    for instrument in instruments:
        for channel, function, form in channels:
            name = f"{instrument.symbol.lower()}@{channel}"
            known[name] = (function, StreamReader(name, instrument, form))
    return known


def spot_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@trade` on spot. Raises one of UNREADABLE for a damaged one."""
    usual = stream.usual(frame)
    if usual is None:
        events = _other_trade(frame, recv_ns, stream)
        if not events:
            raise DecimalError("X is not MARKET and q is 0, as in a trade of USD-M: spot has none such")
        return events[0]
    event_time, trade_id, price, quantity, time, maker_bought = usual.groups()
    return _trade_event(stream, int(trade_id), price, quantity, int(event_time), int(time), maker_bought == b"true", recv_ns)


def usdm_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray | None:
    """The event of a USD-M `@trade` frame, flagged OFF_BOOK where X is not MARKET; None for an id that is no trade, of quantity
    0, which the next one covers."""
    usual = stream.usual(frame)
    if usual is None:
        events = _other_trade(frame, recv_ns, stream)
        return events[0] if events else None
    event_time, time, trade_id, price, quantity, maker_bought = usual.groups()
    return _trade_event(stream, int(trade_id), price, quantity, int(event_time), int(time), maker_bought == b"true", recv_ns)


def _other_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> list[bytearray]:
    data = _trade(frame).data
    stream.check_symbol(data.s)
    if data.X != MARKET and not stream.out.quantity(data.q):
        stream.add_void(data.t)
        return []
    event = _trade_event(stream, data.t, data.p, data.q, data.E, data.T, data.m, recv_ns)
    if data.X != MARKET:
        add_flags(event, Flag.OFF_BOOK)
    return [event]


def _trade_event(
    stream: StreamReader, trade_id: int, price: bytes | str, quantity: bytes | str, event_time: int, time: int, sold: bool,
    recv_ns: int,
) -> bytearray:  # fmt: skip
    out = stream.out
    price_ticks, quantity_lots = out.price(price), out.quantity(quantity)
    if not (price_ticks and quantity_lots and trade_id >= 0):
        raise DecimalError(f"trade {trade_id} of {quantity!r} at {price!r}; all three must be above 0")
    first_id = stream.voids.get(trade_id - 1, trade_id) if stream.voids else trade_id
    event_ns = event_time * (1_000_000 if event_time < MILLISECONDS_BELOW else 1_000)
    trade_ns = time * (1_000_000 if time < MILLISECONDS_BELOW else 1_000)
    return out.trade(
        first_id, trade_id, event_ns, recv_ns, trade_id, price_ticks, quantity_lots, trade_ns, event_ns, -1 if sold else 1
    )


def aggregate_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of an `@aggTrade` frame: one record for the fills f…l, whose id is the last one's; the event covers all."""
    data = _aggregate_trade(frame).data
    stream.check_symbol(data.s)
    out = stream.out
    price, quantity = out.price(data.p), out.quantity(data.q)
    if not (price and quantity and 0 <= data.f <= data.l):
        raise DecimalError(f"trades f={data.f} to l={data.l} of {data.q!r} at {data.p!r}; all must be above 0 and f ≤ l")
    event_ns = to_ns(data.E)
    return out.trade(data.f, data.l, event_ns, recv_ns, data.l, price, quantity, to_ns(data.T), event_ns, -1 if data.m else 1)


def spot_quote(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@bookTicker` on spot, which has no time. Raises one of UNREADABLE for a damaged one."""
    usual = stream.usual(frame)
    if usual is None:
        return _other_quote(frame, recv_ns, stream)
    update_id, bid, bid_size, ask, ask_size = usual.groups()
    out, last_id = stream.out, int(update_id)
    price, quantity = out.price, out.quantity
    return out.quote(last_id, last_id, 0, recv_ns, last_id, price(bid), quantity(bid_size), price(ask), quantity(ask_size), 0)


def usdm_quote(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@bookTicker` on USD-M. Raises one of UNREADABLE for a damaged one."""
    usual = stream.usual(frame)
    if usual is None:
        return _other_quote(frame, recv_ns, stream)
    update_id, bid, bid_size, ask, ask_size, time, event_time = usual.groups()
    out, last_id = stream.out, int(update_id)
    price, quantity = out.price, out.quantity
    return out.quote(
        last_id, last_id, to_ns(int(event_time)), recv_ns,
        last_id, price(bid), quantity(bid_size), price(ask), quantity(ask_size), to_ns(int(time)),
    )  # fmt: skip


def _other_quote(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    data = _book_ticker(frame).data
    stream.check_symbol(data.s)
    out = stream.out
    return out.quote(
        data.u, data.u, to_ns(data.E), recv_ns,
        data.u, out.price(data.b), out.quantity(data.B), out.price(data.a), out.quantity(data.A), to_ns(data.T),
    )  # fmt: skip


def spot_depth(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@depth…` on spot, of ids U…u. Raises one of UNREADABLE for a damaged one, OddRows."""
    data = _depth(frame).data
    return _depth_event(data, data.U, recv_ns, stream)


def usdm_depth(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a USD-M `@depth…` frame. Ids are counted over all symbols there, so the event's begin after `pu`."""
    data = _depth(frame).data
    if data.pu is None or not data.pu < data.U:
        raise DecimalError(f"a depth change of ids U={data.U} to u={data.u} after pu={data.pu}; pu < U is needed")
    return _depth_event(data, max(data.pu + 1, 0), recv_ns, stream)


def _depth_event(data: DepthUpdate, first_id: int, recv_ns: int, stream: StreamReader) -> bytearray:
    stream.check_symbol(data.s)
    if not 0 <= data.U <= data.u:
        raise DecimalError(f"a depth change of ids U={data.U} to u={data.u}; U ≤ u is needed")
    out, odd = stream.out, list[str]()
    records = out.side(bytes(data.b), 1, odd) + out.side(bytes(data.a), -1, odd)
    event = out.depth(records or EMPTY_CHANGE, first_id, data.u, time_or_zero(_held_ns, data.E, odd), recv_ns)
    return unless_odd([event], odd)[0]


def _held_ns(stamp: int) -> int:
    return checked_time(to_ns(stamp), stamp)


def to_ns(stamp: int) -> int:
    """A venue time in ms, or in µs where the connection asked for `timeUnit=MICROSECOND`, as ns since the epoch."""
    return stamp * (1_000_000 if stamp < MILLISECONDS_BELOW else 1_000)


def unreadable(error: Exception) -> str:
    """The sentence for an error of UNREADABLE; `struct` has no words of its own for a number beyond 64 bits."""
    return "an id or a time does not fit 64 bits" if isinstance(error, struct.error) else str(error)
