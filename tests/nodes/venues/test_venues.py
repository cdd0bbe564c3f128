"""The venue adapters without captures: requests, answers, exact numbers, damaged frames, the quick way beside the careful."""

import json
import struct
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.captures import VECTORS, needs
from tickmesh.bus import id_rules, wire
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes import venues
from tickmesh.nodes.venues import binance, binance_streams, coinbase, kraken, okx
from tickmesh.nodes.venues.books.levels import RECORD, Levels
from tickmesh.nodes.venues.parsing import decimals, times, writer
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.dialect import FrameError, Request, Unwell
from tickmesh.nodes.venues.parsing.rising import Rising

SETTINGS = FeedSettings()
NAMES = ("binance", "binance_usdm", "coinbase", "kraken", "kraken_v1", "okx")
NEW = NAMES[1:]

SAMPLES = {
    "binance": [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":5,"p":"61837.63000000",'
        b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}',
        b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
        b'"a":"61837.64000000","A":"1.54698000"}}',
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1616176861895,"s":"BTCUSDT","a":640283266,'
        b'"p":"58942.01000000","q":"0.00035600","f":716849523,"l":716849525,"T":1616176861893,"m":false,"M":true}}',
    ],
    "binance_usdm": [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","t":5266583935,'
        b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}',
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20",'
        b'"B":"2.507","a":"61800.30","A":"2.510","T":1723161256312,"E":1723161256313}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT",'
        b'"U":120,"u":130,"pu":110,"b":[["58710.20","0.014"]],"a":[["61496.50","0.000"]]}}',
    ],
    "coinbase": [
        b'{"type":"match","trade_id":881613,"maker_order_id":"27fff20b","taker_order_id":"1da6ce16","side":"sell",'
        b'"size":"0.04","price":"14.7775","product_id":"BTC-USD","sequence":333938798,"time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"ticker","sequence":333938798,"product_id":"BTC-USD","price":"14.7775","best_bid":"14.7550",'
        b'"best_bid_size":"1.5","best_ask":"14.8060","best_ask_size":"2","side":"buy","time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","14.75","1.20"],["sell","14.81","0.00"]],'
        b'"time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"snapshot","product_id":"BTC-USD","asks":[["14.8024","12.77"]],"bids":[["14.7","1"]]}',
    ],
    "kraken": [
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45285.2,"qty":0.00100000,'
        b'"ord_type":"market","trade_id":4665846,"timestamp":"2023-09-25T07:49:37.708706Z"},{"symbol":"BTC/USD",'
        b'"side":"buy","price":45285.3,"qty":1e-3,"ord_type":"limit","trade_id":4665847,'
        b'"timestamp":"2023-09-25T07:49:37.708707Z"}]}',
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":45283.5,"bid_qty":0.1,"ask":45285.2,'
        b'"ask_qty":0.00100000,"last":45285.2,"volume":1.5,"vwap":45000.0,"low":1,"high":2,"change":0,"change_pct":0}]}',
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],'
        b'"asks":[],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":0}]}',
    ],
    "kraken_v1": [
        b'[321,[["57126.7","0.02063928","1616333924.737428","b","m",""]],"trade","BTC/USD"]',
        b'[320,{"a":[["38800.0","0.02203518","1622766170.577187"]]},{"b":[["38800.1","0.03017320","1622766170.577304"]],'
        b'"c":"2479000840"},"book-25","BTC/USD"]',
        b'[341,["31760.0","31760.1","1654031976.197239","0.02167307","6.46761464"],"spread","BTC/USD"]',
        b'[320,{"as":[],"bs":[]},"book-25","BTC/USD"]',
    ],
    "okx": [
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"314161276",'
        b'"px":"43474.1","sz":"0.00373695","side":"buy","ts":"1646311839593","count":"3"}]}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["43736.2","0.1358","0","2"]],'
        b'"bids":[["43675.6","0.05","0","1"]],"ts":"1646314295200","checksum":-796530682,"prevSeqId":10,"seqId":15}]}',
        b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["31774.7","0.14368878","0","3"]],"bids":[],'
        b'"ts":"1654032991947","seqId":77}]}',
    ],
}  # fmt: skip
SYMBOLS = {"binance": "BTCUSDT", "binance_usdm": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD", "kraken_v1": "BTC/USD",
           "okx": "BTC-USDT"}  # fmt: skip


