"""Tick to order, wire to wire: the exchange sends a quote or trade → the exchange has the order that it caused.

The local exchange runs in this process and notes both moments; the mesh runs as real processes: separate ones, with hosted
steps, and with a hosted line as well. A bare script does the same in one process without any log: the floor. All of them take
turns, ROUNDS times; printed are medians over the rounds, of the ratios too: each is to the bare script of its own round.
"""

import asyncio
import contextlib
import hashlib
import hmac
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from bench.floor import line, microseconds
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind

SECONDS = 5.0
ROUNDS = 3
SEPARATE = (
    ("sequencer",), ("feed", "1"), ("model", "imbalance"), ("executor",), ("session",),
)  # fmt: skip
HOSTED = (("sequencer", "model", "imbalance", "executor", "session"), ("feed", "1"))
FEED_TOO = (("sequencer", "feed", "1", "model", "imbalance", "executor", "session"),)
MESHES = {"separate processes": SEPARATE, "hosted steps": HOSTED, "hosted, feed too": FEED_TOO}
SETTINGS = """\
[feed]
lines = 1
[exchange]
lines = 1
quotes_per_s = {quotes}
trades_per_s = 5
[exchange.limits]
orders_per_10_s = 1000000
orders_per_day = 100000000
weight_per_minute = 100000000
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[models.parameters]
threshold = 0.1
step = 0.02
interval_ms = 1
half_life_ms = 1
[executor]
orders_per_s = 200
position_max = "1000"
signal_threshold = 0.1
"""


class Exchange:
    """The real one, with a watch at both ends of its wire."""

    def __init__(self, config: Config):
        from tickmesh.nodes.exchange import node as exchange
        from tickmesh.nodes.exchange.api import streams, ws_api

        self.sent: dict[int, int] = {}  # update id of a bookTicker → ns
        self.arrived: dict[str, int] = {}  # client order id → ns
        publish, answer = streams.Hub.publish, ws_api.answer

        def watched_publish(hub, stream, data, *more, **others):
            if stream.endswith("@bookTicker"):
                self.sent[int(data[5 : data.index(",")])] = time.time_ns()
            publish(hub, stream, data, *more, **others)

        def watched_answer(venue, client, text, now_ms):
            now = time.time_ns()
            at = text.find('"newClientOrderId":"')
            if at >= 0:
                self.arrived[text[at + 20 : text.index('"', at + 20)]] = now
            return answer(venue, client, text, now_ms)

        streams.Hub.publish, ws_api.answer = watched_publish, watched_answer
        self.module, self.undo = exchange, (streams, publish, ws_api, answer)
        self.ctx = Context(config, "exchange")

    async def __aenter__(self) -> "Exchange":
        self.task = asyncio.create_task(self.module.run(self.ctx))
        while not (self.ctx.config.run_dir / "exchange.json").exists():
            await asyncio.sleep(0.01)
            if self.task.done():
                self.task.result()
        return self

    async def __aexit__(self, *_) -> None:
        self.ctx.stop.set()
        await self.task
        await self.ctx.close()
        streams, streams.Hub.publish, ws_api, ws_api.answer = self.undo


def root_with(quotes: float) -> Path:
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (root / "mesh.toml").write_text(SETTINGS.format(quotes=quotes))
    return root


async def through_the_mesh(quotes: float, processes: tuple) -> list[int]:
    """ns per order."""
    root = root_with(quotes)
    config = load(root)
    children: list[subprocess.Popen] = []
    try:
        async with Exchange(config) as exchange:
            for words in processes:
                children.append(subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=root))
            await until(lambda: len(exchange.arrived) > 20, 60)
            exchange.arrived.clear()
            await asyncio.sleep(SECONDS)
            for child in children:
                child.send_signal(signal.SIGTERM)
            await until(lambda: all(child.poll() is not None for child in children), 30)
        quote_of_seq: dict[int, int] = {}
        signal_cause: dict[int, int] = {}
        out = []
        for event in LogReader(config.log_dir).events():
            if event.kind == Kind.quote:
                quote_of_seq[event.seq] = event.last_id
            elif event.kind == Kind.signal:
                signal_cause[event.seq] = event.cause_seq
            elif event.kind == Kind.intent:
                client = bytes(event.records["client_order_id"][0]).decode()
                sent = exchange.sent.get(quote_of_seq.get(signal_cause.get(event.cause_seq, 0), 0))
                if client in exchange.arrived and sent:
                    out.append(exchange.arrived[client] - sent)
        return out
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


