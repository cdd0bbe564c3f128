"""Binance USD-M futures, market data. Sans I/O; what is the same as on spot is spot's (`binance`, `binance_streams`).

Protocol: USD-M futures API, "Websocket Market Streams" (trade, book ticker, diff book depth, local order book), REST "Market
data". Unlike spot: depth ids are counted over all symbols, each change names the one before it (`pu`); book tickers have times;
old trades by id want an API key (X-MBX-APIKEY), which a feed has not, so a gap in `history` may be refused.

Looked through on 2026-11-29: the venue's pages on routed streams, ccxt 4.5.90, and two clients' measurements (docs/venues.md).
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument, InstrumentSettings
from tickmesh.nodes.venues import binance, binance_streams
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind
from tickmesh.nodes.venues.binance_definitions import symbols
from tickmesh.nodes.venues.binance_streams import Routes, to_ns
from tickmesh.nodes.venues.books.booksync import BookSync
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, Question, Request, Unknown, Unwell
from tickmesh.nodes.venues.parsing.listing import Listed, read_listed
from tickmesh.nodes.venues.parsing.names import squeezed
from tickmesh.nodes.venues.parsing.writer import Writer

VENUE = "binance_usdm"
WS = ("wss://fstream.binance.com",)
REST = ("https://fapi.binance.com",)
REST_RULES = binance.REST_RULES
QUIET_S = 60.0  # the server pings every 3 minutes only: it is the answers to our own pings that are heard
PING, PING_S = None, 0.0
LIFE_S = 86_400.0
CLOCK_STEP_NS = 0
CONNECTIONS_PER_5_MINUTES = binance.CONNECTIONS_PER_5_MINUTES
MESSAGES_PER_S = 5.0  # of 10 allowed
WEIGHT_PER_MINUTE = 2400
REQUESTS_PER_S = 0.0
HISTORY: HistoryKind = "forward"
UNKNOWN = ((400, -1121),)
INSTRUMENTS_MAX = 341  # of three streams each; the 1025th of a connection ends it, with all others
FRAME_BYTES_MAX = 8 << 20
BOOK: BookKind = "rest"
SUBSCRIBED = ("trade", "bookTicker", "depth@100ms")
# The venue's entries for market data (the account's is /private), and the streams of the first; all others are the second's.
PUBLIC, MARKET = "/public", "/market"
PUBLIC_STREAMS = ("trade", "bookTicker", "depth", "rpiDepth")
# Of these `decode` makes events: other speeds and aggregates are in captures.
CHANNELS = (
    ("trade", binance_streams.usdm_trade, Kind.trade, binance_streams.USDM_TRADE),
    ("aggTrade", binance_streams.aggregate_trade, Kind.trade, b""),
    ("bookTicker", binance_streams.quote, Kind.quote, binance_streams.USDM_QUOTE),
    ("depth@0ms", binance_streams.usdm_depth, Kind.depth, binance_streams.USDM_DEPTH),
    ("depth@100ms", binance_streams.usdm_depth, Kind.depth, binance_streams.USDM_DEPTH),
)
DEPTH_WEIGHTS = ((50, 2.0), (100, 5.0), (500, 10.0), (1000, 20.0))  # limits that the venue takes


class _Filter(msgspec.Struct, rename={"kind": "filterType"}):
    kind: str
    tickSize: str = "0"  # noqa: N815
    stepSize: str = "0"  # noqa: N815
    minQty: str = "0"  # noqa: N815
    notional: str = "0"


class _Symbol(msgspec.Struct):
    symbol: str
    status: str = ""
    filters: list[_Filter] = []

    def rule(self, kind: str) -> _Filter:
        """The filter of this kind; zeros where the symbol has none."""
        return next((rule for rule in self.filters if rule.kind == kind), _Filter(""))

    @property
    def standing(self) -> str:
        """The venue's own word where it is not traded; "" where it is."""
        return "" if self.status in ("", "TRADING") else self.status


class _Snapshot(msgspec.Struct):
    """`GET /fapi/v1/depth`: as on spot, with times."""

    lastUpdateId: int  # noqa: N815
    bids: msgspec.Raw
    asks: msgspec.Raw
    E: int = 0


class _HistoryRow(msgspec.Struct):
    """One of `GET /fapi/v1/historicalTrades` or `/fapi/v1/trades`."""

    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815


_symbol = msgspec.json.Decoder(_Symbol).decode
_snapshot = msgspec.json.Decoder(_Snapshot).decode
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_row = msgspec.json.Decoder(_HistoryRow).decode
_time = msgspec.json.Decoder(_Time).decode

