"""A connection has the venue's bounds, is kept alive by pings, and its end is announced in its own shape."""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest
import websockets

from tests.support.exchange_clients import listening, venue
from tests.support.exchange_talk import FAST, ask, receive, run
from tests.support.waiting import until


def test_more_than_five_messages_in_a_second_end_the_connection(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            async with listening(ws + "/ws") as socket:
                await asyncio.sleep(1.05 - time.monotonic() % 1)
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    for n in range(6):
                        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": n}))
                    for _ in range(7):
                        await socket.recv()
                assert closed.value.rcvd.code == 1008
            async with listening(ws + "/ws") as socket:  # pings count too
                await asyncio.sleep(1.05 - time.monotonic() % 1)
                with contextlib.suppress(websockets.ConnectionClosed):
                    for _ in range(10):
                        await socket.ping()
                with pytest.raises(websockets.ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), 5)

    run(scene)


def test_who_connects_subscribes_and_leaves_is_in_the_log_of_the_exchange(tmp_path, caplog):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            async with listening(ws + "/ws/btcusdt@trade") as socket:
                names = [f"coin{n}usdt@trade" for n in range(300)]
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": 1}))["result"] is None
                assert (await ask(socket, {"method": "UNSUBSCRIBE", "params": names[:1], "id": 2}))["result"] is None
            async with listening(ws + "/ws-api/v3"):
                pass
            async with listening(ws + "/ws/" + "x" * 2000):
                pass
            await until(lambda: sum(" has left " in line for line in caplog.messages) == 3)

    with caplog.at_level("DEBUG", "exchange"):
        run(scene)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "client" in record.getMessage()]
    assert ("INFO", "client 1 (127.0.0.1) has connected, at '/ws/btcusdt@trade'") in lines
    assert ("DEBUG", "client 1 (127.0.0.1) has subscribed 1 streams: 'btcusdt@trade'") in lines
    assert any(line.startswith("client 1 (127.0.0.1) has subscribed 300 streams: 'coin0usdt@trade ") for _, line in lines)
    assert ("DEBUG", "client 1 (127.0.0.1) has unsubscribed 1 streams: 'coin0usdt@trade'") in lines
    assert any(line.startswith("client 1 (127.0.0.1) has left after ") and "it had 300 streams" in line for _, line in lines)
    assert ("INFO", "client 2 (127.0.0.1) has connected, at '/ws-api/v3'") in lines
    assert all(len(line) < 300 for _, line in lines), "bounded, whatever a client sends"


def test_at_most_1024_streams_on_a_connection(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            async with listening(ws + "/ws") as socket:
                names = [f"coin{n}usdt@trade" for n in range(1025)]
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": 1}))["code"] == 2
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names[:1024], "id": 2}))["result"] is None
                assert (await ask(socket, {"method": "SUBSCRIBE", "params": names[1024:], "id": 3}))["code"] == 2
            many = "/stream?streams=" + "/".join(f"c{n}@trade" for n in range(500))
            async with listening(ws + many) as socket:
                assert len((await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"]) == 500

    run(scene)


def test_deflate_is_negotiated_and_pings_are_answered_either_way(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST.replace("lines", "ping_s = 0.3\npong_s = 1.0\nlines")) as (_, ws, ctx):
            async with listening(ws + "/ws/btcusdt@trade", compression="deflate") as socket:
                assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
                assert (await receive(socket))["e"] == "trade"
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == ["btcusdt@trade"]
                await (await socket.ping(b"mine"))
                await socket.pong(b"")  # unsolicited: permitted
                for _ in range(100):
                    await receive(socket)
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


def test_a_connection_that_reaches_its_maximum_life_is_announced_serverShutdown_and_ends(tmp_path):
    async def scene():
        toml = FAST.replace("lines", "life_s = 2.0\nnotice_s = 1.0\nlines")
        async with venue(tmp_path, toml) as (_, ws, _):
            shapes = {
                "/ws": lambda m: m["e"],
                "/stream": lambda m: m["data"]["e"] if m["stream"] == "!serverShutdown" else "",
                "/ws-api/v3": lambda m: m["event"]["e"] if "subscriptionId" not in m else "",
            }
            for path, name in shapes.items():
                asked = time.monotonic()
                async with listening(ws + path) as socket:
                    message = await receive(socket)
                    assert name(message) == "serverShutdown" and time.monotonic() - asked > 0.9, message
                    with pytest.raises(websockets.ConnectionClosed):
                        await receive(socket)

    run(scene)


def test_a_clean_stop_is_announced_too(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, ctx):
            async with listening(ws + "/ws") as raw, listening(ws + "/ws-api/v3") as api:
                ctx.stop.set()
                assert (await receive(raw))["e"] == "serverShutdown"
                assert (await receive(api))["event"]["e"] == "serverShutdown"
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await receive(raw)
                assert closed.value.rcvd.code == 1001

    run(scene)
