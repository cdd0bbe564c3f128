"""Faults of answers, orders and user events: what a client is told, what was done all the same, and that it ends when told."""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest

from tests.support.exchange_clients import limit, listening, signed
from tests.support.faults_scene import FAULTS, TRADES, command_fault, end_fault, gone, ids, is_there, rows, scene
from tests.support.waiting import until
from tickmesh.nodes.exchange.protocol import sign, ws_payload


def test_a_clock_that_jumps(tmp_path):
    async def body(rest, ws, ctx):
        number = await command_fault(rest, kind="clock", offset_ms=30_000)
        _, answer = await rest("GET", "/api/v3/time")
        assert 29_000 < answer["serverTime"] - time.time() * 1000 < 31_000
        status, refused = await rest.order(**limit("BUY", "50000"))
        assert (status, refused["code"]) == (400, -1021)
        async with listening(ws + TRADES) as socket:
            row = json.loads(await socket.recv())
            while row["T"] - time.time() * 1000 < 29_000:
                row = json.loads(await asyncio.wait_for(socket.recv(), 5))
        await end_fault(rest, number)
        _, answer = await rest("GET", "/api/v3/time")
        assert abs(answer["serverTime"] - time.time() * 1000) < 1000
        assert (await rest.order(**limit("BUY", "50000")))[0] == 200

    scene(body, tmp_path)


@pytest.mark.parametrize("status, code, header", [(429, -1003, "7"), (418, -1003, "7"), (503, -1001, None), (500, -1000, None)])
def test_answers_that_refuse(tmp_path, status, code, header):
    async def body(rest, ws, ctx):
        extra = {"retry_after_s": 7} if header else {}
        number = await command_fault(rest, kind="answer", endpoint="GET /api/v3/depth", status=status, code=code, **extra)
        async with rest.session.get(rest.base + "/api/v3/depth?symbol=BTCUSDT") as answer:
            assert answer.status == status and (await answer.json())["code"] == code
            assert answer.headers.get("Retry-After") == header
        assert (await rest("GET", "/api/v3/time"))[0] == 200
        await end_fault(rest, number)
        assert (await rest("GET", "/api/v3/depth", symbol="BTCUSDT"))[0] == 200
        (row,) = rows(tmp_path, "request")
        assert row[5:] == ["rest", "GET /api/v3/depth", "answered", status]

    scene(body, tmp_path)


@pytest.mark.parametrize("status", [403, 502])
def test_a_fault_can_answer_with_the_html_page_of_a_proxy(tmp_path, status):
    async def body(rest, ws, ctx):
        await command_fault(rest, kind="answer", endpoint="POST *", status=status, html=True)
        async with rest.session.post(rest.base + "/api/v3/order?" + signed(symbol="BTCUSDT")) as answer:
            assert answer.status == status and answer.content_type == "text/html"
            assert str(status) in await answer.text()

    scene(body, tmp_path)


@pytest.mark.parametrize("kind, code", [("timeout_before", -1007), ("timeout_after", -1007), ("timeout_after", -1006)])
def test_an_order_whose_answer_leaves_open_whether_it_was_executed(tmp_path, kind, code):
    async def body(rest, ws, ctx):
        number = await command_fault(rest, kind=kind, code=code, delay_ms=50)
        status, answer = await rest.order(**limit("BUY", "50000", newClientOrderId="lost"))
        assert status == 504 and answer["code"] == code and "execution status unknown" in answer["msg"].lower()
        await end_fault(rest, number)
        status, seen = await rest.order("GET", symbol="BTCUSDT", origClientOrderId="lost")
        assert (status, seen.get("status", seen.get("code"))) == ((200, "NEW") if kind == "timeout_after" else (400, -2013))
        (row,) = rows(tmp_path, "request")
        assert row[7] == ("executed" if kind == "timeout_after" else "ignored")
        events = [json.loads(row[3]) for row in rows(tmp_path, "event")]
        assert bool([e for e in events if e.get("c") == "lost"]) is (kind == "timeout_after")

    scene(body, tmp_path)


def test_an_acknowledgement_that_never_comes_at_all(tmp_path):
    async def body(rest, ws, ctx):
        number = await command_fault(rest, kind="timeout_after", silent=True, delay_ms=20)
        with pytest.raises(aiohttp.ClientError):
            await rest.order(**limit("BUY", "50000", newClientOrderId="silent"))
        await end_fault(rest, number)
        assert (await rest.order("GET", symbol="BTCUSDT", origClientOrderId="silent"))[1]["status"] == "NEW"

    scene(body, tmp_path)


