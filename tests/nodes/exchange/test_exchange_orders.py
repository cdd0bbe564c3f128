"""The local venue over real sockets: signed orders over REST and the WS-API, reported on the user stream."""

import asyncio
import json
import time

import pytest

from tests.support.exchange_clients import WsApi, limit, listening, signed, venue
from tickmesh.nodes.exchange.protocol import sign


def test_a_limit_order_rests_is_seen_and_is_cancelled(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            status, made = await rest.order(**limit("BUY", "50000.00", newClientOrderId="mine-1"))
            assert status == 200 and made["status"] == "NEW" and made["fills"] == []
            status, seen = await rest.order("GET", symbol="BTCUSDT", origClientOrderId="mine-1")
            assert seen["orderId"] == made["orderId"] and seen["price"] == "50000.00000000"
            status, account = await rest.order("GET", "/api/v3/account")
            usdt = next(b for b in account["balances"] if b["asset"] == "USDT")
            assert usdt["locked"] == "500.00000000"
            _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000)
            assert ["50000.00000000", "0.01000000"] in book["bids"]
            status, gone = await rest.order("DELETE", symbol="BTCUSDT", orderId=made["orderId"], newClientOrderId="c-1")
            assert (gone["status"], gone["origClientOrderId"], gone["clientOrderId"]) == ("CANCELED", "mine-1", "c-1")
            status, error = await rest.order("DELETE", symbol="BTCUSDT", orderId=made["orderId"])
            assert (status, error["code"]) == (400, -2011)
            _, rows = await rest.order("GET", "/api/v3/openOrders", symbol="BTCUSDT")
            assert rows == []

    asyncio.run(scene())


def test_a_market_order_is_filled_against_the_population_and_its_trades_are_public(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            _, made = await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.5")
            assert made["status"] == "FILLED" and made["executedQty"] == "0.50000000"
            ids = [f["tradeId"] for f in made["fills"]]
            _, mine = await rest.order("GET", "/api/v3/myTrades", symbol="BTCUSDT", fromId=ids[0])
            assert [t["id"] for t in mine] == ids
            _, public = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=ids[0], limit=len(ids))
            assert [(t["id"], t["price"], t["qty"]) for t in public] == [(t["id"], t["price"], t["qty"]) for t in mine]
            assert all(t["isBuyer"] and not t["isMaker"] and t["commissionAsset"] == "BTC" for t in mine)

    asyncio.run(scene())


