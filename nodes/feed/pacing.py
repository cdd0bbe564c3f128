"""What a line says on one websocket, at the pace that the venue allows: subscriptions, and pings in the silences."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from tickmesh.nodes.net.websocket import Connection, Disconnected

# Venues count by their own seconds, and count the pongs that the connection sends by itself, too: stay below.
ROOM = 1.25
TEXTS_MAX = 10_000  # waiting to be sent; a book whose text finds no room asks again


class Conversation:
    """`ping`: a text to send every `ping_s` seconds; None: a websocket ping, whose round trip the connection measures."""

    def __init__(self, connection: Connection, messages_per_s: float, ping: str | None, ping_s: float):
        self.connection = connection
        self._gap_s = ROOM / messages_per_s
        self._ping = ping
        self._ping_s = ping_s
        self._texts: list[str] = []
        self._more = asyncio.Event()

    def send(self, texts: Iterable[str]) -> None:
        """Texts to be sent in order, as soon as the pace allows."""
        self._texts += list(texts)[: TEXTS_MAX - len(self._texts)]
        self._more.set()

    async def run(self) -> None:
        """Until it is cancelled or the connection is over."""
        with contextlib.suppress(Disconnected):
            await self._run()

    async def _run(self) -> None:
        pinged = time.monotonic()
        while True:
            self._more.clear()
            if self._texts:
                self.connection.send(self._texts.pop(0))
            elif (wait_s := pinged + self._ping_s - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._more.wait()
                continue
            else:
                pinged = time.monotonic()
                if self._ping is None:
                    self.connection.ping()
                else:
                    self.connection.send(self._ping)
            await asyncio.sleep(self._gap_s)