decode = binance.decode
forms = binance.forms
control = binance.control
book_of = binance.book_of
resubscribe = binance.resubscribe


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path after the base address: the entry of the streams that are subscribed; one for all instruments."""
    return f"{PUBLIC}/stream"


def entry_of(channel: str) -> str:
    """The entry, PUBLIC or MARKET, whose connections bring a channel such as bookTicker, depth20@100ms or aggTrade."""
    name = channel.partition("@")[0].rstrip("0123456789")
    return PUBLIC if name in PUBLIC_STREAMS else MARKET


def stream_names(symbols: Iterable[str], channels: Sequence[str], entry: str) -> list[str]:
    """The names of these streams, to subscribe on a connection of `entry`. Raises ValueError for a channel of the other one.

    The venue acknowledges such a subscription like every other, and then sends nothing: it has to be refused here.
    """
    for channel in channels:
        if (own := entry_of(channel)) != entry:
            raise ValueError(
                f"@{channel} is a stream of {own}; on a connection of {entry} the venue acknowledges it and sends nothing: "
                f"subscribe it on a connection to {WS[0]}{own}/stream"
            )
    return [f"{symbol.lower()}@{channel}" for symbol in symbols for channel in channels]


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """SUBSCRIBE messages for all streams; the answer says nothing about whether a stream exists."""
    named = [instrument.symbol for instrument in instruments if instrument.symbol == instrument.symbol.upper()]
    channels = [channel for channel in SUBSCRIBED if books or not channel.startswith("depth")]
    names = stream_names(named, channels, PUBLIC)
    for number, start in enumerate(range(0, len(names), binance.STREAMS_PER_SUBSCRIBE), 1):
        request = {"method": "SUBSCRIBE", "params": names[start : start + binance.STREAMS_PER_SUBSCRIBE], "id": number}
        yield msgspec.json.encode(request).decode()


def book(instrument: Instrument, settings: FeedSettings) -> BookSync:
    """A new rule for an instrument's book: changes joined by their ids to a snapshot by REST."""
    return BookSync()


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: by stream name, the function that decodes its frames, and the stream."""
    return binance_streams.routes(instruments, CHANNELS)


def definitions(instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
    """One question for all symbols of the venue, which does not answer about one."""
    yield Question(Request("/fapi/v1/exchangeInfo"), tuple(instruments))


def spell(name: str) -> str:
    """The name in capitals and without a separator but that of a delivery date: BTCUSDT, BTCUSDT_240628."""
    pair, underscore, day = name.upper().strip().rpartition("_")
    return f"{squeezed(pair)}_{day}" if underscore and day.isdigit() else squeezed(name)


def listings() -> Iterator[Request]:
    """The request of `definitions`: it is about all symbols as it is."""
    yield Request("/fapi/v1/exchangeInfo")


def listed(body: bytes) -> dict[str, Listed]:
    """All symbols of an exchangeInfo, by name. Raises FrameError."""
    try:
        return read_listed(symbols(body).values(), _listed)
    except UNREADABLE as error:
        raise FrameError(f"not an exchangeInfo: {error}") from None


def _listed(row: msgspec.Raw) -> Listed:
    one = _symbol(row)
    return Listed(one.symbol, one.rule("PRICE_FILTER").tickSize, one.rule("LOT_SIZE").stepSize, one.standing)


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one symbol in an answer of `GET /fapi/v1/exchangeInfo`. Raises Unknown, Unwell, FrameError."""
    try:
        known = symbols(body)
        if not known:
            raise Unwell("exchangeInfo has no symbol at all")
        if instrument.symbol not in known:
            raise Unknown(f"exchangeInfo has no symbol {instrument.symbol}")
        symbol = _symbol(known[instrument.symbol])
        lot = symbol.rule("LOT_SIZE")
        return writer.definition(
            instrument, recv_ns, tick_size=symbol.rule("PRICE_FILTER").tickSize, lot_size=lot.stepSize,
            min_quantity=lot.minQty, min_notional=symbol.rule("MIN_NOTIONAL").notional,
        )  # fmt: skip
    except (Unknown, Unwell):
        raise
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None


def standing(body: bytes, instrument: Instrument) -> str:
    """The venue's own word for an instrument that it does not trade (SETTLING, CLOSE, …); "" for one that it trades."""
    return _symbol(symbols(body)[instrument.symbol]).standing


def snapshot(instrument: Instrument, limit: int) -> Request:
    """The request for a snapshot, of the least depth that the venue offers and that has `limit` levels a side."""
    allowed, weight = next((pair for pair in DEPTH_WEIGHTS if pair[0] >= limit), DEPTH_WEIGHTS[-1])
    return Request("/fapi/v1/depth", {"symbol": instrument.symbol, "limit": allowed}, weight)


def decode_snapshot(body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
    """(lastUpdateId, depth event of that id flagged SNAPSHOT) of `GET /fapi/v1/depth`. Raises FrameError, OddRows."""
    try:
        data, out, odd = _snapshot(body), Writer(instrument), list[str]()
        records = out.side(bytes(data.bids), 1, odd) + out.side(bytes(data.asks), -1, odd)
        event = out.snapshot(records, data.lastUpdateId, to_ns(data.E), recv_ns)
    except UNREADABLE as error:
        raise FrameError(f"not a depth snapshot of {instrument.symbol}: {error}") from None
    return data.lastUpdateId, writer.unless_odd([event], odd)[0]


def history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request:
    """The request for the 500 trades from `first_id` on; the venue may want an API key for old ones, and refuse."""
    query: dict[str, object] = {"symbol": instrument.symbol, "fromId": first_id, "limit": 500}
    return Request("/fapi/v1/historicalTrades", query, 200.0)  # 20 until 2026-07-29


def recent_trades(instrument: Instrument) -> Request:
    """The request for the newest 1000 trades, as many as the venue gives: a fortieth of what a page of `history` costs."""
    return Request("/fapi/v1/trades", {"symbol": instrument.symbol, "limit": 1000}, 5)


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The trade events of a page of either, flagged REPAIRED, ascending by id. Raises FrameError, Unwell."""
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

    return writer.page_events(rows, read, lambda fills: out.runs(fills, recv_ns, Flag.REPAIRED))


def clock() -> Request:
    """The request for the venue's time."""
    return Request("/fapi/v1/time")


def decode_clock(body: bytes) -> int:
    """The venue's time in the answer to `clock`, ns. Raises FrameError."""
    try:
        return to_ns(_time(body).serverTime)
    except UNREADABLE as error:
        raise FrameError(f"not the venue's time: {error}") from None
