"""Decode rate per kind of message, against msgspec's typed decoding of the same frames alone, in the same run.

Real frames of the capture where there is one (TICKMESH_DATA), else made ones of the same shape.
"""

import asyncio
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from bench.floor import line
from bus.config import Instrument
from nodes.transport import websocket
from nodes.venues import binance

DATA = Path(os.environ.get("TICKMESH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
CAPTURE = DATA / "hftbacktest/spot/btcusdt_20240808.gz"


class Levels(msgspec.Struct):
    """Depth as msgspec alone gives it: strings."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class LevelsFrame(msgspec.Struct):
    data: Levels


FLOORS = {
    "trade": msgspec.json.Decoder(binance.TradeFrame).decode,
    "bookTicker": msgspec.json.Decoder(binance.BookTickerFrame).decode,
    "depth@100ms": msgspec.json.Decoder(LevelsFrame).decode,
}
MESSAGES = 20_000
TURNS = 3


def made() -> list[bytes]:
    levels = b",".join(b'["618%02d.63000000","0.%08d"]' % (i, i * 977) for i in range(17))
    return [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
        b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}',
        b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
        b'"a":"61837.64000000","A":"1.54698000"}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,'
        b'"u":50093239202,"b":[' + levels + b'],"a":[' + levels + b"]}}",
    ]


def frames() -> list[bytes]:
    if not CAPTURE.is_file():
        return made()
    with gzip.open(CAPTURE) as file:
        return [frame for line in file if (frame := line.rstrip(b"\n").split(b" ", 1)[1]).startswith(b'{"stream"')]


def rate(function: Callable[[bytes], object], sample: list[bytes]) -> float:
    """Messages a second, the best of some turns."""
    best = float("inf")
    for _ in range(TURNS):
        start = time.perf_counter()
        for frame in sample:
            function(frame)
        best = min(best, time.perf_counter() - start)
    return len(sample) / best


async def over_loopback(sample: list[bytes]) -> float:
    """Messages a second through a real websocket and the decoder, sender in the same process and loop."""
    routes = binance.routes([Instrument(symbol="BTCUSDT")])
    spent = received = 0
    done = asyncio.Event()

    def on_frames(recv_ns: int, messages: list[bytes]) -> None:
        nonlocal received
        for message in messages:
            binance.decode(message, recv_ns, routes)
        received += len(messages)
        if received >= len(sample):
            done.set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        for frame in sample:
            await ws.send_str(frame.decode())
        await ws.receive()
        return ws

    app = web.Application()
    app.router.add_get("/stream", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    start = time.perf_counter()
    connection = await websocket.connect(f"ws://127.0.0.1:{runner.addresses[0][1]}/stream", on_frames, 60.0)
    await done.wait()
    spent = time.perf_counter() - start
    await connection.close()
    await runner.cleanup()
    return len(sample) / spent


def main() -> None:
    everything = frames()
    source = CAPTURE.name if CAPTURE.is_file() else "made frames"
    routes = binance.routes([Instrument(symbol="BTCUSDT")])
    print(f"decode, {source}: messages/s to events, floor: msgspec's typed decoding alone")
    for name, floor in FLOORS.items():
        sample = [frame for frame in everything if f'@{name}"'.encode() in frame[:48]]
        sample = (sample * (MESSAGES // len(sample) + 1))[:MESSAGES]
        whole, alone = rate(lambda frame: binance.decode(frame, 1, routes), sample), rate(floor, sample)
        levels = sum(frame.count(b"[") for frame in sample) / len(sample) - 2
        shape = f", {levels:.0f} levels a message" if name.startswith("depth") else ""
        line(f"  decode @{name}{shape}", f"{whole:,.0f}/s", f"{alone:,.0f}/s", whole / alone)
    sample = (everything * (MESSAGES // len(everything) + 1))[:MESSAGES]
    line("  websocket → events, sender in the same process", f"{asyncio.run(over_loopback(sample)):,.0f}/s")


if __name__ == "__main__":
    main()
