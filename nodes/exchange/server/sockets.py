"""The local venue's websockets: market streams and the WS-API, around nodes/exchange/api/streams.py."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from tickmesh.nodes.exchange.api import control, stream_names, time_units, ws_api
from tickmesh.nodes.exchange.api.asking import asked_over_socket
from tickmesh.nodes.exchange.api.limits import VenueLimits
from tickmesh.nodes.exchange.api.routes import ALL_OF_SPOT, Route, route_of
from tickmesh.nodes.exchange.api.streams import Client, control_frame, user_frame
from tickmesh.nodes.exchange.faults.hooks import IncomingRequest, RequestFault
from tickmesh.nodes.exchange.protocol import VenueError
from tickmesh.nodes.exchange.server.running import RunningExchange

log = logging.getLogger("exchange")

MESSAGE_BYTES_MAX = 1 << 16  # of a client's message
CLOSING_S = 5.0
STREAMS_SHOWN = 5  # in a line of the operator's log
SHOWN = 200  # characters there of what a client names


class SocketHandlers:
    """Answers websocket handshakes and carries their conversations."""

    def __init__(self, running: RunningExchange):
        self.running = running

    async def market(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection of market streams, from handshake to end."""
        if (refusal := await self._refused(request, "ws")) is not None:
            return refusal
        route, path = route_of(request.path)
        wrapped, wanted = control.parse_url(path, dict(request.query))
        if (elsewhere := self.running.hub.elsewhere(route.venue, wanted)) is not None:
            return web.json_response({"code": 2, "msg": stream_names.refusal(elsewhere)}, status=400)
        opened = await self._open(request, "ws", wrapped, route)
        if opened is None:
            return web.Response(status=400)
        ws, client = opened
        hub, streams_max = self.running.hub, self._limits(route).settings.streams_max
        for stream in wanted[:streams_max]:
            hub.subscribe(client, stream)
        self._opened(client, request.path)
        self._record_streams(client, set())
        await self._converse(ws, client, lambda text: self._market_request(client, text))
        return ws

    def _market_request(self, client: Client, text: str) -> None:
        """Answers a request on a market socket; the ledger keeps which streams it has asked for."""
        before = client.served
        client.send_text(control.answer(self.running.hub, client, text, self._limits(client.route).settings.streams_max))
        self._record_streams(client, before)

    def _record_streams(self, client: Client, before: set[str]) -> None:
        for what, names in (("subscribed", client.served - before), ("unsubscribed", before - client.served)):
            if not names:
                continue
            shown = " ".join(sorted(names)[:STREAMS_SHOWN])[:SHOWN]
            log.debug("client %d (%s) has %s %d streams: %r", client.number, client.address, what, len(names), shown)
            if self.running.ledger is not None:
                self.running.ledger.record("client", client.number, what, " ".join(sorted(names)))

    async def orders(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection of the WS-API, from handshake to end."""
        if (refusal := await self._refused(request, "ws-api-connect")) is not None:
            return refusal
        opened = await self._open(request, "ws-api", False, route_of(request.path)[0])
        if opened is None:
            return web.Response(status=400)
        ws, client = opened
        client.sends_rate_limits = request.query.get("returnRateLimits", "true") != "false"
        self._opened(client, request.path)
        await self._converse(ws, client, lambda text: self._order_request(client, text))
        return ws

    def _limits(self, route: Route) -> VenueLimits:
        return self.running.core.venues[route.venue].limits

    async def _open(
        self, request: web.Request, door: str, wrapped: bool, route: Route = ALL_OF_SPOT
    ) -> tuple[web.WebSocketResponse, Client] | None:
        """Upgrades a handshake to a websocket; None when the client has gone meanwhile.

        Deflate is negotiated for those who compress what they send; what they get is not compressed, which the extension
        permits, so a frame is encoded once for all."""
        ws = web.WebSocketResponse(autoping=False, compress=True, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        if request.transport is None:
            return None
        client = self.running.add_client(request.transport, door, wrapped, request.remote or "", route)
        client.microseconds = time_units.asks_for_microseconds(request.query.get("timeUnit"))
        return ws, client

    def _order_request(self, client: Client, text: str) -> None:
        """Carries out one WS-API request; the faults see it first. The one place where every WS-API request arrives."""
        faults = self.running.faults
        method = client.route.name_of(ws_api.method_of(text))
        fault = faults.on_request(IncomingRequest("ws-api", method, client.address, client)) if faults else None
        if fault is None:
            self._usual(client, text)
        elif fault.enter_s:
            asyncio.get_running_loop().call_later(fault.enter_s, self._faulty_later, fault, client, text)
        else:
            self._faulty(fault, client, text)

    def _usual(self, client: Client, text: str, send: Callable[[bytes], None] | None = None) -> None:
        running = self.running
        answer = ws_api.answer(running.core.venues[client.route.venue], client, text, running.now_ms())
        running.note_asked(asked_over_socket(client, text, answer))
        outgoing = running.commit()
        (send or client.send_text)(answer)
        if client.ended_subscription is not None:
            event = f'{{"e":"eventStreamTerminated","E":{running.now_ms()}}}'
            client.send(user_frame(event, client.ended_subscription, client.microseconds), "user")
            client.ended_subscription = None
        running.publish(outgoing)

    def _faulty_later(self, fault: RequestFault, client: Client, text: str) -> None:
        """Answers a delayed request; aborts the connection when the exchange is going down, as nobody waits for this call."""
        try:
            self._faulty(fault, client, text)
        except VenueError:
            client.transport.abort()

    def _faulty(self, fault: RequestFault, client: Client, text: str) -> None:
        real: list[bytes] = []
        if fault.execute:
            self._usual(client, text, real.append)
        else:
            self.running.note_asked(asked_over_socket(client, text, b"", fault.status))
        if fault.cut:
            client.transport.abort()
            return
        answers = real
        if fault.status:
            retry_after_s = int(fault.headers.get("Retry-After", 0))
            answers = [ws_api.fault_reply(text, fault.status, fault.body, retry_after_s, self.running.now_ms())]
        for answer in answers:
            if fault.delay_s:
                asyncio.get_running_loop().call_later(fault.delay_s, client.send_text, answer)
            else:
                client.send_text(answer)

    async def _refused(self, request: web.Request, door: str) -> web.StreamResponse | None:
        """The answer that refuses a handshake; None to let it in."""
        faults, address = self.running.faults, request.remote or ""
        fault = faults.on_request(IncomingRequest(door, request.path, address)) if faults else None
        if fault is None:
            return self._beyond_limits(request, door, address)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if not fault.cut and not fault.status:
            return None
        if fault.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=fault.status or 503, body=fault.body, content_type=fault.content_type, headers=fault.headers)

    def _beyond_limits(self, request: web.Request, door: str, address: str) -> web.Response | None:
        limits, now_ms = self._limits(route_of(request.path)[0]), self.running.now_ms()
        try:
            time_units.asks_for_microseconds(request.query.get("timeUnit"))
            limits.admit_connection(address, now_ms)
            if door == "ws-api-connect":
                limits.admit(address, ws_api.CONNECT_WEIGHT, now_ms)
        except VenueError as error:
            retry = {"Retry-After": str(max(-(-(error.retry_at_ms - now_ms) // 1000), 1))} if error.retry_at_ms else None
            return web.json_response(error.body(), status=error.status, headers=retry)
        return None

    def _opened(self, client: Client, path: str) -> None:
        log.info("client %d (%s) has connected, at %r", client.number, client.address, path[:SHOWN])
        if self.running.faults:
            self.running.faults.opened(client, path)

    async def _converse(self, ws: web.WebSocketResponse, client: Client, answer: Callable[[str], None]) -> None:
        """Hands every text message to `answer`, inside the message's own turn: no task, no queue."""
        messages_max = self._limits(client.route).settings.messages_per_s if client.door == "ws" else 0
        try:
            async for message in ws:
                if messages_max and client.count_message(time.monotonic()) > messages_max:
                    # pings and pongs count too (venues.md §1.2)
                    close(client, 1008, "Too many requests")
                    break
                if message.type is WSMsgType.TEXT:
                    answer(message.data)
                elif message.type is WSMsgType.PING:
                    client.send(control_frame(0xA, bytes(message.data)), "pong")
                elif message.type is WSMsgType.PONG:
                    client.take_pong(bytes(message.data))
                elif message.type is WSMsgType.BINARY:
                    answer("binary")
        except VenueError:
            client.transport.abort()  # the exchange is going down: no answer is the honest one
        finally:
            age_s, streams = time.monotonic() - client.opened_s, len(client.streams)
            log.info("client %d (%s) has left after %.1f s; it had %d streams", client.number, client.address, age_s, streams)
            self.running.hub.remove(client)
            if self.running.faults:
                self.running.faults.closed(client)


def close(client: Client, code: int, reason: str = "") -> None:
    """Sends a close frame, then ends the connection once what waits has left."""
    client.send(control_frame(8, code.to_bytes(2) + reason.encode()), "close")
    client.dead = True
    client.transport.close()
    asyncio.get_running_loop().call_later(CLOSING_S, client.transport.abort)  # for who does not take what waits


def keep_alive(running: RunningExchange, now_s: float, ping: bool) -> None:
    """Pings the clients if `ping`; ends those that never answer or have lived for too long."""
    exchange = running.settings
    for client in list(running.hub.clients):
        if client.dead:
            continue
        age_s = now_s - client.opened_s
        if client.unanswered_s(now_s) > exchange.pong_s:
            running.hub.cut(client)
        elif age_s >= exchange.life_s:
            close(client, 1008, "Disconnected: the connection has reached its maximum life")
        elif age_s >= exchange.life_s - exchange.notice_s and not client.shutdown_announced:
            announce_shutdown(running, client)
        if ping and not client.dead:
            client.ping(str(running.now_ms()).encode(), now_s)


def announce_shutdown(running: RunningExchange, client: Client) -> None:
    """Sends `serverShutdown` to a client."""
    client.shutdown_announced = True
    client.send_text(client.shutdown_event(running.now_ms()))
