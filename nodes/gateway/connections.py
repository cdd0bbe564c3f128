"""uvicorn's protocols of one connection, with what they lack: a bound when it is made, and counts where they write lines."""

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tickmesh.nodes.gateway.guard import Guard
from tickmesh.nodes.gateway.problems import MEDIA_TYPE, problem_body

HEADERS_BYTES_MAX = 16 << 10
NO_REQUEST = f"what came is no request of HTTP/1.1, or has more than {HEADERS_BYTES_MAX} bytes of headers; send such a request"
CLOSED = "closed"  # what is counted in the place of a status where a connection was one too many
CLIENTS = logging.getLogger("uvicorn.error.clients")
CLIENTS.setLevel(logging.ERROR)  # what clients do wrong is counted: a line for each would fill the log


class BoundedHttp(H11Protocol):
    """uvicorn's HTTP protocol, which refuses a connection beyond the bound at once: it answers 503 only to what it has read."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.logger = CLIENTS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection, or ends it."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            _count(self.app, CLOSED)
            transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP with a problem, unless another answer is under way, and ends the connection.

        `msg`: uvicorn's own words.
        """
        _count(self.app, "400")
        if self.cycle is not None:
            self.cycle.disconnected = True  # what is still being answered has nowhere to go
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = problem_body(400, NO_REQUEST)
            headers = [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def works(self) -> bool:
        """Whether the gateway itself is at a request that has come in whole: its client waits, and is not waited for."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body and not self.flow.write_paused


class PlainWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, which takes a refused handshake for an answer, and a client that is gone for gone."""

    async def send(self, message: Any) -> None:
        """Sends what the application says. Raises ClientDisconnected where nobody can take it any more.

        uvicorn itself ends a websocket whose client answers no ping; what is sent after that would be a fault of ours to it.
        """
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # with a refusal; else it is logged as a fault


def _count(app: object, status: str) -> None:
    if isinstance(app, Guard):
        app.refused[status] += 1
