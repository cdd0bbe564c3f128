"""The floor of capture: one client that receives a market's streams, decodes each message, and keeps nothing.

    python -m bench.decoding_client WS_ADDRESS SYMBOL

Run by message.py. It writes how many messages it has had on each line that it reads from its standard input.
"""

import asyncio
import sys

import msgspec
import websockets

STREAMS = ("trade", "bookTicker", "depth@100ms")


class _Data(msgspec.Struct):
    """What a message of any of the streams may hold; prices as the venue writes them."""

    u: int = 0
    t: int = 0
    U: int = 0
    E: int = 0
    p: str = ""
    q: str = ""
    m: bool = False
    b: str | list[tuple[str, str]] = ""
    a: str | list[tuple[str, str]] = ""
    B: str = ""
    A: str = ""


class _Message(msgspec.Struct):
    stream: str
    data: _Data


async def _receive(ws: str, symbol: str) -> None:
    count = 0

    async def answer() -> None:
        while await asyncio.to_thread(sys.stdin.readline):
            print(count, flush=True)

    answering = asyncio.create_task(answer())
    decode = msgspec.json.Decoder(_Message).decode
    names = "/".join(f"{symbol.lower()}@{stream}" for stream in STREAMS)
    async with websockets.connect(f"{ws}/stream?streams={names}", compression=None, max_size=None) as messages:
        async for message in messages:
            decode(message)
            count += 1
    await answering


if __name__ == "__main__":
    import uvloop

    uvloop.run(_receive(*sys.argv[1:]))
