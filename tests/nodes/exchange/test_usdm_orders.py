"""USD-M orders over real sockets: placed, amended, filled, cancelled, queried and refused in the venue's words."""

from decimal import Decimal

import pytest

from tests.support.exchange_clients import WsApi, listening, signed, venue
from tests.support.exchange_talk import run
from tests.support.usdm_talk import BASE, TOML, Futures, limit, market

FIELDS = (
    "orderId symbol status clientOrderId price avgPrice origQty executedQty cumQty cumQuote timeInForce type reduceOnly "
    "closePosition side positionSide stopPrice workingType priceProtect origType priceMatch selfTradePreventionMode "
    "goodTillDate time updateTime"
)


def test_an_order_rests_is_amended_seen_and_cancelled(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, _, _):
            futures = Futures(rest)
            status, made = await futures.order(**limit("BUY", "58000.1", newClientOrderId="a.b:c/1"))
            assert (status, made["status"], made["price"], made["origQty"]) == (200, "NEW", "58000.10", "0.010")
            assert set(made) == set(FIELDS.split()) and made["clientOrderId"] == "a.b:c/1"
            _, book = await rest("GET", f"{BASE}/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
            assert ["58000.10", "0.010"] in book["bids"], "our order is in the public book"
            changed = await futures.right(
                "PUT", "/v1/order", symbol="BTCUSDT", side="BUY", origClientOrderId="a.b:c/1", price="58000.2", quantity="0.02"
            )
            assert (changed["orderId"], changed["price"], changed["origQty"]) == (made["orderId"], "58000.20", "0.020")
            assert await futures.right("GET", "/v1/order", symbol="BTCUSDT", orderId=made["orderId"]) == changed
            assert await futures.right("GET", "/v1/openOrder", symbol="BTCUSDT", orderId=made["orderId"]) == changed
            assert await futures.right("GET", "/v1/openOrders", symbol="BTCUSDT") == [changed]
            (risk,) = await futures.right("GET", "/v3/positionRisk")
            assert (risk["bidNotional"], risk["openOrderInitialMargin"]) == ("1160.00400000", "58.00020000")
            gone = await futures.right("DELETE", "/v1/order", symbol="BTCUSDT", orderId=made["orderId"])
            assert (gone["status"], gone["clientOrderId"]) == ("CANCELED", "a.b:c/1")
            assert (await futures.order("DELETE", orderId=made["orderId"]))[1]["code"] == -2011
            assert (await futures("GET", "/v1/openOrder", symbol="BTCUSDT", orderId=made["orderId"]))[1]["code"] == -2013
            assert await futures.right("GET", "/v1/openOrders") == []
            for _ in range(2):
                await futures.order(**limit("SELL", "62000", "0.001"))
            done = await futures.right("DELETE", "/v1/allOpenOrders", symbol="BTCUSDT")
            assert done["code"] == 200 and await futures.right("GET", "/v1/openOrders") == []
            rows = await futures.right("GET", "/v1/allOrders", symbol="BTCUSDT", orderId=made["orderId"], limit=2)
            assert [(row["orderId"], row["status"]) for row in rows] == [(1, "CANCELED"), (2, "CANCELED")]
            assert (await futures.right("GET", "/v3/account"))["availableBalance"] == "100000.00000000"

    run(scene)


def test_fills_move_position_and_wallet_and_trades_are_public_and_paged(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, _, _):
            futures = Futures(rest)
            accepted = (await futures.order(**market("BUY", "0.500", newOrderRespType="ACK")))[1]
            assert (accepted["status"], accepted["executedQty"]) == ("NEW", "0.000"), "an acknowledgement, before any fill"
            done = (await futures.order(**market("SELL", "0.200")))[1]
            assert (done["status"], done["executedQty"]) == ("FILLED", "0.200")
            mine = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT")
            assert {(t["side"], t["maker"], t["commissionAsset"], t["positionSide"]) for t in mine} == {
                ("BUY", False, "USDT", "BOTH"), ("SELL", False, "USDT", "BOTH"),
            }  # fmt: skip
            one = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT", fromId=mine[0]["id"], limit=1)
            rest_of = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT", fromId=mine[0]["id"] + 1)
            assert one + rest_of == mine
            _, public = await rest("GET", f"{BASE}/fapi/v1/historicalTrades", symbol="BTCUSDT", fromId=mine[0]["id"], limit=1)
            assert [(t["id"], t["price"], t["qty"]) for t in public] == [(t["id"], t["price"], t["qty"]) for t in mine[:1]]
            incomes = await futures.right("GET", "/v1/income", limit=1000)
            wallet = next(row for row in await futures.right("GET", "/v3/balance") if row["asset"] == "USDT")["balance"]
            assert Decimal(wallet) == 100_000 + sum(Decimal(row["income"]) for row in incomes)
            fees = [row["income"] for row in incomes if row["incomeType"] == "COMMISSION"]
            assert fees == [f"-{trade['commission']}" for trade in mine]
            (risk,) = await futures.right("GET", "/v3/positionRisk", symbol="BTCUSDT")
            assert (risk["positionAmt"], risk["positionSide"]) == ("0.300", "BOTH")
            (older,) = await futures.right("GET", "/v2/positionRisk", symbol="BTCUSDT")
            assert (older["leverage"], older["marginType"], older["entryPrice"]) == ("20", "cross", risk["entryPrice"])
            paged = [
                await futures.right("GET", "/v1/income", limit=1, page=page, startTime=incomes[0]["time"]) for page in (1, 2)
            ]
            assert [page[0]["tranId"] for page in paged] == [1, 2]

    run(scene)


REFUSALS = [
    (limit("BUY", "60000.055"), -1111, "Precision"),
    (limit("BUY", "58000", "0.0001"), -1111, "Precision"),
    (limit("BUY", "58000.05"), -4014, "tick size"),
    (limit("BUY", "0"), -4001, "Price"),
    (limit("BUY", "2000000"), -4002, "max price"),
    (limit("BUY", "70000"), -4016, "can't be higher than"),
    (limit("SELL", "50000"), -4024, "can't be lower than"),
    (limit("BUY", "58000", "0"), -4003, "Quantity"),
    (limit("BUY", "58000", "9001"), -4005, "max quantity"),
    (limit("BUY", "2000", "0.001"), -4164, "no smaller than 5 (unless you choose reduce only)"),
    (limit("BUY", "58000", "100"), -2019, "Margin is insufficient."),
    (limit("BUY", "58000", "250"), -2027, "maximum allowable position"),
    (limit("BUY", "58000", timeInForce="GTD"), -1115, "timeInForce"),
    (limit("BUY", "62000", timeInForce="GTX"), -5022, "Post Only"),
    (limit("BUY", "58000", timeInForce="FOK"), -5021, "FOK"),
    (limit("BUY", "58000", positionSide="LONG"), -4061, "position side"),
    (limit("BUY", "58000", newOrderRespType="FULL"), -1136, "newOrderRespType"),
    (limit("BUY", "58000", newClientOrderId="x" * 37), -4015, "36 chars"),
    (limit("BUY", "58000", newClientOrderId="a~b"), -1100, "newClientOrderId"),
    (limit("BUY", "58000", priceMatch="QUEUE"), -5037, "price match"),
    (limit("BUY", "58000", selfTradePreventionMode="NONE"), -5039, "self trade"),
    (limit("BUY", "58000", stopPrice="1"), -1106, "stopPrice"),
    (market("BUY", price="1"), -1106, "price"),
    (market("SELL", reduceOnly="true"), -2022, "ReduceOnly Order is rejected."),
    (market("SELL", closePosition="true"), -1106, "closePosition"),
    ({"side": "BUY", "type": "STOP_MARKET", "stopPrice": "61000", "quantity": "0.01"}, -4120, "Algo Order"),
    (limit("HOLD", "58000"), -1117, "side"),
    (limit("BUY", "58000", type="LIMIT_MAKER"), -1116, "orderType"),
    (limit("BUY", "58000", symbol="NOPE"), -1121, "symbol"),
    (limit("BUY", "58000", timestamp=1), -1021, "recvWindow"),
]


def test_bad_orders_are_refused_in_the_venues_words_and_change_nothing(tmp_path):
    async def scene():
        toml = TOML.replace("trades_per_s = 50", "trades_per_s = 1").replace("quotes_per_s = 100", "quotes_per_s = 5")
        async with venue(tmp_path, toml) as (rest, _, _):
            futures = Futures(rest)
            for params, code, words in REFUSALS:
                params.setdefault("newOrderRespType", "ACK")
                status, error = await futures.order(**params)
                assert (status, error["code"]) == (400, code) and words in error["msg"], (params, error)
            assert await futures.right("GET", "/v1/allOrders", symbol="BTCUSDT") == []
            await futures.order(**limit("BUY", "58000", newClientOrderId="twice"))
            assert (await futures.order(**limit("BUY", "58000", newClientOrderId="twice")))[1]["code"] == -4116
            status, error = await rest("POST", f"{BASE}/fapi/v1/order", key="", raw=signed(symbol="BTCUSDT"))
            assert (status, error["code"]) == (401, -2014)

    run(scene)


@pytest.mark.parametrize("path, params, code", [
    ("/v1/positionSide/dual", {"dualSidePosition": "true"}, -4084),
    ("/v1/positionSide/dual", {"dualSidePosition": "false"}, -4059),
    ("/v1/marginType", {"symbol": "BTCUSDT", "marginType": "ISOLATED"}, -4084),
    ("/v1/marginType", {"symbol": "BTCUSDT", "marginType": "CROSSED"}, -4046),
    ("/v1/leverage", {"symbol": "BTCUSDT", "leverage": 126}, -4028),
])  # fmt: skip
def test_settings_that_this_venue_does_not_have_are_refused(tmp_path, path, params, code):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, _, _):
            status, error = await Futures(rest)("POST", path, **params)
            assert (status, error["code"]) == (400, code)

    run(scene)


