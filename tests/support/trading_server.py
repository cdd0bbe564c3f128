"""A venue's server in a few lines, and a line that connects to it."""

import asyncio
import contextlib
import shutil
import time

from aiohttp import web

from tests.support.feed_frames import INFO, depth, trade
from tests.support.feed_run import line
from tickmesh.bus.config import load


class Server:
    """A venue's server: sends trades, answers requests, remembers who came and what was asked."""

    def __init__(self, first, symbols=("BTCUSDT",), refuse=False):
        self.at = first
        self.symbols = symbols
        self.refuse = refuse
        self.peers = []
        self.asked = []  # (time, path)
        self.port = 0

    async def stream(self, request):
        """Serves a connection of streams."""
        self.peers.append(request.transport.get_extra_info("peername")[0])
        if self.refuse:
            return web.Response(status=503, text="<html>busy</html>")
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive()
        await ws.send_str('{"result":null,"id":1}')
        with contextlib.suppress(ConnectionError):
            while not ws.closed:
                self.at += 1
                await ws.send_str(trade(self.at))
                for symbol in self.symbols:
                    text = depth(self.at, self.at).replace("BTCUSDT", symbol).replace("btcusdt", symbol.lower())
                    await ws.send_str(text)
                await asyncio.sleep(0.05)
        return ws

    async def rest(self, request):
        """Answers a request."""
        self.peers.append(request.remote)
        self.asked.append((time.monotonic(), request.path))
        if self.refuse:
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if request.path.endswith("/depth"):
            return web.json_response({"lastUpdateId": self.at, "bids": [], "asks": []})
        if request.path.endswith("/time"):
            return web.json_response({"serverTime": time.time_ns() // 10**6})
        return web.json_response({"symbols": [{**INFO["symbols"][0], "symbol": symbol} for symbol in self.symbols]})


@contextlib.asynccontextmanager
async def serving(*servers):
    """Runs the servers, each on a port of its own."""
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            app = web.Application()
            app.router.add_get("/stream", server.stream)
            app.router.add_get("/{tail:.*}", server.rest)
            runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.port = runner.addresses[0][1]
        yield


@contextlib.asynccontextmanager
async def line_to(folder, servers, instance="1", feed=None, **more):
    """Runs a line whose venue has these servers; gives its context."""
    (folder / "mesh.toml").write_text("")
    where = {"ws": [f"ws://127.0.0.1:{s.port}" for s in servers], "rest": [f"http://127.0.0.1:{s.port}" for s in servers]}
    settings = {"feed": {"backoff_s": [0.01, 0.05], **(feed or {})}, "venues": {"binance": where}, **more}
    config = load(folder, settings)
    try:
        async with line(config, instance) as ctx:
            yield ctx
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
