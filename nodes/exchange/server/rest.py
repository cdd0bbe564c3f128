"""The local venue's REST API: HTTP in and out around the pure operations of nodes/exchange/api/api.py."""

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec
from aiohttp import web

from tickmesh.nodes.exchange.api import api, time_units
from tickmesh.nodes.exchange.api.asking import asked_over_rest
from tickmesh.nodes.exchange.api.operation import Operation
from tickmesh.nodes.exchange.api.routes import venue_of
from tickmesh.nodes.exchange.api.venue import VenueDoor
from tickmesh.nodes.exchange.faults.hooks import IncomingRequest, RequestFault
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import NotKnownYet, Params, VenueError, parse_form, rest_payload
from tickmesh.nodes.exchange.server.faults import PATH as FAULTS
from tickmesh.nodes.exchange.server.faults import FaultsHandler
from tickmesh.nodes.exchange.server.running import RunningExchange

REPLAY = "/tickmesh/v1/replay"


class RestHandler:
    """Answers every REST request: operations of the venue, the replay's progress, and faults."""

    def __init__(self, running: RunningExchange):
        self.running = running
        self.faults_handler = FaultsHandler(running)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request; the faults see it first. The one place where every REST request arrives."""
        path, _, query = request.raw_path.partition("?")
        if path == REPLAY and request.method == "GET":
            return json_response(200, msgspec.json.encode(self.running.progress()))
        if path == FAULTS:
            return await self.faults_handler.answer(request)
        faults = self.running.faults
        fault = faults.on_request(IncomingRequest("rest", f"{request.method} {path}", request.remote or "")) if faults else None
        if fault is None:
            return await self._usual(request, path, query)
        return await self._faulty(fault, request, path, query)

    async def _usual(self, request: web.Request, path: str, query: str) -> web.Response:
        running, address = self.running, request.remote or ""
        venue_name, path = venue_of(path)
        venue = running.core.venues[venue_name]
        limits = venue.limits
        more: dict[str, str] = {}
        micro, body = False, ""
        try:
            body = (await request.read()).decode() if request.method != "GET" and request.can_read_body else ""
            micro = time_units.asks_for_microseconds(request.headers.get("X-MBX-TIME-UNIT"))
            operation, params = self._asked(venue_name, request.method, path, query, body, address)
            key = request.headers.get("X-MBX-APIKEY", "")
            status, answer = 200, await self._call(venue, operation, params, rest_payload(query, body), key)
            if operation.free:
                limits.weight.add(address, -operation.weight_of(params), running.now_ms())
            if operation.order:
                more = limits.order_headers(OWNER, running.now_ms())
        except VenueError as error:
            status, answer = error.status, msgspec.json.encode(error.body())
            self._commit_half(error)
            if error.retry_at_ms:
                more = {"Retry-After": str(max(-(-(error.retry_at_ms - running.now_ms()) // 1000), 1))}
        except UnicodeDecodeError:
            status, answer = 400, b'{"code":-1100,"msg":"Illegal characters found in a parameter."}'
        except web.HTTPRequestEntityTooLarge:
            status, answer = 413, b'{"code":-1100,"msg":"The request body is too large."}'
        self._note(request, query, body, status)
        answer = time_units.answer_in_microseconds(answer) if micro else answer
        return json_response(status, answer, limits.weight_headers(address, running.now_ms()) | more)

    def _asked(self, venue: str, method: str, path: str, query: str, body: str, address: str) -> tuple[Operation, Params]:
        """Finds the operation and its parameters, and counts the request. What is no request weighs 1."""
        limits, now_ms = self.running.core.venues[venue].limits, self.running.now_ms()
        try:
            operation, params = api.find_operation(method, path, venue), Params(parse_form(query, body))
        except VenueError:
            limits.admit(address, 1, now_ms)
            raise
        limits.admit(address, operation.weight_of(params), now_ms)
        return operation, params

    async def _call(self, venue: VenueDoor, operation: Operation, params: Params, payload: str, key: str) -> bytes:
        running = self.running
        while True:
            try:
                result = api.answer(venue, operation, params, payload, key, running.now_ms())
                break
            except NotKnownYet:
                await running.market_moved()
        outgoing = running.commit()
        answer = result.encode() if isinstance(result, str) else msgspec.json.encode(result)
        running.publish(outgoing)
        return answer

    def _note(self, request: web.Request, query: str, body: str, status: int) -> None:
        """Has the ledger say what was asked about the account. A refused one is written with what comes next."""
        venue, path = venue_of(request.raw_path.partition("?")[0])
        with contextlib.suppress(VenueError):  # what cannot be read was no request about it
            self.running.note_asked(asked_over_rest(venue, request.method, path, query, body, status))

    def _commit_half(self, error: VenueError) -> None:
        """Commits a cancelReplace that half succeeded: it has happened, although it is answered as an error."""
        if error.data is not None:
            self.running.publish(self.running.commit())

    async def _faulty(self, fault: RequestFault, request: web.Request, path: str, query: str) -> web.StreamResponse:
        answer = web.Response(status=200)
        if fault.enter_s:
            await asyncio.sleep(fault.enter_s)
        if fault.execute:
            answer = await self._usual(request, path, query)
        else:
            self._note(request, query, (await request.read()).decode(errors="replace"), fault.status)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.cut:
            if request.transport is not None:
                request.transport.abort()
            return answer
        if not fault.status:
            return answer
        return web.Response(status=fault.status, body=fault.body, content_type=fault.content_type, headers=fault.headers)


def json_response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    """Builds an HTTP response of a JSON body."""
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
