"""Heavy work of clients: few pieces at once, a rest after each, and a refusal where too many wait."""

import asyncio
import threading

import pytest

from tickmesh.nodes.gateway import paced_threads
from tickmesh.nodes.gateway.paced_threads import THREADS, WAITING_MAX, PacedThreads
from tickmesh.nodes.gateway.problems import RequestProblem


def work() -> int:
    return sum(range(100_000))


def test_in_a_crowd_a_thread_rests_after_its_work(monkeypatch):
    """With a rest without an end, each thread works once; without one, all is done."""

    async def done(rest: float) -> int:
        monkeypatch.setattr(paced_threads, "REST", rest)
        monkeypatch.setattr(paced_threads, "REST_S_MAX", rest)
        threads = PacedThreads()
        tasks = [asyncio.create_task(threads.call(work)) for _ in range(THREADS + 3)]
        finished, late = await asyncio.wait(tasks, timeout=1.0 if rest else 30.0)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        assert {task.result() for task in finished} == {work()}
        return len(finished)

    assert asyncio.run(done(1e9)) == THREADS
    assert asyncio.run(done(0.0)) == THREADS + 3


def test_who_is_alone_waits_for_no_rest(monkeypatch):
    monkeypatch.setattr(paced_threads, "REST", 1e9)
    monkeypatch.setattr(paced_threads, "REST_S_MAX", 1e9)

    async def ask() -> list[int]:
        threads = PacedThreads()
        return [await threads.call(work) for _ in range(THREADS + 3)]

    assert asyncio.run(asyncio.wait_for(ask(), 60)) == [work()] * (THREADS + 3)


def test_few_work_at_once_and_too_many_are_refused():
    async def ask() -> None:
        threads, gate, at_once = PacedThreads(), threading.Event(), []

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


def test_what_work_raises_comes_back_and_its_place_is_free_again(monkeypatch):
    monkeypatch.setattr(paced_threads, "REST", 0.0)

    async def ask() -> None:
        threads = PacedThreads()
        for _ in range(WAITING_MAX + 1):
            with pytest.raises(ZeroDivisionError):
                await threads.call(lambda: 1 // 0)

    asyncio.run(asyncio.wait_for(ask(), 60))