def test_leverage_is_changed_within_what_is_held(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, _, _):
            futures = Futures(rest)
            changed = await futures.right("POST", "/v1/leverage", symbol="BTCUSDT", leverage=100)
            assert changed == {"leverage": 100, "maxNotionalValue": "800000", "symbol": "BTCUSDT"}
            assert (await futures.order(**limit("BUY", "58000", "10")))[0] == 200, "580,000 on a margin of 5,800"
            for leverage, code in ((125, -2027), (5, -2028)):
                assert (await futures("POST", "/v1/leverage", symbol="BTCUSDT", leverage=leverage))[1]["code"] == code
            (row,) = await futures.right("GET", "/v2/positionRisk", symbol="BTCUSDT")
            assert row["leverage"] == "100"
            assert await futures.right("GET", "/v1/positionSide/dual") == {"dualSidePosition": False}
            brackets = (await futures.right("GET", "/v1/leverageBracket", symbol="BTCUSDT"))[0]["brackets"]
            assert [b["initialLeverage"] for b in brackets] == [125, 100, 50, 20, 10, 5, 1]
            rates = await futures.right("GET", "/v1/commissionRate", symbol="BTCUSDT")
            assert (rates["makerCommissionRate"], rates["takerCommissionRate"]) == ("0.000200", "0.000500")

    run(scene)


