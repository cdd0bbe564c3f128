"""The local venue: matching, frames to ten clients, order round trips beside a bare aiohttp echo, and what it costs.

`python -m bench.exchange`. The aim: matching is a small part of a round trip, and the default market costs well under
half a core, so that the mesh, not its venue, has the machine.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web

from bench.floor import line, microseconds
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, OrderBook, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.protocol import UNIT, Params, sign, ws_payload

REPO = Path(__file__).resolve().parent.parent
ORDERS = 200_000
ROUND_TRIPS = 1000
CLIENTS = 10
SECONDS = 5.0
ALL = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
HIGH = "[exchange.limits]\norders_per_10_s = 1000000\norders_per_day = 10000000\nweight_per_minute = 10000000\n"


def matching() -> None:
    rand = random.Random(1)
    book = OrderBook()
    script = []
    for ident in range(1, ORDERS + 1):
        side = rand.choice((1, -1))
        script.append((ExchangeOrder(ident, 0, side, 100_000 - side * 5 + rand.randrange(-20, 21), rand.randrange(1, 50)),
                       rand.choice(("GTC", "GTC", "IOC"))))  # fmt: skip
    began = time.perf_counter()
    for order, tif in script:
        book.submit(order, "LIMIT", tif)
        book.touched.clear()
    plain = ORDERS / (time.perf_counter() - began)

    market = Market(spec("BTCUSDT"), UpdateIds(), Tape())
    desk = Desk({"BTCUSDT": market}, 1000, 1000)
    desk.deposit("USDT", 10**9 * UNIT)
    desk.deposit("BTC", 10**5 * UNIT)
    values = [
        {"symbol": "BTCUSDT", "side": rand.choice(("BUY", "SELL")), "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.01",
         "price": str(60_000 + rand.randrange(-20, 21))}
        for _ in range(ORDERS // 10)
    ]  # fmt: skip
    began = time.perf_counter()
    for now, wanted in enumerate(values):
        desk.place(Params(wanted), now)
        desk.take_line()
        desk.events.clear()
        market.drain()
        market.ledger_rows.clear()
    whole = len(values) / (time.perf_counter() - began)
    line("matching: orders/s, book alone", f"{plain:,.0f}/s")
    line("matching: orders/s, filters, money, prints and reports", f"{whole:,.0f}/s", f"book {plain:,.0f}/s", whole / plain)


@contextlib.asynccontextmanager
async def exchange(settings: str) -> AsyncIterator[tuple[str, str, psutil.Process]]:
    """A venue process: (rest, ws, process)."""
    folder = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (folder / "mesh.toml").write_text(settings)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TICKMESH_ROOT": str(folder)}
    child = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "exchange"], cwd=folder, env=environment)
    where = folder / "run" / "exchange.json"
    while not where.exists():
        await asyncio.sleep(0.05)
    found = json.loads(where.read_text())
    try:
        yield found["rest"], found["ws"], psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(15)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _listen(url: str, count: int, seconds: float, out: multiprocessing.Queue) -> None:
    """In a process of its own: counts frames, and parses nothing."""

    async def one(session: aiohttp.ClientSession) -> int:
        heard = 0
        async with session.ws_connect(url, max_msg_size=0) as socket:
            end = time.monotonic() + seconds
            async for _ in socket:
                heard += 1
                if time.monotonic() > end:
                    return heard
        return heard

    async def all_of_them() -> int:
        async with aiohttp.ClientSession() as session:
            return sum(await asyncio.gather(*(one(session) for _ in range(count))))

    out.put(asyncio.run(all_of_them()))


async def frames(settings: str, what: str) -> None:
    """Frames to ten clients and the venue's share of a core meanwhile."""
    async with exchange(settings) as (_, ws, process):
        out: multiprocessing.Queue = multiprocessing.Queue()
        listeners = multiprocessing.Process(target=_listen, args=(ws + ALL, CLIENTS, SECONDS, out))
        listeners.start()
        await asyncio.sleep(1.0)
        began, used = time.monotonic(), cpu_s(process)
        await asyncio.sleep(SECONDS - 1.5)
        share = (cpu_s(process) - used) / (time.monotonic() - began)
        heard = await asyncio.get_running_loop().run_in_executor(None, out.get)
        listeners.join()
        line(f"{what}: frames/s to {CLIENTS} clients", f"{heard / SECONDS:,.0f}/s", f"{share:.0%} of a core")


