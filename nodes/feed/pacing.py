"""Sends a line's text messages on one websocket at the pace that the venue allows, and pings in the silences."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

from tickmesh.nodes.net.websocket import Connection, Disconnected

# Venues count by their own seconds, and count the pongs that the connection sends by itself, too: stay below.
PACE_MARGIN = 1.25
TEXTS_MAX = 10_000  # waiting to be sent; a book whose text finds no room asks again


class PacedSender:
    """A queue of text messages for one websocket, at most `messages_per_s` less a margin.

    `ping`: a text to send every `ping_s` seconds; None: a websocket ping, whose round trip the connection measures.
    """

    def __init__(self, connection: Connection, messages_per_s: float, ping: str | None, ping_s: float):
        self.connection = connection
        self._gap_s = PACE_MARGIN / messages_per_s
        self._ping = ping
        self._ping_s = ping_s
        self._texts: list[str] = []
        self._more = asyncio.Event()

    def send(self, texts: Iterable[str]) -> None:
        """Queues texts, to be sent in order as soon as the pace allows; beyond TEXTS_MAX they are dropped."""
        self._texts += list(texts)[: TEXTS_MAX - len(self._texts)]
        self._more.set()

    async def run(self) -> None:
        """Sends until it is cancelled or the connection is over."""
        with contextlib.suppress(Disconnected):
            await self._run()

    async def _run(self) -> None:
        pinged_at_s = time.monotonic()
        while True:
            self._more.clear()
            if self._texts:
                self.connection.send(self._texts.pop(0))
            elif (wait_s := pinged_at_s + self._ping_s - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._more.wait()
                continue
            else:
                pinged_at_s = time.monotonic()
                if self._ping is None:
                    self.connection.ping()
                else:
                    self.connection.send(self._ping)
            await asyncio.sleep(self._gap_s)
