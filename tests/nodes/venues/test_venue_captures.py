"""Every adapter against what its venue really sent: counts, checksums, sides, chains, books, and twins with known faults."""

import json
import zlib
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from tests.support import captures
from tests.support.captures import needs
from tests.support.heard_captures import ADAPTERS, KRAKEN_DECIMALS, SYMBOLS, heard, instruments
from tickmesh.bus.schema import GAP, Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import checksum
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes import venues
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.books.booksync import Answer, BookSync
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.parsing.dialect import FrameError, OddRows
from tickmesh.nodes.venues.parsing.times import doubt

pytestmark = pytest.mark.data
BTC = Instrument(symbol="BTCUSDT", venue="binance_usdm")


def counts(events):
    return Counter(event_of(event).kind for event, _ in events)


def expected(venue):
    return json.loads(captures.COUNTS.read_text())[venue]


@needs(captures.SAMPLES)
def test_coinbase_messages_are_counted_as_expected():
    events, refused, controls = heard("COINBASE")
    seen = counts(events)
    assert (seen[Kind.depth], seen[Kind.quote], seen[Kind.trade]) == (9729, 107, 107)
    assert expected("COINBASE") == {"L2_BOOK": 9729, "TICKER": 107, "TRADES": 107}
    assert not refused and len(controls) == 3 and all(control.acknowledged for control in controls)


@needs(captures.SAMPLES)
def test_okx_messages_are_counted_as_expected():
    events, refused, controls = heard("OKX")
    seen = counts(events)
    assert (seen[Kind.depth], seen[Kind.quote], seen[Kind.trade]) == (290, 28, 74)
    assert expected("OKX") == {"L2_BOOK": 290, "TICKER": 28, "TRADES": 74}
    assert not refused and len(controls) == 18 and all(control.acknowledged for control in controls)


@needs(captures.SAMPLES)
def test_kraken_messages_are_counted_as_expected():
    events, refused, controls = heard("KRAKEN")
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
    adapter = venues.module(ADAPTERS[venue])
    events, refused, _ = heard(venue)
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
    adapter = venues.module(ADAPTERS[venue])
    books = {instrument.subject: adapter.book(instrument, settings) for instrument in instruments(venue)}
    said = []
    for event, message in heard(venue)[0]:
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
    adapter = venues.module("kraken_v1")
    instrument = next(i for i in instruments("KRAKEN") if i.symbol == "SC/EUR")
    events = [(event, event_of(event)) for event, _ in heard("KRAKEN")[0]]
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
    adapter = venues.module("coinbase")
    books = {instrument.subject: adapter.book(instrument, FeedSettings()) for instrument in instruments("COINBASE")}
    at_ask = at_bid = wrong = 0
    sides, taker = {}, {}
    for event, message in heard("COINBASE")[0]:
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
    for event, _ in heard(venue)[0]:
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
        for event, message in heard(venue)[0]:
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
    for event, message in heard("KRAKEN")[0]:
        head, tree = event_of(event), json.loads(message.frame)
        if head.kind == Kind.depth:
            exponent = -KRAKEN_DECIMALS[tree[-1]]
            rows = [row for part in tree[1:-2] for key in ("bs", "b") for row in part.get(key, ())]
            rows += [row for part in tree[1:-2] for key in ("as", "a") for row in part.get(key, ())]
            pairs = [(mantissa(row[0], exponent), mantissa(row[1])) for row in rows]
            assert [(int(r["price_ticks"]), int(r["quantity_lots"])) for r in head.records] == pairs


# What REST said


@needs(captures.SAMPLES)
def test_definitions_come_from_the_venues_own_lists():
    usdm, okx, kraken_v1 = (venues.module(name) for name in ("binance_usdm", "okx", "kraken_v1"))
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
    v2 = venues.module("kraken")
    btc = Instrument(symbol="BTC/USD", venue="kraken", price_exponent=-1)
    assert event_of(v2.decode_definition(pairs, 1, btc)).records.tolist() == [(-1, -8, 1, 1, 20_000, 0, 0)]
    with pytest.raises(FrameError, match="need -1 and -8"):
        v2.decode_definition(pairs, 1, Instrument(symbol="BTC/USD", venue="kraken"))
    products = json.loads(bodies["https://api.pro.coinbase.com/products"])
    one = json.dumps(next(product for product in products if product["id"] == "YFI-BTC")).encode()
    said = event_of(venues.module("coinbase").decode_definition(one, 1, Instrument(symbol="YFI-BTC", venue="coinbase")))
    assert said.records["tick_size"][0] > 0 and said.records["lot_size"][0] > 0


# USD-M BTC: five minutes of a busy pair, and a book whose end is published


