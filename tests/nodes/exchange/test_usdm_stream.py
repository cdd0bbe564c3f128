"""The user stream of futures over real sockets: its key, its events, funding, mark prices, and the faults that concern it."""

import asyncio
import json
import time
from decimal import Decimal

import aiohttp
import pytest
import websockets

from tests.support.exchange_clients import listening, venue
from tests.support.exchange_talk import collect, receive, run
from tests.support.faults_scene import command_fault, end_fault, rows
from tests.support.usdm_talk import BASE, TOML, Futures, events_until, limit, market, private_stream
from tests.support.waiting import until
from tickmesh.nodes.exchange.market.mark_price import INTEREST, MarkPrice, MarkState
from tickmesh.nodes.exchange.protocol import UNIT

QUICK = TOML + "funding_interval_s = 2\n"


def updates(events: list[dict], what: str) -> list[dict]:
    return [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == what]


def test_every_change_of_an_order_is_an_event_and_the_ledger_has_the_same(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, ws, _):
            futures = Futures(rest)
            async with private_stream(futures, ws) as socket:
                order = (await futures.order(**limit("BUY", "58000", newClientOrderId="one")))[1]
                which = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
                await futures.order("PUT", side="BUY", price="58001", quantity="0.02", orderId=order["orderId"])
                await futures.right("DELETE", "/v1/order", **which)
                await futures.order(**market("BUY", "0.030"))
                await futures.right("POST", "/v1/leverage", symbol="BTCUSDT", leverage=10)
                events = await events_until(socket, lambda e: e["e"] == "ACCOUNT_CONFIG_UPDATE")
            mine = [(o["o"]["x"], o["o"]["X"]) for o in events if o["e"] == "ORDER_TRADE_UPDATE" and o["o"]["c"] == "one"]
            assert mine == [("NEW", "NEW"), ("AMENDMENT", "NEW"), ("CANCELED", "CANCELED")]
            assert events[-1]["ac"] == {"s": "BTCUSDT", "l": 10}
            filled = updates(events, "TRADE")[-1]
            assert (filled["X"], filled["z"], filled["N"], filled["R"], filled["ps"]) == (
                "FILLED",
                "0.030",
                "USDT",
                False,
                "BOTH",
            )
            place = [event["e"] for event in events]
            assert place[-3:] == ["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_CONFIG_UPDATE"]
            told = [json.loads(row[3]) for row in rows(tmp_path, "event") if row[4] == "binance_usdm"]
            assert told == events, "the ledger has them as they were sent"

    run(scene)


def test_a_listen_key_is_one_lives_as_long_as_it_is_kept_and_says_when_it_ends(tmp_path):
    """Its minute passes by the venue's clock, which is put on: this machine may be slow."""
    ahead_s = 0

    async def scene():
        async with venue(tmp_path, TOML + "listen_key_s = 60\n") as (rest, ws, _):
            futures = Futures(rest)

            async def pass_time(seconds: int) -> None:
                nonlocal ahead_s
                ahead_s += seconds
                await command_fault(rest, kind="clock", offset_ms=seconds * 1000)

            async def order(**more) -> dict:
                status, answer = await futures.order(
                    **limit("BUY", "58000", **more), timestamp=int((time.time() + ahead_s) * 1000), recvWindow=30_000
                )
                assert status == 200, answer
                return answer

            assert (await futures.listen_key("PUT"))["code"] == -1125
            key = (await futures.listen_key())["listenKey"]
            assert await futures.listen_key() == {"listenKey": key} and len(key) == 64
            paths = (f"/private/ws/{key}", f"/private/stream?listenKey={key}", f"/private/stream?streams={key}")
            sockets = [await listening(ws + BASE + path) for path in paths]
            silent = await listening(f"{ws}{BASE}/ws/{key}")
            for _ in range(3):
                await pass_time(40)
                assert await futures.listen_key("PUT") == {"listenKey": key}
            placed = await order()
            plain, *wrapped = [await receive(socket) for socket in sockets]
            assert plain["o"]["i"] == placed["orderId"]
            assert wrapped == [{"stream": key, "data": plain}] * 2
            await pass_time(61)
            for socket in sockets:
                last = await receive(socket)
                assert last.get("data", last) == {"e": "listenKeyExpired", "E": last.get("data", last)["E"], "listenKey": key}
            await order()
            other = (await futures.listen_key())["listenKey"]
            assert other != key
            for socket in (*sockets, silent):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.3)
            async with listening(f"{ws}{BASE}/private/ws") as socket:
                await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [other], "id": 1}))
                assert await receive(socket) == {"result": None, "id": 1}
                await order(newClientOrderId="heard")
                assert (await receive(socket))["o"]["c"] == "heard"
                await futures.listen_key("DELETE")
                await order()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.3)

    run(scene)