async def until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the mesh of the benchmark did not come to work")
        await asyncio.sleep(0.05)


def bare_script(ws: str, key: str, secret: str) -> None:
    """Quote in, imbalance, order out: one process, no log, no risk, no memory."""
    import websockets.sync.client as client
    from websockets.exceptions import ConnectionClosed

    class Data(msgspec.Struct):
        u: int
        B: str
        A: str

    decode = msgspec.json.Decoder(Data).decode
    over = contextlib.suppress(ConnectionClosed, msgspec.ValidationError)  # when the exchange ends: it says so before
    with over, client.connect(f"{ws}/ws/btcusdt@bookTicker") as quotes, client.connect(f"{ws}/ws-api/v3") as orders:
        last = 0.0
        for number, frame in enumerate(quotes):
            data = decode(frame)
            bid, ask = float(data.B), float(data.A)
            imbalance = (bid - ask) / (bid + ask)
            if abs(imbalance) > 0.1 and time.monotonic() - last > 0.005:
                last = time.monotonic()
                parameters = {
                    "apiKey": key, "newClientOrderId": f"bare-{data.u}", "quantity": "0.001", "recvWindow": 2000,
                    "side": "BUY" if imbalance > 0 else "SELL", "symbol": "BTCUSDT",
                    "timestamp": int(time.time() * 1000), "type": "MARKET",
                }  # fmt: skip
                payload = "&".join(f"{k}={v}" for k, v in parameters.items())
                parameters["signature"] = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
                orders.send(msgspec.json.encode({"id": number, "method": "order.place", "params": parameters}).decode())
                with contextlib.suppress(TimeoutError):
                    orders.recv(timeout=0)


async def through_the_bare_script(quotes: float) -> list[int]:
    root = root_with(quotes)
    config = load(root)
    process = None
    try:
        async with Exchange(config) as exchange:
            where = msgspec.json.decode((config.run_dir / "exchange.json").read_bytes())
            spawn = multiprocessing.get_context("spawn")
            keys = config.exchange.api_key, config.exchange.api_secret
            process = spawn.Process(target=bare_script, args=(where["ws"], *keys), daemon=True)
            process.start()
            await until(lambda: len(exchange.arrived) > 20, 60)
            exchange.arrived.clear()
            await asyncio.sleep(SECONDS)
            return [
                at - exchange.sent[int(client[5:])]
                for client, at in exchange.arrived.items()
                if int(client[5:]) in exchange.sent
            ]
    finally:
        if process is not None:
            process.kill()
            process.join()
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    import uvloop

    print(f"tick to order, wire to wire (p50, p99); {os.cpu_count()} cores, exchange included; medians of {ROUNDS} rounds")
    for quotes in (60, 600):
        floors: list[tuple[float, float]] = []
        ours: dict[str, list[tuple[float, float]]] = {name: [] for name in MESHES}
        for _ in range(ROUNDS):
            floors.append(microseconds(uvloop.run(through_the_bare_script(quotes))))
            for name, processes in MESHES.items():
                ours[name].append(microseconds(uvloop.run(through_the_mesh(quotes, processes))))
        bare = np.array(floors)
        for name, rounds in ours.items():
            (p50, p99), (floor50, floor99) = np.median(rounds, axis=0), np.median(bare, axis=0)
            ratio50, ratio99 = np.median(np.array(rounds) / bare, axis=0)
            line(
                f"{name}, {quotes} quotes/s", f"{p50:,.0f} µs, {p99:,.0f} µs",
                f"bare script {floor50:,.0f} µs, {floor99:,.0f} µs  | ratio {ratio50:.2f}, {ratio99:.2f}",
            )  # fmt: skip


if __name__ == "__main__":
    main()
