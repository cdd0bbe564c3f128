"""What a client may ask and how often (venues.md §2.1), every filter (§3.6), and nonsense of every kind."""

import asyncio
import itertools
import json
import os
import random
import time

import pytest
import websockets

from tests.support.exchange_clients import WsApi, limit, listening, signed, venue
from tickmesh.bus.settings import ExchangeLimits
from tickmesh.nodes.exchange.api.limits import VenueLimits
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

SEED = int(os.environ.get("TICKMESH_SEED", "0"))


def refused(act) -> VenueError:
    with pytest.raises(VenueError) as error:
        act()
    return error.value


def test_weight_is_counted_in_fixed_minutes_per_address():
    limits = VenueLimits(ExchangeLimits(weight_per_minute=100))
    now = 60_000 * 1000
    for _ in range(4):
        limits.admit("a", 25, now + 59_999)
    error = refused(lambda: limits.admit("a", 1, now + 59_999))
    assert (error.code, error.status, error.retry_at_ms) == (-1003, 429, now + 60_000)
    limits.admit("b", 100, now + 59_999)
    limits.admit("a", 100, now + 60_000)


def test_who_goes_on_is_banned_twice_as_long_every_time():
    limits = VenueLimits(ExchangeLimits(weight_per_minute=1, ban_after=2, ban_s=120.0))
    now, bans = 60_000 * 1000, []
    for _ in range(3):
        statuses = []
        for _ in range(5):
            try:
                limits.admit("a", 1, now)
            except VenueError as error:
                statuses.append(error.status)
        assert statuses[-1] == 418
        until = limits.banned["a"]
        bans.append(until - now)
        with pytest.raises(VenueError, match="IP banned until"):
            limits.admit("a", 1, until - 1)
        now = until
    assert bans == [120_000, 240_000, 480_000]


def test_orders_are_counted_per_account_and_given_back_by_a_fill():
    limits = VenueLimits(ExchangeLimits(orders_per_10_s=3, orders_per_day=5))
    now = 86_400_000 * 1000
    for _ in range(3):
        limits.admit_order(1, now)
    error = refused(lambda: limits.admit_order(1, now + 9_999))
    assert (error.code, error.status, error.retry_at_ms) == (-1015, 429, now + 10_000)
    assert "3 orders per 10 SECOND" in error.message
    limits.give_back_orders(1, False, now)
    limits.admit_order(1, now + 9_999)
    limits.admit_order(1, now + 10_000)
    limits.admit_order(1, now + 10_000)
    assert "5 orders per 1 DAY" in refused(lambda: limits.admit_order(1, now + 20_000)).message
    limits.give_back_orders(1, True, now + 20_000)
    assert [row["count"] for row in limits.order_rows(1, now + 20_000)] == [0, 0]


