"""What a venue really sent is counted, proven and read to the last digit: checksums, sides, ids, definitions."""

import json
import zlib
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from tests.support import captures
from tests.support.captures import needs
from tests.support.decoded_captures import ADAPTERS, KRAKEN_DECIMALS, SYMBOLS, decode_sample, instruments
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import checksum
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.parsing.listing import exponents_of
from tickmesh.nodes.venues.table import adapter_of

pytestmark = pytest.mark.data


def counts(events):
    return Counter(event_of(event).kind for event, _ in events)


def expected(venue):
    return json.loads(captures.COUNTS.read_text())[venue]


@needs(captures.SAMPLES)
def test_coinbase_messages_are_counted_as_expected():
    events, refused, controls = decode_sample("COINBASE")
    seen = counts(events)
    assert (seen[Kind.depth], seen[Kind.quote], seen[Kind.trade]) == (9729, 107, 107)
    assert expected("COINBASE") == {"L2_BOOK": 9729, "TICKER": 107, "TRADES": 107}
    assert not refused and len(controls) == 3 and all(control.acknowledged for control in controls)


@needs(captures.SAMPLES)
def test_okx_messages_are_counted_as_expected():
    events, refused, controls = decode_sample("OKX")
    seen = counts(events)
    assert (seen[Kind.depth], seen[Kind.quote], seen[Kind.trade]) == (290, 28, 74)
    assert expected("OKX") == {"L2_BOOK": 290, "TICKER": 28, "TRADES": 74}
    assert not refused and len(controls) == 18 and all(control.acknowledged for control in controls)


@needs(captures.SAMPLES)
def test_kraken_messages_are_counted_as_expected():
    events, refused, controls = decode_sample("KRAKEN")
    seen = counts(events)
    trades = sum(event_of(event).count for event, _ in events if event_of(event).kind == Kind.trade)
    assert (seen[Kind.depth], seen[Kind.quote], trades) == (4279, 18, 10)
    assert expected("KRAKEN") == {"L2_BOOK": 4279, "TICKER": 18, "TRADES": 10}
    assert seen[Kind.trade] == 8, "two messages bring two trades: they are one event of two records"
    assert not refused and sum(control.acknowledged for control in controls) == 30


@needs(captures.SAMPLES)
@pytest.mark.parametrize("venue,depth,before,at,candles", [("BINANCE", 177, 1, 4, 2), ("BINANCE_FUTURES", 764, 12, 3, 67)])
def test_binance_messages_are_counted_as_expected(venue, depth, before, at, candles):
    """Expected are book callbacks: 4 snapshots and the changes after them; we say the changes before them, too.

    A change that ended exactly at the snapshot is counted as one after it on USD-M, and not on spot, by the documents' rules.
    Candles are not ours: a stream that was not subscribed is refused with its bytes.
    """
    adapter = adapter_of(ADAPTERS[venue])
    events, refused, _ = decode_sample(venue)
    seen = counts(events)
    want = expected(venue)
    assert (seen[Kind.quote], seen[Kind.trade], seen[Kind.depth]) == (want["TICKER"], want["TRADES"], depth)
    assert len(refused) == candles == want["CANDLES"] and all("kline" in sentence for sentence, _ in refused)
    last = {}
    for message in captures.sample(venue):
        if message.direction == "rest" and "/depth" in message.connection:
            symbol = message.connection.partition("symbol=")[2].partition("&")[0]
            last[symbol], _ = adapter.decode_snapshot(message.frame, message.recv_ns, dict(by_symbol(venue))[symbol])
    heads = [head for head in (event_of(event) for event, _ in events) if head.kind == Kind.depth]
    ends = [(head.last_id, last[head.subject.partition(".")[2]]) for head in heads]
    assert (sum(end < at_ for end, at_ in ends), sum(end == at_ for end, at_ in ends)) == (before, at)
    assert want["L2_BOOK"] == depth - before + 4 - (at if venue == "BINANCE" else 0)


