"""Heavy work for clients in threads: few pieces at once, and of a crowd none while it has used more than its share."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

from tickmesh.nodes.gateway.core_share import CoreShare
from tickmesh.nodes.gateway.problems import RequestProblem

THREADS = 2  # at once: who asks for what is heavy waits for others who do, and nobody else does
WAITING_MAX = 32  # those that are at work among them
ALONE_S = 1.0  # that a piece waits at most for its share while nobody waits behind it: one person who looks around is no crowd

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class PacedThreads:
    """Calls what takes long. `share`: of a core, that all of it may take."""

    def __init__(self, share: CoreShare) -> None:
        self.share = share
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
            async with self._turns:
                await self.share.paid(ALONE_S if self._waiting <= THREADS else float("inf"))
                return await asyncio.to_thread(self._timed, partial(call, *arguments))
        finally:
            self._waiting -= 1

    def _timed(self, call: Callable[[], Answer]) -> Answer:
        """Calls it; charges what it took of the processor in this thread."""
        begun_s = time.thread_time()
        try:
            return call()
        finally:
            self.share.charge(time.thread_time() - begun_s)
