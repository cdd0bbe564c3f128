"""Coinbase Exchange, market data without a key. Sans I/O.

Protocol: Coinbase Exchange API, "WebSocket Feed" (overview, channels, errors) and REST "Products". Trades have ids that are
contiguous for each product; the book (level2_batch) has neither ids nor checksum; `side` of a match is the MAKER's, of a ticker
the taker's (both proven on recorded traffic).

Looked through on 2026-11-29: the venue's pages on limits and channels and ccxt 4.5.90; all is as here (docs/venues.md).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

from tickmesh.bus.schema import Flag
from tickmesh.bus.settings import FeedSettings, Instrument, InstrumentSettings
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind, no_forms, no_recent_trades, no_snapshot, no_snapshot_answer
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE
from tickmesh.nodes.venues.books.streamed import StreamedBook
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.dialect import (
    UNREADABLE,
    Control,
    FrameError,
    OddRows,
    Question,
    Request,
    RestRules,
    Unknown,
    Unwell,
)
from tickmesh.nodes.venues.parsing.listing import Listed, read_listed
from tickmesh.nodes.venues.parsing.names import separated
from tickmesh.nodes.venues.parsing.times import rfc3339_ns, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Routes, Writer, book_subject

VENUE = "coinbase"
WS = ("wss://ws-feed.exchange.coinbase.com",)
REST = ("https://api.exchange.coinbase.com",)
REST_RULES = RestRules()
QUIET_S = 10.0  # a heartbeat comes every second and product
PING, PING_S = None, 0.0
LIFE_S = 0.0
CLOCK_STEP_NS = 0
CONNECTIONS_PER_5_MINUTES = 2400  # 8 in a second
MESSAGES_PER_S = 10.0
WEIGHT_PER_MINUTE = 600
REQUESTS_PER_S = 10.0  # of an address
HISTORY: HistoryKind = "backward"
HISTORY_ROWS = 1000
UNKNOWN = ((404, 0),)
INSTRUMENTS_MAX = 0
FRAME_BYTES_MAX = 16 << 20  # a whole book; as an event it is about as large, and may have as much (bus.wire)
BOOK: BookKind = "stream"
CHANNELS = ("matches", "ticker", "level2_batch", "heartbeat")
AGGRESSOR = {"buy": -1, "sell": 1}  # the maker bought: the aggressor sold
LEVEL_SIDE = {"buy": 1, "sell": -1}


class Match(msgspec.Struct, gc=False):
    """A trade: `match`, or `last_match`, the one before the subscription. `side` is the maker's."""

    trade_id: int
    product_id: str
    size: str
    price: str
    side: str
    time: str


class Ticker(msgspec.Struct, gc=False):
    """`ticker`: best bid and ask after a match; a size is 0 where it is not stated (the venue added them later)."""

    sequence: int
    product_id: str
    best_bid: str
    best_ask: str
    time: str = ""
    best_bid_size: str = "0"
    best_ask_size: str = "0"


class _Snapshot(msgspec.Struct):
    product_id: str
    bids: msgspec.Raw
    asks: msgspec.Raw
    time: str = ""


class Update(msgspec.Struct, gc=False):
    """`l2update`: changes of levels as (side, price, size); sizes are absolute, 0 removes."""

    product_id: str
    changes: list[tuple[str, str, str]]
    time: str = ""


class _Message(msgspec.Struct):
    """What else comes."""

    type: str
    message: str = ""
    reason: str = ""


class Product(msgspec.Struct):
    """`GET /products/<id>`. base_min_size was withdrawn, min_market_funds is the least cost."""

    id: str
    quote_increment: str
    base_increment: str
    base_min_size: str = "0"
    min_market_funds: str = "0"
    status: str = "online"
    trading_disabled: bool = False

    @property
    def standing(self) -> str:
        """The venue's own word where it is not traded; "" where it is."""
        return self.status if self.status != "online" else "trading_disabled" if self.trading_disabled else ""


class _Named(msgspec.Struct):
    id: str


class _Time(msgspec.Struct):
    iso: str


class _Row(msgspec.Struct):
    trade_id: int
    side: str
    size: str
    price: str
    time: str


