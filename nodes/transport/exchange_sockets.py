"""The local venue's websocket doors: market streams and the WS-API, around nodes/simulation/streams.py."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from nodes.simulation import streams
from nodes.simulation.hooks import Asked, Fault
from nodes.simulation.protocol import VenueError
from nodes.simulation.streams import Client
from nodes.transport.exchange_running import Running

MESSAGE_BYTES_MAX = 1 << 16  # of a client's message


class SocketDoors:
    def __init__(self, running: Running):
        self.running = running

    async def market(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._refused(request, "ws")) is not None:
            return refusal
        wrapped, wanted = streams.opening(request.path, dict(request.query))
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        if request.transport is None:
            return ws  # gone already
        client = self.running.client(request.transport, wrapped)
        hub = self.running.hub
        for stream in wanted[: streams.STREAMS_MAX]:
            hub.subscribe(client, stream)
        await self._converse(ws, client, lambda text: client.say(streams.control(hub, client, text)))
        return ws

    async def orders(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._refused(request, "ws-api-connect")) is not None:
            return refusal
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        if request.transport is None:
            return ws
        client = self.running.client(request.transport)
        address = request.remote or ""
        await self._converse(ws, client, lambda text: self._order_request(client, address, text))
        return ws

    def _order_request(self, client: Client, address: str, text: str) -> None:
        """The one place where every WS-API request arrives; the fault layer sees it first."""
        faults = self.running.faults
        fault = faults.on_request(Asked("ws-api", streams.method_of(text), address, client)) if faults else None
        if fault is None:
            self._usual(client, text)
        else:
            self._faulty(fault, client, text)

    def _usual(self, client: Client, text: str, say: Callable[[bytes], None] | None = None) -> None:
        running = self.running
        now_ms = running.now_ms()
        reply = streams.ws_api(running.core.venue, client, text, now_ms, running.counted.add(1, now_ms // 1000))
        told = running.commit()
        (say or client.say)(reply)
        running.publish(told)

    def _faulty(self, fault: Fault, client: Client, text: str) -> None:
        real: list[bytes] = []
        if fault.execute:
            self._usual(client, text, real.append)
        if fault.cut:
            client.transport.abort()
            return
        answers = [streams.fault_reply(text, fault.status, fault.body)] if fault.status else real
        for answer in answers:
            if fault.delay_s:
                asyncio.get_running_loop().call_later(fault.delay_s, client.say, answer)
            else:
                client.say(answer)

    async def _refused(self, request: web.Request, door: str) -> web.StreamResponse | None:
        """What a handshake is answered instead of an upgrade; None to let it in."""
        faults = self.running.faults
        fault = faults.on_request(Asked(door, request.path, request.remote or "")) if faults else None
        if fault is None:
            return None
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if not fault.cut and not fault.status:
            return None
        if fault.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=fault.status or 503, body=fault.body, content_type=fault.content_type, headers=fault.headers)

    async def _converse(self, ws: web.WebSocketResponse, client: Client, answer: Callable[[str], None]) -> None:
        """Hands every text message to `answer`, inside the message's own turn: no task, no queue."""
        try:
            async for message in ws:
                client.heard_s = time.monotonic()
                if message.type is WSMsgType.TEXT:
                    answer(message.data)
                elif message.type is WSMsgType.PING:
                    client.send(streams.control_frame(0xA, bytes(message.data)), "pong")
                elif message.type is WSMsgType.BINARY:
                    client.say(streams.control(self.running.hub, client, "binary"))
        except VenueError:
            client.transport.abort()  # the exchange is going down: no answer is the honest one
        finally:
            self.running.hub.remove(client)
