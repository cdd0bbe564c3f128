"""The local venue's REST door: HTTP in and out around the pure operations of nodes/simulation/api.py."""

import asyncio
import time
from typing import Any

import msgspec
from aiohttp import web

from nodes.simulation import api
from nodes.simulation.hooks import Asked, Fault
from nodes.simulation.protocol import NotYet, Params, VenueError, form, rest_payload
from nodes.transport.exchange_running import Running

REPLAY = "/tickmesh/v1/replay"


class RestDoor:
    def __init__(self, running: Running):
        self.running = running

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The one place where every REST request arrives; the fault layer sees it first."""
        path, _, query = request.raw_path.partition("?")
        if path == REPLAY and request.method == "GET":
            return reply(200, msgspec.json.encode(self.running.progress()))
        faults = self.running.faults
        fault = faults.on_request(Asked("rest", f"{request.method} {path}", request.remote or "")) if faults else None
        if fault is None:
            return await self._usual(request, path, query)
        return await self._faulty(fault, request, path, query)

    async def _usual(self, request: web.Request, path: str, query: str) -> web.Response:
        headers: dict[str, str] = {}
        try:
            body = (await request.read()).decode() if request.method != "GET" and request.can_read_body else ""
            operation = api.find(request.method, path)
            params = Params(form(query, body))
            headers = self.running.counted.headers(operation, params, int(time.time()))
            venue = self.running.core.venue
            if operation.signed:
                key = request.headers.get("X-MBX-APIKEY", "")
                venue.check_signed(params, key, rest_payload(query, body), self.running.now_ms())
            return reply(200, await self._call(operation, params), headers)
        except VenueError as error:
            return reply(error.status, msgspec.json.encode(error.body()), headers)
        except UnicodeDecodeError:
            return reply(400, b'{"code":-1100,"msg":"Illegal characters found in a parameter."}', headers)
        except web.HTTPRequestEntityTooLarge:
            return reply(413, b'{"code":-1100,"msg":"The request body is too large."}', headers)

    async def _call(self, operation: api.Operation, params: Params) -> bytes:
        running = self.running
        while True:
            try:
                result = operation.call(running.core.venue, params, running.now_ms())
                break
            except NotYet:
                await running.market_moved()
        told = running.commit()
        answer = result.encode() if isinstance(result, str) else msgspec.json.encode(result)
        running.publish(told)
        return answer

    async def _faulty(self, fault: Fault, request: web.Request, path: str, query: str) -> web.StreamResponse:
        answer = web.Response(status=200)
        if fault.execute:
            answer = await self._usual(request, path, query)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.cut:
            if request.transport is not None:
                request.transport.abort()
            return answer
        if not fault.status:
            return answer
        return web.Response(status=fault.status, body=fault.body, content_type=fault.content_type, headers=fault.headers)


def reply(status: int, body: bytes, headers: Any = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