def by_symbol(venue):
    return [(instrument.symbol, instrument) for instrument in instruments(venue)]


def follow(venue, settings=FeedSettings()):  # noqa: B008 (frozen)
    """(rules by subject, events as said by them) of a venue whose books come on the stream."""
    adapter = adapter_of(ADAPTERS[venue])
    books = {instrument.subject: adapter.book(instrument, settings) for instrument in instruments(venue)}
    said = []
    for event, message in decode_sample(venue)[0]:
        head = event_of(event)
        if head.kind != Kind.depth:
            continue
        book = books[head.subject]
        if head.flags & Flag.SNAPSHOT:
            said += book.snapshot(bytearray(event), head.last_id)[1]
        else:
            said += book.change(bytearray(event), head.first_id, head.last_id)
        assert not book.wants_resubscription and not book.wants_snapshot, message
    return books, said


@needs(captures.SAMPLES)
@pytest.mark.parametrize("venue,proven,unproven", [("KRAKEN", 4269, 10), ("OKX", 290, 0)])
def test_every_checksum_is_that_of_the_book(venue, proven, unproven):
    """Kraken's ten snapshots have none in v1. Every other message carries in the log that it was proven."""
    books, said = follow(venue)
    assert sum(book.checked for book in books.values()) == proven
    assert sum(book.resyncs for book in books.values()) == 0
    assert Counter(checksum(event)[1] for event in said) == {True: proven, **({False: unproven} if unproven else {})}


@needs(captures.SAMPLES)
def test_whoever_applies_the_said_events_has_the_book_that_the_venue_proves():
    """Independently of the rule: a plain map a side, Kraken's text rule on the records as they stand in the log."""
    _, said = follow("KRAKEN")
    books, proven = {}, 0
    for event in said:
        head = event_of(event)
        if head.flags & Flag.SNAPSHOT:
            books[head.subject] = ({}, {})
        bids, asks = books[head.subject]
        for record in head.records:
            side = bids if record["side"] > 0 else asks
            side[int(record["price_ticks"])] = int(record["quantity_lots"])
            if not record["quantity_lots"]:
                del side[int(record["price_ticks"])]
        assert len(bids) <= 1000 and len(asks) <= 1000
        if (want := checksum(event)[0]) is not None:
            assert naive_crc(asks, bids) == want
            proven += 1
    assert proven == 4269


def naive_crc(asks, bids):
    text = "".join(f"{p}{asks[p]}" for p in sorted(asks)[:10]) + "".join(f"{p}{bids[p]}" for p in sorted(bids)[:-11:-1])
    return zlib.crc32(text.encode())


@needs(captures.SAMPLES)
def test_a_lost_change_shows_as_a_wrong_checksum_and_a_fresh_snapshot_heals_it():
    adapter = adapter_of("kraken_v1")
    instrument = next(i for i in instruments("KRAKEN") if i.symbol == "SC/EUR")
    events = [(event, event_of(event)) for event, _ in decode_sample("KRAKEN")[0]]
    events = [(event, head) for event, head in events if head.kind == Kind.depth and head.subject == instrument.subject]
    found = 0
    for lost in range(5, 60):
        book = adapter.book(instrument, FeedSettings())
        for place, (event, head) in enumerate(events[: lost + 40]):
            if head.flags & Flag.SNAPSHOT:
                book.snapshot(bytearray(event), head.last_id)
            elif place != lost:
                book.change(bytearray(event), head.first_id, head.last_id)
        if book.wants_resubscription:
            found += 1
            assert book.resyncs == 1 and book.image(1) is None
            book.snapshot(bytearray(events[0][0]), 10**16)
            assert book.synced and not book.wants_resubscription and book.image(1) is not None
    assert found >= 25, "changes below the tenth level are not covered by the checksum; those above are"