def instrument(name):
    exponent = -1 if name.startswith("kraken") else -8
    return Instrument(symbol=SYMBOLS[name], venue=name, price_exponent=exponent)


def said(name, frame, recv_ns=7_000):
    adapter = venues.module(name)
    return [event_of(event) for event in adapter.decode(frame, recv_ns, adapter.routes([instrument(name)]))]


# Exactness


def test_usdm_trade_quote_and_depth():
    trade, quote, depth = (said("binance_usdm", frame)[0] for frame in SAMPLES["binance_usdm"])
    assert trade.records.tolist() == [(5266583935, 6180030000000, 600000, 1723161256321 * 10**6, 1723161256322 * 10**6, 1, b"")]
    assert (trade.first_id, trade.last_id) == (5266583935, 5266583935)
    assert (trade.venue_ns, trade.recv_ns) == (1723161256322 * 10**6, 7000)
    assert quote.records.tolist() == [
        (5123107839020, 6180020000000, 250700000, 6180030000000, 251000000, 1723161256312 * 10**6)
    ]  # fmt: skip
    assert quote.venue_ns == 1723161256313 * 10**6
    assert (depth.first_id, depth.last_id) == (111, 130), "it follows on pu, not on U"
    assert depth.records.tolist() == [(5871020000000, 1400000, 1, b""), (6149650000000, 0, -1, b"")]


def test_usdm_ids_without_a_trade_are_covered_by_the_next_trade():
    adapter, frame = venues.module("binance_usdm"), SAMPLES["binance_usdm"][0]
    routes = adapter.routes([instrument("binance_usdm")])
    void = frame.replace(b"MARKET", b"NA").replace(b"61800.30", b"0").replace(b"0.006", b"0")
    assert adapter.decode(void, 1, routes) == []
    assert adapter.control(void) is not None
    assert adapter.decode(void.replace(b"5266583935", b"5266583936"), 1, routes) == []
    event = event_of(adapter.decode(frame.replace(b"5266583935", b"5266583937"), 1, routes)[0])
    assert (event.first_id, event.last_id, event.records["trade_id"][0]) == (5266583935, 5266583937, 5266583937)
    event = event_of(adapter.decode(frame.replace(b"5266583935", b"5266583938"), 1, routes)[0])
    assert event.first_id == 5266583938


def test_aggregates_cover_their_fills():
    event = said("binance", SAMPLES["binance"][2])[0]
    assert (event.first_id, event.last_id) == (716849523, 716849525)
    assert event.records.tolist() == [(716849525, 5894201000000, 35600, 1616176861893 * 10**6, 1616176861895 * 10**6, 1, b"")]


def test_coinbase_gives_the_aggressor():
    trade, quote, change, snapshot = (said("coinbase", frame)[0] for frame in SAMPLES["coinbase"])
    at = ns("2021-04-17T16:43:30.244075")
    assert trade.records.tolist() == [(881613, 1477750000, 4000000, at, at, 1, b"")], "the maker sold, so the aggressor bought"
    assert quote.records.tolist() == [(333938798, 1475500000, 150000000, 1480600000, 200000000, at)]
    assert change.records.tolist() == [(1475000000, 120000000, 1, b""), (1481000000, 0, -1, b"")]
    assert snapshot.flags == Flag.SNAPSHOT and snapshot.count == 2


def ns(text):
    return int(np.datetime64(text, "ns").astype("i8"))


def test_kraken_reads_bare_numbers_as_text():
    (trades,) = said("kraken", SAMPLES["kraken"][0])
    assert (trades.first_id, trades.last_id, trades.count) == (4665846, 4665847, 2)
    assert trades.records.tolist() == [
        (4665846, 452852, 100000, ns("2023-09-25T07:49:37.708706"), ns("2023-09-25T07:49:37.708706"), -1, b""),
        (4665847, 452853, 100000, ns("2023-09-25T07:49:37.708707"), ns("2023-09-25T07:49:37.708707"), 1, b""),
    ]
    apart = SAMPLES["kraken"][0].replace(b"4665847", b"4665849")
    assert [(e.first_id, e.last_id) for e in said("kraken", apart)] == [(4665846, 4665846), (4665849, 4665849)]
    (quote,) = said("kraken", SAMPLES["kraken"][1])
    assert quote.records.tolist() == [(quote.last_id, 452835, 10000000, 452852, 100000, 0)]
    with pytest.raises(FrameError, match="more than the 1 decimals"):
        said("kraken", SAMPLES["kraken"][2].replace(b"45283.5", b"45283.55"))


