"""Stops, icebergs, order lists, amendments and prevented matches over real sockets, as a client meets them; and a real kill."""

import asyncio
import signal

import aiohttp

from tests.support.exchange_books import Process
from tests.support.exchange_clients import Rest, WsApi, configure, limit, listening, venue

FAST = "[exchange]\ntrades_per_s = 100\nquotes_per_s = 200\n"
AMEND = "/api/v3/order/amend/keepPriority"


async def last_price(rest) -> float:
    """The price of the newest trade, once there is one."""
    while True:
        _, row = await rest("GET", "/api/v3/ticker/price", symbol="BTCUSDT")
        if float(row["price"]):
            return float(row["price"])
        await asyncio.sleep(0.05)


def test_a_stop_is_triggered_by_the_markets_own_trades_and_reported_twice_as_new(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _), listening(ws + "/ws-api/v3") as socket:
            call = WsApi(socket)
            await call("userDataStream.subscribe.signature")
            price = await last_price(rest)
            terms = {"symbol": "BTCUSDT", "type": "STOP_LOSS", "quantity": "0.10000"}
            made = await call("order.place", **terms, side="BUY", stopPrice=f"{price + 2:.2f}")
            assert set(made["result"]) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}, "an ACK"
            other = await call("order.place", **terms, side="SELL", stopPrice=f"{price - 2:.2f}", newOrderRespType="RESULT")
            assert (other["result"]["workingTime"], other["result"]["status"]) == (-1, "NEW")
            await call.until(lambda e: e.get("X") == "FILLED")
            first = next(e["i"] for e in call.events if e.get("X") == "FILLED")
            reports = [e for e in call.events if e["e"] == "executionReport" and e["i"] == first]
            assert [(e["x"], e["w"], "W" in e) for e in reports[:3]] == [
                ("NEW", False, False), ("NEW", False, True), ("TRADE", False, True),
            ]  # fmt: skip
            _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=first)
            assert seen["isWorking"] and seen["workingTime"] == reports[1]["W"] > seen["time"]
            _, public = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=reports[2]["t"] - 1, limit=1)
            crossed = float(public[0]["price"]) - float(seen["stopPrice"])
            assert crossed * (1 if seen["side"] == "BUY" else -1) >= 0, "the trade before its own had reached its price"
            _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=made["result"]["orderId"])
            assert seen["stopPrice"] == f"{price + 2:.2f}000000"

    asyncio.run(scene())


