"""The local venue, asked to commit faults, and its clients."""

import asyncio
import contextlib
import json
from collections import deque

import aiohttp
import websockets

from tests.support.exchange_clients import Rest, venue
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings

BUSY = "[exchange]\ntrades_per_s = 200\nquotes_per_s = 300\nlines = 1\n"
FAULTS = "/tickmesh/v1/faults"
TRADES = "/ws/btcusdt@trade"


async def command_fault(rest: Rest, **fault) -> int:
    """Commands a fault; gives its number."""
    async with rest.session.post(rest.base + FAULTS, json=fault) as answer:
        assert answer.status == 200, await answer.text()
        (number,) = (await answer.json())["added"]
    await asyncio.sleep(0.05)
    return number


async def end_fault(rest: Rest, number: int) -> None:
    """Ends a fault."""
    async with rest.session.delete(f"{rest.base}{FAULTS}?id={number}") as answer:
        assert answer.status == 200 and (await answer.json())["ended"] == [number]


def rows(folder, *kinds: str) -> list[list]:
    """Rows of these kinds in the exchange's ledger."""
    findings = Findings()
    found = [row for row in exchange_ledger.read_rows(folder / "data/sim/exchange", findings) if row[1] in kinds]
    assert findings.ok, findings.sentences
    return found


async def frames(socket, count: int) -> list[dict]:
    """The next `count` frames, parsed."""
    return [json.loads(await asyncio.wait_for(socket.recv(), 10)) for _ in range(count)]


async def read_until(socket, count: int, right) -> None:
    """Reads until the last `count` frames are right: how many were on their way before is the machine's load."""
    found = deque(await frames(socket, count), count)
    for _ in range(5000):
        if right(found):
            return
        found.extend(await frames(socket, 1))
    raise AssertionError(f"the last {count} of 5,000 frames: {list(found)[-3:]}")


async def ids(socket, count: int) -> list[int]:
    """The ids of the next `count` trades."""
    return [frame["t"] for frame in await frames(socket, count)]


async def is_there(rest: Rest) -> bool:
    """Whether the exchange answers, and does not refuse connections because it is down."""
    with contextlib.suppress(aiohttp.ClientError):
        return (await rest("GET", "/api/v3/time"))[0] == 200
    return False


async def gone(socket) -> bool:
    """Whether a connection closes within 5 s."""
    with contextlib.suppress(TimeoutError):
        while True:
            try:
                await asyncio.wait_for(socket.recv(), 5)
            except websockets.ConnectionClosed:
                return True
    return False


def scene(body, folder, toml: str = BUSY):
    """Runs `body(rest, ws, ctx)` beside an exchange."""

    async def run():
        async with venue(folder, toml) as (rest, ws, ctx):
            await body(rest, ws, ctx)

    asyncio.run(run())
