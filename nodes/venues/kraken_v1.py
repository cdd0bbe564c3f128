"""Kraken spot, WebSocket v1: for captures, since v2 (`kraken`) is what the venue offers today. Sans I/O.

Protocol: Kraken API, "Spot WebSocket v1" (trade, ticker, spread, book). Data messages are arrays of channel id, one or two
payloads, channel name and pair. Numbers are strings with the precision of which the checksum (`c`, in updates only) is made, so
the instrument's exponents must be that precision; times are decimal seconds. Trades have no ids.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import stamp_checksum
from tickmesh.nodes.venues import kraken
from tickmesh.nodes.venues.adapter import BookKind, HistoryKind, no_forms, no_history, no_history_answer, no_recent_trades
from tickmesh.nodes.venues.books.checked import CheckedBook, crc
from tickmesh.nodes.venues.kraken_definitions import REST_NAMES
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, Control, FrameError, OddRows
from tickmesh.nodes.venues.parsing.listing import Listed
from tickmesh.nodes.venues.parsing.times import seconds_ns, time_or_zero
from tickmesh.nodes.venues.parsing.writer import Routes, Writer, book_subject

VENUE = "kraken_v1"
WS = kraken.WS
REST = kraken.REST
REST_RULES = kraken.REST_RULES
QUIET_S = kraken.QUIET_S
PING, PING_S = None, 0.0
LIFE_S = 0.0
CLOCK_STEP_NS = kraken.CLOCK_STEP_NS
CONNECTIONS_PER_5_MINUTES = kraken.CONNECTIONS_PER_5_MINUTES
MESSAGES_PER_S = kraken.MESSAGES_PER_S
WEIGHT_PER_MINUTE = kraken.WEIGHT_PER_MINUTE
REQUESTS_PER_S = kraken.REQUESTS_PER_S
HISTORY: HistoryKind = "time"
UNKNOWN = kraken.UNKNOWN
INSTRUMENTS_MAX = 0
FRAME_BYTES_MAX = kraken.FRAME_BYTES_MAX
BOOK: BookKind = "checksum"
SIDES = {"b": 1, "s": -1}


class _Book(msgspec.Struct):
    """`as` and `bs` make a snapshot; `a` or `b` or, in two maps of one message, both make an update, with `c` in the last."""

    asks: list[list[str]] | None = msgspec.field(default=None, name="as")
    bids: list[list[str]] | None = msgspec.field(default=None, name="bs")
    a: list[list[str]] = []
    b: list[list[str]] = []
    c: str = ""


class _Ticker(msgspec.Struct):
    """Best ask and bid as [price, whole lots, lots], among much else."""

    a: tuple[str, int, str]
    b: tuple[str, int, str]


class _Message(msgspec.Struct):
    """heartbeat, systemStatus, subscriptionStatus."""

    event: str
    status: str = ""
    errorMessage: str = ""  # noqa: N815 (the venue's name)


# For refusals: a book's message, and its pair.
_BOOK_OF = re.compile(rb'"book-[0-9]+"\s*,\s*"([^"]+)"')
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_name = msgspec.json.Decoder(str).decode
_book = msgspec.json.Decoder(_Book).decode
_trades = msgspec.json.Decoder(list[msgspec.Raw]).decode
_trade = msgspec.json.Decoder(tuple[str, str, str, str, str, str]).decode
_ticker = msgspec.json.Decoder(_Ticker).decode
_spread = msgspec.json.Decoder(tuple[str, str, str, str, str]).decode
_message = msgspec.json.Decoder(_Message).decode


def path(instruments: Iterable[Instrument], settings: FeedSettings) -> str:
    """The websocket's path after the base address; the same for all instruments."""
    return "/"