# For refusals: a book's message, and its product.
_BOOK_OF = re.compile(rb'"type"\s*:\s*"(?:snapshot|l2update)".*?"product_id"\s*:\s*"([^"]+)"', re.DOTALL)
_match = msgspec.json.Decoder(Match).decode
_ticker = msgspec.json.Decoder(Ticker).decode
_book = msgspec.json.Decoder(_Snapshot).decode
_update = msgspec.json.Decoder(Update).decode
_message = msgspec.json.Decoder(_Message).decode
_product = msgspec.json.Decoder(Product).decode
_named = msgspec.json.Decoder(_Named).decode
_time = msgspec.json.Decoder(_Time).decode
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_row = msgspec.json.Decoder(_Row).decode


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path after the base address; the same for all instruments."""
    return "/"


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """One subscribe message a product, since an unknown product has its whole message refused; the first is due in 5 s."""
    for instrument in instruments:
        yield _request("subscribe", [instrument.symbol], CHANNELS if books else [c for c in CHANNELS if c != "level2_batch"])


def resubscribe(instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
    """Messages that end and begin the book's channel anew: it begins with a snapshot."""
    yield _request("unsubscribe", [instrument.symbol], ("level2_batch",))
    yield _request("subscribe", [instrument.symbol], ("level2_batch",))


def _request(kind: str, symbols: list[str], channels: Iterable[str]) -> str:
    return msgspec.json.encode({"type": kind, "product_ids": symbols, "channels": list(channels)}).decode()


def book(instrument: Instrument, settings: FeedSettings) -> StreamedBook:
    """A new rule for an instrument's book: a snapshot on the stream, then changes that nothing proves."""
    return StreamedBook(instrument)


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: the Writer of each instrument, by its symbol."""
    return {instrument.symbol: Writer(instrument) for instrument in instruments}


def decode(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """The events of one message, one or none. Raises FrameError when it cannot be read, OddRows when some rows cannot."""
    start = b""
    try:
        # The type stands at the front, so the frame is parsed once, into the one type that it must have.
        start = frame[9 : frame.find(b'"', 9)] if frame.startswith(b'{"type":"') else _message(frame).type.encode()
        event_of = _EVENTS.get(start)
        if event_of is None:
            _message(frame)
            return []
        return [event_of(frame, recv_ns, known)]
    except OddRows:
        raise
    except UNREADABLE as error:
        why = f"not a Coinbase message: {error}"
        if start in (b"match", b"last_match", b"ticker"):  # no book's
            raise OddRows([why]) from None
        raise FrameError(why, book_subject(frame, _BOOK_OF, known)) from None


def book_of(head: bytes, known: Routes) -> str:
    """The subject whose book a message that begins with `head` would change; "" where that is not enough to know."""
    return book_subject(head, _BOOK_OF, known)


def control(frame: bytes) -> Control:
    """The meaning of a message without events: an acknowledgement, a refusal, an announced end, or nothing."""
    message = _message(frame)
    if message.type == "error":
        return Control(refused=True, code=message.message, msg=message.reason)
    return Control(acknowledged=message.type == "subscriptions")


def _product_of(known: Routes, product: str) -> Writer:
    if product not in known:
        raise DecimalError(f"product {product!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
    return known[product]


def _side(sides: dict[str, int], side: str) -> int:
    if side not in sides:
        raise DecimalError(f"side {side!r}; buy or sell is needed")
    return sides[side]


def _trade_event(frame: bytes, recv_ns: int, known: Routes) -> bytearray:
    data = _match(frame)
    out = _product_of(known, data.product_id)
    price, quantity = out.price(data.price), out.quantity(data.size)
    if not (price and quantity and data.trade_id >= 0):
        raise DecimalError(f"trade {data.trade_id} of {data.size!r} at {data.price!r}; all three must be above 0")
    at, trade_id = rfc3339_ns(data.time), data.trade_id
    return out.trade(trade_id, trade_id, at, recv_ns, trade_id, price, quantity, at, at, _side(AGGRESSOR, data.side))


def _quote_event(frame: bytes, recv_ns: int, known: Routes) -> bytearray:
    data = _ticker(frame)
    out = _product_of(known, data.product_id)
    odd: list[str] = []
    at = time_or_zero(rfc3339_ns, data.time, odd)
    event = out.quote(
        data.sequence, data.sequence, at, recv_ns, data.sequence, out.price(data.best_bid), out.quantity(data.best_bid_size),
        out.price(data.best_ask), out.quantity(data.best_ask_size), at,
    )  # fmt: skip
    return writer.unless_odd([event], odd)[0]


def _snapshot_event(frame: bytes, recv_ns: int, known: Routes) -> bytearray:
    data = _book(frame)
    out, odd = _product_of(known, data.product_id), list[str]()
    records = out.side(bytes(data.bids), 1, odd) + out.side(bytes(data.asks), -1, odd)
    event = out.snapshot(records, out.depth_ids.take(recv_ns), time_or_zero(rfc3339_ns, data.time, odd), recv_ns)
    return writer.unless_odd([event], odd)[0]


def _change_event(frame: bytes, recv_ns: int, known: Routes) -> bytearray:
    data = _update(frame)
    out, odd = _product_of(known, data.product_id), list[str]()
    records = b"".join(out.levels(((price, size),), _side(LEVEL_SIDE, side), odd) for side, price, size in data.changes)
    at, number = time_or_zero(rfc3339_ns, data.time, odd), out.depth_ids.take(recv_ns)
    return writer.unless_odd([out.depth(records or EMPTY_CHANGE, number, number, at, recv_ns)], odd)[0]


_EVENTS = {
    b"match": _trade_event,
    b"last_match": _trade_event,
    b"ticker": _quote_event,
    b"snapshot": _snapshot_event,
    b"l2update": _change_event,
}


def definitions(instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
    """One question: for one product, or for all of the venue where several are wanted."""
    path = f"/products/{quote(instruments[0].symbol, safe='')}" if len(instruments) == 1 else "/products"
    yield Question(Request(path), tuple(instruments))


def spell(name: str) -> str:
    """The name in capitals, with a hyphen between its assets: BTC-USD."""
    return separated(name, "-")


def listings() -> Iterator[Request]:
    """One request for all products."""
    yield Request("/products")


def listed(body: bytes) -> dict[str, Listed]:
    """All products of an answer, by name. Raises FrameError."""
    try:
        return read_listed(_products(body).values(), _listed)
    except UNREADABLE as error:
        raise FrameError(f"not a list of products: {error}") from None


def _listed(row: msgspec.Raw) -> Listed:
    one = _product(row)
    return Listed(one.id, one.quote_increment, one.base_increment, one.standing)


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one product in an answer of `GET /products`. Raises Unknown, Unwell, FrameError."""
    try:
        known = _products(body)
        if not known:
            raise Unwell("the list of products is empty")
        if instrument.symbol not in known:
            raise Unknown(f"the venue has no product {instrument.symbol}")
        data = _product(known[instrument.symbol])
        return writer.definition(
            instrument, recv_ns, tick_size=data.quote_increment, lot_size=data.base_increment,
            min_quantity=data.base_min_size, min_notional=data.min_market_funds,
        )  # fmt: skip
    except (Unknown, Unwell):
        raise
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None


