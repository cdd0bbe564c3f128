"""Waits in a loop for what others in it make true."""

import asyncio
import inspect
import time


async def until(condition, timeout_s=20.0, what="it"):
    """Waits until `condition()`, which may be a coroutine, holds."""
    deadline = time.monotonic() + timeout_s
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"{what} did not happen in time"
        await asyncio.sleep(0.01)


async def still(count, for_s=0.2, timeout_s=20.0):
    """Waits until `count()` has been the same for so long; gives it."""
    deadline = time.monotonic() + timeout_s
    before = count()
    while True:
        await asyncio.sleep(for_s)
        if (now := count()) == before:
            return now
        assert time.monotonic() < deadline, f"it goes on, from {before} to {now}"
        before = now