@needs(VECTORS)
@pytest.mark.data
def test_kraken_checksum_is_that_of_its_documents():
    vector = next(v for v in json.loads(VECTORS.read_text()) if v["name"] == "kraken_ws_v2_book_checksum")
    level = '{{"price":{},"qty":{}}}'
    bids, asks = (",".join(level.format(*pair) for pair in vector[side]) for side in ("bids", "asks"))
    frame = (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{asks}],'
        f'"checksum":{vector["expected"]}}}]}}'
    )
    adapter = venues.module("kraken")
    (event,) = adapter.decode(frame.encode(), 1, adapter.routes([instrument("kraken")]))
    book = adapter.book(instrument("kraken"), SETTINGS)
    book.snapshot(event, 1)
    assert book.checked == 1 and book.synced and wire.checksum(event) == (vector["expected"], True)


def test_okx_checksums_are_those_of_its_documents():
    """Two of the venue's examples, the second with a missing bid; signed there."""
    cases = {
        -1881014294: ([("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8")]),
        831078360: ([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]),
    }
    btc = instrument("okx")
    out = writer.Writer(btc)
    for expected, (bids, asks) in cases.items():
        levels = Levels()
        levels.apply(out.snapshot(out.levels(bids, 1, []) + out.levels(asks, -1, []), 1, 0, 0))
        assert okx.digest(levels, btc) == expected & 0xFFFFFFFF


def test_an_okx_trade_covers_its_count_of_ids():
    (trade,) = said("okx", SAMPLES["okx"][0])
    assert (trade.first_id, trade.last_id) == (314161274, 314161276)
    at = 1646311839593 * 10**6
    assert trade.records.tolist() == [(314161276, 4347410000000, 373695, at, at, 1, b"")]
    depth, best = said("okx", SAMPLES["okx"][1])[0], said("okx", SAMPLES["okx"][2])[0]
    assert (depth.first_id, depth.last_id) == (11, 15)
    assert wire.checksum(depth.raw)[0] == -796530682 & 0xFFFFFFFF
    assert best.records.tolist() == [(77, 0, 0, 3177470000000, 14368878, 1654032991947 * 10**6)], "no bid: 0 and 0"
    zero = SAMPLES["okx"][1].replace(b"-796530682", b"0")
    assert wire.checksum(said("okx", zero)[0].raw) == (None, False)


def test_kraken_v1_joins_the_two_maps_of_a_message():
    adapter = venues.module("kraken_v1")
    (change,) = said("kraken_v1", SAMPLES["kraken_v1"][1])
    assert change.records.tolist() == [(388001, 3017320, 1, b""), (388000, 2203518, -1, b"")]
    assert wire.checksum(change.raw)[0] == 2479000840
    (quote,) = said("kraken_v1", SAMPLES["kraken_v1"][2])
    assert quote.records.tolist() == [(quote.last_id, 317600, 2167307, 317601, 646761464, 1654031976197239000)]
    (empty,) = said("kraken_v1", SAMPLES["kraken_v1"][3])
    assert empty.flags == Flag.SNAPSHOT and empty.records["side"].tolist() == [0]
    with pytest.raises(FrameError, match="need price_exponent -5"):
        said("kraken_v1", SAMPLES["kraken_v1"][1].replace(b"38800.0", b"38800.00000"))
    two = b'[321,[["1.0","2.0","1616333924.737428","b","m",""],["1.1","2.0","1616333924.737429","s","m",""]],"trade","BTC/USD"]'
    trades = adapter.decode(two, 5_000_000, adapter.routes([instrument("kraken_v1")]))
    assert event_of(trades[0]).records["trade_id"].tolist() == [5000, 5001]


# The quick way is the careful one


DIGITS = st.decimals(0, 10**7, places=4).map(lambda value: f"{value:.4f}")
IDS = st.integers(1, 10**13)
TIMES = st.integers(1, 9 * 10**12) | st.integers(1_500_000_000_000_000, 1_900_000_000_000_000)


def spelled_otherwise(frame):
    """The same JSON with other spacing: it does not match the usual form."""
    return json.dumps(json.loads(frame)).encode()


