"""The events of one instrument, from the texts of its venue: exact numbers, ready-made headers."""

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import encode, many_records, one_record
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE
from tickmesh.nodes.venues.parsing.decimals import DecimalError, level_words, level_words_at_once, reader
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, OddRows, Unwell
from tickmesh.nodes.venues.parsing.rising import RisingIds

_TRADE, _INSTRUMENT = record_struct(Kind.trade), record_struct(Kind.instrument)
_TRADE_ID = record_struct(Kind.trade, "trade_id")
MANY_LEVELS_BYTES = 250  # JSON text of a side, about 8 levels: from there numpy wins over the loop

_pairs = msgspec.json.Decoder(list[tuple[str, str]]).decode


class Writer:
    """Builds the events of one instrument on one line.

    `price`, `quantity`: text → mantissa, raising DecimalError. `trade` (first_id, last_id, venue_ns, recv_ns, trade_id, price,
    quantity, trade's venue_ns, event_ns, side), `quote` (first_id, last_id, venue_ns, recv_ns, update_id, bid, lots, ask, lots,
    venue_ns) and `depth` (records, first_id, last_id, venue_ns, recv_ns, flags=0) give events.
    `depth_ids`, `quote_ids`, `trade_ids`: for streams without.
    """

    def __init__(self, instrument: Instrument):
        self.instrument = instrument
        subject = instrument.subject
        self.price = reader(instrument.price_exponent)
        self.quantity = reader(instrument.quantity_exponent)
        self.trade = one_record(Kind.trade, subject)
        self.quote = one_record(Kind.quote, subject)
        self.depth = many_records(Kind.depth, subject)
        self.trades = many_records(Kind.trade, subject)
        self.depth_ids, self.quote_ids, self.trade_ids = RisingIds(), RisingIds(), RisingIds()

    def fill(self, trade_id: int, price: str | bytes, quantity: str | bytes, venue_ns: int, event_ns: int, side: int) -> bytes:
        """Encodes the record of one trade from the venue's texts. Raises DecimalError, also for a price or a quantity of 0."""
        price_ticks, quantity_lots = self.price(price), self.quantity(quantity)
        if not (price_ticks and quantity_lots and trade_id >= 0):
            raise DecimalError(f"trade {trade_id} of {quantity!r} at {price!r}; all three must be above 0")
        return _TRADE.pack(trade_id, price_ticks, quantity_lots, venue_ns, event_ns, side)

    def runs(self, fills: "Sequence[PublicTrade]", recv_ns: int, flags: int = 0) -> list[bytearray]:
        """Builds the events of one message's trades: one event for each run of ids without a hole, of equal flags."""
        events: list[bytearray] = []
        run: list[PublicTrade] = []
        for one in fills:
            if run and (one.first_id != _last_id(run[-1].record) + 1 or one.flags != run[-1].flags):
                events.append(self._run(run, recv_ns, flags))
                run = []
            run.append(one)
        if run:
            events.append(self._run(run, recv_ns, flags))
        return events

    def _run(self, run: "Sequence[PublicTrade]", recv_ns: int, flags: int) -> bytearray:
        last = run[-1]
        body = b"".join(one.record for one in run)
        return self.trades(body, run[0].first_id, _last_id(last.record), last.venue_ns, recv_ns, flags | last.flags)

    def side(self, raw: bytes, side: int, odd: list[str]) -> bytes:
        """Encodes `depth` records of a JSON array of ["price","quantity"], in the venue's order; odd ones go to `odd`."""
        exponents = self.instrument.price_exponent, self.instrument.quantity_exponent
        if len(raw) > MANY_LEVELS_BYTES:
            many = level_words_at_once(raw, *exponents, side)
            if many is not None:
                return many.tobytes()
        return self.levels(_pairs(raw), side, odd)

    def levels(self, pairs: Iterable[tuple[str, str]], side: int, odd: list[str]) -> bytes:
        """Encodes `depth` records of (price, quantity) texts, in the venue's order; odd ones go to `odd`."""
        words = level_words(pairs, self.instrument.price_exponent, self.instrument.quantity_exponent, side, odd)
        return struct.pack(f"<{len(words)}q", *words)

    def change(self, records: bytes, first_id: int, last_id: int, venue_ns: int, recv_ns: int) -> bytearray:
        """Builds the event of a depth change; one that changes nothing has one record without a side."""
        return self.depth(records or EMPTY_CHANGE, first_id, last_id, venue_ns, recv_ns)

    def snapshot(self, records: bytes, last_id: int, venue_ns: int, recv_ns: int) -> bytearray:
        """Builds the event of a whole book as of the change `last_id`, flagged SNAPSHOT."""
        return self.depth(records or EMPTY_CHANGE, last_id, last_id, venue_ns, recv_ns, Flag.SNAPSHOT)


