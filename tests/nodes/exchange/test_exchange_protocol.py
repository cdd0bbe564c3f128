"""The behaviours that known clients jointly demand of the venue (venues.md §10.2), and the rules of its connections (§1.2)."""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest
import websockets

from tests.support.exchange_clients import WsApi, limit, signed, venue
from tests.support.replay_lines import SNAPSHOT, ticker, trade, write

FAST = "[exchange]\ntrades_per_s = 200\nquotes_per_s = 400\nlines = 1\n"


def run(scene) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))


async def said(socket) -> dict:
    return json.loads(await asyncio.wait_for(socket.recv(), 20))


async def ask(socket, message) -> dict:
    """The answer to a control message, past the data around it."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    while True:
        answer = await said(socket)
        if "result" in answer or "code" in answer:
            return answer


# ---- streams


def test_every_path_of_a_market_stream_is_raw_or_wrapped_as_it_says(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            for path, wrapped in (
                ("/ws/btcusdt@trade", False), ("/ws/btcusdt@trade/btcusdt@bookTicker", False),
                ("/stream?streams=btcusdt@trade/btcusdt@bookTicker", True),
            ):  # fmt: skip
                async with websockets.connect(ws + path) as socket:
                    frame = await said(socket)
                    assert ("stream" in frame) == wrapped, path
            for path, wrapped in (("/ws", False), ("/ws/3", False), ("/stream", True), ("/stream/ws/3", True)):
                async with websockets.connect(ws + path) as socket:
                    await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}')
                    assert await said(socket) == {"result": None, "id": 7}, "acknowledged before data"
                    frame = await said(socket)
                    assert ("stream" in frame) == wrapped, path

    run(scene)


def test_control_messages_and_their_errors(tmp_path):
    toml = FAST + "[exchange.limits]\nmessages_per_s = 1000\n"

    async def scene():
        async with venue(tmp_path, toml) as (_, ws, _):
            async with websockets.connect(ws + "/ws/1") as socket:
                for ident in (1, "abc", None, 2**62):
                    answer = await ask(socket, {"method": "SUBSCRIBE", "params": ["nope@nothing"], "id": ident})
                    assert answer == {"result": None, "id": ident}, "an unknown stream is accepted, and silent"
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == ["nope@nothing"]
                assert (await ask(socket, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))["result"] is False
                assert (await ask(socket, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 3}))["result"] is None
                await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":4}')
                while "stream" not in (frame := await said(socket)):
                    assert frame == {"result": None, "id": 4}
                await ask(socket, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 5})
                for message, code in (
                    ("nonsense", 3), ("{}", 2), ("[1]", 2), ('{"method":1}', 2), ('{"method":"DANCE","id":1}', 2),
                    ('{"method":"SUBSCRIBE","id":1}', 1), ('{"method":"SUBSCRIBE","params":[],"id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":[1],"id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":"a","id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2),
                    ('{"method":"SET_PROPERTY","params":["speed",1],"id":1}', 0),
                    ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
                    (json.dumps({"method": "SUBSCRIBE", "params": ["a"], "id": "x" * 37}), 2),
                ):  # fmt: skip
                    answer = await ask(socket, message)
                    assert answer["code"] == code and answer["msg"], (message, answer)
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 9}))["id"] == 9, "it is still open"

    run(scene)


async def collect(socket, wanted: set, timeout_s: float = 15.0) -> dict[str, list[dict]]:
    """Frames by stream, until each of the wanted streams has sent one."""
    out: dict[str, list[dict]] = {}
    async with asyncio.timeout(timeout_s):
        while not wanted <= set(out):
            frame = json.loads(await socket.recv())
            if "stream" in frame:
                out.setdefault(frame["stream"], []).append(frame["data"])
    return out


KLINE = "t T s i f L o c h l v n x q V Q B"
KEYS = {
    "trade": "e E s t p q T m M",
    "aggTrade": "e E s a p q f l T m M",
    "bookTicker": "u s b B a A",
    "depth@100ms": "e E s U u b a",
    "depth": "e E s U u b a",
    "depth5@100ms": "lastUpdateId bids asks",
    "depth20": "lastUpdateId bids asks",
    "kline_1m": "e E s k",
    "kline_1s": "e E s k",
    "miniTicker": "e E s c o h l v q",
    "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    "avgPrice": "e E s i w T",
}


def test_every_stream_has_the_venues_keys_and_they_agree_with_one_another(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            names = {f"btcusdt@{name}" for name in KEYS}
            async with websockets.connect(ws + "/stream?streams=" + "/".join(sorted(names))) as socket:
                await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="3")
                frames = await collect(socket, names)
                for name, keys in KEYS.items():
                    for frame in frames[f"btcusdt@{name}"]:
                        assert list(frame) == keys.split(), name
                k = frames["btcusdt@kline_1m"][-1]["k"]
                assert list(k) == KLINE.split() and k["T"] - k["t"] == 59_999
                tops = {f["u"]: f for f in frames["btcusdt@bookTicker"]}
                equal = 0
                for partial in frames["btcusdt@depth5@100ms"]:
                    assert len(partial["bids"]) == len(partial["asks"]) == 5
                    if top := tops.get(partial["lastUpdateId"]):
                        equal += 1
                        assert partial["bids"][0] == [top["b"], top["B"]] and partial["asks"][0] == [top["a"], top["A"]]
                assert equal > 0
            # every trade is in exactly one aggregate, and nothing else is
            trades = {t["t"]: t for t in frames["btcusdt@trade"]}
            largest = max(trades)
            spans = [a for a in frames["btcusdt@aggTrade"] if a["l"] <= largest and a["f"] in trades]
            assert [a["a"] for a in spans] == list(range(spans[0]["a"], spans[0]["a"] + len(spans)))
            assert any(a["l"] > a["f"] for a in spans), "a market order of 3 BTC meets several makers at one price"
            for a in spans:
                part = [trades[t] for t in range(a["f"], a["l"] + 1)]
                assert {(t["p"], t["m"], t["T"]) for t in part} == {(a["p"], a["m"], a["T"])}
                assert sum(round(float(t["q"]) * 1e8) for t in part) == round(float(a["q"]) * 1e8)
            _, rows = await rest("GET", "/api/v3/aggTrades", symbol="BTCUSDT", fromId=spans[0]["a"], limit=len(spans))
            assert [(r["a"], r["p"], r["q"], r["f"], r["l"], r["T"], r["m"]) for r in rows] == [
                tuple(a[x] for x in "apqflTm") for a in spans
            ]

    run(scene)


def test_a_kline_is_closed_once_and_equals_its_trades(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            async with websockets.connect(ws + "/stream?streams=btcusdt@kline_1s") as socket:
                closed = []
                while len(closed) < 2:
                    k = (await said(socket))["data"]["k"]
                    closed += [k] if k["x"] else []
            for k in closed:
                _, rows = await rest("GET", "/api/v3/klines", symbol="BTCUSDT", interval="1s", startTime=k["t"], limit=1)
                assert rows == [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], "0"]]
                if k["n"]:
                    _, trades = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=k["f"], limit=k["n"])
                    assert trades[-1]["id"] == k["L"] and trades[0]["price"] == k["o"] and trades[-1]["price"] == k["c"]
                    assert all(k["t"] <= t["time"] <= k["T"] for t in trades)
            assert closed[1]["t"] == closed[0]["t"] + 1000
            status, error = await rest("GET", "/api/v3/klines", symbol="BTCUSDT", interval="7m")
            assert (status, error["code"]) == (400, -1120)

    run(scene)


def test_microseconds_on_request(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            url = ws + "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@kline_1s&timeUnit=MICROSECOND"
            async with websockets.connect(url) as socket:
                frames = await collect(socket, {"btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@kline_1s"})
                trade = frames["btcusdt@trade"][0]
                for stamp in (
                    trade["E"],
                    trade["T"],
                    frames["btcusdt@depth@100ms"][0]["E"],
                    frames["btcusdt@kline_1s"][0]["k"]["t"],
                ):
                    assert len(str(stamp)) == 16
                assert len(str(trade["t"])) < 13
            headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
            for path in ("time", "trades?symbol=BTCUSDT", "aggTrades?symbol=BTCUSDT", "klines?symbol=BTCUSDT&interval=1m"):
                async with rest.session.get(f"{rest.base}/api/v3/{path}", headers=headers) as answer:
                    body = await answer.json()
                    row = body[-1] if isinstance(body, list) else body
                    for stamp in (
                        (row[0], row[6]) if isinstance(row, list) else [row.get("serverTime", row.get("time", row.get("T")))]
                    ):
                        assert len(str(stamp)) == 16, (path, row)
            async with rest.session.get(f"{rest.base}/api/v3/time", headers={"X-MBX-TIME-UNIT": "hours"}) as answer:
                assert (await answer.json())["code"] == -1194
            async with websockets.connect(ws + "/ws-api/v3?timeUnit=microsecond") as socket:
                answer = await ask(socket, {"id": 1, "method": "time"})
                assert len(str(answer["result"]["serverTime"])) == 16

    run(scene)


# ---- connections


def test_more_than_five_messages_in_a_second_end_the_connection(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            async with websockets.connect(ws + "/ws") as socket:
                await asyncio.sleep(1.05 - time.monotonic() % 1)
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    for n in range(6):
                        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": n}))
                    for _ in range(7):
                        await socket.recv()
                assert closed.value.rcvd.code == 1008
            async with websockets.connect(ws + "/ws") as socket:  # pings count too
                await asyncio.sleep(1.05 - time.monotonic() % 1)
                with contextlib.suppress(websockets.ConnectionClosed):
                    for _ in range(10):
                        await socket.ping()
                with pytest.raises(websockets.ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), 5)

    run(scene)


def test_at_most_1024_streams_on_a_connection(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            async with websockets.connect(ws + "/ws") as socket:
                names = [f"coin{n}usdt@trade" for n in range(1025)]
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": 1}))["code"] == 2
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names[:1024], "id": 2}))["result"] is None
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names[1024:], "id": 3}))["code"] == 2
            many = "/stream?streams=" + "/".join(f"c{n}@trade" for n in range(500))
            async with websockets.connect(ws + many) as socket:
                assert len((await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"]) == 500

    run(scene)


def test_deflate_is_negotiated_and_pings_are_answered_either_way(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST.replace("lines", "ping_s = 0.3\npong_s = 1.0\nlines")) as (_, ws, ctx):
            async with websockets.connect(ws + "/ws/btcusdt@trade", compression="deflate") as socket:
                assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
                assert (await said(socket))["e"] == "trade"
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == ["btcusdt@trade"]
                await (await socket.ping(b"mine"))
                await socket.pong(b"")  # unsolicited: permitted
                for _ in range(100):
                    await said(socket)
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(ws + "/ws", autoping=False) as socket:
                    for _ in range(20):  # unsolicited pongs do not keep a connection alive
                        await socket.pong(b"")
                        message = await socket.receive(timeout=5)
                        if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR):
                            break
                        await asyncio.sleep(0.25)
                    else:
                        raise AssertionError("who never answers a ping is cut off")
            assert ctx.counters["cut_off"] == 1

    run(scene)


def test_a_connection_ends_with_its_life_and_says_so_before_in_its_own_shape(tmp_path):
    async def scene():
        toml = FAST.replace("lines", "life_s = 2.0\nnotice_s = 1.0\nlines")
        async with venue(tmp_path, toml) as (_, ws, _):
            shapes = {
                "/ws": lambda m: m["e"],
                "/stream": lambda m: m["data"]["e"] if m["stream"] == "!serverShutdown" else "",
                "/ws-api/v3": lambda m: m["event"]["e"] if "subscriptionId" not in m else "",
            }
            for path, name in shapes.items():
                async with websockets.connect(ws + path) as socket:
                    opened = time.monotonic()
                    message = await said(socket)
                    assert name(message) == "serverShutdown" and 0.5 < time.monotonic() - opened < 2.5, message
                    with pytest.raises(websockets.ConnectionClosed):
                        await said(socket)

    run(scene)


def test_a_clean_stop_is_announced_too(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, ctx):
            async with websockets.connect(ws + "/ws") as raw, websockets.connect(ws + "/ws-api/v3") as api:
                ctx.stop.set()
                assert (await said(raw))["e"] == "serverShutdown"
                assert (await said(api))["event"]["e"] == "serverShutdown"
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await said(raw)
                assert closed.value.rcvd.code == 1001

    run(scene)


# ---- orders


def test_cancel_replace_in_both_modes_and_all_its_shapes(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):

            async def replace(old, **more):
                terms = {**limit("BUY", "50000"), "cancelReplaceMode": "STOP_ON_FAILURE", **more}
                old = {"cancelOrderId": old} if isinstance(old, int) else {"cancelOrigClientOrderId": old}
                return await rest.order("POST", "/api/v3/order/cancelReplace", **terms, **old)

            _, first = await rest.order(**limit("BUY", "50000", newClientOrderId="one"))
            status, both = await replace(first["orderId"], newClientOrderId="one", cancelNewClientOrderId="c1")
            assert (status, both["cancelResult"], both["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
            gone, made = both["cancelResponse"], both["newOrderResponse"]
            assert (gone["orderId"], gone["clientOrderId"], gone["origClientOrderId"]) == (first["orderId"], "c1", "one")
            assert (made["clientOrderId"], made["status"]) == ("one", "NEW") and made["orderId"] > gone["orderId"]

            status, half = await replace("one", type="LIMIT", quantity="150", side="SELL", price="55000")
            assert (status, half["code"]) == (409, -2021)
            data = half["data"]
            assert (data["cancelResult"], data["newOrderResult"]) == ("SUCCESS", "FAILURE")
            assert data["cancelResponse"]["status"] == "CANCELED" and data["newOrderResponse"]["code"] == -2010

            status, none = await replace("one")
            assert (status, none["code"]) == (400, -2022)
            assert (none["data"]["cancelResult"], none["data"]["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
            assert none["data"]["cancelResponse"]["code"] == -2011 and none["data"]["newOrderResponse"] is None

            status, half = await replace("one", cancelReplaceMode="ALLOW_FAILURE", newClientOrderId="two")
            assert (status, half["code"]) == (409, -2021)
            assert (half["data"]["cancelResult"], half["data"]["newOrderResult"]) == ("FAILURE", "SUCCESS")

            status, none = await replace("one", cancelReplaceMode="ALLOW_FAILURE", newClientOrderId="two")
            assert (status, none["code"]) == (400, -2022)
            assert none["data"]["newOrderResponse"] == {"code": -2010, "msg": "Duplicate order sent."}

            status, error = await replace("two", price="50000.001")
            assert error == {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}, "filters come before anything happens"
            _, rows = await rest.order("GET", "/api/v3/openOrders", symbol="BTCUSDT")
            assert [r["clientOrderId"] for r in rows] == ["two"]
            status, error = await replace("two", cancelReplaceMode="MAYBE")
            assert error["code"] == -1102

    run(scene)


def test_client_order_ids_are_unique_among_open_orders_only_and_swap_on_cancel(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, ws, _):
            async with websockets.connect(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                await call("userDataStream.subscribe.signature")
                for n in (1, 2):  # the same id again once the first is gone
                    status, made = await rest.order(**limit("BUY", "50000", newClientOrderId="again"))
                    assert status == 200, made
                    _, gone = await rest.order("DELETE", symbol="BTCUSDT", origClientOrderId="again", newClientOrderId=f"c{n}")
                    assert (gone["clientOrderId"], gone["origClientOrderId"]) == (f"c{n}", "again")
                await call.until(lambda e: e.get("c") == "c2")
                event = [e for e in call.events if e.get("c") == "c2"][0]
                assert (event["x"], event["X"], event["C"]) == ("CANCELED", "CANCELED", "again")
                assert event["q"] == "0.01000000" and event["z"] == "0.00000000"
                status, error = await rest.order("DELETE", symbol="BTCUSDT", orderId=made["orderId"], origClientOrderId="other")
                assert error["code"] == -2039

    run(scene)


REPORT = "e E s c S o f q p P F g C x X r i l z L n N T t I w m M O Z Y Q W V"


def test_execution_reports_have_the_full_key_set_and_a_market_order_that_finds_too_little_expires(tmp_path):
    async def scene():
        async with venue(tmp_path, '[exchange]\nbalances = {BTC = "9000"}\n') as (rest, ws, _):
            async with websockets.connect(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                await call("userDataStream.subscribe.signature")
                _, made = await rest.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="8999")
                assert made["status"] == "EXPIRED" and 0 < float(made["executedQty"]) < 8999
                assert made["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
                await call.until(lambda e: e["e"] == "outboundAccountPosition")
                reports = [e for e in call.events if e["e"] == "executionReport"]
                assert [r["x"] for r in reports[:2]] == ["NEW", "TRADE"] and reports[-1]["x"] == "EXPIRED"
                assert call.events[-1]["e"] == "outboundAccountPosition" and list(call.events[-1]) == ["e", "E", "u", "B"]
                for report in reports:
                    assert set(REPORT.split()) <= set(report), set(REPORT.split()) - set(report)
                assert reports[-1]["eR"] == "INSUFFICIENT_LIQUIDITY" and reports[-1]["z"] == made["executedQty"]
                for tif, reason in (("IOC", "UNFILLED_IOC_QUANTITY_EXPIRED"), ("FOK", "UNFILLED_FOK_ORDER_EXPIRED")):
                    _, made = await rest.order(**limit("BUY", "50000", timeInForce=tif))
                    assert (made["status"], made["expiryReason"]) == ("EXPIRED", reason)

    run(scene)


def test_ws_api_has_every_method_that_clients_use(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            async with websockets.connect(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                _, bought = await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")

                async def good(method, sign_it=True, **params):
                    answer = await call(method, sign_it, **params)
                    assert answer["status"] == 200 and answer["rateLimits"][-1]["rateLimitType"] == "REQUEST_WEIGHT", answer
                    return answer["result"]

                for method in ("ping", "time", "exchangeInfo", "session.status", "session.subscriptions"):
                    await good(method, False)
                for method in ("depth", "trades.recent", "trades.historical", "trades.aggregate", "ticker.book"):
                    assert await good(method, False, symbol="BTCUSDT"), method
                placed = await good("order.place", **limit("BUY", "50000", newClientOrderId="a"))
                assert await good("order.test", **limit("BUY", "50000")) == {}
                rates = await good("order.test", **limit("BUY", "50000"), computeCommissionRates=True)
                assert rates["standardCommissionForOrder"]["maker"] == "0.00100000"
                assert (await good("order.status", symbol="BTCUSDT", orderId=placed["orderId"]))["status"] == "NEW"
                new = await good(
                    "order.cancelReplace", **limit("BUY", "50001"), cancelReplaceMode="STOP_ON_FAILURE",
                    cancelOrderId=placed["orderId"],
                )  # fmt: skip
                assert new["newOrderResponse"]["status"] == "NEW"
                half = await call(
                    "order.cancelReplace", **limit("BUY", "50001"), cancelReplaceMode="ALLOW_FAILURE",
                    cancelOrderId=placed["orderId"],
                )  # fmt: skip
                assert (half["status"], half["error"]["code"]) == (409, -2021)
                assert half["error"]["data"]["newOrderResult"] == "SUCCESS"
                assert len(await good("openOrders.status", symbol="BTCUSDT")) == 2
                assert len(await good("openOrders.cancelAll", symbol="BTCUSDT")) == 2
                assert {o["orderId"] for o in await good("allOrders", symbol="BTCUSDT")} >= {placed["orderId"]}
                assert [t["orderId"] for t in await good("myTrades", symbol="BTCUSDT")][0] == bought["orderId"]
                assert (await good("account.status"))["accountType"] == "SPOT"
                orders = await good("account.rateLimits.orders")
                assert [(o["rateLimitType"], o["interval"]) for o in orders] == [("ORDERS", "SECOND"), ("ORDERS", "DAY")]
                assert orders[1]["count"] >= 3

                assert (await good("userDataStream.subscribe.signature"))["subscriptionId"] == 0
                again = await call("userDataStream.subscribe.signature")
                assert again["error"]["code"] == -2035
                assert await good("session.subscriptions", False) == [{"subscriptionId": 0}]
                assert await good("userDataStream.unsubscribe", False) == {}
                await call.until(lambda e: e["e"] == "eventStreamTerminated")
                assert (await call("userDataStream.unsubscribe", False))["error"]["code"] == -2036
                assert (await good("userDataStream.subscribe.signature"))["subscriptionId"] == 1
                assert (await call("session.logon"))["error"]["code"] == -4056
                for params, code in (
                    ({"apiKey": "local-key"}, -1102),
                    ({"apiKey": "local-key", "timestamp": 1, "signature": "0"}, -1021),
                ):
                    assert (await call("account.status", False, **params))["error"]["code"] == code
                quiet = await call("time", False, returnRateLimits=False)
                assert "rateLimits" not in quiet
            async with websockets.connect(ws + "/ws-api/v3?returnRateLimits=false") as socket:
                assert "rateLimits" not in await WsApi(socket)("time", False)

    run(scene)


SYMBOL_KEYS = """
symbol status baseAsset baseAssetPrecision quoteAsset quotePrecision quoteAssetPrecision baseCommissionPrecision
quoteCommissionPrecision orderTypes icebergAllowed ocoAllowed otoAllowed opoAllowed quoteOrderQtyMarketAllowed
allowTrailingStop cancelReplaceAllowed amendAllowed pegInstructionsAllowed isSpotTradingAllowed isMarginTradingAllowed
filters permissions permissionSets defaultSelfTradePreventionMode allowedSelfTradePreventionModes
"""


def test_exchange_info_and_headers(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            _, info = await rest("GET", "/api/v3/exchangeInfo")
            assert list(info) == ["timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"]
            symbol = info["symbols"][0]
            assert list(symbol) == SYMBOL_KEYS.split() and symbol["permissionSets"] == [["SPOT"]]
            assert symbol["filters"][0]["filterType"] == "PRICE_FILTER"
            assert {r["rateLimitType"] for r in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS", "RAW_REQUESTS"}
            headers = {"X-MBX-APIKEY": "local-key"}
            async with rest.session.get(rest.base + "/api/v3/time") as answer:
                assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) >= 21
            async with rest.session.post(
                f"{rest.base}/api/v3/order?{signed(**limit('BUY', '50000'))}", headers=headers
            ) as answer:
                body = await answer.json()
                assert (answer.headers["X-MBX-ORDER-COUNT-10S"], answer.headers["X-MBX-ORDER-COUNT-1D"]) == ("1", "1")
                assert body["executedQty"] == body["cummulativeQuoteQty"] == "0.00000000" and body["price"] == "50000.00000000"

    run(scene)


def test_old_trades_are_answered_from_the_oldest_that_is_kept(tmp_path):
    async def scene():
        toml = FAST.replace("lines", "trades_kept = 20\nlines").replace("200", "400")
        async with venue(tmp_path, toml) as (rest, ws, _):
            async with websockets.connect(ws + "/ws/btcusdt@trade") as socket:
                while (await said(socket))["t"] < 60:
                    pass
            _, rows = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=1, limit=1000)
            ids = [r["id"] for r in rows]
            assert ids[0] > 40 and ids == list(range(ids[0], ids[0] + 20)), "silently, as the venue does"
            _, rows = await rest("GET", "/api/v3/aggTrades", symbol="BTCUSDT", fromId=1, limit=1000)
            assert rows[0]["f"] >= ids[0] and len(rows) <= 20

    run(scene)


def test_our_two_sides_never_trade_with_one_another(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, ws, _):
            async with websockets.connect(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                await call("userDataStream.subscribe.signature")
                _, ticker = await rest("GET", "/api/v3/ticker/bookTicker", symbol="BTCUSDT")
                price = f"{(float(ticker['bidPrice']) * 0.999):.2f}"
                _, resting = await rest.order(**limit("BUY", price, quantity="0.5"))
                await rest.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="50")  # through our own order
                _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=resting["orderId"])
                assert (seen["status"], seen["executedQty"]) == ("EXPIRED_IN_MATCH", "0.00000000")
                await call.until(lambda e: e.get("x") == "TRADE_PREVENTION")
                _, mine = await rest.order("GET", "/api/v3/myTrades", symbol="BTCUSDT")
                assert all(not t["isBuyer"] for t in mine)

    run(scene)


def test_a_replay_has_the_streams_that_follow_from_it(tmp_path):
    messages = [SNAPSHOT] + [m for n in range(1, 400) for m in (ticker(10 + n, 100, 1, 101, 1), trade(n, 101, 0.5, False))]
    write(tmp_path / "some.gz", messages, gap_ns=2 * 10**6)
    names = {f"btcusdt@{name}" for name in ("trade", "aggTrade", "depth5@100ms", "kline_1m")}

    async def scene():
        settings = '[exchange]\nreplay = ["some.gz"]\nspeed = 1.0\nlines = 1\n'
        async with venue(tmp_path, settings) as (rest, ws, _):
            async with websockets.connect(ws + "/stream?streams=" + "/".join(sorted(names))) as socket:
                await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5)
                frames = await collect(socket, names)
                assert frames["btcusdt@aggTrade"][0]["f"] == frames["btcusdt@trade"][0]["t"] == 1
                assert frames["btcusdt@depth5@100ms"][0]["bids"][0] == ["100.00000000", "1.00000000"]

    run(scene)
