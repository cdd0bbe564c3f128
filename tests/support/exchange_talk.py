"""Talks with the local venue over its sockets: a scene with a time limit, the next message, the answer to a request."""

import asyncio
import json

FAST = "[exchange]\ntrades_per_s = 200\nquotes_per_s = 400\nlines = 1\n"


def run(scene) -> None:
    """Runs a scene within a minute."""
    asyncio.run(asyncio.wait_for(scene(), 60))


async def receive(socket) -> dict:
    """The next message, parsed."""
    return json.loads(await asyncio.wait_for(socket.recv(), 20))


async def ask(socket, message) -> dict:
    """Sends a control message; gives its answer, past the data around it."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    while True:
        answer = await receive(socket)
        if "result" in answer or "code" in answer:
            return answer


async def collect(socket, wanted: set, timeout_s: float = 15.0) -> dict[str, list[dict]]:
    """Reads frames by stream, until each of the wanted streams has sent one."""
    out: dict[str, list[dict]] = {}
    async with asyncio.timeout(timeout_s):
        while not wanted <= set(out):
            frame = json.loads(await socket.recv())
            if "stream" in frame:
                out.setdefault(frame["stream"], []).append(frame["data"])
    return out
