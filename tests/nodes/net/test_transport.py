"""The websocket and REST clients against real loopback servers: time stamps, limits, deadlines, refusals."""

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest
import uvloop
import websockets.sync.server as sync_server
from aiohttp import WSMsgType, web

from tests.support.waiting import still, until
from tickmesh.bus.config import load
from tickmesh.nodes.net import endpoints, exchange_address, websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.rest import Rest, RestError, RestLimited, RestUnreachable
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.parsing.dialect import RestRules


def serve(handler, play, path="/stream"):
    """Runs `play(port)` beside a server that handles `path`."""

    async def go():
        app = web.Application()
        app.router.add_get(path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await play(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    asyncio.run(go())


def socket(script, **settings):
    async def handler(request):
        ws = web.WebSocketResponse(**settings)
        await ws.prepare(request)
        await script(ws)
        return ws

    return handler


def test_messages_arrive_whole_and_in_order_with_the_time_of_the_read():
    big = "x" * 300_000
    got = []

    async def script(ws):
        for i in range(500):
            await ws.send_str(str(i))
        await ws.send_str(big)
        assert (await ws.receive()).data == "hello"
        await ws.send_bytes(b"bytes")
        await ws.receive()

    async def play(port):
        before = time.time_ns()
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/stream", lambda ns, m: got.append((ns, m)), 5.0)
        messages = lambda: [message for _, batch in got for message in batch]  # noqa: E731
        await until(lambda: len(messages()) == 501)
        assert messages() == [str(i).encode() for i in range(500)] + [big.encode()]
        assert all(before < ns <= time.time_ns() for ns, _ in got)
        assert [ns for ns, _ in got] == sorted(ns for ns, _ in got)
        connection.send("hello")
        await until(lambda: messages()[-1] == b"bytes")
        await connection.close()
        assert not connection.open
        with pytest.raises(websocket.Disconnected):
            connection.send("too late")

    serve(socket(script), play)


def test_a_message_leaves_in_the_call_that_sends_it():
    """uvloop would write it when the loop has its turn; what an order's sender does after it would come before."""
    got = threading.Event()

    def hear(ws):
        assert ws.recv(timeout=20) == "an order"
        got.set()

    async def play(port):
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/", lambda ns, m: None, 60.0)
        connection.send("an order")
        assert got.wait(20), "the loop has had no turn meanwhile"
        connection.abort("done")

    with sync_server.serve(hear, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uvloop.run(play(server.socket.getsockname()[1]))


def test_a_ping_is_answered_and_keeps_the_connection():
    pongs = []

    async def script(ws):
        for _ in range(6):
            await ws.ping(b"payload")
            message = await ws.receive()
            assert message.type is WSMsgType.PONG and message.data == b"payload"
            pongs.append(message.data)
            await asyncio.sleep(0.1)

    async def play(port):
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/stream", lambda ns, m: None, 0.3)
        await until(lambda: len(pongs) == 6)
        assert connection.open
        await connection.close()

    serve(socket(script, autoping=False), play)


def test_silence_beyond_the_deadline_ends_the_connection_with_a_sentence():
    async def script(ws):
        await asyncio.sleep(10)

    async def play(port):
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/stream", lambda ns, m: None, 0.2)
        reason = await asyncio.wait_for(connection.closed, 2)
        assert "nothing was heard" in reason and "0.2" in reason

    serve(socket(script), play)


def test_a_bug_in_the_receiver_is_kept_for_its_owner():
    async def script(ws):
        await ws.send_str("1")
        await asyncio.sleep(10)

    def broken(recv_ns, messages):
        raise ZeroDivisionError("a bug")

    async def play(port):
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/stream", broken, 5.0)
        assert "ZeroDivisionError" in await asyncio.wait_for(connection.closed, 2)
        assert isinstance(connection.failure, ZeroDivisionError)

    serve(socket(script), play)


@pytest.mark.parametrize("size", [70_000, 1_000_001])
@pytest.mark.parametrize("how", ["whole", "after others", "in parts"])
def test_a_message_beyond_the_bound_ends_the_connection_and_says_its_size_and_how_it_begins(size, how):
    async def script(ws):
        for _ in range(3 if how == "after others" else 0):
            await ws.send_str("y" * 50_000)
        text = '{"type":"snapshot","product_id":"BTC-USD"' + "x" * size
        if how == "in parts":
            parts = [text[at : at + 40_000].encode() for at in range(0, len(text), 40_000)]
            for number, part in enumerate(parts):
                first = (number == 0) | (number == len(parts) - 1) << 7
                ws._req.transport.write(bytes((first, 126)) + len(part).to_bytes(2, "big") + part)
        else:
            await ws.send_str(text)
        await asyncio.sleep(10)

    async def play(port):
        got = []
        url = f"ws://127.0.0.1:{port}/stream"
        connection = await websocket.connect(url, lambda ns, m: got.extend(m), 5.0, bytes_max=60_000)
        reason = await asyncio.wait_for(connection.closed, 5)
        assert len(got) == (3 if how == "after others" else 0)
        assert connection.oversize.head.startswith(b'{"type":"snapshot","product_id":"BTC-USD"')
        assert connection.oversize.size > 60_000 and f"{connection.oversize.size} bytes came, 60000 are allowed" in reason
        assert how == "in parts" or connection.oversize.size == size + 41

    serve(socket(script), play)


def test_who_does_not_answer_or_refuses_is_a_sentence():
    async def refuse(request):
        return web.Response(status=503, text="busy")

    async def play(port):
        with pytest.raises(websocket.Disconnected, match="503"):
            await websocket.connect(f"ws://127.0.0.1:{port}/stream", lambda ns, m: None, 5.0)
        with pytest.raises(websocket.Disconnected):
            await websocket.connect("ws://127.0.0.1:9/stream", lambda ns, m: None, 5.0)

    serve(refuse, play)


def test_a_paused_connection_brings_nothing_until_it_is_resumed():
    async def script(ws):
        for i in range(20_000):
            await ws.send_str(str(i))
        await ws.receive()

    async def play(port):
        got = []
        connection = await websocket.connect(f"ws://127.0.0.1:{port}/stream", lambda ns, m: got.extend(m), 5.0)
        await until(lambda: got)
        connection.pause()
        assert await still(lambda: len(got)) < 20_000
        connection.resume()
        await until(lambda: len(got) == 20_000, 20)
        assert got == [str(i).encode() for i in range(20_000)]
        await connection.close()

    serve(socket(script), play)


def test_rest_tells_refusals_limits_and_silence_apart():
    asked = []

    async def handler(request):
        asked.append(request.rel_url.raw_query_string)
        match request.query.get("case"):
            case "ok":
                return web.json_response({"a": 1}, headers={"X-MBX-USED-WEIGHT-1M": "77"})
            case "refused":
                return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
            case "html":
                return web.Response(status=502, text="<html>bad gateway</html>")
            case "slow":
                await asyncio.sleep(5)
            case "limited":
                body = {"code": -1003, "msg": "Too much request weight used."}
                return web.json_response(body, status=429, headers={"Retry-After": "1"})
        return web.Response(status=404)

    async def play(port):
        base = f"http://127.0.0.1:{port}"
        rest = Rest(binance.REST_RULES, timeout_s=0.3)
        assert json.loads(await rest.get(base, "/x", {"case": "ok"})) == {"a": 1}
        assert rest.used_weight == 77
        with pytest.raises(RestError, match="-1121.*Invalid symbol") as refused:
            await rest.get(base, "/x", "case=refused&sig=%EF%BC%91")
        assert (refused.value.status, refused.value.code) == (400, -1121)
        assert asked[-1] == "case=refused&sig=%EF%BC%91"  # as it was signed
        with pytest.raises(RestError, match="bad gateway"):
            await rest.get(base, "/x", {"case": "html"})
        with pytest.raises(RestUnreachable):
            await rest.get(base, "/x", {"case": "slow"})
        with pytest.raises(RestUnreachable):
            await rest.get("http://127.0.0.1:9", "/x", {})
        with pytest.raises(RestLimited):
            await rest.get(base, "/x", {"case": "limited"})
        count = len(asked)
        with pytest.raises(RestLimited) as limited:
            await rest.get(base, "/x", {"case": "ok"})
        assert len(asked) == count and 0 < limited.value.wait_s <= 1
        await asyncio.sleep(1.05)
        await rest.get(base, "/x", {"case": "ok"})
        await rest.close()

    serve(handler, play, "/x")


def test_what_a_venue_s_answers_call_weight_and_errors_is_the_venue_s():
    """418 is a refusal for too many requests at Binance only, and so are its header, its key and the shape of its errors."""
    keys = []

    async def handler(request):
        keys.append((request.headers.get("X-MBX-APIKEY"), request.headers.get("X-KEY")))
        headers = {"X-MBX-USED-WEIGHT-1M": "77", "X-USED": "5", "Retry-After": "0"}
        return web.json_response({"code": -1003, "msg": "banned"}, status=418, headers=headers)

    async def play(port):
        own = RestRules("X-USED", "X-KEY", decode_error=lambda body: (7, "no"))
        for rules, error, code, words, used, key in (
            (binance.REST_RULES, RestLimited, -1003, "banned", 77, ("k", None)),
            (own, RestError, 7, "no", 5, (None, "k")),
            (RestRules(), RestError, 0, '"msg"', 0, (None, None)),
        ):
            rest = Rest(rules, api_key="k")
            with pytest.raises(RestError, match=words) as refused:
                await rest.get(f"http://127.0.0.1:{port}", "/x", {})
            assert type(refused.value) is error and refused.value.code == code
            assert rest.used_weight == used and keys.pop() == key
            await rest.close()

    serve(handler, play, "/x")


def test_endpoints_are_read_from_the_exchange_s_file_as_soon_as_it_is_there(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path)
    assert exchange_address.read(config) is None
    config.run_dir.mkdir()
    (config.run_dir / "exchange.json").write_text("{half")
    assert exchange_address.read(config) is None

    async def go():
        waiting = asyncio.create_task(exchange_address.wait(config))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        exchange_address.write(config, "http://h:1/", "ws://h:1")
        assert await asyncio.wait_for(waiting, 1) == exchange_address.Endpoints("http://h:1", "ws://h:1")

    asyncio.run(go())


def test_the_addresses_of_another_mesh_or_of_a_dead_exchange_are_nobody_s(tmp_path, caplog):
    """A folder is copied with its run/exchange.json: nothing is asked there; this mesh's own file is taken when it is there."""
    for name in ("one", "copy"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "mesh.toml").write_text("")
    mine, copy = load(tmp_path / "one"), load(tmp_path / "copy")
    exchange_address.write(mine, "http://h:1", "ws://h:1", {"binance": "", "binance_usdm": "/binance_usdm"})
    assert exchange_address.read(mine, "binance_usdm") == exchange_address.Endpoints(
        "http://h:1/binance_usdm", "ws://h:1/binance_usdm"
    )
    written = json.loads((mine.run_dir / "exchange.json").read_text())
    (copy.run_dir / "exchange.json").write_text(json.dumps(written))
    for ask in (
        exchange_address.read,
        exchange_address.exchange_pid,
        lambda config: asyncio.run(exchange_address.wait(config)),
    ):
        with pytest.raises(
            exchange_address.ForeignExchange, match="belongs to the mesh of .*/one/run, this one is .*/copy/run"
        ):
            ask(copy)
    assert exchange_address.port_before(copy) == 0 and exchange_address.port_before(mine) == 1

    async def until_its_own_is_there():
        addresses = endpoints.VenueAddresses(copy, binance, 1, "feed-1")
        waiting = asyncio.create_task(addresses.rest())
        await asyncio.sleep(3 * exchange_address.LOOK_S)
        assert not waiting.done()
        exchange_address.write(copy, "http://h:2", "ws://h:2")
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(until_its_own_is_there()) == "http://h:2"
    assert caplog.text.count("waits for this mesh's exchange") == 1, "its operator is told, once"
    written["mesh"] = ""
    (mine.run_dir / "exchange.json").write_text(json.dumps(written))
    with pytest.raises(exchange_address.ForeignExchange, match="does not say which mesh"):
        exchange_address.read(mine)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    for changed in ({"pid": int(dead.stdout)}, {"started": "another boot 7"}):  # of a backup: a port may be anybody's by now
        (mine.run_dir / "exchange.json").write_text(json.dumps({**written, "mesh": str(mine.run_dir.resolve()), **changed}))
        assert exchange_address.read(mine) is None


def test_backoff_doubles_to_its_bound_and_starts_again():
    backoff = Backoff((0.1, 1.0))
    waits = [backoff.wait_s() for _ in range(8)]
    for wait, whole in zip(waits, (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True):
        assert whole / 2 <= wait <= whole
    backoff.reset()
    assert backoff.wait_s() <= 0.1