@needs(captures.USDM_BTC)
def test_usdm_counts_chain_and_book():
    """Every message; no gap in the chain; the book is that of the book ticker at every equal update id."""
    adapter = venues.module("binance_usdm")
    routes, book, sync = adapter.routes([BTC]), Levels(), adapter.book(BTC, FeedSettings())
    seen, levels, trades, last_trade = Counter(), 0, [], None
    tickers, best, compared, equal = {}, {}, 0, 0
    applied = 0
    for message in captures.stamped(captures.USDM_BTC):
        if message.direction == "rest":
            last_id, event = adapter.decode_snapshot(message.frame, message.recv_ns, BTC)
            answer, said = sync.snapshot(event, last_id)
            assert answer in (Answer.USED, Answer.HELD)
        else:
            (event,) = adapter.decode(message.frame, message.recv_ns, routes)
            head = event_of(event)
            seen[head.kind] += 1
            if head.kind == Kind.trade:
                trades.append((head.first_id, head.last_id))
                continue
            if head.kind == Kind.quote:
                tickers[head.last_id] = head.records[0].tolist()[1:5]
                continue
            levels += head.count if head.records["side"][0] else 0
            said = sync.change(event, head.first_id, head.last_id)
        for one in said:
            head = event_of(one)
            if not (head.flags & Flag.SNAPSHOT or applied):
                continue
            if not head.flags & Flag.SNAPSHOT and head.last_id <= applied:
                continue
            book.apply(one)
            applied = head.last_id
            if book.bids.prices and book.asks.prices:
                (bid, bid_lots), (ask, ask_lots) = book.best_bids(1)[0], book.best_asks(1)[0]
                best[head.last_id] = (bid, bid_lots, ask, ask_lots)
    assert sum(seen.values()) == 93_954 - 1, "and one REST snapshot"
    assert (seen[Kind.trade], seen[Kind.quote], levels) == (21_313, 66_089, 443_521)
    for first_id, last_id in trades:
        assert last_trade is None or first_id == last_trade + 1
        last_trade = last_id
    assert sync.resyncs == 0 and sync.synced
    for number in best.keys() & tickers.keys():
        compared += 1
        equal += best[number] == tuple(tickers[number])
    assert (equal, compared) == (629, 629)


@needs(captures.USDM_BTC_2023, captures.USDM_BTC_2023_BOOK)
def test_usdm_book_at_the_end_of_the_day_is_the_published_one():
    adapter = venues.module("binance_usdm")
    routes, book, sync = adapter.routes([BTC]), Levels(), adapter.book(BTC, FeedSettings())
    refused, applied = Counter(), 0
    for message in captures.stamped(captures.USDM_BTC_2023):
        if message.direction == "rest":
            last_id, event = adapter.decode_snapshot(message.frame, message.recv_ns, BTC)
            said = sync.snapshot(event, last_id)[1]
        else:
            try:
                (event,) = adapter.decode(message.frame, message.recv_ns, routes)
            except FrameError as error:
                refused["markPrice" in str(error)] += 1
                continue
            head = event_of(event)
            said = sync.change(event, head.first_id, head.last_id) if head.kind == Kind.depth else []
        for one in said:
            head = event_of(one)
            if head.flags & Flag.SNAPSHOT or (applied and head.last_id > applied):
                book.apply(one)
                applied = head.last_id
    assert refused == {True: 99}, "mark prices are not ours"
    published = np.load(captures.USDM_BTC_2023_BOOK)
    rows = published[published.files[0]]
    want = {(side, round(price * 10**8), round(quantity * 10**8)) for side, price, quantity in published_levels(rows)}
    bids = {(1, price, lots) for price, lots in book.best_bids(10**6)}
    asks = {(-1, price, lots) for price, lots in book.best_asks(10**6)}
    assert (len(bids), len(asks)) == (2306, 1791)
    assert bids | asks == want


def published_levels(rows):
    """Columns: event, time, local time, side, price, quantity; event 4 is a level of a snapshot."""
    for event, _, _, side, price, quantity in rows.tolist():
        assert event == 4
        yield int(side), price, quantity


# Twins: TRXUSDT spot, a clean file and one with injected faults

DAY = (1_741_046_400 * 10**9, 1_741_132_800 * 10**9)  # 2025-03-04, of which the files are


def faults(name, twin):
    """What decoder, clocks and arbiter find in a file: (what, id or time)."""
    routes = binance.routes([Instrument(symbol="TRXUSDT")])
    arbiter, found, now = Arbiter(hold_ns=1), [], 0
    for message in captures.lasota(name, twin):
        now += 10
        if not DAY[0] <= message.recv_ns < DAY[1]:
            found.append(("received on another day", message.recv_ns))
        try:
            (event,) = binance.decode(message.frame, message.recv_ns, routes)
        except OddRows as error:
            found.append(("odd", str(error)))
            (event,) = error.readable
        head = event_of(event)
        # The recorder's clock was the venue's to within a millisecond; nothing came later than a minute.
        if sentence := doubt(head.venue_ns, message.recv_ns, ahead_ns=10**6, behind_ns=60 * 10**9):
            found.append((sentence, head.last_id))
        before = arbiter.duplicates.get("one", 0)
        said = arbiter.offer(Kind(head.kind), head.subject, "one", now, event, now) + arbiter.due(now + 5)
        refused = [event_of(one).map()["raw"] for one in said if event_of(one).kind == Kind.refusal]
        found += [("said otherwise", event_of(raw).last_id) for raw in refused]
        if arbiter.duplicates.get("one", 0) > before + len(refused):
            found.append(("repeated", head.last_id))
        for one in said:
            gap = event_of(one)
            if gap.kind == Kind.gap:
                (record,) = np.frombuffer(one[-GAP.itemsize :], GAP)
                found.append(("skipped", (int(record["first_id"]), int(record["last_id"]))))
    return found