def test_orders_count_by_ten_seconds_and_by_minute_and_weigh_nothing(tmp_path):
    async def scene():
        toml = TOML + "[exchange.usdm_limits]\norders_per_minute = 3\norders_per_day = 0\norders_per_10_s = 300\n"
        async with venue(tmp_path, toml) as (rest, _, _):
            url = f"{rest.base}{BASE}/fapi/v1/order?"
            seen = []
            for _ in range(5):
                query = signed(symbol="BTCUSDT", **limit("BUY", "58000"))
                async with rest.session.post(url + query, headers={"X-MBX-APIKEY": "local-key"}) as answer:
                    seen.append((answer.status, answer.headers.get("X-MBX-ORDER-COUNT-1M"), (await answer.json()).get("code")))
                    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "0"
                    if answer.status == 200:
                        assert answer.headers["X-MBX-ORDER-COUNT-10S"] and "X-MBX-ORDER-COUNT-1D" not in answer.headers
            codes = [code for _, _, code in seen]
            assert -1015 in codes and codes.count(None) in (3, 4), "4 only where a minute ended between them"
            _, info = await rest("GET", f"{BASE}/fapi/v1/exchangeInfo", key="")
            orders = [(row["interval"], row["intervalNum"]) for row in info["rateLimits"] if row["rateLimitType"] == "ORDERS"]
            assert orders == [("SECOND", 10), ("MINUTE", 1)]

    run(scene)


def test_the_ws_api_takes_the_same_orders(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, ws, _):
            async with listening(f"{ws}{BASE}/ws-fapi/v1") as socket:
                call = WsApi(socket)
                made = await call("order.place", symbol="BTCUSDT", **limit("BUY", "58000"))
                assert [(row["rateLimitType"], row["interval"]) for row in made["rateLimits"]] == [
                    ("ORDERS", "SECOND"), ("ORDERS", "MINUTE"), ("REQUEST_WEIGHT", "MINUTE"),
                ]  # fmt: skip
                which = {"symbol": "BTCUSDT", "orderId": made["result"]["orderId"]}
                changed = await call("order.modify", side="BUY", price="58001", quantity="0.02", **which)
                assert changed["result"]["price"] == "58001.00"
                assert (await call("order.status", **which))["result"] == changed["result"]
                assert (await call("order.cancel", **which))["result"]["status"] == "CANCELED"
                assert (await call("order.cancel", **which))["error"]["code"] == -2011
                await call("order.place", symbol="ETHUSDT", **market("SELL", "0.5"))
                (row,) = (await call("v2/account.position"))["result"]
                assert (row["symbol"], row["positionAmt"]) == ("ETHUSDT", "-0.500")
                assert (await call("v2/account.balance"))["result"][0]["asset"] == "USDT"
                key = (await call("userDataStream.start", sign_it=False, apiKey="local-key"))["result"]["listenKey"]
                assert (await Futures(rest).listen_key()) == {"listenKey": key}
                assert (await call("userDataStream.start", sign_it=False, apiKey="other"))["error"]["code"] == -2015
                assert (await call("session.status", sign_it=False))["error"]["code"] == -1020

    run(scene)