@needs(captures.SAMPLES)
def test_coinbase_sides_are_the_aggressor_s():
    """Against the book just before the trade, and against the ticker's taker side of the same trade."""
    adapter = adapter_of("coinbase")
    books = {instrument.subject: adapter.book(instrument, FeedSettings()) for instrument in instruments("COINBASE")}
    at_ask = at_bid = wrong = 0
    sides, taker = {}, {}
    for event, message in decode_sample("COINBASE")[0]:
        head = event_of(event)
        tree = json.loads(message.frame)
        if head.kind == Kind.trade:
            (trade,) = head.records
            sides[tree["product_id"], int(trade["trade_id"])] = int(trade["side"])
            levels = books[head.subject].levels
            if tree["type"] == "last_match" or not (levels.bids.prices and levels.asks.prices):
                continue
            price, side = int(trade["price_ticks"]), int(trade["side"])
            bid, ask = levels.bids.prices[-1], levels.asks.prices[0]
            at_ask += price >= ask and side == 1
            at_bid += price <= bid and side == -1
            wrong += (price >= ask and side == -1) or (price <= bid and side == 1)
        elif head.kind == Kind.quote:
            taker[tree["product_id"], tree["trade_id"]] = {"buy": 1, "sell": -1}[tree["side"]]
        elif head.flags & Flag.SNAPSHOT:
            books[head.subject].snapshot(bytearray(event), head.last_id)
        else:
            books[head.subject].change(bytearray(event), head.first_id, head.last_id)
    assert wrong == 0 and at_ask > 10 and at_bid > 10, (at_ask, at_bid, wrong)
    assert len(taker) == 107 and all(sides[trade] == side for trade, side in taker.items())
    assert not sum(book.resyncs for book in books.values()), "its book is never crossed"


@needs(captures.SAMPLES)
@pytest.mark.parametrize("venue", ["COINBASE", "BINANCE_FUTURES"])
def test_trade_ids_have_no_hole(venue):
    last = {}
    for event, _ in decode_sample(venue)[0]:
        head = event_of(event)
        if head.kind == Kind.trade:
            assert head.first_id == last.get(head.subject, head.first_id - 1) + 1
            last[head.subject] = head.last_id
    assert len(last) == len(SYMBOLS[venue])


@needs(captures.SAMPLES)
def test_every_number_and_time_is_what_decimal_reads():
    """OKX and Coinbase trades and Kraken levels, by json with Decimal, to the last digit."""

    def mantissa(text, exponent=-8):  # fmt: skip
        value = Decimal(text).scaleb(-exponent)
        assert value == int(value)
        return int(value)

    for venue in ("OKX", "COINBASE"):
        for event, message in decode_sample(venue)[0]:
            head, tree = event_of(event), json.loads(message.frame)
            if head.kind != Kind.trade:
                continue
            rows = tree["data"] if venue == "OKX" else [tree]
            assert head.count == len(rows)
            for record, row in zip(head.records, rows):
                assert record["price_ticks"] == mantissa(row.get("px") or row["price"])
                assert record["quantity_lots"] == mantissa(row.get("sz") or row["size"])
                assert record["trade_id"] == int(row.get("tradeId") or row["trade_id"])
                if venue == "OKX":
                    assert record["venue_ns"] == int(row["ts"]) * 10**6
                    assert record["side"] == {"buy": 1, "sell": -1}[row["side"]]
                else:
                    assert record["venue_ns"] == (np.datetime64(row["time"][:-1], "ns") - np.datetime64(0, "ns")).astype(int)
    for event, message in decode_sample("KRAKEN")[0]:
        head, tree = event_of(event), json.loads(message.frame)
        if head.kind == Kind.depth:
            exponent = -KRAKEN_DECIMALS[tree[-1]]
            rows = [row for part in tree[1:-2] for key in ("bs", "b") for row in part.get(key, ())]
            rows += [row for part in tree[1:-2] for key in ("as", "a") for row in part.get(key, ())]
            pairs = [(mantissa(row[0], exponent), mantissa(row[1])) for row in rows]
            assert [(int(r["price_ticks"]), int(r["quantity_lots"])) for r in head.records] == pairs