def same_both_ways(name, frame):
    adapter = venues.module(name)
    results = []
    for text in (frame, spelled_otherwise(frame)):
        try:
            results.append(adapter.decode(text, 9, adapter.routes([instrument(name)])))
        except FrameError:
            results.append("refused")
    assert results[0] == results[1]
    return results[0]


@given(IDS, DIGITS, DIGITS, TIMES, TIMES, st.booleans())
def test_a_trade_is_read_the_same_quickly_and_carefully(trade_id, price, quantity, time, event_time, sold):
    flag = b"true" if sold else b"false"
    head = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,'
    spot = head + b'"s":"BTCUSDT","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}}'
    usdm = head + b'"T":%d,"s":"BTCUSDT","t":%d,"p":"%s","q":"%s","X":"MARKET","m":%s}}'
    p, q = price.encode(), quantity.encode()
    one = same_both_ways("binance", spot % (event_time, trade_id, p, q, time, flag))
    two = same_both_ways("binance_usdm", usdm % (event_time, time, trade_id, p, q, flag))
    assert usual("binance", spot % (event_time, trade_id, p, q, time, flag)), "the quick way was gone"
    if not Decimal(price) or not Decimal(quantity):
        assert one == two == "refused"
        return
    for events in (one, two):
        (record,) = event_of(events[0]).records
        assert record["price_ticks"] == Decimal(price).scaleb(8) and record["quantity_lots"] == Decimal(quantity).scaleb(8)
        assert (record["trade_id"], record["side"]) == (trade_id, -1 if sold else 1)
        assert record["venue_ns"] == time * (10**6 if time < 10**14 else 10**3)


@given(IDS, st.tuples(DIGITS, DIGITS, DIGITS, DIGITS), TIMES, TIMES)
def test_a_best_price_is_read_the_same_quickly_and_carefully(number, texts, time, event_time):
    b, bs, a, as_ = (text.encode() for text in texts)
    spot = b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%s","B":"%s","a":"%s","A":"%s"}}'
    usdm = (
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%s","B":"%s","a":"%s","A":"%s",'
        b'"T":%d,"E":%d}}'
    )
    one = same_both_ways("binance", spot % (number, b, bs, a, as_))
    two = same_both_ways("binance_usdm", usdm % (number, b, bs, a, as_, time, event_time))
    want = [number, *(int(Decimal(text).scaleb(8)) for text in texts)]
    assert [list(event_of(events[0]).records[0].tolist())[:5] for events in (one, two)] == [want, want]


def usual(name, frame):
    stream = frame[11 : frame.find(b'"', 11)].decode()
    return venues.module(name).routes([instrument(name)])[stream][1].usual(frame)


def test_the_captured_spellings_go_the_quick_way():
    for name in ("binance", "binance_usdm"):
        for frame in SAMPLES[name][:2]:
            assert usual(name, frame)


@given(st.sampled_from(["trade", "quote"]), st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=9, max_size=9))
def test_a_ready_made_event_is_an_encoded_one(name, numbers):
    kind, layout = Kind[name], {"trade": writer.TRADE, "quote": writer.QUOTE}[name]
    fields = [*numbers[4:9], 1] if name == "trade" else numbers[3:9]
    quick = wire.one_record(kind, "binance.BTCUSDT", layout)(*numbers[:4], *fields)
    record = np.array([(*fields, b"") if name == "trade" else tuple(fields)], DTYPES[kind])
    first_id, last_id, venue_ns, recv_ns = numbers[:4]
    slow = wire.encode(
        kind, "binance.BTCUSDT", record, first_id=first_id, last_id=last_id, venue_ns=venue_ns, recv_ns=recv_ns
    )  # fmt: skip
    assert quick == slow
    many = wire.many_records(kind, "binance.BTCUSDT")(record.tobytes() * 3, *numbers[:4], 5)
    slow = wire.encode(
        kind, "binance.BTCUSDT", record.tobytes() * 3, flags=5, first_id=first_id, last_id=last_id, venue_ns=venue_ns,
        recv_ns=recv_ns,
    )  # fmt: skip
    assert many == slow
    one = wire.many_records(kind, "binance.BTCUSDT")(record.tobytes(), *numbers[:4], 5)
    assert wire.extended(one, record.tobytes() * 2) == slow