Routes = dict[str, Writer]  # of an adapter: the writer of each instrument, by the name that the venue has for it
Row = TypeVar("Row")  # what is made of one row of a message


class PublicTrade(NamedTuple):
    """One trade of a message. `first_id`: the first that it stands for; `flags`: OFF_BOOK where it is no market trade."""

    first_id: int
    record: bytes
    venue_ns: int
    flags: int = 0


def read_each(rows: Iterable[msgspec.Raw], read: Callable[[msgspec.Raw], Row], odd: list[str]) -> list[Row]:
    """Reads each row with `read` and lists the results; a row that cannot be read costs no other, and is named in `odd`."""
    out: list[Row] = []
    for row in rows:
        try:
            out.append(read(row))
        except UNREADABLE as error:
            odd.append(f"{bytes(row)!r:.200}: {error}")
    return out


def unless_odd(events: list[bytearray], odd: list[str]) -> list[bytearray]:
    """Gives the events of a frame; raises OddRows with them where `odd` names what could not be held."""
    if odd:
        raise OddRows(odd, events)
    return events


def refuse_unwell(body: bytes, instrument: Instrument) -> None:
    """Raises Unwell where the body is an object, not a list of rows: the venue says why it has none now."""
    if body.lstrip()[:1] == b"{":
        raise Unwell(f"no trades of {instrument.symbol}: the venue answers {body[:200].decode('utf-8', 'replace')}")


def page_events(
    rows: Iterable[msgspec.Raw],
    read: Callable[[msgspec.Raw], PublicTrade],
    events: Callable[[list[PublicTrade]], list[bytearray]],
) -> list[bytearray]:
    """Builds the events of a page of past trades: `read` makes a PublicTrade of each row, `events` the events of them, sorted.

    A row that cannot be read costs no other.

    Raises FrameError; its `readable` has the events of the others.
    """
    fills, unreadable, why = [], 0, ""
    for row in rows:
        try:
            fills.append(read(row))
        except UNREADABLE as error:
            unreadable += 1
            why = why or f"{bytes(row)!r:.200}: {error}"
    found = events(sorted(fills, key=lambda fill: fill.first_id))
    if unreadable:
        refusal = FrameError(f"{unreadable} of {unreadable + len(fills)} trades cannot be read: {why}")
        refusal.readable = found
        raise refusal
    return found


def _last_id(record: bytes) -> int:
    return int(_TRADE_ID.unpack(record)[0])


def book_subject(frame: bytes, pattern: re.Pattern[bytes], known: Mapping[str, Writer]) -> str:
    """The subject whose book a refused message would have changed; "" where it cannot be found out.

    `pattern` finds the instrument's name as its group in what is a book's message beyond doubt.
    """
    match = pattern.search(frame)
    out = known.get(match[1].decode("utf-8", "replace")) if match else None
    return out.instrument.subject if out else ""


def definition(
    instrument: Instrument, recv_ns: int, *, tick_size: str, lot_size: str, min_quantity: str = "0", min_notional: str = "0"
) -> bytearray:
    """Builds the `instrument` event of a venue's texts. Raises DecimalError for one that the exponents do not hold."""
    price, quantity = instrument.price_exponent, instrument.quantity_exponent
    record = _INSTRUMENT.pack(
        price, quantity, reader(price)(tick_size), reader(quantity)(lot_size),
        _at_least(min_quantity, quantity), _at_least(min_notional, price),
    )  # fmt: skip
    return encode(Kind.instrument, instrument.subject, record, recv_ns=recv_ns)


def _at_least(text: str, exponent: int) -> int:
    """A bound, rounded up where the exponent cannot hold it: what is refused below it is refused below the rounded one."""
    whole, _, fraction = text.partition(".")
    kept, left_out = fraction[: -exponent or None] if exponent else "", fraction[-exponent:]
    value = reader(exponent)(f"{whole}.{kept}" if kept else whole)
    if left_out and not left_out.isdigit():
        raise DecimalError(f"{text!r} is not a plain decimal number")
    return value + (1 if left_out.strip("0") else 0)
