"""What an adapter says of a message is exact: every number, time, side, id and checksum."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.captures import VECTORS, needs
from tests.support.venue_samples import SAMPLES, decode_frame, instrument
from tickmesh.bus import wire
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.settings import FeedSettings
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues import binance, binance_streams, okx
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.parsing.rising import RisingIds
from tickmesh.nodes.venues.table import adapter_of


def test_usdm_trade_quote_and_depth():
    trade, quote, depth = (decode_frame("binance_usdm", frame)[0] for frame in SAMPLES["binance_usdm"])
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
    adapter, frame = adapter_of("binance_usdm"), SAMPLES["binance_usdm"][0]
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
    event = decode_frame("binance", SAMPLES["binance"][2])[0]
    assert (event.first_id, event.last_id) == (716849523, 716849525)
    assert event.records.tolist() == [(716849525, 5894201000000, 35600, 1616176861893 * 10**6, 1616176861895 * 10**6, 1, b"")]


def test_coinbase_gives_the_aggressor():
    trade, quote, change, snapshot = (decode_frame("coinbase", frame)[0] for frame in SAMPLES["coinbase"])
    at = ns("2021-04-17T16:43:30.244075")
    assert trade.records.tolist() == [(881613, 1477750000, 4000000, at, at, 1, b"")], "the maker sold, so the aggressor bought"
    assert quote.records.tolist() == [(333938798, 1475500000, 150000000, 1480600000, 200000000, at)]
    assert change.records.tolist() == [(1475000000, 120000000, 1, b""), (1481000000, 0, -1, b"")]
    assert snapshot.flags == Flag.SNAPSHOT and snapshot.count == 2


def ns(text):
    return int(np.datetime64(text, "ns").astype("i8"))


def test_kraken_reads_bare_numbers_as_text():
    (trades,) = decode_frame("kraken", SAMPLES["kraken"][0])
    assert (trades.first_id, trades.last_id, trades.count) == (4665846, 4665847, 2)
    assert trades.records.tolist() == [
        (4665846, 452852, 100000, ns("2023-09-25T07:49:37.708706"), ns("2023-09-25T07:49:37.708706"), -1, b""),
        (4665847, 452853, 100000, ns("2023-09-25T07:49:37.708707"), ns("2023-09-25T07:49:37.708707"), 1, b""),
    ]
    apart = SAMPLES["kraken"][0].replace(b"4665847", b"4665849")
    assert [(e.first_id, e.last_id) for e in decode_frame("kraken", apart)] == [(4665846, 4665846), (4665849, 4665849)]
    (quote,) = decode_frame("kraken", SAMPLES["kraken"][1])
    assert quote.records.tolist() == [(quote.last_id, 452835, 10000000, 452852, 100000, 0)]
    with pytest.raises(FrameError, match="more than the 1 decimals"):
        decode_frame("kraken", SAMPLES["kraken"][2].replace(b"45283.5", b"45283.55"))


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
    adapter = adapter_of("kraken")
    (event,) = adapter.decode(frame.encode(), 1, adapter.routes([instrument("kraken")]))
    book = adapter.book(instrument("kraken"), FeedSettings())
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
    (trade,) = decode_frame("okx", SAMPLES["okx"][0])
    assert (trade.first_id, trade.last_id) == (314161274, 314161276)
    at = 1646311839593 * 10**6
    assert trade.records.tolist() == [(314161276, 4347410000000, 373695, at, at, 1, b"")]
    depth, best = decode_frame("okx", SAMPLES["okx"][1])[0], decode_frame("okx", SAMPLES["okx"][2])[0]
    assert (depth.first_id, depth.last_id) == (11, 15)
    assert wire.checksum(depth.raw)[0] == -796530682 & 0xFFFFFFFF
    assert best.records.tolist() == [(77, 0, 0, 3177470000000, 14368878, 1654032991947 * 10**6)], "no bid: 0 and 0"
    zero = SAMPLES["okx"][1].replace(b"-796530682", b"0")
    assert wire.checksum(decode_frame("okx", zero)[0].raw) == (None, False)


def test_kraken_v1_joins_the_two_maps_of_a_message():
    adapter = adapter_of("kraken_v1")
    (change,) = decode_frame("kraken_v1", SAMPLES["kraken_v1"][1])
    assert change.records.tolist() == [(388001, 3017320, 1, b""), (388000, 2203518, -1, b"")]
    assert wire.checksum(change.raw)[0] == 2479000840
    (quote,) = decode_frame("kraken_v1", SAMPLES["kraken_v1"][2])
    assert quote.records.tolist() == [(quote.last_id, 317600, 2167307, 317601, 646761464, 1654031976197239000)]
    (empty,) = decode_frame("kraken_v1", SAMPLES["kraken_v1"][3])
    assert empty.flags == Flag.SNAPSHOT and empty.records["side"].tolist() == [0]
    with pytest.raises(FrameError, match="need price_exponent -5"):
        decode_frame("kraken_v1", SAMPLES["kraken_v1"][1].replace(b"38800.0", b"38800.00000"))
    two = b'[321,[["1.0","2.0","1616333924.737428","b","m",""],["1.1","2.0","1616333924.737429","s","m",""]],"trade","BTC/USD"]'
    trades = adapter.decode(two, 5_000_000, adapter.routes([instrument("kraken_v1")]))
    assert event_of(trades[0]).records["trade_id"].tolist() == [5000, 5001]


@given(st.sampled_from(["trade", "quote"]), st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=9, max_size=9))
def test_a_ready_made_event_is_an_encoded_one(name, numbers):
    kind = Kind[name]
    fields = [*numbers[4:9], 1] if name == "trade" else numbers[3:9]
    quick = wire.one_record(kind, "binance.BTCUSDT")(*numbers[:4], *fields)
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


@given(st.lists(st.tuples(st.integers(0, 10**18), st.integers(1, 5)), max_size=30))
def test_counted_ids_always_rise(moments):
    ids, last = RisingIds(), 0
    for recv_ns, count in moments:
        first = ids.take(recv_ns, count)
        assert first > last
        last = first + count - 1


def test_usd_m_s_milliseconds_are_spot_s():
    assert binance_streams.to_ns(1) == 10**6 and binance.to_ns is binance_streams.to_ns