@needs(captures.SAMPLES)
def test_definitions_come_from_the_venues_own_lists():
    usdm, okx, kraken_v1 = (adapter_of(name) for name in ("binance_usdm", "okx", "kraken_v1"))
    rest = {
        message.connection: message for venue in ADAPTERS for message in captures.sample(venue) if message.direction == "rest"
    }
    bodies = {url.partition("?")[0]: message.frame for url, message in rest.items()}
    sushi = Instrument(symbol="SUSHIUSDT", venue="binance_usdm")
    said = event_of(usdm.decode_definition(bodies["https://fapi.binance.com/fapi/v1/exchangeInfo"], 1, sushi))
    assert said.records.tolist() == [(-8, -8, 100_000, 10**8, 10**8, 5 * 10**8, 0)]
    spot = next(message.frame for url, message in rest.items() if url.endswith("instruments?instType=SPOT"))
    said = event_of(okx.decode_definition(spot, 1, Instrument(symbol="BTC-USDT", venue="okx")))
    assert said.records.tolist() == [(-8, -8, 10**7, 1, 1000, 0, 0)]
    pairs = bodies["https://api.kraken.com/0/public/AssetPairs"]
    xbt = Instrument(symbol="XBT/USD", venue="kraken_v1", price_exponent=-5)
    assert event_of(kraken_v1.decode_definition(pairs, 1, xbt)).records.tolist() == [(-5, -8, 10**4, 1, 20_000, 0, 0)]
    v2 = adapter_of("kraken")
    btc = Instrument(symbol="BTC/USD", venue="kraken", price_exponent=-1)
    assert event_of(v2.decode_definition(pairs, 1, btc)).records.tolist() == [(-1, -8, 1, 1, 20_000, 0, 0)]
    with pytest.raises(FrameError, match="need -1 and -8"):
        v2.decode_definition(pairs, 1, Instrument(symbol="BTC/USD", venue="kraken"))
    whole = (usdm, bodies["https://fapi.binance.com/fapi/v1/exchangeInfo"]), (okx, spot), (v2, pairs)
    coinbase = adapter_of("coinbase"), bodies["https://api.pro.coinbase.com/products"]
    listed = {adapter.VENUE: adapter.listed(body) for adapter, body in (*whole, coinbase)}
    assert {venue: len(rows) for venue, rows in listed.items()} == {
        "binance_usdm": 122,
        "okx": 513,
        "kraken": 293,
        "coinbase": 162,
    }
    pairs_decided = {exponents_of(one) for one in listed.pop("kraken").values()}
    assert (-1, -8) in pairs_decided and len(pairs_decided) > 5, "each as its checksums want it"
    decided = Counter(exponents_of(one) for rows in listed.values() for one in rows.values())
    assert decided == {(-8, -8): 764, (-9, -8): 19, (-10, -8): 5, (-11, -8): 4, (-12, -8): 5}
    products = json.loads(coinbase[1])
    one = json.dumps(next(product for product in products if product["id"] == "YFI-BTC")).encode()
    said = event_of(adapter_of("coinbase").decode_definition(one, 1, Instrument(symbol="YFI-BTC", venue="coinbase")))
    assert said.records["tick_size"][0] > 0 and said.records["lot_size"][0] > 0
    for venue, body, names in (
        ("binance_usdm", bodies["https://fapi.binance.com/fapi/v1/exchangeInfo"], ("SUSHIUSDT", "BTCUSDT")),
        ("okx", spot, ("BTC-USDT",)),
        ("kraken", pairs, ("BTC/USD", "ADA/BTC", "DOGE/USD")),
        ("coinbase", bodies["https://api.pro.coinbase.com/products"], ("YFI-BTC", "BAND-GBP")),
    ):
        adapter = adapter_of(venue)
        listed = adapter.listed(body)
        assert set(names) <= set(listed), venue
        assert [name for name in listed if adapter.spell(name) != name] == [], "a venue's own names are spelled as they are"