def test_an_event_without_records_or_with_half_a_one_is_none():
    make = wire.many_records(Kind.depth, "okx.BTC-USDT")
    for body in (b"", b"\0" * 23, b"\0" * 25):
        with pytest.raises(wire.WireError):
            make(body, 1, 1, 0, 0)


# What is damaged


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_damaged_frame_is_refused_or_says_what_it_says(name, data):
    """Never another exception, and never a number that is not in the frame."""
    adapter = venues.module(name)
    frame = data.draw(st.sampled_from(SAMPLES[name]))
    start, end = sorted((data.draw(st.integers(0, len(frame))), data.draw(st.integers(0, len(frame)))))
    noise = data.draw(st.binary(max_size=12) | st.text('0123456789.-e"[]{},:', max_size=6).map(str.encode))
    damaged = frame[:start] + noise + frame[data.draw(st.sampled_from([start, end])) :]
    routes = adapter.routes([instrument(name)])
    try:
        events = adapter.decode(damaged, 9, routes)
    except FrameError as error:
        assert len(str(error)) > 10
        return
    # Text that nobody reads may be no UTF-8.
    tree = json.loads(damaged.decode("utf-8", "replace"), parse_float=str, parse_int=str) if damaged != b"pong" else {}
    numbers = {Decimal(text) for text in texts_of(tree) if is_number(text)} | {Decimal(0)}
    for event in map(event_of, events):
        one = instrument(name)
        for field, exponent in (("price_ticks", one.price_exponent), ("quantity_lots", -8), ("bid_ticks", one.price_exponent),
                                ("ask_ticks", one.price_exponent), ("bid_lots", -8), ("ask_lots", -8)):  # fmt: skip
            if field in (event.records.dtype.names or ()):
                for value in event.records[field].tolist():
                    assert Decimal(value).scaleb(exponent) in numbers, (field, value)


def texts_of(tree):
    if isinstance(tree, dict):
        for value in tree.values():
            yield from texts_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from texts_of(value)
    elif isinstance(tree, str):
        yield tree


