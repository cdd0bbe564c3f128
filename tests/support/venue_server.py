"""A venue that sends again what it once sent: a capture's frames to every websocket client, its REST bodies to who asks."""

import asyncio
import contextlib
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from aiohttp import WSCloseCode, web

from tests.support.captures import Message
from tests.support.server_thread import ServerThread

SUBSCRIBE_S = 0.1  # a client that has sent nothing for so long has sent all its subscriptions


class VenueServer(ServerThread):
    """Replays a capture as its venue: frames leave when `clients` connections have subscribed. Use as a context manager."""

    def __init__(self, messages: Iterable[Message], clients: int, bodies: dict[str, bytes] | None = None):
        super().__init__()
        messages = sorted(messages, key=lambda message: message.recv_ns)
        self.frames = [m.frame for m in messages if m.direction == "received"]
        self.bodies = {_key(m.connection): m.frame for m in messages if m.direction == "rest"} | (bodies or {})
        self.clients = clients
        self.served = 0  # clients that have got everything
        self.asked: list[str] = []
        self._subscribed = 0
        self._all_there = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        self.asked.append(str(request.rel_url))
        for key in (_key(str(request.rel_url)), request.path):
            if key in self.bodies:
                return web.Response(body=self.bodies[key], content_type="application/json")
        return web.Response(status=404, text="not in this capture")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._subscription(socket)
            self._subscribed += 1
            if self._subscribed >= self.clients:
                self._all_there.set()
            await self._all_there.wait()
            for number, frame in enumerate(self.frames):
                await socket.send_str(frame.decode())
                if number % 50 == 0:
                    await asyncio.sleep(0)
            self.served += 1
            async for _ in socket:  # pings and what else a client says, until it goes
                pass
            await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    async def _subscription(self, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.wait_for(socket.receive(), SUBSCRIBE_S)


def _key(url: str) -> str:
    """Path with its symbol: limits and the like may differ from what was once asked."""
    parts = urlsplit(url)
    symbol = dict(parse_qsl(parts.query)).get("symbol", "")
    return f"{parts.path}?symbol={symbol}" if symbol else parts.path
