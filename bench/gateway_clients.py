"""Clients of a gateway in a process of their own: idle streams, and some that ask all the time.

A crowd is on other machines, and takes none of this one's processor: when all are connected they go on with what nobody else
wants of it (SCHED_IDLE), in the session of who started them, so that autogrouping does not give them a share of their own.
`python -m bench.gateway_clients URL IDLE GREEDY` prints a line when all are there, and one with what they did at SIGTERM.
"""

import asyncio
import os
import signal
import sys
from collections import Counter

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

NICE = 19  # until they are connected
OPEN_S = 120.0  # for a handshake, on a busy machine
AT_ONCE = 50  # connections that are being made
PATHS = (
    "/v1/events?limit=5000", "/v1/trades?after=0&limit=5000", "/v1/books?instrument=BTCUSDT&levels=1000",
    "/v1/quotes?limit=1000", "/v1/processes", "/v1/events?start=1m&limit=5000",
)  # fmt: skip


async def idle(url: str, gate: asyncio.Semaphore, counts: Counter[str], streams: list[ClientConnection]) -> None:
    """Holds a stream of what hardly ever comes, and reads what it is sent."""
    address = f"{url.replace('http', 'ws', 1)}/v1/stream?topics=alert"
    stream = None
    while stream is None:
        async with gate:
            try:
                stream = await connect(address, compression=None, ping_interval=None, open_timeout=OPEN_S)
            except InvalidStatus as refused:  # as many at once as one address may
                if refused.response.status_code != 429:
                    raise
                await asyncio.sleep(1)
    streams.append(stream)
    async for _ in stream:
        counts["messages"] += 1


async def greedy(url: str, counts: Counter[str]) -> None:
    """Asks for as much as it may, again and again, without a pause."""
    async with aiohttp.ClientSession() as session:
        while True:
            for path in PATHS:
                async with session.get(f"{url}{path}") as answer:
                    counts[f"answers {answer.status}"] += 1
                    counts["bytes"] += len(await answer.read())


async def main(url: str, idle_count: int, greedy_count: int) -> None:
    """Runs them all until SIGTERM."""
    os.nice(NICE)
    counts: Counter[str] = Counter()
    streams: list[ClientConnection] = []
    gate, stop = asyncio.Semaphore(AT_ONCE), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(idle(url, gate, counts, streams)) for _ in range(idle_count)]
    while len(streams) < idle_count:
        await asyncio.sleep(0.05)
        for task in tasks:
            if task.done():
                task.result()
    tasks += [asyncio.create_task(greedy(url, counts)) for _ in range(greedy_count)]
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # threads that begin later have it, too
    print("there", flush=True)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
