"""Heavy work for clients in threads: few at once, and in a crowd each piece is followed by a rest, so that it cannot take the
processor."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

from tickmesh.nodes.gateway.problems import RequestProblem

THREADS = 2  # at once: who asks for what is heavy waits for others who do, and nobody else does
WAITING_MAX = 32  # those that are at work among them
REST = 3.0  # times as long as a piece took of the processor its thread rests, where others wait: two take half a core
REST_S_MAX = 1.0  # what was loaded for the first piece of a kind took long, and the next will not

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class PacedThreads:
    """Calls what takes long."""

    def __init__(self) -> None:
        self._waiting = 0
        self._turns = asyncio.Semaphore(THREADS)

    async def call(self, call: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
        """Calls it in a thread when its turn has come. Raises RequestProblem where too many wait, and what it raises."""
        if self._waiting >= WAITING_MAX:
            raise RequestProblem(
                503, f"{self._waiting} requests for what is old or large wait; try again soon", {"Retry-After": "1"}
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
            taken_s = [0.0]
            try:
                return await asyncio.to_thread(_timed, taken_s, partial(call, *arguments))
            finally:
                rest_s = min(REST * taken_s[0], REST_S_MAX) if self._waiting > THREADS else 0.0
                asyncio.get_running_loop().call_later(rest_s, self._turns.release)
        finally:
            self._waiting -= 1


def _timed(taken_s: list[float], call: Callable[[], Answer]) -> Answer:
    """Calls it; puts into `taken_s` how much processor time of this thread it took."""
    begun_s = time.thread_time()
    try:
        return call()
    finally:
        taken_s[0] = time.thread_time() - begun_s
