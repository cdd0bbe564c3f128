"""What servers say at the door: the reason is kept whole, and who asks to wait is left alone, by all who ask from there."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSCloseCode, web

from tickmesh.bus.config import load
from tickmesh.nodes.net import refusals, waits, websocket
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.rest import Rest, RestError, RestLimited, RestUnreachable
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.parsing.dialect import RestRules

BODY = b"<html><head><title>451 Unavailable</title></head><body><h1>Not in your country</h1></body></html>"


@asynccontextmanager
async def door(answer: bytes, end: str = "close"):
    """A server that answers every handshake and request with these bytes, then `close`, `reset` or `keep`s the connection."""
    met: list[bytes] = []
    kept = []

    async def serve(reader, writer):
        met.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        if end == "reset":
            writer.transport.abort()
        elif end == "close":
            writer.close()
        kept.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", met
    finally:
        for writer in kept:
            writer.transport.abort()
        server.close()


def refused(answer: bytes, end: str = "close", open_s: float = 10.0) -> str:
    """Why a websocket is not opened."""

    async def go() -> str:
        async with door(answer, end) as (server, _):
            with pytest.raises(websocket.Disconnected) as error:
                await websocket.connect(f"ws://{server}/stream", lambda ns, m: None, 5.0, open_s)
            said = str(error.value)
            assert said.startswith(f"{server}: "), said
            return said.removeprefix(f"{server}: ")

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("answer", "end", "said"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nmaintenance until noon", "close", '503 Service Unavailable: "maintenance'),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nmaintenance until noon", "keep", '503 Service Unavailable: "maintenance'),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nmaintenance until noon", "reset", '503 Service Unavailable: "maintenance'),
        (b"HTTP/1.1 451 \r\nContent-Length: 97\r\n\r\n" + BODY, "close", '451 Unavailable For Legal Reasons: "451 Unav'),
        (b"HTTP/1.1 451\r\n\r\n{\"msg\": \"restricted\"}\n", "close", '451 Unavailable For Legal Reasons: "{"msg": "restr'),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n\r\n  who are you?\r\nmore", "close", '403 Forbidden: "who are you?"; a firewall'),
        (b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "keep", '502 Bad: "hello"; the'),
        (b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\r\n", "close", '"https://elsewhere.example/"; it s'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "close", "that is a web page"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "close", "not a websocket"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "close", "its answer is not HTTP, it begins b'SSH-2.0-OpenSSH_9.6"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "close", "its answer is not HTTP"),
        (b"", "close", "cut the connection before it had answered"),
    ],
)  # fmt: skip
def test_a_refused_handshake_says_what_came(answer, end, said):
    assert said in refused(answer, end)


def test_a_handshake_that_times_out_says_so_and_how_far_it_came():
    assert refused(b"", "keep", 0.3) == "it took the connection, and did not answer the handshake in 0.3 s"
    assert "did not end in 0.3 s; it begins b'HTTP/1.1 10'" in refused(b"HTTP/1.1 10", "keep", 0.3)


def test_rest_keeps_the_same_words():
    async def go(answer: bytes, kind: type[Exception]) -> str:
        async with door(answer) as (server, _):
            rest = Rest(RestRules(), timeout_s=1.0)
            try:
                with pytest.raises(kind) as error:
                    await rest.get(f"http://{server}", "/x")
                return str(error.value)
            finally:
                await rest.close()

    said = asyncio.run(go(b"HTTP/1.1 451 \r\nContent-Length: 97\r\n\r\n" + BODY, RestError))
    assert "HTTP 451" in said and "451 Unavailable" in said and "by law" in said and "<" not in said
    said = asyncio.run(go(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", RestError))
    assert "HTTP 403" in said and "Forbidden" in said and "a firewall" in said
    assert "its answer is not HTTP (" in asyncio.run(go(b"SSH-2.0-OpenSSH_9.6\r\n", RestUnreachable))
    assert "closed the connection without an answer" in asyncio.run(go(b"", RestUnreachable))


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait_s"),
    [
        (429, {"retry-after": "60"}, b"", 60.0),
        (418, {"retry-after": "Thu, 01 Jan 1970 00:25:00 GMT"}, b"", 500.0),
        (418, {}, b'{"msg":"Way too much request weight used; IP banned until 1700000000000."}', 86_400.0 * 7),
        (429, {}, b"", refusals.LIMITED_WAIT_S),
        (503, {"retry-after": "7"}, b"", 7.0),
        (503, {}, b"", None),
        (429, {"retry-after": "-1"}, b"", refusals.LIMITED_WAIT_S),
        (429, {"retry-after": "9" * 40}, b"", refusals.WAIT_S_MAX),
        (200, {"retry-after": "7"}, b"", None),
    ],
)
def test_how_long_an_answer_wants_no_more(status, headers, body, wait_s):
    assert refusals.refusal(status, "", headers, body, 1000.0).wait_s == wait_s


@pytest.mark.parametrize(
    ("code", "reason", "wait_s"),
    [
        (1008, "retry after 60 s", 60.0),
        (1008, "Too many connections, try again in 2 minutes", 120.0),
        (1013, "retry-after: 1500ms", 1.5),
        (1013, "IP banned until 1000500", None),
        (1008, "IP banned until 1000000500000", 86_400.0 * 7),
        (1008, "policy violation", None),
        (1000, "retry after 60 s", None),
    ],
)
def test_how_long_a_close_wants_no_more(code, reason, wait_s):
    assert refusals.closed_wait_s(code, reason, 1000.0) == wait_s


@pytest.fixture
def mesh(tmp_path):
    """Config of a mesh."""
    (tmp_path / "mesh.toml").write_text("")
    return load(tmp_path)


def test_who_asks_to_wait_is_asked_once_by_however_many_lines_processes_and_restarts(mesh):
    """From the same address; over another one, and another server, life goes on."""
    alerts = []

    def told(name: str) -> waits.Waits:
        return waits.Waits(mesh, name, lambda *alert: alerts.append(alert))

    async def go() -> None:
        answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 4\r\n\r\nslow"
        async with door(answer) as (server, met):
            url = f"ws://{server}/stream"
            with pytest.raises(websocket.Disconnected, match='429 Too Many Requests: "slow"; it asks to wait 60 s'):
                await websocket.connect(url, lambda ns, m: None, 5.0, waits=told("feed-1"))
            for name in ("feed-1", "feed-2", "session"):  # each of them new: a file is all that they share
                waiting = asyncio.create_task(websocket.connect(url, lambda ns, m: None, 5.0, waits=told(name)))
                await asyncio.wait((waiting,), timeout=0.2)
                assert not waiting.done()
                waiting.cancel()
            assert len(met) == 1
            assert 58 < told("x").left_s(url) <= 60 and not told("x").left_s(url, "10.0.0.7")
            assert not told("x").left_s("ws://127.0.0.1:1/stream") and not told("x").left_s(f"http://{server}")
            (only,) = waits.all_waits(mesh)
            shown = waits.as_json(only)
            assert shown["by"] == "feed-1" and "429 Too Many Requests" in shown["sentence"] and server in shown["sentence"]
            (file,) = (mesh.run_dir / "waits").iterdir()
            assert str(file) in alerts[0][4], "who knows better is told how to end it"
            file.unlink()
            with pytest.raises(websocket.Disconnected):
                await websocket.connect(url, lambda ns, m: None, 5.0, waits=told("feed-2"))
            assert len(met) == 2

    asyncio.run(go())
    assert [alert[:2] for alert in alerts] == [("warning", "told_to_wait")] * 2


def test_a_short_wait_is_a_line_and_no_alert_and_ends_by_itself(mesh, caplog):
    alerts = []

    async def go() -> float:
        answer = b"HTTP/1.0 503\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"  # as gateways do
        async with door(answer) as (server, met):
            told = waits.Waits(mesh, "feed-1", lambda *alert: alerts.append(alert))
            begun = time.monotonic()
            for _ in range(2):
                with pytest.raises(websocket.Disconnected):
                    await websocket.connect(f"ws://{server}/stream", lambda ns, m: None, 5.0, waits=told)
            assert len(met) == 2
            return time.monotonic() - begun

    with caplog.at_level("WARNING", "feed-1"):
        assert asyncio.run(go()) >= 0.95
    assert not alerts and len(caplog.messages) == 2 and "it is not asked for 1 s" in caplog.messages[0]


def test_rest_and_its_siblings_share_it(mesh):
    """A second client is not answered by the server any more, but by the file."""

    async def go() -> None:
        body = json.dumps({"code": -1003, "msg": "Way too much request weight used"}).encode()
        head = f"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 90\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        async with door(head + body) as (server, met):
            rules = RestRules(limited_statuses=frozenset((418, 429)))
            for name in ("feed-1", "backfill"):
                rest = Rest(rules, waits=waits.Waits(mesh, name))
                with pytest.raises(RestLimited, match="Way too much request weight") as limited:
                    await rest.get(f"http://{server}", "/x")
                assert 85 < limited.value.wait_s <= 90
                await rest.close()
            assert len(met) == 1

    asyncio.run(go())


def test_after_a_ban_no_server_of_the_venue_is_asked_and_after_a_429_the_other_one_is(tmp_path):
    """By REST or websocket, by this process or another; other venues and addresses of ours are not concerned."""

    async def go(status: bytes, banned: bool) -> None:
        head = b"HTTP/1.1 " + status + b" no\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"
        async with door(head) as (first, _), door(b"") as (second, met):
            names = [f'"{scheme}://{first}", "{scheme}://{second}"' for scheme in ("ws", "http")]
            root = tmp_path / status.decode()
            root.mkdir()
            (root / "mesh.toml").write_text("[venues.binance]\nws = [{}]\nrest = [{}]\n".format(*names))
            config = load(root)
            rest = Rest(binance.REST_RULES, waits=waits.Waits(config, "backfill", venue="binance"))
            with pytest.raises(RestLimited):
                await rest.get(f"http://{first}", "/x")
            with pytest.raises(RestLimited if banned else RestUnreachable):
                await rest.get(f"http://{second}", "/x")
            await rest.close()
            line = VenueAddresses(config, binance, 1)
            assert (line.waits.left_s(await line.ws()) > 55) == banned
            assert (line.waits.left_s(f"ws://{second}/stream") > 55) == banned == (not met)
            assert not line.waits.left_s(f"ws://{second}", "10.0.0.7")
            assert not waits.Waits(config, venue="kraken").left_s(f"http://{second}")
            (only,) = waits.all_waits(config)
            assert only.server == ("binance (all servers)" if banned else f"{first} (REST)")

    asyncio.run(go(b"418", banned=True))
    asyncio.run(go(b"429", banned=False))


def test_a_venue_that_shares_its_server_with_another_one_waits_alone(mesh):
    """As the local exchange speaks for spot and USD-M, which have servers and limits of their own in the world."""
    spot, usdm = waits.Waits(mesh, "session", venue="binance"), waits.Waits(mesh, "session", venue="binance_usdm")
    for scheme, path in (("http", ""), ("ws", "/ws-api/v3")):
        spot.take(f"{scheme}://127.0.0.1:7{path}", "", 60.0, "429")
        assert not usdm.left_s(f"{scheme}://127.0.0.1:7/binance_usdm{path}")
    usdm.take("ws://127.0.0.1:7/binance_usdm/stream", "", 90.0, "429")
    assert usdm.left_s("ws://127.0.0.1:7/binance_usdm/ws-fapi/v1") > 85 and spot.left_s("ws://127.0.0.1:7/stream") <= 60
    assert {one.server for one in waits.all_waits(mesh)} == {
        "127.0.0.1:7 (REST)", "127.0.0.1:7 (websocket)", "127.0.0.1:7/binance_usdm (websocket)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words", "ban"),
    [(418, "", True), (429, "slow", False), (1008, "IP banned until 1700000000000", True), (1008, "retry after 60 s", False)],
)
def test_a_ban_is_known_by_status_or_words(status, words, ban):
    assert refusals.is_ban(status, words) is ban


def test_a_wait_of_another_boot_or_that_cannot_be_read_is_none(mesh):
    told = waits.Waits(mesh, "feed-1")
    told.take("ws://127.0.0.1:7/stream", "", 60.0, "because")
    (file,) = (mesh.run_dir / "waits").iterdir()
    assert told.left_s("ws://127.0.0.1:7/other")
    data = json.loads(file.read_bytes())
    file.write_text(json.dumps(data | {"boot": "before"}))
    assert not waits.Waits(mesh).left_s("ws://127.0.0.1:7/") and not waits.all_waits(mesh)
    for nonsense in (b"", b"{}", b"\xff"):
        file.write_bytes(nonsense)
        assert not waits.Waits(mesh).left_s("ws://127.0.0.1:7/") and not waits.all_waits(mesh)


def test_files_of_waits_are_removed_when_they_are_over_and_are_never_more_than_a_bound(mesh, monkeypatch):
    told = waits.Waits(mesh, "feed-1")
    for port in range(1, 6):
        told.take(f"ws://127.0.0.1:{port}/", "", 60.0, "because")
    folder = mesh.run_dir / "waits"
    files = {file.name.partition("%20")[0].removeprefix("127.0.0.1%3A"): file for file in folder.iterdir()}
    over = json.loads(files["1"].read_bytes()) | {"until_s": 1.0}
    files["1"].write_text(json.dumps(over))
    files["2"].write_bytes(b"{half")
    long_ago = time.time() - 2 * waits.WRITING_S
    for name in ("1", "2", "3"):
        os.utime(files[name], (long_ago, long_ago))
    told.take("ws://127.0.0.1:6/", "", 60.0, "because")
    there = sorted(wait.server.partition(" ")[0].rpartition(":")[2] for wait in waits.all_waits(mesh))
    assert there == ["3", "4", "5", "6"] and len(list(folder.iterdir())) == 4
    monkeypatch.setattr(waits, "WAITS_MAX", 3)
    told.take("ws://127.0.0.1:7/", "", 60.0, "because")
    assert len(list(folder.iterdir())) == 3 and not files["3"].exists(), "the oldest goes first"
    assert told.left_s("ws://127.0.0.1:7/")


def test_a_close_that_names_a_time_is_obeyed_too(mesh):
    opened = []

    async def closing(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        opened.append(request)
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many connections, retry after 60 s")
        return socket

    async def go() -> None:
        app = web.Application()
        app.router.add_get("/stream", closing)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/stream"
        told = waits.Waits(mesh, "feed-1")
        connection = await websocket.connect(url, lambda ns, m: None, 5.0, waits=told)
        assert await connection.closed == "the server closed: 1008 too many connections, retry after 60 s"
        again = asyncio.create_task(websocket.connect(url, lambda ns, m: None, 5.0, waits=waits.Waits(mesh, "feed-2")))
        await asyncio.wait((again,), timeout=0.3)
        again.cancel()
        assert len(opened) == 1 and told.left_s(url) > 55
        await runner.cleanup()

    asyncio.run(go())