def test_exchange_info_names_what_is_allowed_and_the_filters_of_it(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            _, info = await rest("GET", "/api/v3/exchangeInfo", symbol="BTCUSDT")
            symbol = info["symbols"][0]
            assert {"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"} < set(symbol["orderTypes"])
            for name in ("iceberg", "oco", "oto", "cancelReplace", "amend"):
                assert symbol[f"{name}Allowed"] is True
            assert symbol["allowTrailingStop"] is True and symbol["pegInstructionsAllowed"] is False
            assert symbol["defaultSelfTradePreventionMode"] == "EXPIRE_MAKER"
            for mode in symbol["allowedSelfTradePreventionModes"]:
                status, _ = await rest.order(**limit("BUY", "50000", selfTradePreventionMode=mode))
                assert status == 200, mode
            assert {"TRAILING_DELTA", "ICEBERG_PARTS", "MAX_NUM_ALGO_ORDERS"} <= {f["filterType"] for f in symbol["filters"]}

    asyncio.run(scene())


def test_prevented_matches_are_in_the_reply_and_can_be_asked_for(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            price = await last_price(rest)
            _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=1)
            inside = f"{float(book['bids'][0][0]) + 0.01:.2f}"
            _, maker = await rest.order(**limit("BUY", inside))
            _, taker = await rest.order(**limit("SELL", inside, selfTradePreventionMode="EXPIRE_BOTH"))
            if taker["status"] != "EXPIRED_IN_MATCH":
                return  # somebody was faster: nothing to be seen
            match = taker["preventedMatches"][0]
            assert (match["makerOrderId"], match["takerPreventedQuantity"]) == (maker["orderId"], "0.01000000")
            path = "/api/v3/myPreventedMatches"
            _, rows = await rest.order("GET", path, symbol="BTCUSDT", orderId=maker["orderId"])
            assert [r["takerOrderId"] for r in rows] == [taker["orderId"]] and rows[0]["tradeGroupId"] == -1
            _, same = await rest.order("GET", path, symbol="BTCUSDT", preventedMatchId=rows[0]["preventedMatchId"])
            assert same == rows
            assert (await rest.order("GET", path, symbol="BTCUSDT"))[1]["code"] == -1128
            assert (await rest.order("GET", "/api/v3/myAllocations", symbol="BTCUSDT", limit=1000))[1] == []
            assert (await rest.order("GET", "/api/v3/myAllocations", symbol="BTCUSDT", limit=1001))[1]["code"] == -1130
            assert price > 0

    asyncio.run(scene())


def oco(quantity: str = "0.01000") -> dict:
    """Parameters of an OCO far from the market."""
    return {"symbol": "BTCUSDT", "side": "SELL", "quantity": quantity, "aboveType": "LIMIT_MAKER", "abovePrice": "90000.00",
            "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "30000.00", "belowPrice": "29000.00",
            "belowTimeInForce": "GTC"}  # fmt: skip


def otoco() -> dict:
    """Parameters of an OTOCO whose working order rests far from the market."""
    return {"symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "40000.00",
            "workingQuantity": "0.01000", "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingQuantity": "0.01000",
            "pendingAboveType": "TAKE_PROFIT", "pendingAboveStopPrice": "90000.00", "pendingBelowType": "STOP_LOSS",
            "pendingBelowTrailingDelta": "500"}  # fmt: skip


def test_lists_over_both_doors_with_their_answers_events_queries_and_cancels(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, ws, _), listening(ws + "/ws-api/v3") as socket:
            call = WsApi(socket)
            await call("userDataStream.subscribe.signature")
            answer = await call("orderList.place.oco", **oco(), listClientOrderId="pair")
            assert [row["count"] for row in answer["rateLimits"][:2]] == [2, 2], "two orders are counted"
            made = answer["result"]
            assert (made["contingencyType"], made["listStatusType"], made["listOrderStatus"]) == (
                "OCO",
                "EXEC_STARTED",
                "EXECUTING",
            )
            assert [r["type"] for r in made["orderReports"]] == ["LIMIT_MAKER", "STOP_LOSS_LIMIT"]
            assert {r["orderListId"] for r in made["orderReports"]} == {made["orderListId"]}
            await call.until(lambda e: e["e"] == "outboundAccountPosition")
            status, bracket = await rest.order("POST", "/api/v3/orderList/otoco", **otoco())
            assert status == 200 and bracket["contingencyType"] == "OTO", bracket
            assert [r["status"] for r in bracket["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
            _, rows = await rest.order("GET", "/api/v3/openOrderList")
            assert [r["orderListId"] for r in rows] == [made["orderListId"], bracket["orderListId"]]
            _, same = await rest.order("GET", "/api/v3/orderList", origClientOrderId="pair")
            assert same == rows[0]
            assert (await call("orderList.status", orderListId=99))["error"] == {
                "code": -2018,
                "msg": "Order list does not exist.",
            }
            _, gone = await rest.order("DELETE", "/api/v3/orderList", symbol="BTCUSDT", listClientOrderId="pair")
            assert gone["listOrderStatus"] == "ALL_DONE" and [r["status"] for r in gone["orderReports"]] == ["CANCELED"] * 2
            await call.until(lambda e: e["e"] == "listStatus" and e["L"] == "ALL_DONE")
            status, error = await rest.order("DELETE", "/api/v3/orderList", symbol="BTCUSDT", listClientOrderId="pair")
            assert (status, error["code"]) == (400, -2011)
            _, error = await rest.order("POST", "/api/v3/orderList/oco", **oco(), price="1")
            assert error["code"] == -1104
            _, all_gone = await rest.order("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
            assert [row["orderListId"] for row in all_gone] == [bracket["orderListId"]]
            assert len(all_gone[0]["orderReports"]) == 3
            _, rows = await rest.order("GET", "/api/v3/allOrderList", fromId=bracket["orderListId"])
            assert [r["listOrderStatus"] for r in rows] == ["ALL_DONE"]

    asyncio.run(scene())


async def all_state(rest) -> dict:
    """What the venue says of the account."""
    asked = {"orders": ("/api/v3/allOrders", {"symbol": "BTCUSDT"}), "lists": ("/api/v3/allOrderList", {}),
             "open": ("/api/v3/openOrders", {"symbol": "BTCUSDT"}), "account": ("/api/v3/account", {}),
             "trades": ("/api/v3/myTrades", {"symbol": "BTCUSDT"})}  # fmt: skip
    found = {name: (await rest.order("GET", path, **params))[1] for name, (path, params) in asked.items()}
    found["account"] = found["account"]["balances"]
    first = found["orders"][0]["orderId"]
    found["amendments"] = (await rest.order("GET", "/api/v3/order/amendments", symbol="BTCUSDT", orderId=first))[1]
    found["open"].sort(key=lambda order: order["orderId"])
    return found


def test_all_of_it_survives_a_kill_of_the_exchange_and_goes_on(tmp_path):
    """SIGKILL, then the same answers; and what waited still waits: a stop is triggered, a pair decided, by the next process."""
    configure(tmp_path, '[[instruments]]\nsymbol = "BTCUSDT"\n[exchange]\nlines = 0\ntrades_per_s = 100\nquotes_per_s = 200\n')

    async def before(where) -> tuple[dict, int]:
        async with aiohttp.ClientSession() as session:
            rest = Rest(where["rest"], session)
            price = await last_price(rest)
            _, made = await rest.order(**limit("BUY", "50000.00", "0.05"))
            status, less = await rest.order("PUT", AMEND, symbol="BTCUSDT", orderId=made["orderId"], newQty="0.03000")
            assert status == 200 and less["amendedOrder"]["qty"] == "0.03000000", less
            await rest.order(**limit("SELL", "80000.00", "1", icebergQty="0.10000"))
            terms = {"symbol": "BTCUSDT", "quantity": "0.01000", "side": "SELL"}
            await rest.order(**terms, type="TAKE_PROFIT_LIMIT", timeInForce="GTC", price="99000", trailingDelta=1000)
            _, stop = await rest.order(**terms, type="STOP_LOSS", stopPrice=f"{price - 20:.2f}")
            assert (await rest.order("POST", "/api/v3/orderList/oco", **oco()))[0] == 200
            assert (await rest.order("POST", "/api/v3/orderList/otoco", **otoco()))[0] == 200
            state = await all_state(rest)
            return state, stop["orderId"]

    async def after(where, was, stop) -> None:
        async with aiohttp.ClientSession() as session:
            rest = Rest(where["rest"], session)
            now = await all_state(rest)
            for state in (was, now):  # the market goes on: these two may move with it
                state["orders"] = [o for o in state["orders"] if o["orderId"] != stop]
                state["open"] = [o for o in state["open"] if o["orderId"] != stop]
            moved = stop in {t["orderId"] for t in now["trades"]}
            assert [now[name] for name in ("orders", "open", "lists", "amendments")] == [
                was[name] for name in ("orders", "open", "lists", "amendments")
            ]
            assert moved or now["account"] == was["account"] and now["trades"] == was["trades"]
            assert len(now["amendments"]) == 1 and len(now["lists"]) == 2
            _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=stop)
            while seen["status"] == "NEW":  # push the price through it
                await rest.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="1")
                _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=stop)
            assert seen["status"] == "FILLED" and seen["isWorking"], seen
            _, gone = await rest.order("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
            assert sum("contingencyType" in row for row in gone) == 2
            _, account = await rest.order("GET", "/api/v3/account")
            assert all(float(balance["locked"]) == 0 for balance in account["balances"])

    process = Process(tmp_path)
    was, stop = asyncio.run(before(process.where))
    process.end(signal.SIGKILL)
    again = Process(tmp_path)
    asyncio.run(after(again.where, was, stop))
    again.end(signal.SIGTERM)