def is_number(text):
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(name):
    adapter = venues.module(name)
    for frame in SAMPLES[name]:
        for end in range(len(frame)):
            with pytest.raises(FrameError):
                adapter.decode(frame[:end], 9, adapter.routes([instrument(name)]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frame", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"0", b"", b'{"type":"match"}'])
def test_nonsense_is_refused_or_nothing(name, frame):
    adapter = venues.module(name)
    try:
        assert adapter.decode(frame, 9, adapter.routes([instrument(name)])) == []
    except FrameError as error:
        assert len(str(error)) > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_change_of_a_book_names_the_book_and_a_refused_trade_none(name):
    adapter, depth = venues.module(name), 0
    for frame in SAMPLES[name]:
        (kind,) = {event.kind for event in said(name, frame)}
        times = [frame.find(word) for word in (b'"time"', b'"timestamp"') if word in frame and kind == Kind.depth]
        digits = max(place for place in range(min(times, default=len(frame))) if frame[place : place + 1].isdigit())
        broken = frame[:digits] + b"x" + frame[digits:] if name != "kraken_v1" else frame.replace(b"0.0", b"0.x")
        broken = broken.replace(b'"as":[]', b'"as":[1]')
        with pytest.raises(FrameError) as refusal:
            adapter.decode(broken, 9, adapter.routes([instrument(name)]))
        assert refusal.value.subject == (instrument(name).subject if kind == Kind.depth else ""), frame
        depth += kind == Kind.depth
    assert depth or name == "binance"


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_subscribed_is_refused(name):
    adapter = venues.module(name)
    routes = adapter.routes([Instrument(symbol="OTHER", venue=name)])
    for frame in SAMPLES[name]:
        with pytest.raises(FrameError, match="not subscribed"):
            adapter.decode(frame, 9, routes)


@given(st.text("0123456789.eE+-", max_size=12))
def test_a_bare_number_is_read_as_decimal_reads_it(text):
    try:
        value = decimals.mantissa(decimals.plain(text.encode()), -8)
    except DecimalError:
        return
    assert Decimal(text).scaleb(8) == value


@pytest.mark.parametrize("number", [b"1e999999999", b"-1e-3", b"1e", b"NaN", b"Infinity", b"1e-9", b'"1"', b"[1]", b"9" * 70])
def test_bare_numbers_that_are_none_or_do_not_fit(number):
    with pytest.raises(DecimalError):
        decimals.mantissa(decimals.plain(number), -8)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(0, 999))
def test_times_are_exact_to_the_nanosecond(moment, nanos):
    moment = moment.replace(tzinfo=UTC)
    want = (int(moment.timestamp()) * 10**6 + moment.microsecond) * 1000 + nanos
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}{nanos:03d}Z".replace(f"{moment:%Y}", f"{moment.year:04d}", 1)
    assert times.rfc3339_ns(text) == want
    assert times.rfc3339_ns(text.replace("Z", "+00:00")) == want
    assert times.seconds_ns(f"{want // 10**9}.{want % 10**9:09d}") == want
    assert times.milliseconds_ns(str(want // 10**6)) == want // 10**6 * 10**6


@pytest.mark.parametrize("text", ["", "2021-02-30T00:00:00Z", "2021-04-17", "2021-04-17T16:43:30.1234567890Z", "1"])
def test_times_that_are_none(text):
    with pytest.raises(DecimalError):
        times.rfc3339_ns(text)


@given(st.lists(st.tuples(st.integers(0, 10**18), st.integers(1, 5)), max_size=30))
def test_counted_ids_always_rise(moments):
    ids, last = Rising(), 0
    for recv_ns, count in moments:
        first = ids.take(recv_ns, count)
        assert first > last
        last = first + count - 1


# Requests and their answers


@pytest.mark.parametrize("name", NEW)
def test_an_adapter_has_every_member_of_the_contract(name):
    adapter, one = venues.module(name), instrument(name)
    assert name == adapter.VENUE and adapter.WS[0].startswith("wss://") and adapter.REST[0].startswith("https://")
    assert (
        adapter.QUIET_S > 0
        and adapter.MESSAGES_PER_S > 0
        and adapter.WEIGHT_PER_MINUTE > 0
        and adapter.REQUESTS_PER_S >= 0
        and adapter.LIFE_S >= 0
    )
    assert adapter.BOOK in ("rest", "chain", "checksum", "stream")
    assert adapter.path([one], SETTINGS).startswith("/")
    requests = [json.loads(text) for text in adapter.subscribe([one], SETTINGS)]
    assert requests and all(one.symbol.lower() in json.dumps(request).lower() for request in requests)
    again = list(adapter.resubscribe(one, SETTINGS))
    assert bool(again) == (adapter.BOOK != "rest")
    (asked,) = adapter.definitions([one])
    assert asked.instruments == (one,)
    for request in (asked.request, adapter.clock(), adapter.snapshot(one, 1000), adapter.history(one, 5, 10**18)):
        assert request is None or (isinstance(request, Request) and request.path.startswith("/") and request.weight > 0)
    assert all(isinstance(status, int) and isinstance(code, int) for status, code in adapter.UNKNOWN)
    book = adapter.book(one, SETTINGS)
    assert (book.resyncs, book.disconnected()) == (0, [])
    followed = {id_rules.rule(kind, one.subject) for kind in (Kind.trade, Kind.quote, Kind.depth)}
    assert followed <= {"contiguous", "rising", "exclusive"}


def test_an_unknown_venue_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="kraken_v1"):
        venues.module("mtgox")


HISTORIES = {
    "binance_usdm": b'[{"id":28457,"price":"4.00000100","qty":"12.00","quoteQty":"8000.00","time":1499865549590,'
    b'"isBuyerMaker":true},{"id":28458,"price":"4.1","qty":"1","quoteQty":"4.1","time":1499865549591,"isBuyerMaker":false}]',
    "coinbase": b'[{"time":"2014-11-07T22:19:28.578544Z","trade_id":28458,"price":"4.1","size":"1","side":"sell"},'
    b'{"time":"2014-11-07T01:08:43.642366Z","trade_id":28457,"price":"4.00000100","size":"12.00","side":"buy"}]',
    "kraken": b'{"error":[],"result":{"XXBTZUSD":[["4.0","12.00000000",1688669597.827,"s","m","",28457],'
    b'["4.1","1.00000000",1688669597.8277369,"b","l","",28458]],"last":"1688671969993150842"}}',
    "okx": b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"buy","sz":"1","px":"4.1","tradeId":"28458",'
    b'"ts":"1499865549591"},{"instId":"BTC-USDT","side":"sell","sz":"12.00","px":"4.00000100","tradeId":"28457",'
    b'"ts":"1499865549590"}]}',
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HISTORIES))
def test_history_is_ascending_and_flagged_as_repaired(name):
    adapter = venues.module(name)
    (event,) = map(event_of, adapter.decode_history(HISTORIES[name], 5, instrument(name)))
    assert (event.first_id, event.last_id, event.flags) == (28457, 28458, Flag.REPAIRED)
    assert event.records["side"].tolist() == [-1, 1] and event.records["quantity_lots"].tolist() == [12 * 10**8, 10**8]
    assert not event.records["event_ns"].any()
    holed = HISTORIES[name].replace(b"28458", b"28460")
    assert [(e.first_id, e.last_id) for e in map(event_of, adapter.decode_history(holed, 5, instrument(name)))] == [
        (28457, 28457), (28460, 28460)]  # fmt: skip
    for body in (b"", b"{}", b"[[]]", HISTORIES[name][:-2], HISTORIES[name].replace(b"12.00", b"-2.00")):
        with pytest.raises(FrameError):
            adapter.decode_history(body, 5, instrument(name))