@lru_cache(maxsize=1)
def _products(body: bytes) -> dict[str, msgspec.Raw]:
    """By id, each unread, of the answer about one product or about all: an odd one costs no other."""
    rows = _rows(body) if body.lstrip()[:1] == b"[" else [msgspec.Raw(body)]
    return {_named(row).id: row for row in rows}


def standing(body: bytes, instrument: Instrument) -> str:
    """The venue's own word for an instrument that it does not trade (delisted, …); "" for one that it trades."""
    return _product(_products(body)[instrument.symbol]).standing


snapshot, decode_snapshot = no_snapshot, no_snapshot_answer


def history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request:
    """The request for the 1000 trades from `first_id` on; near the newest one the page begins below `first_id`.

    It pages backwards: `after` is older than an id, newest first. `until_id`: those before this one instead.
    """
    after = until_id or first_id + HISTORY_ROWS
    return Request(f"/products/{instrument.symbol}/trades", {"limit": HISTORY_ROWS, "after": after})


recent_trades = no_recent_trades
forms = no_forms


def decode_history(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The trade events of a page of `history`, flagged REPAIRED, ascending by id. Raises FrameError, Unwell."""
    writer.refuse_unwell(body, instrument)
    try:
        rows = _rows(body)
    except UNREADABLE as error:
        raise FrameError(f"no trades of {instrument.symbol}: {error}") from None
    out = Writer(instrument)

    def read(raw: msgspec.Raw) -> writer.PublicTrade:
        row = _row(raw)
        at = rfc3339_ns(row.time)
        return writer.PublicTrade(
            row.trade_id, out.fill(row.trade_id, row.price, row.size, at, 0, _side(AGGRESSOR, row.side)), at
        )

    return writer.page_events(rows, read, lambda fills: out.runs(fills, recv_ns, Flag.REPAIRED))


def clock() -> Request:
    """The request for the venue's time."""
    return Request("/time")


def decode_clock(body: bytes) -> int:
    """The venue's time in the answer to `clock`, ns. Raises FrameError."""
    try:
        return rfc3339_ns(_time(body).iso)
    except UNREADABLE as error:
        raise FrameError(f"not the venue's time: {error}") from None
