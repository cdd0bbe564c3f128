"""Heavy work of clients: few pieces at once, within a share of a core, and a refusal where too many wait."""

import asyncio
import threading
import time

import pytest

from tickmesh.nodes.gateway import paced_threads
from tickmesh.nodes.gateway.core_share import SAVED_S, CoreShare
from tickmesh.nodes.gateway.paced_threads import THREADS, WAITING_MAX, PacedThreads
from tickmesh.nodes.gateway.problems import RequestProblem


def work() -> int:
    return sum(range(100_000))


def long_work() -> int:
    """A piece that takes a part of a second of the processor."""
    end_s = time.thread_time() + 0.3
    while time.thread_time() < end_s:
        work()
    return work()


async def done(pieces: int, ahead: int) -> int:
    """How many of so many pieces, `ahead` asked for at once, are done in seconds, where the share gives nothing again."""
    threads, count = PacedThreads(CoreShare(1e-9)), 0

    async def ask(own: int) -> None:
        nonlocal count
        for _ in range(own):
            assert await threads.call(long_work) == work()
            count += 1

    tasks = [asyncio.create_task(ask(pieces // ahead)) for _ in range(ahead)]
    _, late = await asyncio.wait(tasks, timeout=20.0 if ahead == 1 else 4.0)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return count


def test_a_crowd_waits_for_its_share_and_who_is_alone_a_little(monkeypatch):
    monkeypatch.setattr(paced_threads, "ALONE_S", 0.01)
    assert asyncio.run(done(6, 1)) == 6
    assert asyncio.run(done(20, 20)) <= SAVED_S / 0.3 + 1 + THREADS


def test_few_work_at_once_and_too_many_are_refused():
    async def ask() -> None:
        threads, gate, at_once = PacedThreads(CoreShare(1.0)), threading.Event(), []

        def hold(number: int) -> int:
            at_once.append(number)
            gate.wait(30)
            return number

        tasks = [asyncio.create_task(threads.call(hold, number)) for number in range(WAITING_MAX)]
        while len(at_once) < THREADS:
            await asyncio.sleep(0.01)
        with pytest.raises(RequestProblem) as refused:
            await threads.call(hold, -1)
        assert refused.value.status == 503 and refused.value.headers["Retry-After"]
        assert len(at_once) == THREADS
        gate.set()
        assert await asyncio.gather(*tasks) == list(range(WAITING_MAX))
        assert await threads.call(hold, 7) == 7, "there is room again"

    asyncio.run(asyncio.wait_for(ask(), 60))


def test_what_work_raises_comes_back_and_its_place_is_free_again():
    async def ask() -> None:
        threads = PacedThreads(CoreShare(1.0))
        for _ in range(WAITING_MAX + 1):
            with pytest.raises(ZeroDivisionError):
                await threads.call(lambda: 1 // 0)

    asyncio.run(asyncio.wait_for(ask(), 60))
