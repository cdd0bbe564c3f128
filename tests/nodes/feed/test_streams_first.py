"""A line that begins has its stream first: what it asks over REST, and the HTTP client for it, comes after."""

import asyncio
import contextlib
import subprocess
import sys

from aiohttp import web

from tests.support.feed_frames import trade
from tests.support.feed_run import ids
from tests.support.trading_server import Server, line_to, serving
from tests.support.waiting import until
from tickmesh.bus.schema import Kind
from tickmesh.nodes.feed import rest_requests

KNOWN = [{"symbol": "BTCUSDT", "price_exponent": -8, "quantity_exponent": -8}, {"symbol": "ETHUSDT"}]  # nothing of the second


class SlowStream(Server):
    """A venue whose stream sends its first trade once it was asked over REST, or a while later; `order`: which was first."""

    def __init__(self, flows=True):
        super().__init__(1, ("BTCUSDT", "ETHUSDT"))
        self.order: list[str] = []
        self.was_asked = asyncio.Event()
        self.flows = flows

    async def stream(self, request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.was_asked.wait(), 0.5)
        if self.flows:
            self.order.append("trade")
            await ws.send_str(trade(1))
        await ws.receive()
        return ws

    async def rest(self, request):
        self.order.append("question")
        self.was_asked.set()
        return await super().rest(request)


def test_nothing_is_asked_before_market_data_flows(tmp_path, monkeypatch):
    monkeypatch.setattr(rest_requests, "STREAM_FIRST_S", 60.0)

    async def go():
        server = SlowStream()
        async with serving(server), line_to(tmp_path, [server], instruments=KNOWN) as ctx:
            await until(lambda: ids(ctx, Kind.trade) and server.was_asked.is_set())
            assert server.order[:2] == ["trade", "question"]

    asyncio.run(go())


def test_a_stream_that_does_not_flow_does_not_keep_it_from_asking(tmp_path, monkeypatch):
    monkeypatch.setattr(rest_requests, "STREAM_FIRST_S", 0.05)

    async def go():
        server = SlowStream(flows=False)
        async with serving(server), line_to(tmp_path, [server], instruments=KNOWN):
            await until(lambda: any("exchangeInfo" in path for _, path in server.asked))

    asyncio.run(go())


def test_the_http_client_is_loaded_with_the_first_question():
    loaded = "import sys, tickmesh.nodes.feed.node; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded]).returncode == 0