def test_funding_moves_the_wallet_by_position_mark_and_rate_to_the_last_digit(tmp_path):
    async def scene():
        async with venue(tmp_path, QUICK) as (rest, ws, _):
            futures = Futures(rest)
            async with private_stream(futures, ws) as socket:
                await futures.order(**market("SELL", "0.300"))
                events = await events_until(socket, lambda e: e["e"] == "ACCOUNT_UPDATE" and e["a"]["m"] == "FUNDING_FEE")
                paid = events[-1]["a"]
                _, history = await rest("GET", f"{BASE}/fapi/v1/fundingRate", key="", symbol="BTCUSDT")
            point = next(row for row in history if row["fundingTime"] == events[-1]["T"])
            rate, mark = (round(Decimal(point[name]) * UNIT) for name in ("fundingRate", "markPrice"))
            wanted = 300 * UNIT // 1000 * mark * rate // UNIT**2
            assert paid["P"] == [] and Decimal(paid["B"][0]["bc"]) * UNIT == wanted > 0, "a short position receives"
            (income,) = await futures.right("GET", "/v1/income", incomeType="FUNDING_FEE", limit=1, startTime=events[-1]["T"])
            assert (income["income"], income["symbol"], income["asset"]) == (paid["B"][0]["bc"], "BTCUSDT", "USDT")
            rows_of = [row[3:] for row in rows(tmp_path, "funding") if row[3] == "binance_usdm.BTCUSDT" and row[6]]
            assert rows_of[0] == ["binance_usdm.BTCUSDT", rate, mark, wanted]
            wallet = Decimal((await futures.right("GET", "/v3/balance"))[0]["balance"])
            incomes = await futures.right("GET", "/v1/income", limit=1000)
            assert wallet == 100_000 + sum(Decimal(row["income"]) for row in incomes)

    run(scene)


def test_mark_prices_are_sent_every_second_and_every_third_on_the_market_path_alone(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, ws, _):
            streams = "btcusdt@markPrice@1s/btcusdt@markPrice"
            async with listening(f"{ws}{BASE}/market/stream?streams={streams}") as socket:
                seen = await collect(socket, set(streams.split("/")))
                while len(seen["btcusdt@markPrice@1s"]) < 4:
                    frame = await receive(socket)
                    seen[frame["stream"]].append(frame["data"])
            times = [one["E"] for one in seen["btcusdt@markPrice@1s"]]
            assert all(900 < after - before < 3000 for before, after in zip(times, times[1:]))
            assert len(seen["btcusdt@markPrice"]) < 4 and seen["btcusdt@markPrice"][0] in seen["btcusdt@markPrice@1s"]
            _, index = await rest("GET", f"{BASE}/fapi/v1/premiumIndex", key="", symbol="BTCUSDT")
            last = seen["btcusdt@markPrice@1s"][-1]
            assert last["T"] == index["nextFundingTime"] and last["T"] % 28_800_000 == 0
            assert 55_000 < float(last["p"]) < 65_000 and index["interestRate"] == "0.00010000"
            told = {(row[4], row[5]) for row in rows(tmp_path, "mark")}
            assert (round(Decimal(last["p"]) * UNIT), round(Decimal(last["i"]) * UNIT)) in told
            async with listening(f"{ws}{BASE}/public/stream?streams=btcusdt@markPrice@1s") as socket:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 1.5)

    run(scene)


class Book:
    """A market that stands still."""

    def __init__(self, bid: int, ask: int, last: int):
        self.sides, self.last_price = {1: (bid * UNIT, 1), -1: (ask * UNIT, 1)}, last * UNIT

    def best(self, side: int) -> tuple[int, int]:
        return self.sides[side]


def test_mark_and_rate_follow_from_spot_book_and_time():
    contract, spot = Book(1010, 1012, 1020), Book(999, 1001, 1000)
    mark = MarkPrice(contract, spot, 100.0, MarkState())
    assert mark.tick(150_000) and not mark.tick(150_999) and mark.state.next_ms == 200_000
    state = mark.state
    assert state.index == 1000 * UNIT and state.basis == 11 * UNIT
    assert state.premiums == 1_000_000, "the bid is 1 % above the index"
    assert state.rate == 1_000_000 - 50_000, "drawn towards the interest by 0.05 %"
    carried = state.index + state.index * state.rate * 50_000 // (UNIT * 100_000)
    assert state.mark == sorted((carried, 1011 * UNIT, 1020 * UNIT))[1] == 1011 * UNIT
    near = MarkPrice(Book(999, 1001, 1000), spot, 100.0, MarkState())
    near.tick(150_000)
    assert near.state.rate == INTEREST, "no premium: the interest"
    assert not mark.is_due(199_999) and mark.is_due(200_000)
    mark.begin_interval(460_000)
    assert (state.next_ms, state.samples, state.premiums) == (500_000, 0, 0), "what was missed is left out"
    mark.state.next_ms = 10**9
    mark.tick(470_000)
    assert mark.state.next_ms == 500_000, "a clock that went back does not put funding off"


