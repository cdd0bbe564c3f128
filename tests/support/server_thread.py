"""A server on loopback in a thread of its own, for as long as a test needs it."""

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Self

from aiohttp import web


class ServerThread(ABC):
    """A server in a thread. `_answer` has every request; `ws`, `rest`: its addresses. Use as a context manager."""

    shutdown_s = 1.0

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(10)
        self.ws, self.rest = f"ws://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _begin(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=self.shutdown_s, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self._runner.addresses[0][1]

    @abstractmethod
    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Of one request, websockets included."""