@needs(captures.LASOTA)
@pytest.mark.parametrize("name", ["difference_depth", "trade"])
def test_the_clean_twin_has_no_fault(name):
    assert faults(name, "positive") == []


@needs(captures.LASOTA)
def test_the_faulty_twin_has_exactly_the_faults_that_were_injected_into_its_trades():
    """The diff of the twins: trade …872 is called …871, and the last one was received 23 hours late."""
    assert faults("trade", "negative") == [
        ("said otherwise", 348656871),
        ("skipped", (348656872, 348656872)),
        ("the venue's time is 83454.837808 s before the receipt; 60.000000 s are allowed", 348666869),
    ]


@needs(captures.LASOTA)
def test_the_faulty_twin_has_exactly_the_faults_that_were_injected_into_its_depth():
    """The diff: one level with price −1 and time 0, one message with U + 1 and an event time after its receipt, the
    last one on the next day. The odd price costs its level only."""
    assert faults("difference_depth", "negative") == [
        ("odd", "a level's price '-1' is below 0"),
        ("the venue's time is 0", 5434434566),
        ("the venue's time is 0.001001 s after the receipt; 0.001000 s are allowed", 5434434571),
        ("skipped", (5434434570, 5434434570)),
        ("received on another day", 1_741_132_800 * 10**9),
    ]
    first = next(captures.lasota("difference_depth", "negative"))
    assert json.loads(first.frame)["data"]["E"] == 0 and doubt(0, first.recv_ns, 0, 60 * 10**9) == "the venue's time is 0"


# Single messages of another project


def raw(venue, channel, case=None):
    """Coinbase's have their channel as their case."""
    rows = captures.raw_messages(venue)
    return [row["raw"].encode() for row in rows if channel in (row["channel"], row["case"]) and case in (None, row["case"])]


@needs(captures.RAW_MESSAGES)
@pytest.mark.parametrize(
    "name,venue,symbol,channel,case,kind,count",
    [("binance", "binance", "BTCUSDT", "trade", "spot", Kind.trade, 1),
     ("binance", "binance", "BTCUSDT", "l2_event", "spot", Kind.depth, 1),
     ("binance_usdm", "binance", "BTCUSDT", "trade", "linear_swap", Kind.trade, 1),
     ("binance_usdm", "binance", "BTCUSDT", "l2_event", "linear_swap", Kind.depth, 1),
     ("binance_usdm", "binance", "ETHUSDT", "bbo", "linear_swap", Kind.quote, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "trade", None, Kind.trade, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "l2_orderbook_snapshot", None, Kind.depth, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "l2_orderbook_update", None, Kind.depth, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "ticker", None, Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "trade", "spot", Kind.trade, 1),
     ("kraken_v1", "kraken", "XBT/USD", "bbo", "spot", Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "ticker", "spot", Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "l2_event", "spot_update", Kind.depth, 2),
     ("okx", "okx", "BTC-USDT", "trade", "spot", Kind.trade, 1),
     ("okx", "okx", "BTC-USDT-SWAP", "trade", "linear_swap", Kind.trade, 1),
     ("okx", "okx", "BTC-USDT", "bbo", "spot", Kind.quote, 1),
     ("okx", "okx", "BTC-USDT", "ticker", "spot", Kind.quote, 1)],
)  # fmt: skip
def test_messages_of_another_project_are_read(name, venue, symbol, channel, case, kind, count):
    adapter = venues.module(name)
    exponent = -5 if name == "kraken_v1" else -8
    routes = adapter.routes([Instrument(symbol=symbol, venue=name, price_exponent=exponent)])
    frames = raw(venue, channel, case)
    assert len(frames) >= count
    read = 0
    for frame in frames:
        try:
            events = adapter.decode(frame, 5, routes)
        except FrameError as error:
            assert "not subscribed" in str(error), error
            continue
        for event in events:
            assert event_of(event).kind == kind and event_of(event).recv_ns == 5
            read += 1
    assert read == count


@needs(captures.RAW_MESSAGES)
@pytest.mark.parametrize("name", ["binance", "binance_usdm", "coinbase", "kraken", "kraken_v1", "okx"])
def test_no_message_of_any_venue_raises_anything_but_a_refusal(name):
    adapter = venues.module(name)
    routes = adapter.routes([Instrument(symbol=symbol, venue=name) for symbol in ("BTCUSDT", "BTC-USD", "XBT/USD", "BTC-USDT")])
    with open(captures.RAW_MESSAGES) as file:
        for line in file:
            try:
                adapter.decode(json.loads(line)["raw"].encode(), 5, routes)
            except FrameError as error:
                assert len(str(error)) > 10


def test_an_empty_book_sync_is_the_rule_of_usdm():
    assert isinstance(venues.module("binance_usdm").book(BTC, FeedSettings()), BookSync)
