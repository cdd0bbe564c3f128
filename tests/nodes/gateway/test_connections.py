"""What clients do wrong on a connection is answered and counted, and no line of the log: in the server itself, over sockets."""

import asyncio
import contextlib
import logging
import time

import pytest

from tickmesh.bus.addresses import is_loopback
from tickmesh.bus.config import load
from tickmesh.nodes.gateway import server as serving
from tickmesh.nodes.gateway.access import AccessRules
from tickmesh.nodes.gateway.connections import CLOSED
from tickmesh.nodes.gateway.guard import Guard
from tickmesh.nodes.gateway.rates import RequestRates

HOST = b"Host: localhost\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HANDSHAKE = b"GET / HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n"


class Scene:
    """The gateway's server in this process, before an application that a test has."""

    def __init__(self, root, app, guarded=True):
        (root / "mesh.toml").write_text("[gateway]\nconnections_max = 8\n")
        self.config = load(root)
        self.guard = Guard(app, AccessRules(frozenset(), "http", "t" * 43), RequestRates(1e6), time.monotonic)
        self.app = self.guard if guarded else app

    @contextlib.asynccontextmanager
    async def open(self):
        """Serves meanwhile."""
        stop, sock = asyncio.Event(), serving.listening_socket(self.config)
        self.port = sock.getsockname()[1]
        self.server = serving.build_server(self.config, self.app)
        task = asyncio.create_task(serving.serve(self.server, sock, stop, 15.0))
        try:
            while not self.server.started and not task.done():
                await asyncio.sleep(0.005)
            yield
        finally:
            stop.set()
            await task

    async def raw(self, data: bytes) -> bytes:
        """Sends bytes; gives what comes back until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        with contextlib.suppress(ConnectionResetError):
            out = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return out
        return b""


async def answer_slowly(scope, receive, send):
    """An application whose answer is under way for a moment."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b"b"})


def test_a_refusal_is_an_answer_and_a_count_and_no_line(tmp_path, caplog):
    scene = Scene(tmp_path, answer_slowly)

    async def ask() -> None:
        async with scene.open():
            for _ in range(5):
                assert (await scene.raw(HANDSHAKE.replace(b"localhost", b"evil.example"))).startswith(b"HTTP/1.1 421 ")
                answer = await scene.raw(b"\x16\x03\x01 no HTTP\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 400 ") and b"no request of HTTP/1.1" in answer
                under_way = await scene.raw(b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n")
                assert under_way.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
            await scene.raw(b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n")

    with caplog.at_level(logging.DEBUG, "uvicorn"):
        asyncio.run(ask())
    assert scene.guard.refused["421"] == 5 and scene.guard.refused["400"] >= 5
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_connection_too_many_is_ended_and_counted(tmp_path):
    scene = Scene(tmp_path, answer_slowly)

    async def ask() -> None:
        async with scene.open():
            pairs = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(12)]
            while scene.guard.refused[CLOSED] < 4:
                await asyncio.sleep(0.01)
            ended = 0
            for reader, writer in pairs:
                with contextlib.suppress(TimeoutError, ConnectionResetError):
                    ended += await asyncio.wait_for(reader.read(1), 0.2) == b""
                writer.close()

    asyncio.run(asyncio.wait_for(ask(), 30))
    assert scene.guard.refused[CLOSED] == 4


def test_a_body_that_breaks_off_an_answer_is_no_fault(tmp_path, caplog):
    """What comes after the answer has begun cannot be answered any more."""
    scene = Scene(tmp_path, answer_slowly, guarded=False)

    async def ask() -> None:
        async with scene.open():
            reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
            writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
            await reader.readuntil(b"\r\n\r\na")
            writer.write(b"no chunk\r\n")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(asyncio.wait_for(ask(), 30))
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_websocket_that_answers_no_ping_is_gone_and_that_is_no_fault(tmp_path, caplog, monkeypatch):
    """Its client reads nothing either: what is still to be sent keeps the connection for a while."""
    monkeypatch.setattr(serving, "PING_S", 0.1)
    ended: list[BaseException] = []

    async def send_for_ever(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while not any(one.transport.get_write_buffer_size() for one in scene.server.server_state.connections):
                await send({"type": "websocket.send", "text": "x" * 10_000})
            while True:
                await asyncio.sleep(0.02)
                await send({"type": "websocket.send", "text": "x"})
        except BaseException as error:
            ended.append(error)
            raise

    scene = Scene(tmp_path, send_for_ever)

    async def look() -> None:
        async with scene.open():
            reader, writer = await asyncio.open_connection("127.0.0.1", scene.port, limit=1)
            writer.write(HANDSHAKE)
            while not ended:
                await asyncio.sleep(0.01)
            writer.close()

    asyncio.run(asyncio.wait_for(look(), 30))
    assert isinstance(ended[0], OSError), ended
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"])
def test_this_machine_is_this_machine_in_every_spelling(host):
    assert is_loopback(host) and not is_loopback(host.replace("127", "10").replace("::1", "::2").replace("localhost", "far"))
