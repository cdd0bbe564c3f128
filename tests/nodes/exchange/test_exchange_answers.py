"""What clients of the venue jointly demand of the answers to orders and of its methods (venues.md §10.2)."""

from tests.support.exchange_clients import WsApi, limit, listening, signed, venue
from tests.support.exchange_talk import FAST, receive, run


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
            async with listening(ws + "/ws-api/v3") as socket:
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
            async with listening(ws + "/ws-api/v3") as socket:
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
            async with listening(ws + "/ws-api/v3") as socket:
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
            async with listening(ws + "/ws-api/v3?returnRateLimits=false") as socket:
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
            async with listening(ws + "/ws/btcusdt@trade") as socket:
                while (await receive(socket))["t"] < 60:
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
            async with listening(ws + "/ws-api/v3") as socket:
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
