"""The USD-M book of a capture has no hole, is that of the best prices, and ends as the published one."""

from collections import Counter

import numpy as np
import pytest

from tests.support import captures
from tests.support.captures import needs
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.books.booksync import BookSync
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.nodes.venues.books.rule import SnapshotOutcome
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of

pytestmark = pytest.mark.data
BTC = Instrument(symbol="BTCUSDT", venue="binance_usdm")


@needs(captures.USDM_BTC)
def test_usdm_counts_chain_and_book():
    """Every message; no gap in the chain; the book is that of the book ticker at every equal update id."""
    adapter = adapter_of("binance_usdm")
    routes, book, sync = adapter.routes([BTC]), Levels(), adapter.book(BTC, FeedSettings())
    seen, levels, trades, last_trade = Counter(), 0, [], None
    tickers, best, compared, equal = {}, {}, 0, 0
    applied = 0
    for message in captures.stamped(captures.USDM_BTC):
        if message.direction == "rest":
            last_id, event = adapter.decode_snapshot(message.frame, message.recv_ns, BTC)
            answer, said = sync.snapshot(event, last_id)
            assert answer in (SnapshotOutcome.USED, SnapshotOutcome.HELD)
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
    adapter = adapter_of("binance_usdm")
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


def test_an_empty_book_sync_is_the_rule_of_usdm():
    assert isinstance(adapter_of("binance_usdm").book(BTC, FeedSettings()), BookSync)
