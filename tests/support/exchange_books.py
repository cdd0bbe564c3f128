"""Books rebuilt from the local venue's streams, and compared with its own."""

import json
import os
import socket as sockets
import subprocess
import sys
from pathlib import Path

from tests.support.places import PROJECT


class RebuiltBook:
    """A client's book, rebuilt from a snapshot and then diffs (venues.md §1.4)."""

    def __init__(self, snapshot: dict):
        self.id = snapshot["lastUpdateId"]
        self.bids = {p: q for p, q in snapshot["bids"]}
        self.asks = {p: q for p, q in snapshot["asks"]}

    def apply(self, diff: dict) -> bool:
        """Applies a diff; False for one that the book has already."""
        if diff["u"] <= self.id:
            return False
        assert diff["U"] <= self.id + 1, f"a hole before {diff['U']}: the book is at {self.id}"
        for side, rows in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in rows:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.id = diff["u"]
        return True

    def best(self) -> tuple:
        """Best bid and ask with their quantities, as text."""
        bid, ask = max(self.bids, key=float), min(self.asks, key=float)
        return bid, self.bids[bid], ask, self.asks[ask]


def compare(book: RebuiltBook, frames: list[dict]) -> int:
    """Applies diffs and compares the best levels with every bookTicker of an equal id; gives how many there were."""
    tickers = {f["data"]["u"]: f["data"] for f in frames if f["stream"].endswith("@bookTicker")}
    equal = 0
    previous = None
    for frame in frames:
        if "@depth" not in frame["stream"]:
            continue
        diff = frame["data"]
        assert previous is None or diff["U"] == previous + 1
        previous = diff["u"]
        if book.apply(diff) and book.id in tickers:
            ticker = tickers[book.id]
            assert book.best() == (ticker["b"], ticker["B"], ticker["a"], ticker["A"]), book.id
            equal += 1
    return equal


ALL = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"


def connect_unread(url: str) -> sockets.socket:
    """Connects a websocket client that asks for everything and reads nothing."""
    host, port = url.removeprefix("ws://").partition("/")[0].split(":")
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(
        f"GET {url.partition(port)[2]} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return client


CHILD = """
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace
from tickmesh.bus.config import load
from tickmesh.nodes.exchange import node as exchange
from tickmesh.nodes.exchange.market.tape import RETAINED, Print

async def main():
    stop = asyncio.Event()
    import signal
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    up = lambda **_: print("ready", flush=True)
    await exchange.run(SimpleNamespace(config=load(Path(sys.argv[1])), stop=stop, ready=up, counters={}))

import uvloop
uvloop.run(main())
"""


class Process:
    """A local exchange in a process of its own."""

    def __init__(self, folder: Path):
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, cwd=PROJECT, text=True
        )
        assert self.child.stdout.readline() == "ready\n"
        self.where = json.loads((folder / "run" / "exchange.json").read_text())
        assert self.where["pid"] == self.child.pid

    def end(self, number: int) -> None:
        """Ends it by a signal."""
        os.kill(self.child.pid, number)
        self.child.wait(10)
        self.child.stdout.close()