@contextlib.asynccontextmanager
async def user_stream(ws: str):
    async with listening(ws + "/ws-api/v3") as socket:
        params = {"apiKey": "local-key", "timestamp": int(time.time() * 1000)}
        params["signature"] = sign("local-secret", ws_payload(params))
        await socket.send(json.dumps({"id": 1, "method": "userDataStream.subscribe.signature", "params": params}))
        assert json.loads(await socket.recv())["status"] == 200
        yield socket


def test_user_events_late_repeated_or_silently_gone(tmp_path):
    async def reports(socket, last: tuple) -> list[tuple]:
        """(client id, what) of all reports up to the one that is `last`."""
        found: list[tuple] = []
        async with asyncio.timeout(20):
            while not found or found[-1] != last:
                event = json.loads(await socket.recv())["event"]
                if event["e"] == "executionReport":
                    found.append((event["c"], event["x"]))
        return found

    async def body(rest, ws, ctx):
        async with user_stream(ws) as socket:
            for kind, expected in (("skip", []), ("duplicate", [("o", "NEW")] * 2), ("delay", [("o", "NEW")])):
                number = await command_fault(rest, kind=kind, stream="user", delay_ms=600)
                asked = time.monotonic()
                await rest.order(**limit("BUY", "50000", newClientOrderId="o"))
                late = await reports(socket, ("o", "NEW")) if kind == "delay" else []
                assert kind != "delay" or time.monotonic() - asked > 0.55, "so late"
                await end_fault(rest, number)
                await rest.order(**limit("BUY", "49000", newClientOrderId="end"))
                assert late + await reports(socket, ("end", "NEW")) == [*expected, ("end", "NEW")], f"{kind} ends when told"
                for name in ("o", "end"):
                    await rest.order("DELETE", symbol="BTCUSDT", origClientOrderId=name, newClientOrderId=f"no-{name}")
                over = [("no-o", "CANCELED"), ("no-end", "CANCELED")]
                assert await reports(socket, over[-1]) == over
        whats = {row[6] for row in rows(tmp_path, "frame") if row[5] == "user"}
        assert whats == {"dropped", "repeated", "late"}

    scene(body, tmp_path)


@pytest.mark.parametrize("lose", [False, True])
def test_a_restart_with_and_without_the_orders_that_stood(tmp_path, lose):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            _, order = await rest.order(**limit("BUY", "50000"))
            before = (await ids(socket, 5))[-1]
            await command_fault(rest, kind="restart", length_s=0.4, lose_orders=lose)
            assert await gone(socket)
        with pytest.raises(aiohttp.ClientError):
            await rest("GET", "/api/v3/time")
        await until(lambda: is_there(rest), what="its way back")
        _, rows_open = await rest.order("GET", "/api/v3/openOrders", symbol="BTCUSDT")
        assert [r["orderId"] for r in rows_open] == ([] if lose else [order["orderId"]])
        _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=order["orderId"])
        assert seen["status"] == ("EXPIRED" if lose else "NEW")
        _, account = await rest.order("GET", "/api/v3/account")
        usdt = next(b for b in account["balances"] if b["asset"] == "USDT")
        assert float(usdt["locked"]) == (0 if lose else 500)
        async with listening(ws + TRADES) as socket:
            assert (await ids(socket, 1))[0] > before

    scene(body, tmp_path)


def test_an_outage_lets_only_market_orders_through(tmp_path):
    async def body(rest, ws, ctx):
        _, order = await rest.order(**limit("BUY", "50000"))
        number = await command_fault(rest, kind="outage")
        for _ in range(2):
            status, answer = await rest.order(**limit("BUY", "50000"))
            assert (status, answer["code"]) == (503, -1008)
        assert (await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"]))[1]["code"] == -1008
        assert (await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"))[1]["status"] == "FILLED"
        await end_fault(rest, number)
        assert (await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"]))[1]["status"] == "CANCELED"

    scene(body, tmp_path)


def test_a_venue_that_has_forgotten_its_old_trades(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            seen = await ids(socket, 20)
        _, told = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert [row["id"] for row in told] == list(range(seen[0], seen[0] + 20))
        number = await command_fault(rest, kind="forget", to_ms=told[10]["time"])
        _, left = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert left[0]["time"] >= told[10]["time"] and seen[0] < left[0]["id"] <= told[10]["id"], "from later, without a word"
        await end_fault(rest, number)
        _, again = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert again == told
        async with rest.session.post(rest.base + FAULTS, json={"kind": "forget", "from_ms": 5, "to_ms": 5}) as answer:
            assert answer.status == 400 and "to_ms" in (await answer.json())["error"]

    scene(body, tmp_path)
