"""Heavy work for clients in threads: few pieces at once, and none while the process has used more than its share of a core."""

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from tickmesh.nodes.gateway.core_share import CoreShare
from tickmesh.nodes.gateway.problems import RequestProblem

THREADS = 2  # at once: who asks for what is heavy waits for others who do, and nobody else does
WAITING_MAX = 32  # those that are at work among them

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class PacedThreads:
    """Calls what takes long. `share`: of a core, that the process may use."""

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
                await self.share.paid()
                return await asyncio.to_thread(call, *arguments)
        finally:
            self._waiting -= 1