async def idle_share() -> None:
    """The default market with two lines, as a default mesh has it."""
    async with exchange("") as (_, ws, process), aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(ws + ALL) for _ in range(2)]

        async def drain(socket) -> None:
            async for _ in socket:
                pass

        tasks = [asyncio.create_task(drain(socket)) for socket in sockets]
        await asyncio.sleep(1)
        began, used = time.monotonic(), cpu_s(process)
        await asyncio.sleep(SECONDS)
        line("default market, two lines: share of a core", f"{(cpu_s(process) - used) / (time.monotonic() - began):.1%}")
        for task in tasks:
            task.cancel()


def _echo(port: multiprocessing.Queue) -> None:
    """A bare aiohttp server in a process of its own, on the loop that a node has: the floor of a round trip."""
    import uvloop

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(text="{}" + (await request.text())[:0])

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/ws", socket)
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    uvloop.run(serve())


ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.001", "price": "50000.00"}


async def post(session: aiohttp.ClientSession, url: str) -> list[int]:
    spent = []
    for _ in range(ROUND_TRIPS):
        query = "&".join(f"{k}={v}" for k, v in {**ORDER, "timestamp": int(time.time() * 1000)}.items())
        body = f"{query}&signature={sign('local-secret', query)}"
        headers = {"X-MBX-APIKEY": "local-key", "Content-Type": "application/x-www-form-urlencoded"}
        began = time.perf_counter_ns()
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()
        spent.append(time.perf_counter_ns() - began)
        assert answer.status == 200, answer.status
    return spent


async def ask(session: aiohttp.ClientSession, url: str) -> list[int]:
    spent = []
    async with session.ws_connect(url) as socket:
        for n in range(ROUND_TRIPS):
            params: dict = {**ORDER, "apiKey": "local-key", "timestamp": int(time.time() * 1000)}
            params["signature"] = sign("local-secret", ws_payload(params))
            message = json.dumps({"id": n, "method": "order.place", "params": params})
            began = time.perf_counter_ns()
            await socket.send_str(message)
            await socket.receive()
            spent.append(time.perf_counter_ns() - began)
    return spent


async def round_trips() -> None:
    ports: multiprocessing.Queue = multiprocessing.Queue()
    echo = multiprocessing.Process(target=_echo, args=(ports,), daemon=True)
    echo.start()
    port = ports.get()
    async with exchange(HIGH) as (rest, ws, _), aiohttp.ClientSession() as session:
        for name, call, ours, theirs in (
            ("REST", post, f"{rest}/api/v3/order", f"http://127.0.0.1:{port}/"),
            ("WS-API", ask, f"{ws}/ws-api/v3", f"ws://127.0.0.1:{port}/ws"),
        ):
            bare = microseconds((await call(session, theirs))[50:])
            real = microseconds((await call(session, ours))[50:])
            line(f"order round trip, {name}: p50, p99", f"{real[0]:,.0f}, {real[1]:,.0f} µs",
                 f"bare echo {bare[0]:,.0f}, {bare[1]:,.0f} µs", real[0] / bare[0])  # fmt: skip
    echo.terminate()


def main() -> None:
    matching()
    asyncio.run(round_trips())
    asyncio.run(idle_share())
    asyncio.run(frames("", "default market"))
    asyncio.run(frames("[exchange]\ntrades_per_s = 1000\nquotes_per_s = 5000\n", "a busy market"))


if __name__ == "__main__":
    main()
