"""Clients of the local venue in one loop with it: REST, WS-API, user streams, signed orders."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import websockets

from tickmesh.bus.config import Config, load
from tickmesh.nodes.exchange import node as exchange
from tickmesh.nodes.exchange.protocol import sign, ws_payload

SPOT_AND_USDM = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "BTCUSDT"
venue = "binance_usdm"
[[instruments]]
symbol = "ETHUSDT"
venue = "binance_usdm"
"""


def configure(folder: Path, toml: str = "") -> Config:
    """Writes mesh.toml and loads it; the market waits for no client, unless `toml` says so."""
    (folder / "mesh.toml").write_text(toml)
    return load(folder, None if "lines" in toml else {"exchange": {"lines": 0}})


@contextlib.asynccontextmanager
async def served(config: Config):
    """Runs an exchange in this loop; gives (rest address, ws address, context)."""
    up = asyncio.Event()
    ctx = SimpleNamespace(config=config, stop=asyncio.Event(), ready=lambda **_: up.set(), counters={})
    task = asyncio.create_task(exchange.run(ctx))
    waiter = asyncio.create_task(up.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiter.cancel()
        await task
    where = json.loads((config.run_dir / "exchange.json").read_text())
    try:
        yield where["rest"], where["ws"], ctx
    finally:
        ctx.stop.set()
        await asyncio.wait_for(task, 10)


def listening(url: str, **more) -> websockets.connect:
    """Connects a client that takes what it does not read, so that its goodbye need not wait for the other's."""
    return websockets.connect(url, max_queue=None, **more)


def signed(**params) -> str:
    """A signed query string."""
    params.setdefault("timestamp", int(time.time() * 1000))
    query = "&".join(f"{k}={v}" for k, v in params.items())
    return f"{query}&signature={sign('local-secret', query)}"


class Rest:
    """A REST client: call it with method and path; gives (status, answer)."""

    def __init__(self, base: str, session: aiohttp.ClientSession):
        self.base, self.session = base, session

    async def __call__(self, method: str, path: str, key: str = "local-key", body: str = "", raw: str = "", **params):
        url = f"{self.base}{path}?{raw or '&'.join(f'{k}={v}' for k, v in params.items())}"
        headers = {"X-MBX-APIKEY": key} if key else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, url, headers=headers, data=body or None) as answer:
            return answer.status, await answer.json()

    async def order(self, method: str = "POST", path: str = "/api/v3/order", **params):
        """Sends a signed request about an order."""
        return await self(method, path, raw=signed(**params))


@contextlib.asynccontextmanager
async def venue(folder: Path, toml: str = ""):
    """Runs an exchange; gives (REST client, ws address, context)."""
    async with served(configure(folder, toml)) as (rest, ws, ctx):
        async with aiohttp.ClientSession() as session:
            yield Rest(rest, session), ws, ctx


def limit(side: str, price: str, quantity: str = "0.01", **more) -> dict:
    """Parameters of a limit order."""
    terms = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC"}
    return {**terms, "quantity": quantity, "price": price, **more}


class WsApi:
    """A client of the WebSocket API: call it with a method; keeps user events that come meanwhile."""

    def __init__(self, socket):
        self.socket, self.events, self.n = socket, [], 0

    async def __call__(self, method: str, sign_it: bool = True, **params) -> dict:
        self.n += 1
        if sign_it:
            params |= {"apiKey": "local-key", "timestamp": int(time.time() * 1000)}
            params["signature"] = sign("local-secret", ws_payload(params))
        await self.socket.send(json.dumps({"id": self.n, "method": method, "params": params}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == self.n:
                return message
            self.events.append(message["event"])

    async def until(self, found) -> None:
        """Reads user events until one is found."""
        while not any(found(e) for e in self.events):
            self.events.append(json.loads(await asyncio.wait_for(self.socket.recv(), 20))["event"])