REFUSALS = [
    (limit("BUY", "60000.001"), -1013, "PRICE_FILTER"),
    (limit("BUY", "60000.123456789"), -1111, "price"),
    (limit("BUY", "50000", "0.000001"), -1013, "LOT_SIZE"),
    (limit("BUY", "50000", "0.00001"), -1013, "NOTIONAL"),
    (limit("BUY", "-1"), -1100, "price"),
    (limit("BUY", "1e5"), -1100, "price"),
    (limit("BUY", "900000000000000000000"), -1100, "price"),
    (limit("BUY", "90000000000000000000"), -1108, "price"),
    (limit("SELL", "55000", "150"), -2010, "insufficient"),
    (limit("BUY", "50000", symbol="NOPE"), -1121, "symbol"),
    (limit("HOLD", "50000"), -1117, "side"),
    (limit("BUY", "50000", type="LIMITED"), -1116, "orderType"),
    (limit("BUY", "50000", timeInForce="GTX"), -1115, "timeInForce"),
    (limit("BUY", "50000", newClientOrderId="%C3%A9"), -1100, "newClientOrderId"),
    ({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1"}, -1102, "quantity"),
    ({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.01", "price": "90000"}, -2010, "match"),
    (limit("BUY", "50000", timestamp=1), -1021, "recvWindow"),
    (limit("BUY", "50000", timestamp=99999999999999), -1021, "ahead"),
    (limit("BUY", "50000", recvWindow=60001), -1131, "60000"),
]


def test_bad_orders_are_refused_with_the_venues_code_and_message(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            for params, code, words in REFUSALS:
                status, error = await rest.order(**params)
                assert (status, error["code"]) == (400, code) and words in error["msg"], (params, error)
            await rest.order(**limit("BUY", "50000", newClientOrderId="twice"))
            _, error = await rest.order(**limit("BUY", "50000", newClientOrderId="twice"))
            assert error == {"code": -2010, "msg": "Duplicate order sent."}
            _, error = await rest.order("GET", symbol="BTCUSDT", orderId=999)
            assert error["code"] == -2013
            status, error = await rest("POST", "/api/v3/order", raw=signed(**limit("BUY", "1")) + "0")
            assert error["code"] == -1022
            status, error = await rest("GET", "/api/v3/account", key="stranger", raw=signed())
            assert (status, error["code"]) == (401, -2015)
            status, error = await rest("GET", "/api/v3/nothing")
            assert status == 404 and error["code"] == -1020
            status, error = await rest("POST", "/api/v3/ping")
            assert status == 405

    asyncio.run(scene())


def test_parameters_may_stand_in_query_body_or_both(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            text = signed(**limit("BUY", "50000"))
            status, made = await rest("POST", "/api/v3/order", body=text)
            assert status == 200 and made["status"] == "NEW", made
            query, body = "symbol=BTCUSDT", f"orderId={made['orderId']}&timestamp={int(time.time() * 1000)}"
            body += f"&signature={sign('local-secret', query + body)}"
            status, gone = await rest("DELETE", "/api/v3/order", raw=query, body=body)
            assert gone["status"] == "CANCELED", gone

    asyncio.run(scene())


def test_the_user_stream_reports_an_order_from_new_to_filled(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, ws, _):
            async with listening(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                answer = await call("userDataStream.subscribe.signature")
                assert answer["status"] == 200 and answer["result"] == {"subscriptionId": 0}
                assert answer["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT"
                terms = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "IOC"}
                answer = await call(
                    "order.place", **terms, price="50000.00", quantity="0.20000", newClientOrderId="w-1",
                    returnRateLimits=False,
                )  # fmt: skip
                assert answer["result"]["status"] == "FILLED" and "rateLimits" not in answer
                await call.until(lambda e: e["e"] == "outboundAccountPosition")
                reports = [e for e in call.events if e["e"] == "executionReport"]
                assert [r["x"] for r in reports][:2] == ["NEW", "TRADE"] and reports[-1]["X"] == "FILLED"
                assert reports[-1]["z"] == "0.20000000" and reports[-1]["c"] == "w-1" and reports[-1]["C"] == ""
                assert [r["t"] for r in reports[1:]] == [f["tradeId"] for f in answer["result"]["fills"]]
                assert [r["I"] for r in reports] == sorted({r["I"] for r in reports})

                # one on each side: whichever way the price goes, one of them is met
                _, ticker = await rest("GET", "/api/v3/ticker/bookTicker", symbol="BTCUSDT")
                for side, name in (("BUY", "bidPrice"), ("SELL", "askPrice")):
                    passive = await call(
                        "order.place", symbol="BTCUSDT", side=side, type="LIMIT_MAKER", price=ticker[name],
                        quantity="0.0002",
                    )  # fmt: skip
                    assert passive["status"] == 200 or passive["error"]["code"] == -2010, passive
                await call.until(lambda e: e.get("X") == "FILLED" and e["o"] == "LIMIT_MAKER")
                last = [e for e in call.events if e.get("X") == "FILLED" and e["o"] == "LIMIT_MAKER"][-1]
                assert last["m"] is True and last["N"] == ("BTC" if last["S"] == "BUY" else "USDT")

                far = await call("order.place", **limit("BUY", "50000"))
                gone = await call("order.cancel", symbol="BTCUSDT", orderId=far["result"]["orderId"])
                assert gone["result"]["status"] == "CANCELED"
                await call.until(lambda e: e.get("x") == "CANCELED")
                event = [e for e in call.events if e.get("x") == "CANCELED"][-1]
                assert (event["C"], event["c"]) == (far["result"]["clientOrderId"], gone["result"]["clientOrderId"])
                unknown = await call("order.cancel", symbol="BTCUSDT", orderId=far["result"]["orderId"])
                assert unknown["status"] == 400 and unknown["error"]["code"] == -2011

    asyncio.run(scene())


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "1", '{"id":1}', '{"id":[],"method":"ping"}', '{"method":"order.place","params":[]}', '{"id":1.5}',
     '{"id":1,"method":"order.place","params":{"symbol":{}}}', '{"id":1,"method":"order.place"}', '{"method":"\\ud800"}',
     '{"id":true,"method":"ping"}', '{"method":"depth","params":{"symbol":"BTCUSDT","limit":-1}}',
     '{"method":"exchangeInfo","params":{"symbols":[1]}}', '{"method":"depth","params":{"symbol":true}}'],
)  # fmt: skip
def test_nonsense_on_the_order_socket_is_answered_with_a_code(tmp_path, message):
    async def scene():
        async with venue(tmp_path) as (_, ws, _):
            async with listening(ws + "/ws-api/v3") as socket:
                await socket.send(message)
                answer = json.loads(await socket.recv())
                assert answer["status"] == 400 and answer["error"]["code"] < 0
                await socket.send('{"id":"still here","method":"time"}')
                answer = json.loads(await socket.recv())
                assert answer["id"] == "still here" and answer["result"]["serverTime"] > 0

    asyncio.run(scene())
