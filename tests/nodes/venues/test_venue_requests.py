"""What an adapter asks its venue for, and what it makes of the answers."""

import json

import pytest

from tests.support.venue_samples import NAMES, instrument
from tickmesh.bus import id_rules
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues import binance_usdm, coinbase, kraken, okx
from tickmesh.nodes.venues.adapter import VenueAdapter
from tickmesh.nodes.venues.parsing.dialect import FrameError, Request, Unwell
from tickmesh.nodes.venues.table import ADAPTERS, adapter_of

SETTINGS = FeedSettings()
NEW = NAMES[1:]


@pytest.mark.parametrize("name", NEW)
def test_an_adapter_has_every_member_of_the_contract(name):
    adapter, one = adapter_of(name), instrument(name)
    assert name == adapter.VENUE and adapter.WS[0].startswith("wss://") and adapter.REST[0].startswith("https://")
    assert (
        adapter.QUIET_S > 0
        and adapter.MESSAGES_PER_S > 0
        and adapter.WEIGHT_PER_MINUTE > 0
        and adapter.REQUESTS_PER_S >= 0
        and adapter.CONNECTIONS_PER_5_MINUTES > 0
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


def test_usd_m_s_streams_are_asked_for_where_they_flow():
    """Elsewhere they are acknowledged and silent, since 2026-04-23: an unrouted connection has those of /public only."""
    one = instrument("binance_usdm")
    (request,) = (json.loads(text) for text in binance_usdm.subscribe([one], SETTINGS))
    assert binance_usdm.path([one], SETTINGS) == "/public/stream"
    assert {binance_usdm.entry_of(name.partition("@")[2]) for name in request["params"]} == {"/public"}
    elsewhere = ("aggTrade", "kline_1m", "markPrice@1s", "ticker", "miniTicker", "forceOrder", "compositeIndex", "contractInfo")
    for channel in elsewhere:
        assert binance_usdm.stream_names(["BTCUSDT"], [channel], "/market") == [f"btcusdt@{channel}"]
        with pytest.raises(ValueError, match=rf"@{channel} is a stream of /market; .* /public .*sends nothing.*/market/stream"):
            binance_usdm.stream_names(["BTCUSDT"], ["trade", channel], "/public")
    for channel in ("trade", "bookTicker", "depth", "depth@100ms", "depth20@500ms", "rpiDepth@500ms"):
        assert binance_usdm.entry_of(channel) == "/public"


def test_what_requests_cost_is_what_the_venues_say():
    """Of those that changed: USD-M's old trades on 2026-07-29; OKX's time may be asked for half as often as its books."""
    usdm, swap = instrument("binance_usdm"), instrument("okx")
    assert binance_usdm.history(usdm, 1).weight == 200 and binance_usdm.snapshot(usdm, 1000).weight == 20
    assert (okx.clock().weight, okx.history(swap, 1).weight, okx.REQUESTS_PER_S) == (2, 1, 10)


def test_an_unknown_venue_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="kraken_v1"):
        adapter_of("mtgox")


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
    adapter = adapter_of(name)
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
        adapter_of(name).decode_history(HISTORIES[name].replace(b"12.00", b"1x.00"), 5, instrument(name))
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
        adapter_of(name).decode_history(body, 5, instrument(name))


def test_histories_are_asked_for_where_the_ids_are():
    assert coinbase.history(instrument("coinbase"), 500).query["after"] == 1500
    assert okx.history(instrument("okx"), 500).query == {"instId": "BTC-USDT", "type": 1, "after": 600, "limit": 100}
    assert kraken.history(instrument("kraken"), 500) is None, "the past is known by time only"
    assert kraken.history(instrument("kraken"), 500, 10**18).query == {"pair": "XBTUSD", "since": 10**18 - 1, "count": 1000}
    assert adapter_of("kraken_v1").history(instrument("kraken_v1"), 500, 10**18) is None


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
    adapter = adapter_of(name)
    assert adapter.decode_clock(body) == expected
    for wrong in (b"", b"{}", b'{"data":[]}', b'{"serverTime":"x"}'):
        with pytest.raises(FrameError):
            adapter.decode_clock(wrong)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_an_adapter_has_every_member_and_its_own_name(name):
    adapter = adapter_of(name)
    assert name == adapter.VENUE
    members = [member for member in vars(VenueAdapter) if not member.startswith("_")]
    assert len(members) > 30 and [member for member in members if not hasattr(adapter, member)] == []


@pytest.mark.parametrize("name", ["coinbase", "kraken", "kraken_v1"])
def test_a_snapshot_that_comes_on_the_stream_is_not_asked_for_by_rest(name):
    adapter, one = adapter_of(name), instrument(name)
    assert adapter.snapshot(one, 1000) is None
    with pytest.raises(FrameError, match="comes on the stream"):
        adapter.decode_snapshot(b"{}", 5, one)


def test_a_venue_without_ids_of_trades_has_no_past_to_ask_for():
    adapter, one = adapter_of("kraken_v1"), instrument("kraken_v1")
    assert adapter.history(one, 5) is None
    with pytest.raises(FrameError, match="none to ask for"):
        adapter.decode_history(b"[]", 5, one)


def test_snapshots_by_rest():
    usdm = adapter_of("binance_usdm")
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
    adapter = adapter_of(name)
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
