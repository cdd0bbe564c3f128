"""Live streams over websockets: every wanted event after a seq, once and in order, at the pace of who reads.

A client has a place in the log and nothing else: no queue is kept for it. What it has not been sent yet is read from memory, or
from the log where it is far behind; who does not read at all is cut off.
"""

import asyncio
import contextlib
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from fastapi import FastAPI, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.nodes.gateway.asking import check_parameters, names_given
from tickmesh.nodes.gateway.encoding import JSON, MSGPACK, encoded
from tickmesh.nodes.gateway.problems import MEDIA_TYPE, RequestProblem, problem_body
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.recent_events import EventPage, WantedEvents
from tickmesh.storage.query.event_dict import as_dict

EVENTS_MAX = 500  # of one message
MESSAGE_BYTES_MAX = 64 << 10  # of its events as they lie in the log; a larger event comes alone
SILENCE_S = 5.0  # then a message without events says how far the log has come
BEHIND_S = 0.1  # between two messages of a stream that is behind, while others take the processor: it has to catch up
PACE_S = 0.03  # between two messages: many small ones would cost more than they are worth
RETRY_S = 0.5  # where too many read what is old
REASON_BYTES = 120  # of a close frame
INTERNAL, POLICY = 1011, 1008  # close codes of RFC 6455
PARAMETERS = ("topics", "after", "format")


class _Stream(NamedTuple):
    """`kinds`: what it is woken by; `news`: that there is something of them."""

    kinds: frozenset[Kind]
    news: asyncio.Event


class LiveStreams:
    """The websockets of /v1/stream. `wake`: to be called when events have come in."""

    def __init__(self, queries: MeshQueries):
        self.queries = queries
        self._slow_s = queries.config.gateway.slow_s
        self.cut = 0
        self._streams: dict[WebSocket, _Stream] = {}

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._streams)

    def wake(self, kinds: AbstractSet[int]) -> None:
        """Lets the streams of these kinds look for new events; others say by themselves how far the log has come."""
        for stream in self._streams.values():
            if not stream.kinds.isdisjoint(kinds):
                stream.news.set()

    def add_to(self, api: FastAPI) -> None:
        """Adds the route."""

        @api.websocket("/v1/stream")
        async def stream(websocket: WebSocket) -> None:
            try:
                wanted, after, media_type = self._asked(websocket)
            except RequestProblem as problem:
                body = problem_body(problem.status, problem.detail, websocket.url.path)
                await websocket.send_denial_response(Response(body, problem.status, problem.headers, MEDIA_TYPE))
                return
            await websocket.accept()
            await self._serve(websocket, wanted, after, media_type)

    def _asked(self, websocket: WebSocket) -> tuple[WantedEvents, int, str]:
        given = websocket.query_params
        check_parameters(given.keys(), PARAMETERS)
        head, text = self.queries.recent.head, given.get("after", "")
        after = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else head
        if text and (not text.isascii() or not text.isdigit() or after > head):
            raise RequestProblem(422, f"after = {text[:40]!r} is impossible; allowed: a seq from 0 to the newest, {head}")
        form = given.get("format", "json")
        if form not in ("json", "msgpack"):
            raise RequestProblem(422, f"format = {form[:40]!r} is impossible; allowed: json or msgpack")
        return self.queries.of_topics(names_given(given.getlist("topics"))), after, JSON if form == "json" else MSGPACK

    async def _serve(self, websocket: WebSocket, wanted: WantedEvents, after: int, media_type: str) -> None:
        self._streams[websocket] = _Stream(wanted.kinds, asyncio.Event())
        listening = asyncio.create_task(_listen(websocket))
        sending = asyncio.create_task(self._send_all(websocket, wanted, after, media_type))
        try:
            done, _ = await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except TimeoutError:
            self.cut += 1
            await _close(
                websocket, POLICY, f"nothing was read for {self._slow_s:g} s; go on with after=, the last seq you have"
            )
        except RequestProblem as problem:
            await _close(websocket, POLICY, problem.detail)
        except LogError as error:
            await _close(websocket, INTERNAL, f"the log cannot be read: {error}")
        except WebSocketDisconnect:
            return
        finally:
            del self._streams[websocket]
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)

    async def _send_all(self, websocket: WebSocket, wanted: WantedEvents, after: int, media_type: str) -> None:
        """Sends page after page. The first message has no event: what the log is, and where the stream begins."""
        news, loop = self._streams[websocket].news, asyncio.get_running_loop()
        await self._send(websocket, {"seq": after, "log_id": self.queries.log_id(), "events": []}, media_type)
        position = said = after
        said_s = loop.time()
        while True:
            news.clear()
            page = await self._page(wanted, position)
            position = page.seq
            if page.events or (position > said and loop.time() - said_s >= SILENCE_S):
                events = [as_dict(self.queries.config, event) for event in page.events]
                await self._send(websocket, {"seq": position, "events": events}, media_type)
                said, said_s = position, loop.time()
            await asyncio.sleep(PACE_S)
            if page.more:
                await self.queries.threads.share.paid(BEHIND_S)
            else:
                silent_s = loop.time() - said_s
                await _wait(news, SILENCE_S - silent_s if silent_s < SILENCE_S else SILENCE_S)

    async def _send(self, websocket: WebSocket, content: dict[str, Any], media_type: str) -> None:
        """Sends one message. Raises TimeoutError where the client does not take it."""
        body = encoded(content, media_type).body
        async with asyncio.timeout(self._slow_s):
            if media_type == MSGPACK:
                await websocket.send_bytes(body)
            else:
                await websocket.send_text(body.decode())

    async def _page(self, wanted: WantedEvents, position: int) -> EventPage:
        while True:
            try:
                return await self.queries.reading.after(wanted, position, EVENTS_MAX, MESSAGE_BYTES_MAX)
            except RequestProblem:  # others read what is old as well
                await asyncio.sleep(RETRY_S)


async def _wait(news: asyncio.Event, at_most_s: float) -> None:
    """Returns when there is news, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await news.wait()


async def _listen(websocket: WebSocket) -> None:
    """Returns when the client is gone. Raises RequestProblem for a message of it: there is nothing to be said here."""
    message = await websocket.receive()
    if message["type"] != "websocket.disconnect":
        raise RequestProblem(422, "a stream takes no messages: ask with topics=, after= and format= in its address")


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Ends a stream with a code and a sentence, if the client still takes it; the server cuts what stays (server.py)."""
    try:
        async with asyncio.timeout(1):
            await websocket.close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))
    except (TimeoutError, RuntimeError, WebSocketDisconnect):
        return