@pytest.mark.parametrize("name", sorted(HISTORIES))
def test_a_row_of_history_that_cannot_be_read_costs_no_other(name):
    with pytest.raises(FrameError, match="1 of 2 trades cannot be read") as refusal:
        venues.module(name).decode_history(HISTORIES[name].replace(b"12.00", b"1x.00"), 5, instrument(name))
    (event,) = map(event_of, refusal.value.readable)
    assert (event.first_id, event.last_id, event.flags) == (28458, 28458, Flag.REPAIRED)


@pytest.mark.parametrize(
    "name,body",
    [("kraken", b'{"error":["EService:Unavailable"]}'), ("kraken", b'{"error":["EGeneral:Too many requests"],"result":{}}'),
     ("okx", b'{"code":"50001","msg":"Service temporarily unavailable","data":[]}'),
     ("binance", b'{"code":-1008,"msg":"Server is currently overloaded with other requests."}'),
     ("binance_usdm", b'{"code":-1008,"msg":"Server is currently overloaded with other requests."}'),
     ("coinbase", b'{"message":"temporarily unavailable"}')],
)  # fmt: skip
def test_a_venue_that_is_unwell_says_nothing_of_its_history(name, body):
    with pytest.raises(Unwell, match="the venue answers"):
        venues.module(name).decode_history(body, 5, instrument(name))


def test_histories_are_asked_for_where_the_ids_are():
    assert coinbase.history(instrument("coinbase"), 500).query["after"] == 1500
    assert okx.history(instrument("okx"), 500).query == {"instId": "BTC-USDT", "type": 1, "after": 600, "limit": 100}
    assert kraken.history(instrument("kraken"), 500) is None, "the past is known by time only"
    assert kraken.history(instrument("kraken"), 500, 10**18).query == {"pair": "XBTUSD", "since": 10**18 - 1, "count": 1000}
    assert venues.module("kraken_v1").history(instrument("kraken_v1"), 500, 10**18) is None


def test_kraken_times_of_rest_are_no_floats():
    (event,) = map(event_of, kraken.decode_history(HISTORIES["kraken"], 5, instrument("kraken")))
    assert event.records["venue_ns"].tolist() == [1688669597827000000, 1688669597827736900]


@pytest.mark.parametrize(
    "name,body,expected",
    [("binance_usdm", b'{"serverTime":1499827319559}', 1499827319559 * 10**6),
     ("coinbase", b'{"iso":"2015-01-07T23:47:25.201Z","epoch":1420674445.201}', 1420674445201 * 10**6),
     ("kraken", b'{"error":[],"result":{"unixtime":1688669448,"rfc1123":"Thu"}}', 1688669448 * 10**9),
     ("okx", b'{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}', 1597026383085 * 10**6)],
)  # fmt: skip
def test_the_venue_s_clock(name, body, expected):
    adapter = venues.module(name)
    assert adapter.decode_clock(body) == expected
    for wrong in (b"", b"{}", b'{"data":[]}', b'{"serverTime":"x"}'):
        with pytest.raises(FrameError):
            adapter.decode_clock(wrong)


