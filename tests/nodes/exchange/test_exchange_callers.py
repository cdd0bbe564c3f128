"""Who may speak to the local exchange: programs of this machine, and no web page that a browser shows. Over real sockets."""

import asyncio
import json
from urllib.parse import urlsplit

import aiohttp
import pytest
import websockets

from tests.support.exchange_clients import configure, limit, listening, served, signed
from tickmesh.nodes.exchange.server.callers import host_name_of, host_refusal, origin_refusal

FAULTS = "/tickmesh/v1/faults"
FAULT = b'{"kind": "skip", "length_s": 60}'
DOORS = (
    "GET /api/v3/time", "GET /api/v3/depth?symbol=BTCUSDT", "POST /api/v3/order?ORDER", "DELETE /api/v3/openOrders?ORDER",
    f"GET {FAULTS}", f"POST {FAULTS}", f"DELETE {FAULTS}", "GET /tickmesh/v1/replay", "GET /nothing",
    "WS /ws/btcusdt@trade", "WS /stream?streams=btcusdt@trade", "WS /ws-api/v3",
)  # fmt: skip
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
STRANGERS = ("evil.example:PORT", "localhost.evil.example", "10.0.0.7:PORT", "")
OURS = ("localhost", "LocalHost:PORT", "localhost.:PORT", "127.0.0.1:PORT", "127.8.9.10:PORT", "[::1]:PORT", "[::1]")


async def ask(rest: str, door: str, head: str, body: bytes = b"", version: str = "1.1") -> tuple[int, dict]:
    """One request as a browser would write it, byte for byte; (status, answer)."""
    at = urlsplit(rest)
    method, _, path = door.partition(" ")
    path = path.replace("ORDER", signed(**limit("BUY", "50000")))
    more = UPGRADE if method == "WS" else f"Connection: close\r\nX-MBX-APIKEY: local-key\r\nContent-Length: {len(body)}\r\n"
    head = head.replace("PORT", str(at.port))
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(f"{method.replace('WS', 'GET')} {path} HTTP/{version}\r\n{head}{more}\r\n".encode() + body)
    first = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    size = [int(line.partition(b":")[2]) for line in first.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    answer = await reader.readexactly(size[0]) if size else b""
    writer.close()
    return int(first.split()[1]), json.loads(answer) if answer[:1] == b"{" else {}


async def nothing_done(rest: str) -> None:
    """No order stands, no fault is planned."""
    _, view = await ask(rest, f"GET {FAULTS}", "Host: localhost:PORT\r\n")
    assert view["faults"] == []
    async with aiohttp.ClientSession(headers={"X-MBX-APIKEY": "local-key"}) as session:
        async with session.get(f"{rest}/api/v3/openOrders?{signed(symbol='BTCUSDT')}") as answer:
            assert await answer.json() == []


def test_a_request_under_a_foreign_host_name_is_refused(tmp_path):
    async def scene():
        async with served(configure(tmp_path)) as (rest, _, _):
            for door in DOORS:
                body = FAULT if door == f"POST {FAULTS}" else b""
                kind = "Content-Type: application/json\r\n"
                for host in STRANGERS:
                    status, answer = await ask(rest, door, f"Host: {host}\r\n{kind}", body)
                    assert status == 421 and "answers as localhost" in answer["msg"], (door, host)
                status, answer = await ask(rest, door, kind, body, "1.0")
                assert status == 421 and "has 0" in answer["msg"], door
            await nothing_done(rest)

    asyncio.run(scene())


def test_a_request_from_a_page_of_another_site_is_refused(tmp_path):
    async def scene():
        async with served(configure(tmp_path)) as (rest, _, _):
            for door in DOORS:
                body = FAULT if door == f"POST {FAULTS}" else b""
                for origin in ("https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example:PORT"):
                    head = f"Host: 127.0.0.1:PORT\r\nContent-Type: application/json\r\nOrigin: {origin}\r\n"
                    status, answer = await ask(rest, door, head, body)
                    assert status == 403 and "may not ask this exchange" in answer["msg"], (door, origin)
            await nothing_done(rest)

    asyncio.run(scene())


def test_every_spelling_of_this_machine_is_served_and_so_is_its_own_origin(tmp_path):
    async def scene():
        async with served(configure(tmp_path)) as (rest, ws, _):
            for host in OURS:
                assert (await ask(rest, "GET /api/v3/time", f"Host: {host}\r\n"))[0] == 200, host
                assert (await ask(rest, "WS /ws-api/v3", f"Host: {host}\r\n"))[0] == 101, host
            own = "Host: 127.0.0.1:PORT\r\nOrigin: http://127.0.0.1:PORT\r\n"  # as some websocket clients send it
            assert (await ask(rest, "WS /ws/btcusdt@trade", own))[0] == 101
            async with listening(ws + "/ws-api/v3") as socket:
                await socket.send('{"id":1,"method":"ping"}')
                assert json.loads(await socket.recv())["status"] == 200
            with pytest.raises(websockets.InvalidStatus, match="403"):
                async with listening(ws + "/ws-api/v3", origin="https://evil.example"):
                    pass

    asyncio.run(scene())


def test_an_exchange_for_other_machines_answers_by_the_address_that_they_reached(tmp_path):
    async def scene():
        async with served(configure(tmp_path, '[exchange]\nhost = "0.0.0.0"\n')) as (rest, _, _):
            rest = rest.replace("0.0.0.0", "127.0.0.1")
            assert (await ask(rest, "GET /api/v3/time", "Host: 127.0.0.1:PORT\r\n"))[0] == 200
            assert (await ask(rest, "GET /api/v3/time", "Host: evil.example:PORT\r\n"))[0] == 421

    asyncio.run(scene())


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_a_fault_is_taken_as_json_only(tmp_path, kind):
    """What a page may send to another site without asking first is none of these."""

    async def scene():
        async with served(configure(tmp_path)) as (rest, _, _):
            head = "Host: 127.0.0.1:PORT\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
            for method in ("POST", "DELETE"):
                status, answer = await ask(rest, f"{method} {FAULTS}", head, FAULT)
                assert status == 415 and "takes application/json" in answer["error"]
            await nothing_done(rest)
            head = "Host: 127.0.0.1:PORT\r\nContent-Type: application/json; charset=utf-8\r\n"
            assert (await ask(rest, f"POST {FAULTS}", head, FAULT))[0] == 200
            assert (await ask(rest, f"DELETE {FAULTS}", "Host: 127.0.0.1:PORT\r\n"))[0] == 200
            assert (tmp_path / "run/exchange.json").stat().st_mode & 0o077 == 0

    asyncio.run(scene())


def test_the_name_of_a_venue_that_it_stands_in_for_is_its_own():
    assert host_refusal(["stream.venue.example:9443"], {"stream.venue.example"}) == ""
    assert host_refusal(["other.venue.example:9443"], {"stream.venue.example"}) != ""
    assert origin_refusal(["https://stream.venue.example:9443"], "stream.venue.example:9443", {"stream.venue.example"}) == ""
    assert origin_refusal(["https://stream.venue.example"], "stream.venue.example:9443", {"stream.venue.example"}) != ""
    assert [host_name_of(text) for text in ("::1", "[::1]:8", "A.b:9", "a")] == ["::1", "::1", "a.b", "a"]
