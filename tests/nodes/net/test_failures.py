"""Why a server is not reached: the same sentence from the websocket and from REST, of real names, ports and certificates."""

import asyncio
import socket

import pytest
import uvloop
from aiohttp import web

from tickmesh.nodes.exchange.server.tls import server_context
from tickmesh.nodes.net import websocket
from tickmesh.nodes.net.rest import Rest, RestUnreachable
from tickmesh.nodes.venues import binance


async def sentences(server: str, ca=None) -> set[str]:
    """Why neither side of `server` can be reached; {""} where both can."""
    rest = Rest(binance.REST_RULES, ca=ca)
    out = set()
    try:
        out.add((await rest.get(f"https://{server}", "/")).decode())
    except RestUnreachable as error:
        out.add(str(error))
    finally:
        await rest.close()
    try:
        connection = await websocket.connect(f"wss://{server}/ws", lambda ns, frames: None, 5.0, ca=ca)
        await connection.close()
        out.add("")
    except websocket.Disconnected as error:
        out.add(str(error))
    return out


async def answer(request: web.Request) -> web.StreamResponse:
    """An empty body over REST, and a websocket that says nothing."""
    if request.path != "/ws":
        return web.Response()
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.receive()
    return ws


def served(tls, scene) -> None:
    """Runs `scene(server)` beside a server, with the event loop that processes have."""

    async def go():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        try:
            await scene(f"127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    uvloop.run(go())


def test_a_name_that_cannot_be_resolved_and_a_port_where_nothing_listens():
    async def go():
        (why,) = await sentences("no-such-host.invalid:9443")
        assert why.startswith("no-such-host.invalid:9443: its name cannot be resolved (") and why.endswith(
            "name server answers"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = f"127.0.0.1:{free.getsockname()[1]}"
            assert await sentences(server) == {f"{server}: it refuses the connection: nothing listens there"}

    uvloop.run(go())


def test_a_certificate_is_trusted_when_a_file_names_it_and_the_file_is_read_anew_when_it_changes(tmp_path):
    served_with = server_context(tmp_path / "venue", "127.0.0.1")
    server_context(tmp_path / "other", "127.0.0.1")
    ca = tmp_path / "ca.crt"

    async def scene(server):
        (why,) = await sentences(server)
        assert why.startswith(f"{server}: its certificate is not trusted (self-signed certificate"), why
        assert "`ca` in [venues.…] of mesh.toml" in why
        (why,) = await sentences(server, ca)
        assert why == f"{server}: ca = {str(ca)!r} cannot be read: No such file or directory"
        ca.write_text("no certificate")
        (why,) = await sentences(server, ca)
        assert why == f"{server}: ca = {str(ca)!r} holds no certificate in PEM form"
        ca.write_bytes((tmp_path / "other" / "exchange.crt").read_bytes())
        (why,) = await sentences(server, ca)
        assert "is not trusted" in why
        ca.write_bytes((tmp_path / "venue" / "exchange.crt").read_bytes())
        assert await sentences(server, ca) == {""}

    served(served_with, scene)


def test_the_environment_s_certificates_are_trusted_by_both_as_well(tmp_path, monkeypatch):
    tls = server_context(tmp_path, "127.0.0.1")
    from tickmesh.nodes.net import trust

    trust._made.cache_clear()  # a process has its environment from its start
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "exchange.crt"))

    async def scene(server):
        assert await sentences(server) == {""}

    served(tls, scene)
    trust._made.cache_clear()


def test_a_server_without_tls_is_named_as_one():
    async def scene(server):
        (why,) = await sentences(server)
        assert why.startswith(f"{server}: it speaks no TLS that is understood here ("), why

    served(None, scene)


@pytest.mark.parametrize("loop", [asyncio, uvloop])
def test_no_answer_in_time(loop, monkeypatch):
    async def go():
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(
                websocket.Disconnected,
                match=r"^127.0.0.1:\d+: it took the connection, and did not answer the handshake in 0.05 s$",
            ):
                await websocket.connect(url, lambda ns, frames: None, 5.0, open_s=0.05)

    loop.run(go())
