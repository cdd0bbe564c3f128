"""Instruments that a venue does not know or does not trade: named, never silence, and never the price of the others."""

import asyncio
import json
import time
from collections import Counter

import pytest
from aiohttp import web

from tests.support.feed_frames import trade
from tests.support.feed_run import published
from tests.support.told_venue import alerts, beside
from tests.support.waiting import until
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.nodes.feed.standing import UNKNOWN, Standings
from tickmesh.nodes.venues.parsing.dialect import FrameError, Unknown, Unwell
from tickmesh.nodes.venues.table import adapter_of

# adapter → symbol, answer about one that is traded, that is not, that is unknown, and of a venue that is unwell
ANSWERS = {
    "binance": (
        "BTCUSDT",
        {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "filters": []}]},
        {"symbols": [{"symbol": "BTCUSDT", "status": "BREAK", "filters": []}]},
        {"symbols": []},
        None,
    ),
    "binance_usdm": (
        "BTCUSDT",
        {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "filters": []}]},
        {"symbols": [{"symbol": "BTCUSDT", "status": "SETTLING", "filters": []}]},
        {"symbols": [{"symbol": "ETHUSDT", "status": "TRADING", "filters": []}]},
        {"symbols": []},
    ),
    "coinbase": (
        "BTC-USD",
        {"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"},
        {"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001", "status": "delisted"},
        [{"id": "ETH-USD", "quote_increment": "0.01", "base_increment": "0.00000001"}],
        [],
    ),
    "okx": (
        "BTC-USDT",
        {
            "code": "0",
            "data": [{"instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.1", "minSz": "1", "state": "live"}],
        },
        {"code": "0", "data": [{"instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.1", "minSz": "1", "state": "suspend"}]},
        {"code": "51001", "msg": "Instrument ID does not exist", "data": []},
        {"code": "50011", "msg": "Too Many Requests", "data": []},
    ),
    "kraken_v1": (
        "XBT/USD",
        {"error": [], "result": {"XXBTZUSD": {"altname": "XBTUSD", "pair_decimals": 1, "lot_decimals": 8}}},
        {"error": [], "result": {"X": {"altname": "XBTUSD", "pair_decimals": 1, "lot_decimals": 8, "status": "delisted"}}},
        {"error": ["EQuery:Unknown asset pair"]},
        {"error": ["EService:Unavailable"]},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_says_whether_an_instrument_is_traded_halted_unknown_or_nothing(name):
    adapter = adapter_of(name)
    symbol, traded, halted, unknown, unwell = ANSWERS[name]
    one = Instrument(symbol=symbol, venue=name)
    for body, word in ((traded, ""), (halted, "something")):
        text = json.dumps(body).encode()
        assert adapter.decode_definition(text, 1, one)
        assert bool(adapter.standing(text, one)) == bool(word)
    for body, error in ((unknown, Unknown), (unwell, Unwell)):
        if body is not None:
            with pytest.raises(error):
                adapter.decode_definition(json.dumps(body).encode(), 1, one)
    for body in (b"{", b'{"code":-1000,"msg":"An unknown error occurred"}', b'{"message":"busy"}'):
        with pytest.raises(FrameError) as refused:
            adapter.decode_definition(body, 1, one)
        assert not isinstance(refused.value, Unknown), "an error is no evidence"


# adapter → symbols, and the questions for all of them: path and what names them
QUESTIONS = {
    "binance": (["AUSDT", "BUSDT"], [("/api/v3/exchangeInfo", {"symbols": '["AUSDT","BUSDT"]'})]),
    "binance_usdm": (["AUSDT", "BUSDT"], [("/fapi/v1/exchangeInfo", {})]),
    "coinbase": (["A-USD", "B-USD"], [("/products", {})]),
    "kraken": (["BTC/USD", "DOGE/USD"], [("/0/public/AssetPairs", {"pair": "XBTUSD,XDGUSD"})]),
    "kraken_v1": (["XBT/USD", "ETH/USD"], [("/0/public/AssetPairs", {"pair": "XBTUSD,ETHUSD"})]),
    "okx": (
        ["A-USDT", "B-USDT", "A-USD-SWAP", "A-USD-260626", "A-USD-260626-1000-C", "A-USD-260626-1000-P"],
        [("/api/v5/public/instruments", {"instType": "SPOT"}),
         ("/api/v5/public/instruments", {"instType": "SWAP", "instId": "A-USD-SWAP"}),
         ("/api/v5/public/instruments", {"instType": "FUTURES", "instId": "A-USD-260626"}),
         ("/api/v5/public/instruments", {"instType": "OPTION", "instFamily": "A-USD"})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_as_few_questions_as_can_be_have_the_definitions_of_all(name):
    symbols, expected = QUESTIONS[name]
    many = [Instrument(symbol=symbol, venue=name) for symbol in symbols]
    asked = list(adapter_of(name).definitions(many))
    assert [(one.request.path, one.request.query) for one in asked] == expected
    assert [one.symbol for question in asked for one in question.instruments] == symbols


@pytest.mark.parametrize("name", ["coinbase", "okx"])
def test_a_subscription_names_one_instrument_where_a_bad_one_may_cost_the_message(name):
    many = [Instrument(symbol=f"A{k}-USD", venue=name) for k in range(40)]
    messages = list(adapter_of(name).subscribe(many, FeedSettings()))
    assert [[one.symbol for one in many if f'"{one.symbol}"' in message] for message in messages] == [[m.symbol] for m in many]


def test_a_name_in_small_letters_subscribes_to_nobody_else_s_streams():
    for name in ("binance", "binance_usdm"):
        both = [Instrument(symbol="btcusdt", venue=name), Instrument(symbol="ETHUSDT", venue=name)]
        (message,) = adapter_of(name).subscribe(both, FeedSettings())
        assert {stream.partition("@")[0] for stream in json.loads(message)["params"]} == {"ethusdt"}
    assert "in capitals" in Standings().take("binance.btcusdt", UNKNOWN).why


def test_what_is_news_of_an_instrument_is_told_once():
    standings = Standings()
    assert standings.take("binance.A", "") is None
    assert standings.take("binance.A", UNKNOWN).what == "unknown_instrument" and standings.unknown == {"binance.A"}
    assert standings.take("binance.A", UNKNOWN) is None
    assert standings.take("binance.A", "BREAK").what == "halted_instrument" and standings.unknown == set()
    assert standings.take("binance.A", "").what == "instrument_back" and standings.words == {}


def test_one_product_that_the_venue_refuses_costs_the_others_nothing(tmp_path):
    known, asked_for = {"BTC-USD"}, []

    async def socket(ws, words):
        if words["type"] != "subscribe":
            return
        asked_for.extend(words["product_ids"])
        if bad := [one for one in words["product_ids"] if one not in known]:
            await ws.send_json(
                {"type": "error", "message": "Failed to subscribe", "reason": f"{bad[0]} is not a valid product"}
            )
            return
        await ws.send_json({"type": "subscriptions", "channels": []})
        for product in words["product_ids"]:
            await ws.send_json({"type": "snapshot", "product_id": product, "bids": [["100", "1"]], "asks": [["101", "1"]]})

    def rest(request):
        symbol = request.path.rpartition("/")[2]
        if symbol in known:
            return {"id": symbol, "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"}
        if request.path == "/time":
            return {"iso": "2026-01-01T00:00:00Z", "epoch": time.time()}
        return web.json_response({"message": "NotFound"}, status=404)

    def products(ctx):
        return [event.subject for event in published(ctx, Kind.depth)]

    async def go():
        symbols = ["AAA-EUR", "BTC-USD", "XRP-EUR"]
        calm = {"standing_s": [0.05, 0.2], "fresh_min_s": 9.0, "weight_share": 1.0}
        async with beside(tmp_path, "coinbase", symbols, socket, rest, exponent=None, **calm) as ctx:
            await until(lambda: len(alerts(ctx, "unknown_instrument")) == 2 and products(ctx))
            assert products(ctx) == ["coinbase.BTC-USD"]
            assert ctx.counters["not_trading"] == {"coinbase.AAA-EUR": UNKNOWN, "coinbase.XRP-EUR": UNKNOWN}
            known.add("XRP-EUR")  # it is listed now, and taken up without a restart
            await until(lambda: "coinbase.XRP-EUR" in products(ctx))
            await until(lambda: alerts(ctx, "instrument_back") == [("instrument_back", "coinbase.XRP-EUR")])
            assert len(ctx.sockets) == 1, "all of it on one connection"
            assert asked_for.count("XRP-EUR") == asked_for.count("BTC-USD") == 1 and "AAA-EUR" not in asked_for
            assert list(DecidedInstruments(ctx.config)) == ["coinbase.BTC-USD", "coinbase.XRP-EUR"], "and known from then on"
            await until(lambda: ctx.counters["undecided"] == ["coinbase.AAA-EUR"])

    asyncio.run(go())


def test_a_stream_that_never_spoke_is_named_once_and_renews_nothing(tmp_path):
    async def socket(ws, words):
        await ws.send_json({"result": None, "id": words["id"]})
        for number in range(1, 400):
            await ws.send_str(trade(number))
            await asyncio.sleep(0.02)

    def rest(request):
        if request.path.endswith("exchangeInfo"):
            asked = json.loads(request.query.get("symbols", "[]")) or [request.query["symbol"]]
            if "FOOUSDT" in asked:
                return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
            return {"symbols": [{"symbol": symbol, "status": "TRADING", "filters": []} for symbol in asked]}
        if request.path.endswith("time"):
            return {"serverTime": int(time.time() * 1000)}
        return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)

    async def go():
        async with beside(tmp_path, "binance", ["BTCUSDT", "FOOUSDT", "DEADUSDT"], socket, rest) as ctx:
            await until(lambda: len(alerts(ctx, "never_heard")) == 5)
            await until(lambda: len(published(ctx, Kind.trade)) > 120)
            counted = Counter(target for _, target in alerts(ctx, "never_heard"))
            assert set(counted.values()) == {1} and not any("FOOUSDT" in target for target in counted)
            assert alerts(ctx, "unknown_instrument") == [("unknown_instrument", "binance.FOOUSDT")]
            assert alerts(ctx, "stale_stream") == [] and len(ctx.sockets) == 1
            assert "trade.binance.DEADUSDT" in ctx.counters["never_heard"]

    asyncio.run(go())


def test_one_list_of_all_symbols_serves_every_instrument_of_a_line(tmp_path):
    names = [f"COIN{k}USDT" for k in range(40)]

    async def socket(ws, words):
        await ws.send_json({"result": None, "id": words["id"]})

    def rest(request):
        if request.path.endswith("exchangeInfo"):
            return {"symbols": [{"symbol": s, "status": "TRADING", "filters": []} for s in names[1:]]}
        if request.path.endswith("time"):
            return {"serverTime": int(time.time() * 1000)}
        return {"lastUpdateId": 1, "bids": [], "asks": []}

    async def go():
        async with beside(tmp_path, "binance_usdm", names, socket, rest) as ctx:
            await until(lambda: len({event.subject for event in published(ctx, Kind.instrument)}) == 39)
            await until(lambda: alerts(ctx, "unknown_instrument") == [("unknown_instrument", "binance_usdm.COIN0USDT")])
            assert Counter(ctx.asked)["/fapi/v1/exchangeInfo"] == 1

    asyncio.run(go())


def test_one_that_the_venue_halts_is_named_and_renews_nothing(tmp_path):
    """It is asked about when it falls silent. An unknown one among many costs no other its answer."""
    status, ids = dict.fromkeys((f"COIN{k}USDT" for k in range(9)), "TRADING"), iter((1, 10**6, 2 * 10**6))

    async def socket(ws, words):
        await ws.send_json({"result": None, "id": words["id"]})
        for number in range(next(ids), 1 << 40):
            for symbol in ("COIN1USDT", "COIN2USDT"):
                if status[symbol] == "TRADING":
                    await ws.send_str(trade(number).replace("BTCUSDT", symbol).replace("btcusdt", symbol.lower()))
            await asyncio.sleep(0.02)

    questions = []

    def rest(request):
        if request.path.endswith("exchangeInfo"):
            asked = json.loads(request.query.get("symbols", "[]")) or [request.query["symbol"]]
            questions.append(asked)
            if not status.keys() >= set(asked):
                return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
            return {"symbols": [{"symbol": symbol, "status": status[symbol], "filters": []} for symbol in asked]}
        if request.path.endswith("time"):
            return {"serverTime": int(time.time() * 1000)}
        return {"lastUpdateId": 1, "bids": [], "asks": []}

    async def go():
        names = [*status, "FOOUSDT"]
        async with beside(tmp_path, "binance", names, socket, rest, fresh_times=5.0, overlap_s=0.3) as ctx:
            await until(lambda: len({event.subject for event in published(ctx, Kind.instrument)}) == 9)
            await until(lambda: alerts(ctx, "unknown_instrument") == [("unknown_instrument", "binance.FOOUSDT")])
            assert len(questions) <= 2 * 5, "in halves, down to the unknown one"
            await until(lambda: len(published(ctx, Kind.trade)) > 50)
            status["COIN1USDT"] = "BREAK"
            await until(lambda: alerts(ctx, "halted_instrument") == [("halted_instrument", "binance.COIN1USDT")])
            await until(
                lambda: len(ctx.sockets) == 2 and ctx.counters["renewals"] == 1, what="its silence was not explained yet"
            )
            before = len(published(ctx, Kind.trade))
            await until(lambda: len(published(ctx, Kind.trade)) > before + 100)
            assert ctx.counters["renewals"] == 1, "but is now"

            def heard():
                return sum(event.subject == "binance.COIN1USDT" for event in published(ctx, Kind.trade))

            before, status["COIN1USDT"] = heard(), "TRADING"
            await until(lambda: alerts(ctx, "instrument_back") == [("instrument_back", "binance.COIN1USDT")])
            await until(lambda: heard() > before)

    asyncio.run(go())
