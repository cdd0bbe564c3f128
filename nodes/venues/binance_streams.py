"""Binance's market streams, spot and USD-M: one frame of a combined stream in, one event out. Sans I/O.

The functions here read any spelling of a message, exactly; most messages come in the venue's usual form, which compiled code
reads (scanning/), with the same result: a property test compares the two.

Payloads: Binance spot, "WebSocket Streams"; USD-M futures, "Websocket Market Streams".
"""

import struct
from collections.abc import Callable, Iterable

import msgspec

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import add_flags
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.times import MILLISECONDS_BELOW, checked_time, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Writer, unless_odd
from tickmesh.nodes.venues.scanning.forms import StreamForms, UsualForms

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

# The usual forms, in which the venue writes (see scanning/forms.py), behind the stream's name.
_PRICES = b',"s":"<symbol>","b":"<bid>","B":"<bid_lots>","a":"<ask>","A":"<ask_lots>"'
_TRADED = b'"t":<id>,"p":"<price>","q":"<quantity>"'
_LEVELS = b',"b":<bids>,"a":<asks>}}'
SPOT_TRADE = b',"data":{"e":"trade","E":<event>,"s":"<symbol>",' + _TRADED + b',"T":<at>,"m":<sold>,"M":<truth>}}'
USDM_TRADE = b',"data":{"e":"trade","E":<event>,"T":<at>,"s":"<symbol>",' + _TRADED + b',"X":"MARKET","m":<sold>}}'
SPOT_QUOTE = b',"data":{"u":<id>' + _PRICES + b"}}"
USDM_QUOTE = b',"data":{"e":"bookTicker","u":<id>' + _PRICES + b',"T":<at>,"E":<event>}}'
SPOT_DEPTH = b',"data":{"e":"depthUpdate","E":<event>,"s":"<symbol>","U":<first>,"u":<id>' + _LEVELS
USDM_DEPTH = (
    b',"data":{"e":"depthUpdate","E":<event>,"T":<number>,"s":"<symbol>","U":<first>,"u":<id>,"pu":<previous>' + _LEVELS
)


class StreamReader:
    """Everything needed to read the frames of one instrument's stream: symbol, usual form, the writer of its events.

    `form`: of its frames, or b"". `voids`: ids that stand for no trade, each with the first of the run of such ids that it
    ends; the newest VOIDS_KEPT. `book`: the subject whose book its messages change, or "".
    """

    def __init__(self, name: str, instrument: Instrument, kind: Kind, form: bytes = b""):
        self.symbol = instrument.symbol
        self.out = Writer(instrument)
        self.kind, self.form = kind, form
        self.voids: dict[int, int] = {}
        self.book = instrument.subject if kind == Kind.depth else ""

    def highest_void(self) -> int:
        """The highest id that stands for no trade; −1 for none."""
        return max(self.voids, default=-1)

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


Channel = tuple[str, FrameDecoder, Kind, bytes]  # its name, what decodes its frames, what they give, their usual form or b""


def routes(instruments: Iterable[Instrument], channels: Iterable[Channel]) -> Routes:
    """Builds a table by stream name: (function that decodes its frames, stream)."""
    known: Routes = {}
    for instrument in instruments:
        for channel, function, kind, form in channels:
            name = f"{instrument.symbol.lower()}@{channel}"
            known[name] = (function, StreamReader(name, instrument, kind, form))
    return known


def forms(known: Routes) -> UsualForms:
    """The usual forms of the frames of these streams."""
    return UsualForms(
        b",",
        [
            StreamForms(
                b'{"stream":"%s"' % name.encode(), stream.kind, stream.out.instrument, (stream.form,) if stream.form else (),
                stream.highest_void,
            )
            for name, (_, stream) in known.items()
        ],
    )  # fmt: skip


def spot_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@trade` on spot. Raises one of UNREADABLE for a damaged one."""
    events = _trade_events(frame, recv_ns, stream)
    if not events:
        raise DecimalError("X is not MARKET and q is 0, as in a trade of USD-M: spot has none such")
    return events[0]


def usdm_trade(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray | None:
    """The event of a USD-M `@trade` frame, flagged OFF_BOOK where X is not MARKET; None for an id that is no trade, of quantity
    0, which the next one covers."""
    events = _trade_events(frame, recv_ns, stream)
    return events[0] if events else None


def _trade_events(frame: bytes, recv_ns: int, stream: StreamReader) -> list[bytearray]:
    data = _trade(frame).data
    stream.check_symbol(data.s)
    out = stream.out
    price_ticks, quantity_lots = out.price(data.p), out.quantity(data.q)
    if data.X != MARKET and not quantity_lots:
        stream.add_void(data.t)
        return []
    if not (price_ticks and quantity_lots and data.t >= 0):
        raise DecimalError(f"trade {data.t} of {data.q!r} at {data.p!r}; all three must be above 0")
    first_id = stream.voids.get(data.t - 1, data.t)
    event_ns, side = to_ns(data.E), -1 if data.m else 1
    event = out.trade(first_id, data.t, event_ns, recv_ns, data.t, price_ticks, quantity_lots, to_ns(data.T), event_ns, side)
    if data.X != MARKET:
        add_flags(event, Flag.OFF_BOOK)
    return [event]


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


def quote(frame: bytes, recv_ns: int, stream: StreamReader) -> bytearray:
    """The event of a frame of `<symbol>@bookTicker`; on spot it has no time. Raises one of UNREADABLE for a damaged one."""
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
