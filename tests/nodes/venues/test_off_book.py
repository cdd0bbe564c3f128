"""A trade that no order of the book had a part in is kept with its id, flagged; what is a trade of the book is not."""

import json

import pytest

from tests.support.off_book import usdm
from tests.support.venue_samples import SYMBOLS
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of

OFF_BOOK, REPAIRED = Flag.OFF_BOOK, Flag.REPAIRED


def okx(*sources: str) -> bytes:
    """A message of OKX's trades, one of each `source`."""
    rows = [
        {"instId": SYMBOLS["okx"], "tradeId": str(7 + n), "px": "60000", "sz": "0.1", "side": "buy", "ts": "1700000000000",
         "count": "1", "source": source} for n, source in enumerate(sources)
    ]  # fmt: skip
    return json.dumps({"arg": {"channel": "trades", "instId": SYMBOLS["okx"]}, "data": rows}, separators=(",", ":")).encode()


def kraken(*types: str) -> bytes:
    """A message of Kraken's trades, one of each `ord_type`."""
    rows = [
        {"symbol": "BTC/USD", "side": "buy", "price": 60000.1, "qty": 0.1, "ord_type": kind, "trade_id": 7 + n,
         "timestamp": "2026-11-28T12:00:00.000001Z"} for n, kind in enumerate(types)
    ]  # fmt: skip
    return json.dumps({"channel": "trade", "type": "update", "data": rows}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("venue", "frame", "expected"),
    [
        ("binance_usdm", usdm("MARKET", "60000.0", "0.1", 7), [(7, 7, 0)]),
        ("binance_usdm", usdm("INSURANCE_FUND", "54000.0", "12.0", 8), [(8, 8, OFF_BOOK)]),
        ("binance_usdm", usdm("ADL", "54000.0", "12.0", 8), [(8, 8, OFF_BOOK)]),
        ("binance_usdm", usdm("SOMETHING_NEW", "54000.0", "12.0", 8), [(8, 8, OFF_BOOK)]),
        ("binance_usdm", usdm("NA", "0", "0", 8), []),
        ("okx", okx("0", "1"), [(7, 8, 0)]),
        ("okx", okx("0", "9", "9", "1"), [(7, 7, 0), (8, 9, OFF_BOOK), (10, 10, 0)]),
        ("kraken", kraken("limit", "market"), [(7, 8, 0)]),
        ("kraken", kraken("limit", "settle-position", "market"), [(7, 7, 0), (8, 8, OFF_BOOK), (9, 9, 0)]),
    ],
)
def test_a_trade_off_the_book_is_flagged_and_no_other_is(venue, frame, expected):
    adapter, one = adapter_of(venue), Instrument(symbol=SYMBOLS[venue], venue=venue)
    events = [event_of(event) for event in adapter.decode(frame, 1, adapter.routes([one]))]
    assert [(event.first_id, event.last_id, event.flags) for event in events] == expected
    assert all(event.kind == Kind.trade for event in events)


def test_a_page_of_history_tells_them_apart_too():
    one = Instrument(symbol="BTC/USD", venue="kraken")
    rows = [["60000.1", "0.1", 1700000000.1 + n, "b", kind, "", 7 + n] for n, kind in enumerate(("l", "m", "x", "l"))]
    body = json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": "1"}}).encode()
    events = [event_of(event) for event in adapter_of("kraken").decode_history(body, 1, one)]
    assert [(e.first_id, e.last_id, e.flags) for e in events] == [
        (7, 8, REPAIRED), (9, 9, REPAIRED | OFF_BOOK), (10, 10, REPAIRED)
    ]  # fmt: skip


def test_a_trade_of_no_quantity_is_refused_on_spot():
    one = Instrument(symbol="BTCUSDT", venue="binance")
    routes = adapter_of("binance").routes([one])
    for frame in (usdm("NA", "0", "0", 8), json.dumps(json.loads(usdm("NA", "0", "0", 8))).encode()):
        with pytest.raises(FrameError, match="X is not MARKET and q is 0"):
            adapter_of("binance").decode(frame, 1, routes)


@pytest.mark.parametrize(
    ("venue", "frame", "subject"),
    [
        ("binance", {"stream": "btcusdt@depth@100ms", "data": {"b": []}}, "binance.BTCUSDT"),
        ("binance", {"stream": "btcusdt@trade", "data": {}}, ""),
        ("okx", {"arg": {"channel": "books", "instId": SYMBOLS["okx"]}, "data": []}, f"okx.{SYMBOLS['okx']}"),
        ("coinbase", {"type": "snapshot", "product_id": SYMBOLS["coinbase"], "bids": []}, f"coinbase.{SYMBOLS['coinbase']}"),
    ],
)
def test_the_book_of_a_message_is_found_with_blanks_anywhere(venue, frame, subject):
    adapter, one = adapter_of(venue), Instrument(symbol=SYMBOLS[venue], venue=venue)
    for separators in ((",", ":"), (", ", ": "), (" , ", "  :  "), (",\n", ":\t")):
        head = json.dumps(frame, separators=separators).encode()
        assert adapter.book_of(head, adapter.routes([one])) == subject, separators