@pytest.mark.parametrize("kind, known", [("timeout_before", False), ("timeout_after", True)])
def test_a_lost_acknowledgement_leaves_open_whether_the_order_stands(tmp_path, kind, known):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, ws, _):
            futures = Futures(rest)
            async with private_stream(futures, ws) as socket:
                number = await command_fault(rest, kind=kind, delay_ms=20)
                status, answer = await futures.order(**limit("BUY", "58000", newClientOrderId="lost"))
                assert (status, answer["code"]) == (504, -1007)
                await end_fault(rest, number)
                status, seen = await futures.order("GET", origClientOrderId="lost")
                assert seen.get("status", seen.get("code")) == ("NEW" if known else -2013)
                if known:
                    assert (await receive(socket))["o"]["c"] == "lost", "the user stream knows it"
            assert rows(tmp_path, "request")[0][6] == "POST /binance_usdm/fapi/v1/order"

    run(scene)


def test_user_events_repeated_late_or_gone_and_answers_of_an_ailing_venue(tmp_path):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, ws, _):
            futures = Futures(rest)
            async with private_stream(futures, ws) as socket:
                for kind, expected in (("skip", ["end"]), ("duplicate", ["x", "x", "end"]), ("delay", ["x", "end"])):
                    number = await command_fault(rest, kind=kind, stream="user", delay_ms=300, times=1)
                    await futures.order(**limit("BUY", "58000", newClientOrderId="x"))
                    await end_fault(rest, number)
                    await asyncio.sleep(0.4)
                    await futures.order(**limit("BUY", "57000", newClientOrderId="end"))
                    events = await events_until(socket, lambda e: e.get("o", {}).get("c") == "end" and e["o"]["x"] == "NEW")
                    assert [o["c"] for o in updates(events, "NEW")] == expected, kind
                    await futures.right("DELETE", "/v1/allOpenOrders", symbol="BTCUSDT")
                    await events_until(socket, lambda e: e["o"]["x"] == "CANCELED" and e["o"]["c"] == "end")
                await command_fault(rest, kind="cut", stream="user")
                with pytest.raises(websockets.ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), 5)
            orders = "POST /binance_usdm/fapi/*"
            for fault, code in (({"status": 429}, -1003), ({"status": 503, "code": -1008}, -1008)):
                number = await command_fault(rest, kind="answer", endpoint=orders, retry_after_s=1, **fault)
                status, answer = await futures.order(**limit("BUY", "58000"))
                assert (status, answer["code"]) == (fault["status"], code)
                assert (await rest("GET", "/api/v3/time"))[0] == 200, "spot is another venue"
                await end_fault(rest, number)
            number = await command_fault(rest, kind="outage")
            assert (await futures.order(**limit("BUY", "58000")))[1]["code"] == -1008
            await end_fault(rest, number)
            number = await command_fault(rest, kind="halt", symbol="binance_usdm.BTCUSDT")
            assert (await futures.order(**limit("BUY", "58000")))[1]["code"] == -4141
            assert (await futures.order(**limit("BUY", "58000", symbol="ETHUSDT")))[1]["code"] != -4141
            await end_fault(rest, number)

    run(scene)


@pytest.mark.parametrize(
    "kind, more, status", [("restart", {"lose_orders": True}, "EXPIRED"), ("restart", {}, "NEW"), ("anew", {}, "NEW")]
)
def test_a_venue_that_begins_again_keeps_positions_and_what_it_does_not_lose(tmp_path, kind, more, status):
    async def scene():
        async with venue(tmp_path, TOML) as (rest, _, _):
            futures = Futures(rest)
            await futures.order(**market("BUY", "0.020"))
            order = (await futures.order(**limit("BUY", "58000")))[1]
            before = await futures.right("GET", "/v1/income")
            await command_fault(rest, kind=kind, length_s=0.3, **more)

            async def is_back() -> bool:
                try:
                    return (await rest("GET", f"{BASE}/fapi/v1/time", key=""))[0] == 200
                except aiohttp.ClientError:
                    return False

            await until(is_back, what="its way back")
            assert (await futures.order("GET", orderId=order["orderId"]))[1]["status"] == status
            assert len(await futures.right("GET", "/v1/openOrders")) == (status == "NEW")
            (position,) = await futures.right("GET", "/v3/positionRisk")
            assert position["positionAmt"] == "0.020" and await futures.right("GET", "/v1/income") == before
            if status == "NEW":
                assert (await futures.order("DELETE", orderId=order["orderId"]))[1]["status"] == "CANCELED"

    run(scene)