def test_429_then_418_over_rest_and_ws_api_with_retry_after(tmp_path):
    toml = "[exchange.limits]\nweight_per_minute = 60\norders_per_10_s = 2\nban_after = 4\nban_s = 2\n"

    async def scene():
        async with venue(tmp_path, toml) as (rest, ws, _):
            left = 60 - time.time() % 60  # of this minute's window, and of these ten seconds: enough for all of it
            await asyncio.sleep(left + 0.1 if left < 20 else 10.1 - time.time() % 10 if time.time() % 10 > 2 else 0)
            async with listening(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                answer = await call("order.place", **limit("BUY", "50000"))
                assert [r["rateLimitType"] for r in answer["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
                assert [r["count"] for r in answer["rateLimits"]] == [1, 1, 2], "connecting weighs 2, an order nothing"
                await rest.order(**limit("BUY", "50000"))
                answer = await call("order.place", **limit("BUY", "50000"))
                assert (answer["status"], answer["error"]["code"]) == (429, -1015)
                assert 0 < answer["error"]["data"]["retryAfter"] - answer["error"]["data"]["serverTime"] <= 10_000
                status = 200
                while status == 200:
                    async with rest.session.get(rest.base + "/api/v3/exchangeInfo") as reply:
                        status, used = reply.status, int(reply.headers["X-MBX-USED-WEIGHT-1M"])
                        body = await reply.json()
                assert (status, body["code"]) == (429, -1003) and used > 60 and 1 <= int(reply.headers["Retry-After"]) <= 60
                answer = await call("time", False)
                assert answer["status"] == 429 and answer["error"]["data"]["retryAfter"] > answer["error"]["data"]["serverTime"]
                for _ in range(6):
                    async with rest.session.get(rest.base + "/api/v3/ping") as reply:
                        status, body = reply.status, await reply.json()
                assert status == 418 and "IP banned until" in body["msg"] and reply.headers["Retry-After"] in "12"
                with pytest.raises(websockets.InvalidStatus) as refusal:
                    await websockets.connect(ws + "/ws")
                assert refusal.value.response.status_code == 418

    asyncio.run(scene())


def test_connection_attempts_are_limited(tmp_path):
    async def scene():
        async with venue(tmp_path, "[exchange.limits]\nconnections_per_5_minutes = 3\n") as (_, ws, _):
            for _ in range(3):
                async with listening(ws + "/ws"):
                    pass
            with pytest.raises(websockets.InvalidStatus) as refusal:
                await websockets.connect(ws + "/ws")
            assert refusal.value.response.status_code == 429
            assert json.loads(refusal.value.response.body)["code"] == -1034

    asyncio.run(scene())


# ---- filters


def desk_of(**changes) -> Desk:
    known = spec("BTCUSDT")._replace(**changes)
    market = Market(known, UpdateIds(), Tape())
    desk = Desk({"BTCUSDT": market}, 1000, 1000)
    desk.deposit("BTC", 1000 * UNIT)
    desk.deposit("USDT", 10**8 * UNIT)
    market.submit(ExchangeOrder(-1, 0, -1, 60_000 * UNIT, UNIT), "LIMIT", "GTC", 1)
    market.submit(ExchangeOrder(-2, 0, 1, 60_000 * UNIT, UNIT // 2), "LIMIT", "GTC", 1)  # a trade: 60000 is the last price
    market.submit(ExchangeOrder(-3, 0, 1, 59_000 * UNIT, UNIT), "LIMIT", "GTC", 1)
    return desk


CASES = [
    ({}, dict(price="60000.005"), "PRICE_FILTER"),
    ({"price_max": 55_000 * UNIT}, dict(price="55000.01"), "PRICE_FILTER"),
    ({"tick": 50 * UNIT}, dict(price="49"), "PRICE_FILTER"),
    ({}, dict(price="11999.99"), "PERCENT_PRICE_BY_SIDE"),
    ({"bid_down": UNIT // 2}, dict(price="29999.99"), "PERCENT_PRICE_BY_SIDE"),
    ({"bid_up": UNIT + UNIT // 10}, dict(price="66000.01"), "PERCENT_PRICE_BY_SIDE"),
    ({"ask_up": UNIT + UNIT // 10}, dict(side="SELL", price="66000.01"), "PERCENT_PRICE_BY_SIDE"),
    ({}, dict(quantity="0.000015"), "LOT_SIZE"),
    ({"lot": UNIT // 10}, dict(quantity="0.05"), "LOT_SIZE"),
    ({"quantity_max": UNIT}, dict(quantity="1.1"), "LOT_SIZE"),
    ({"market_quantity_max": UNIT // 10}, dict(type="MARKET", quantity="0.2"), "MARKET_LOT_SIZE"),
    ({"market_quantity_min": UNIT // 10}, dict(type="MARKET", quantity="0.05"), "MARKET_LOT_SIZE"),
    ({}, dict(quantity="0.00001"), "NOTIONAL"),
    ({}, dict(quantity="200"), "NOTIONAL"),
    ({"notional_min": 700 * UNIT}, dict(type="MARKET", quantity="0.01"), "NOTIONAL"),
    ({"notional_filter": "MIN_NOTIONAL"}, dict(quantity="0.00001"), "MIN_NOTIONAL"),
    ({"orders_max": 0}, {}, "MAX_NUM_ORDERS"),
    ({"position_max": 1000 * UNIT}, {}, "MAX_POSITION"),
]


@pytest.mark.parametrize(("changes", "terms", "name"), CASES)
def test_every_filter_refuses_in_its_own_name(changes, terms, name):
    desk = desk_of(**changes)
    values = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "50000"}
    values |= terms
    if values["type"] == "MARKET":
        del values["timeInForce"], values["price"]
    error = refused(lambda: desk.place(Params(values), 1))
    assert (error.code, error.message, error.status) == (-1013, f"Filter failure: {name}", 400)
    if "quantity" in terms or "price" in terms:
        too_precise = (
            values | {next(iter(terms)): "1.123456789"} if "type" not in terms else values | {"quantity": "0.123456789"}
        )
        if "side" not in terms:
            assert refused(lambda: desk.place(Params(too_precise), 1)).code == -1111, "precision comes first"
    desk.accounts.check_conserved()
    assert desk.accounts.balance_of(OWNER, "USDT")[1] == 0 and not desk.open


def test_what_a_filter_names_is_in_exchange_info():
    from tickmesh.nodes.exchange.market.instruments import filters

    names = {row["filterType"] for kind in ("NOTIONAL", "MIN_NOTIONAL") for row in filters(
        spec("BTCUSDT")._replace(notional_filter=kind, position_max=1))}  # fmt: skip
    assert {name for _, _, name in CASES} <= names


# ---- nonsense


NASTY = [
    "", "0", "-1", "1e400", "NaN", "9" * 400, "0x10", "\x00", "é", "'; DROP TABLE orders", "true", "null", "[]", "{}", "1.5",
    " ", "%", "&", "=", "½", "𝟏", "１", "18446744073709551616", "0.00000000000000000001", "BTCUSDT", "LIMIT", "BUY",
]  # fmt: skip
NAMES = """
symbol side type timeInForce quantity price quoteOrderQty newClientOrderId orderId origClientOrderId cancelOrderId
limit fromId startTime endTime interval timestamp recvWindow signature symbols newOrderRespType cancelReplaceMode
apiKey strategyType subscriptionId omitZeroBalances computeCommissionRates selfTradePreventionMode stopPrice trailingDelta
icebergQty newQty orderListId listClientOrderId aboveType belowType workingType pendingType preventedMatchId fromExecutionId
"""


def nonsense(rand: random.Random) -> dict:
    values: dict = {"symbol": "BTCUSDT"} if rand.random() < 0.7 else {}
    for name in rand.sample(NAMES.split(), rand.randrange(8)):
        values[name] = rand.choice(NASTY)
    return values


def test_no_request_over_rest_ever_gets_a_500(tmp_path):
    from urllib.parse import quote_plus

    from tickmesh.nodes.exchange.api.api import REST

    rand = random.Random(SEED)
    paths = [*REST, ("GET", "/"), ("PUT", "/api/v3/order"), ("PATCH", "/api/v3/ping"), ("GET", "/api/v3/" + "x" * 3000)]
    toml = "[exchange.limits]\nweight_per_minute = 10000000\norders_per_10_s = 1000000\n"

    async def scene():
        async with venue(tmp_path, toml) as (rest, _, _):
            codes: dict = {}
            for method, path in itertools.islice(itertools.cycle(paths), 2500):
                values = nonsense(rand)
                query = "&".join(f"{name}={quote_plus(value)}" for name, value in values.items())
                if rand.random() < 0.6:
                    query = signed(**{k: quote_plus(v) for k, v in values.items() if k not in ("signature", "timestamp")})
                body = rand.choice(
                    (None, None, query.encode(), b"\xff\xfe\x00", b"x" * 70_000 if rand.random() < 0.05 else b"{}")
                )
                url = rest.base + path + ("" if rand.random() < 0.1 else "?" + query)
                async with rest.session.request(method, url, data=body, headers={"X-MBX-APIKEY": "local-key"}) as answer:
                    text = await answer.text()
                    codes[answer.status] = codes.get(answer.status, 0) + 1
                    assert answer.status < 500, (method, url[:300], answer.status, text[:300])
                    if answer.status >= 400 and "json" in answer.headers["Content-Type"]:
                        assert json.loads(text)["code"] < 0, (url, text)
            assert codes[200] > 50 and codes[400] > 500, codes
            assert (await rest("GET", "/api/v3/ping")) == (200, {})

    asyncio.run(scene())


def test_no_message_on_a_socket_is_left_without_the_venues_answer(tmp_path):
    from tickmesh.nodes.exchange.api.api import WS
    from tickmesh.nodes.exchange.api.ws_api import SESSION

    rand = random.Random(SEED)
    methods = [*WS, *SESSION, "order.nothing", "", 1, None, ["a"]]
    toml = "[exchange.limits]\nweight_per_minute = 10000000\nmessages_per_s = 100000\norders_per_10_s = 1000000\n"
    values_of_all_types = [*NASTY, 0, -1, 2**70, 1.5, True, None, [], {}, [[[]]], {"a": {"b": 1}}]

    def message() -> str:
        params: object = {n: rand.choice(values_of_all_types) for n in rand.sample(NAMES.split(), rand.randrange(6))}
        if rand.random() < 0.1:
            params = rand.choice(values_of_all_types)
        text = json.dumps({"id": rand.choice(values_of_all_types), "method": rand.choice(methods), "params": params})
        return text[: rand.randrange(len(text))] if rand.random() < 0.1 else text

    async def scene():
        async with venue(tmp_path, toml) as (_, ws, _):
            async with listening(ws + "/ws-api/v3") as socket:
                for _ in range(1500):
                    sent = message()
                    await socket.send(sent)
                    answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    if "event" in answer:
                        answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    assert answer["status"] == 200 or answer["error"]["code"] < 0 and answer["status"] < 500, (sent, answer)
            async with listening(ws + "/ws") as socket:
                controls = ["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY", *methods]
                for _ in range(800):
                    sent = json.dumps({"id": rand.choice(values_of_all_types), "method": rand.choice(controls),
                                       "params": rand.choice(values_of_all_types)})  # fmt: skip
                    await socket.send(sent)
                    answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    assert "result" in answer or answer["code"] in (0, 1, 2, 3), (sent, answer)
            for path in ("/ws", "/ws-api/v3"):  # a frame that is too large, deep JSON, half UTF-8
                async with listening(ws + path) as socket:
                    await socket.send("[" * 60_000)
                    answer = json.loads(await socket.recv())
                    assert "code" in answer or answer["error"]["code"] == -1135
                    await socket.send("x" * 70_000)
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        await asyncio.wait_for(socket.recv(), 10)
                    assert closed.value.rcvd.code == 1009

    asyncio.run(scene())