def subscribe(instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
    """One subscribe message a channel: trade, spread, and with `books` the book."""
    pairs = [instrument.symbol for instrument in instruments]
    for subscription in ({"name": "trade"}, {"name": "spread"}, {"name": "book", "depth": kraken.depth(settings)})[: 2 + books]:
        yield _request("subscribe", pairs, subscription)


def resubscribe(instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
    """Messages that end and begin the book's channel anew: it begins with a snapshot."""
    subscription = {"name": "book", "depth": kraken.depth(settings)}
    yield _request("unsubscribe", [instrument.symbol], subscription)
    yield _request("subscribe", [instrument.symbol], subscription)


def _request(event: str, pairs: list[str], subscription: Mapping[str, object]) -> str:
    return msgspec.json.encode({"event": event, "pair": pairs, "subscription": subscription}).decode()


def book(instrument: Instrument, settings: FeedSettings) -> CheckedBook:
    """A new rule for an instrument's book: a snapshot on the stream, then changes that a checksum proves."""
    return CheckedBook(instrument, kraken.digest, kraken.depth(settings))


def routes(instruments: Iterable[Instrument]) -> Routes:
    """Builds a table for `decode`: the Writer of each instrument, by its pair as in `wsname` (XBT/USD)."""
    return {instrument.symbol: Writer(instrument) for instrument in instruments}


def decode(frame: bytes, recv_ns: int, known: Routes) -> list[bytearray]:
    """The events of one message, one or none. Raises FrameError when it cannot be read, OddRows when some rows cannot."""
    try:
        if frame[:1] != b"[":
            _message(frame)
            return []
        parts = _array(frame)
        if len(parts) not in (4, 5):
            raise DecimalError(f"an array of {len(parts)} parts; 4 or 5 are needed")
        channel, pair = _name(parts[-2]), _name(parts[-1])
        out = known.get(pair)
        if out is None:
            raise DecimalError(f"{pair!r} was not subscribed; known: {', '.join(sorted(known)[:12])}")
        payloads = parts[1:-2]
        if channel.startswith("book-"):
            return _depth_event([_book(payload) for payload in payloads], recv_ns, out)
        event_of = _EVENTS.get(channel)
        if event_of is None or len(payloads) != 1:
            raise DecimalError(f"channel {channel!r} of {len(payloads)} payloads was not subscribed")
        return event_of(payloads[0], recv_ns, out)
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
    if message.status == "error":
        return Control(refused=True, msg=message.errorMessage)
    return Control(acknowledged=message.event == "subscriptionStatus" and message.status == "subscribed")


def _trade_event(payload: msgspec.Raw, recv_ns: int, out: Writer) -> list[bytearray]:
    odd: list[str] = []

    def read(row: msgspec.Raw) -> tuple[str, str, int, int]:
        price, volume, time, side, _, _ = _trade(row)
        if side not in SIDES:
            raise DecimalError(f"side {side!r}; b or s is needed")
        at = seconds_ns(time)
        out.fill(0, price, volume, at, at, SIDES[side])
        return price, volume, at, SIDES[side]

    rows = writer.read_each(_trades(payload), read, odd)
    if not rows:
        return writer.unless_odd([], odd)
    number = first_id = out.trade_ids.take(recv_ns, len(rows))
    body = b""
    for number, (price, volume, at, side) in enumerate(rows, first_id):  # noqa: B020
        body += out.fill(number, price, volume, at, at, side)
    return writer.unless_odd([out.trades(body, first_id, number, rows[-1][2], recv_ns)], odd)


def _ticker_event(payload: msgspec.Raw, recv_ns: int, out: Writer) -> list[bytearray]:
    data = _ticker(payload)
    return [_quote(out, recv_ns, data.b[0], data.b[2], data.a[0], data.a[2], 0)]


def _spread_event(payload: msgspec.Raw, recv_ns: int, out: Writer) -> list[bytearray]:
    odd: list[str] = []
    bid, ask, time, bid_volume, ask_volume = _spread(payload)
    return writer.unless_odd([_quote(out, recv_ns, bid, bid_volume, ask, ask_volume, time_or_zero(seconds_ns, time, odd))], odd)


def _quote(out: Writer, recv_ns: int, bid: str, bid_volume: str, ask: str, ask_volume: str, at: int) -> bytearray:
    prices = out.price(bid), out.quantity(bid_volume), out.price(ask), out.quantity(ask_volume)
    number = out.quote_ids.take(recv_ns)
    return out.quote(number, number, at, recv_ns, number, *prices, at)


def _depth_event(parts: list[_Book], recv_ns: int, out: Writer) -> list[bytearray]:
    whole = parts[0].asks is not None and parts[0].bids is not None
    bids = [level for part in parts for level in (part.bids or part.b)]
    asks = [level for part in parts for level in (part.asks or part.a)]
    if not (whole or bids or asks):
        raise DecimalError("a book message with none of as and bs, a, b")
    odd: list[str] = []
    records = out.levels((_pair(level, out) for level in bids), 1, odd)
    records += out.levels((_pair(level, out) for level in asks), -1, odd)
    at = max((time_or_zero(seconds_ns, level[2], odd) for level in (*bids, *asks)), default=0)
    number = out.depth_ids.take(recv_ns)
    event = out.snapshot(records, number, at, recv_ns) if whole else out.change(records, number, number, at, recv_ns)
    if parts[-1].c:
        stamp_checksum(event, crc(integer(parts[-1].c)))
    return writer.unless_odd([event], odd)


def _pair(level: list[str], out: Writer) -> tuple[str, str]:
    """Price and volume of [price, volume, time] or [price, volume, time, "r"]."""
    if len(level) not in (3, 4):
        raise DecimalError(f"a level of {len(level)} parts; 3 or 4 are needed")
    decimals = len(level[0].partition(".")[2]), len(level[1].partition(".")[2])
    exponents = out.instrument.price_exponent, out.instrument.quantity_exponent
    if decimals != (-exponents[0], -exponents[1]):
        raise DecimalError(
            f"{out.instrument.symbol} has {decimals[0]} and {decimals[1]} decimals; its checksums need price_exponent "
            f"{-decimals[0]} and quantity_exponent {-decimals[1]}, not {exponents[0]} and {exponents[1]}"
        )
    return level[0], level[1]


_EVENTS = {"trade": _trade_event, "ticker": _ticker_event, "spread": _spread_event}


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one pair; its precision is not REST's here, so it is not compared. Raises FrameError."""
    return kraken.definition_event(body, recv_ns, instrument)


def listed(body: bytes) -> dict[str, Listed]:
    """Nothing: raises FrameError, for the decimals of these texts are on no list, and exponents must be theirs."""
    raise FrameError(
        "kraken_v1 is for captures: state price_exponent and quantity_exponent in mesh.toml, the decimals of its texts; "
        "or take kraken"
    )


listings = kraken.listings


def spell(name: str) -> str:
    """The name in capitals, with a slash between its assets, each as v1 calls it: XBT/USD of btc-usd."""
    return "/".join(REST_NAMES.get(asset, asset) for asset in kraken.spell(name).split("/"))


snapshot, decode_snapshot = kraken.snapshot, kraken.decode_snapshot
history, decode_history = no_history, no_history_answer  # trades have no ids here
recent_trades = no_recent_trades
forms = no_forms
definitions = kraken.definitions
clock = kraken.clock
standing = kraken.standing
decode_clock = kraken.decode_clock
