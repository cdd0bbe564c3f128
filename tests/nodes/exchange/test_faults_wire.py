"""Faults on the wire: what a client sees while one lasts, that it ends when told, and that the ledger says what was done."""

import asyncio
import contextlib
import json
import time
from collections import deque

import aiohttp
import pytest
import websockets

from tests.support.exchange_clients import limit, listening, served, signed
from tests.support.faults_scene import FAULTS, end, gone, ids, plan, rows, scene
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange.protocol import sign, ws_payload

TRADES = "/ws/btcusdt@trade"


def test_skipped_frames_are_a_jump_of_ids_that_the_ledger_explains(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as one, listening(ws + TRADES) as two:
            await ids(one, 1)
            number = await plan(rest, kind="skip", connection=1, stream="btcusdt@trade", probability=0.5, seed=3)
            heard = await ids(one, 60)
            await end(rest, number)
            after = await ids(one, 40)
            full = await ids(two, 150)
        assert full == list(range(full[0], full[0] + 150)), "the other line has every trade"
        dropped = [json.loads(row[7])["t"] for row in rows(tmp_path, "frame") if row[6] == "dropped"]
        missing = sorted(set(range(heard[0], after[-1] + 1)) - set(heard) - set(after))
        assert missing and set(missing) <= set(dropped)
        assert after[-30:] == list(range(after[-30], after[-30] + 30)), "it ends when told"
        assert {row[4] for row in rows(tmp_path, "frame")} == {1}

    scene(body, tmp_path)


def test_cut_refuse_and_the_way_back(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await plan(rest, kind="cut")
            assert await gone(socket)
        number = await plan(rest, kind="refuse", status=503)
        with pytest.raises(websockets.InvalidStatus, match="503"):
            await websockets.connect(ws + TRADES)
        assert (await rest("GET", "/api/v3/time"))[0] == 200, "REST is another door"
        await end(rest, number)
        number = await plan(rest, kind="refuse")
        with pytest.raises((websockets.InvalidMessage, ConnectionError, EOFError)):
            await websockets.connect(ws + TRADES)
        await end(rest, number)
        async with listening(ws + TRADES) as socket:
            await ids(socket, 3)
        await asyncio.sleep(0.05)
        assert [row[4] for row in rows(tmp_path, "client")] == ["opened", "cut", "closed", "opened", "closed"]
        assert [row[7] for row in rows(tmp_path, "request")] == ["refused", "refused"]

    scene(body, tmp_path)


def test_a_shutdown_is_announced_and_then_done_to_whoever_was_there(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as old:
            await ids(old, 1)
            began = time.monotonic()
            await plan(rest, kind="shutdown", length_s=1.5)
            async with listening(ws + TRADES) as new:
                told = {}
                while told.get("e") != "serverShutdown":
                    told = json.loads(await asyncio.wait_for(old.recv(), 5))
                assert await gone(old) and time.monotonic() - began >= 1.4
                assert (old.close_code, old.close_reason) == (1001, "going away")
                await ids(new, 20)  # who came after the notice is not concerned

    scene(body, tmp_path)


def test_a_stalled_connection_stays_open_and_says_nothing(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES, ping_interval=None) as socket:
            before = (await ids(socket, 5))[-1]
            number = await plan(rest, kind="stall", connection=1)
            with contextlib.suppress(TimeoutError):
                while True:  # what was sent before it began
                    before = json.loads(await asyncio.wait_for(socket.recv(), 0.4))["t"]
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.4)
            await end(rest, number)
            after = (await ids(socket, 1))[0]
        assert after > before + 20
        dropped = [json.loads(row[7]) for row in rows(tmp_path, "frame")]
        assert {row["t"] for row in dropped if "t" in row} >= set(range(before + 1, after))
        assert any(row.get("id") == 1 for row in dropped), "the reply was withheld too"

    scene(body, tmp_path)


def test_drip(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES, ping_interval=None) as socket:
            await ids(socket, 5)
            number = await plan(rest, kind="drip", bytes_per_s=400)
            began = time.monotonic()
            last = 0
            while time.monotonic() - began < 1.0:
                last = (await ids(socket, 1))[0]
            count = len([r for r in rows(tmp_path, "frame") if r[6] == "late"])
            assert count > 50, "many are due, a few arrive"
            await end(rest, number)
            rest_of_it = await ids(socket, count)
            assert rest_of_it == list(range(last + 1, last + 1 + count)), "nothing is lost or out of order"

    scene(body, tmp_path)


def test_duplicate_reorder_and_delay(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            number = await plan(rest, kind="duplicate")
            heard = await ids(socket, 60)
            assert max(heard.count(n) for n in heard) == 2
            await end(rest, number)
            number = await plan(rest, kind="reorder")
            heard = await ids(socket, 120)
            assert heard != sorted(heard)
            await end(rest, number)
            await ids(socket, 40)
            number = await plan(rest, kind="delay", delay_ms=700)
            stamps = []
            for _ in range(150):
                row = json.loads(await asyncio.wait_for(socket.recv(), 10))
                stamps.append(time.time() * 1000 - row["T"])
            assert max(stamps) > 650
            await end(rest, number)
            heard = await ids(socket, 200)
            assert heard == sorted(set(heard)) and len(set(heard)) == 200
        assert {row[6] for row in rows(tmp_path, "frame")} == {"repeated", "late"}

    scene(body, tmp_path)


@pytest.mark.parametrize("kind", ["garbage", "truncate"])
def test_frames_that_cannot_be_read(tmp_path, kind):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await ids(socket, 2)
            number = await plan(rest, kind=kind, probability=0.5)
            bad = 0
            for _ in range(80):
                try:
                    json.loads(await asyncio.wait_for(socket.recv(), 5))
                except ValueError:
                    bad += 1
            assert 10 < bad < 70
            await end(rest, number)
            await asyncio.sleep(0.1)
            while True:
                with contextlib.suppress(ValueError, KeyError):
                    await ids(socket, 20)
                    break
        assert {row[6] for row in rows(tmp_path, "frame")} == {"altered"}
        assert all("t" in json.loads(row[7]) for row in rows(tmp_path, "frame"))

    scene(body, tmp_path)


def test_a_torn_frame_ends_the_connection(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await ids(socket, 1)
            await plan(rest, kind="torn", length_s=0.3)
            assert await gone(socket)
        await asyncio.sleep(0.4)
        async with listening(ws + TRADES) as socket:
            await ids(socket, 5)

    scene(body, tmp_path)


def test_crossed_and_stale_quotes(tmp_path):
    async def quotes(socket, count: int) -> list[dict]:
        return [json.loads(await asyncio.wait_for(socket.recv(), 10)) for _ in range(count)]

    async def come(socket, count: int, right) -> None:
        """Reads until the last `count` quotes are right: how many were on their way before is the machine's load."""
        found = deque(await quotes(socket, count), count)
        for _ in range(5000):
            if right(found):
                return
            found.extend(await quotes(socket, 1))
        raise AssertionError(f"the last {count} of 5,000 quotes: {list(found)[-3:]}")

    def crossed(quote: dict) -> bool:
        return float(quote["b"]) >= float(quote["a"])

    async def body(rest, ws, ctx):
        async with websockets.connect(ws + "/ws/btcusdt@bookTicker") as socket:
            await quotes(socket, 5)
            number = await plan(rest, kind="crossed")
            found = await quotes(socket, 100)
            assert any(float(q["b"]) > float(q["a"]) for q in found)
            await end(rest, number)
            await quotes(socket, 60)
            number = await plan(rest, kind="stale")
            await come(socket, 30, lambda found: len({q["u"] for q in found}) == 1)
            await end(rest, number)
            await come(socket, 50, lambda found: len({q["u"] for q in found}) == 50 and not any(map(crossed, found)))
        true = {json.loads(row[7])["u"]: json.loads(row[7]) for row in rows(tmp_path, "frame")}
        assert all(float(q["b"]) < float(q["a"]) for q in true.values()), "the ledger has the frame that was due"

    scene(body, tmp_path)


def test_a_clock_that_jumps(tmp_path):
    async def body(rest, ws, ctx):
        number = await plan(rest, kind="clock", offset_ms=30_000)
        _, answer = await rest("GET", "/api/v3/time")
        assert 29_000 < answer["serverTime"] - time.time() * 1000 < 31_000
        status, refused = await rest.order(**limit("BUY", "50000"))
        assert (status, refused["code"]) == (400, -1021)
        async with listening(ws + TRADES) as socket:
            row = json.loads(await socket.recv())
            while row["T"] - time.time() * 1000 < 29_000:
                row = json.loads(await asyncio.wait_for(socket.recv(), 5))
        await end(rest, number)
        _, answer = await rest("GET", "/api/v3/time")
        assert abs(answer["serverTime"] - time.time() * 1000) < 1000
        assert (await rest.order(**limit("BUY", "50000")))[0] == 200

    scene(body, tmp_path)


@pytest.mark.parametrize("status, code, header", [(429, -1003, "7"), (418, -1003, "7"), (503, -1001, None), (500, -1000, None)])
def test_answers_that_refuse(tmp_path, status, code, header):
    async def body(rest, ws, ctx):
        extra = {"retry_after_s": 7} if header else {}
        number = await plan(rest, kind="answer", endpoint="GET /api/v3/depth", status=status, code=code, **extra)
        async with rest.session.get(rest.base + "/api/v3/depth?symbol=BTCUSDT") as answer:
            assert answer.status == status and (await answer.json())["code"] == code
            assert answer.headers.get("Retry-After") == header
        assert (await rest("GET", "/api/v3/time"))[0] == 200
        await end(rest, number)
        assert (await rest("GET", "/api/v3/depth", symbol="BTCUSDT"))[0] == 200
        (row,) = rows(tmp_path, "request")
        assert row[5:] == ["rest", "GET /api/v3/depth", "answered", status]

    scene(body, tmp_path)


@pytest.mark.parametrize("status", [403, 502])
def test_a_proxys_page(tmp_path, status):
    async def body(rest, ws, ctx):
        await plan(rest, kind="answer", endpoint="POST *", status=status, html=True)
        async with rest.session.post(rest.base + "/api/v3/order?" + signed(symbol="BTCUSDT")) as answer:
            assert answer.status == status and answer.content_type == "text/html"
            assert str(status) in await answer.text()

    scene(body, tmp_path)


@pytest.mark.parametrize("kind, code", [("timeout_before", -1007), ("timeout_after", -1007), ("timeout_after", -1006)])
def test_an_order_whose_fate_the_answer_does_not_say(tmp_path, kind, code):
    async def body(rest, ws, ctx):
        number = await plan(rest, kind=kind, code=code, delay_ms=50)
        status, answer = await rest.order(**limit("BUY", "50000", newClientOrderId="lost"))
        assert status == 504 and answer["code"] == code and "execution status unknown" in answer["msg"].lower()
        await end(rest, number)
        status, seen = await rest.order("GET", symbol="BTCUSDT", origClientOrderId="lost")
        assert (status, seen.get("status", seen.get("code"))) == ((200, "NEW") if kind == "timeout_after" else (400, -2013))
        (row,) = rows(tmp_path, "request")
        assert row[7] == ("executed" if kind == "timeout_after" else "ignored")
        events = [json.loads(row[3]) for row in rows(tmp_path, "event")]
        assert bool([e for e in events if e.get("c") == "lost"]) is (kind == "timeout_after")

    scene(body, tmp_path)


def test_an_acknowledgement_that_never_comes_at_all(tmp_path):
    async def body(rest, ws, ctx):
        number = await plan(rest, kind="timeout_after", silent=True, delay_ms=20)
        with pytest.raises(aiohttp.ClientError):
            await rest.order(**limit("BUY", "50000", newClientOrderId="silent"))
        await end(rest, number)
        assert (await rest.order("GET", symbol="BTCUSDT", origClientOrderId="silent"))[1]["status"] == "NEW"

    scene(body, tmp_path)


@contextlib.asynccontextmanager
async def user_stream(ws: str):
    async with websockets.connect(ws + "/ws-api/v3") as socket:
        params = {"apiKey": "local-key", "timestamp": int(time.time() * 1000)}
        params["signature"] = sign("local-secret", ws_payload(params))
        await socket.send(json.dumps({"id": 1, "method": "userDataStream.subscribe.signature", "params": params}))
        assert json.loads(await socket.recv())["status"] == 200
        yield socket


def test_user_events_late_repeated_or_silently_gone(tmp_path):
    async def reports(socket, seconds: float) -> list[tuple]:
        found = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    event = json.loads(await socket.recv())["event"]
                    if event["e"] == "executionReport":
                        found.append((event["c"], event["x"]))
        return found

    async def body(rest, ws, ctx):
        async with user_stream(ws) as socket:
            for kind, expected in (("skip", []), ("duplicate", [("o", "NEW")] * 2), ("delay", [])):
                number = await plan(rest, kind=kind, stream="user", delay_ms=600)
                _, order = await rest.order(**limit("BUY", "50000", newClientOrderId="o"))
                assert await reports(socket, 0.4) == expected, kind
                if kind == "delay":
                    assert await reports(socket, 0.6) == [("o", "NEW")]
                await end(rest, number)
                await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"])
                assert [what for _, what in await reports(socket, 0.4)] == ["CANCELED"], "it ends when told"
        whats = {row[6] for row in rows(tmp_path, "frame") if row[5] == "user"}
        assert whats == {"dropped", "repeated", "late"}

    scene(body, tmp_path)


@pytest.mark.parametrize("lose", [False, True])
def test_a_restart_with_and_without_the_orders_that_stood(tmp_path, lose):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            _, order = await rest.order(**limit("BUY", "50000"))
            before = (await ids(socket, 5))[-1]
            await plan(rest, kind="restart", length_s=0.4, lose_orders=lose)
            assert await gone(socket)
        with pytest.raises(aiohttp.ClientError):
            await rest("GET", "/api/v3/time")
        await asyncio.sleep(0.6)
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
        number = await plan(rest, kind="outage")
        for _ in range(2):
            status, answer = await rest.order(**limit("BUY", "50000"))
            assert (status, answer["code"]) == (503, -1008)
        assert (await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"]))[1]["code"] == -1008
        assert (await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"))[1]["status"] == "FILLED"
        await end(rest, number)
        assert (await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"]))[1]["status"] == "CANCELED"

    scene(body, tmp_path)


def test_the_endpoint_explains_itself_and_refuses_in_sentences(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES):
            status, view = await rest("GET", FAULTS)
            assert status == 200 and "outage" in view["kinds"] and view["connections"][0]["streams"] == ["btcusdt@trade"]
        async with rest.session.post(rest.base + FAULTS, json={"kind": "nonsense"}) as answer:
            assert answer.status == 400 and "kinds: cut" in (await answer.json())["error"]
        async with rest.session.delete(rest.base + FAULTS + "?id=99") as answer:
            assert answer.status == 404
        assert (await rest("PUT", FAULTS))[0] == 405

    scene(body, tmp_path)


def test_a_schedule_begins_with_the_exchange_and_a_restart_does_not_begin_it_anew(tmp_path):
    (tmp_path / "faults.toml").write_text(
        '[[faults]]\nkind = "answer"\nendpoint = "GET /api/v3/ping"\nstatus = 503\nlength_s = 0.6\n'
        '[[faults]]\nkind = "clock"\nstart_s = 0.6\noffset_ms = 9000\n'
    )
    toml = '[exchange]\nfaults = "faults.toml"\nlines = 1\n'

    async def first(rest, ws, ctx):
        await asyncio.sleep(0.1)
        assert (await rest("GET", "/api/v3/ping"))[0] == 503
        await asyncio.sleep(0.7)
        assert (await rest("GET", "/api/v3/ping"))[0] == 200

    async def second(rest, ws, ctx):
        await asyncio.sleep(0.1)
        assert (await rest("GET", "/api/v3/ping"))[0] == 200
        assert (await rest("GET", "/api/v3/time"))[1]["serverTime"] - time.time() * 1000 > 8000

    scene(first, tmp_path, toml)
    scene(second, tmp_path, toml)


def test_a_schedule_that_cannot_be_read_is_a_sentence(tmp_path):
    async def run(toml: str):
        (tmp_path / "mesh.toml").write_text(toml)
        from tickmesh.bus.config import load

        async with served(load(tmp_path)):
            pass

    for text, words in (('[[faults]]\nkind = "cu"\n', "kinds: cut"), ("[[", "TOML|Expected|Unmatched|Invalid")):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            asyncio.run(run('[exchange]\nfaults = "bad.toml"\n'))
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(run('[exchange]\nfaults = "none.toml"\n'))


def test_frames_of_a_stretch_of_market_time_only(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            first = json.loads(await socket.recv())
            low, high = first["T"] + 500, first["T"] + 1000
            await plan(rest, kind="skip", from_ms=low, to_ms=high)
            seen = []
            while not seen or seen[-1]["E"] < high + 500:
                seen.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))
        # The frame leaves a moment after its stamp.
        assert not [row for row in seen if low + 50 <= row["E"] < high - 50]
        assert [row for row in seen if row["E"] < low] and seen[-1]["t"] - seen[0]["t"] + 1 > len(seen)

    scene(body, tmp_path)


def test_a_venue_that_has_forgotten_its_old_trades(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            seen = await ids(socket, 20)
        _, told = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert [row["id"] for row in told] == list(range(seen[0], seen[0] + 20))
        number = await plan(rest, kind="forget", to_ms=told[10]["time"])
        _, left = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert left[0]["time"] >= told[10]["time"] and seen[0] < left[0]["id"] <= told[10]["id"], "from later, without a word"
        await end(rest, number)
        _, again = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=seen[0], limit=20)
        assert again == told
        async with rest.session.post(rest.base + FAULTS, json={"kind": "forget", "from_ms": 5, "to_ms": 5}) as answer:
            assert answer.status == 400 and "to_ms" in (await answer.json())["error"]

    scene(body, tmp_path)