def test_snapshots_by_rest():
    usdm = venues.module("binance_usdm")
    body = b'{"lastUpdateId":600,"E":1626992741264,"T":1626992741261,"bids":[["7.6110","6"]],"asks":[["7.62","1"]]}'
    last_id, event = usdm.decode_snapshot(body, 5, instrument("binance_usdm"))
    assert last_id == 600 and event_of(event).flags == Flag.SNAPSHOT and event_of(event).venue_ns == 1626992741264 * 10**6
    limits = [usdm.snapshot(instrument("binance_usdm"), limit).query["limit"] for limit in (1, 100, 101, 5000)]
    assert limits == [50, 100, 500, 1000]
    body = b'{"code":"0","msg":"","data":[{"asks":[["2","1","0","1"]],"bids":[],"ts":"1654329601749","seqId":77}]}'
    last_id, event = okx.decode_snapshot(body, 5, instrument("okx"))
    assert last_id == 77 and event_of(event).records.tolist() == [(2 * 10**8, 10**8, -1, b"")]
    with pytest.raises(FrameError, match="no seqId"):
        okx.decode_snapshot(body.replace(b',"seqId":77', b""), 5, instrument("okx"))


@pytest.mark.parametrize(
    "name,frame,acknowledged,refused,shutdown",
    [("coinbase", b'{"type":"subscriptions","channels":[]}', True, False, False),
     ("coinbase", b'{"type":"error","message":"Failed to subscribe","reason":"x is not a valid product"}', False, True, False),
     ("coinbase", b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD"}', False, False, False),
     ("kraken", b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}', True, False, False),
     ("kraken", b'{"error":"Currency pair not supported X/Y","method":"subscribe","success":false}', False, True, False),
     ("kraken", b'{"channel":"heartbeat"}', False, False, False),
     ("kraken", b'{"channel":"status","type":"update","data":[{"system":"online"}]}', False, False, False),
     ("kraken_v1", b'{"channelID":1,"event":"subscriptionStatus","pair":"X/Y","status":"subscribed"}', True, False, False),
     ("kraken_v1", b'{"errorMessage":"Currency pair not supported","event":"subscriptionStatus","status":"error"}', False, True,
      False),
     ("kraken_v1", b'{"event":"heartbeat"}', False, False, False),
     ("okx", b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a"}', True, False, False),
     ("okx", b'{"event":"error","code":"60012","msg":"Invalid request","connId":"a"}', False, True, False),
     ("okx", b'{"event":"notice","code":"64008","msg":"The connection will soon be closed"}', False, False, True),
     ("okx", b'{"event":"channel-conn-count","channel":"orders","connCount":"1","connId":"a"}', False, False, False),
     ("okx", b"pong", False, False, False)],
)  # fmt: skip
def test_control_messages(name, frame, acknowledged, refused, shutdown):
    adapter = venues.module(name)
    assert adapter.decode(frame, 1, adapter.routes([instrument(name)])) == []
    control = adapter.control(frame)
    assert (control.acknowledged, control.refused, control.shutdown) == (acknowledged, refused, shutdown)
    assert not refused or control.msg


def test_a_definition_that_the_exponents_cannot_hold_is_refused():
    body = b'{"id":"BTC-USD","quote_increment":"0.01","base_increment":"0.00000001","min_market_funds":"1"}'
    said_ = event_of(coinbase.decode_definition(body, 1, instrument("coinbase")))
    assert said_.records.tolist() == [(-8, -8, 10**6, 1, 0, 10**8, 0)]
    with pytest.raises(FrameError, match="more than the 1 decimals"):
        coinbase.decode_definition(body, 1, Instrument(symbol="BTC-USD", venue="coinbase", price_exponent=-1))
    with pytest.raises(FrameError):
        coinbase.decode_definition(body.replace(b"BTC-USD", b"ETH-USD"), 1, instrument("coinbase"))


def test_the_adapter_s_records_have_the_schema_s_layout():
    for layout, kind in ((writer.TRADE, Kind.trade), (writer.QUOTE, Kind.quote), (writer.INSTRUMENT, Kind.instrument)):
        assert struct.calcsize("<" + layout) == DTYPES[kind].itemsize
    assert RECORD.size == DTYPES[Kind.depth].itemsize
    assert wire.HEADER_SIZE - 8 == wire.RESERVED_AT
    assert binance_streams.to_ns(1) == 10**6 and binance.to_ns is binance_streams.to_ns
