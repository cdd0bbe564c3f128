"""Heavy work of clients: few pieces at once, within a share of a core, and a refusal where too many wait."""

import asyncio
import threading

import pytest

from tickmesh.nodes.gateway.core_share import SAVED_S, CoreShare
from tickmesh.nodes.gateway.paced_threads import THREADS, WAITING_MAX, PacedThreads
from tickmesh.nodes.gateway.problems import RequestProblem


def work() -> int:
    return sum(range(100_000))


def spent(seconds: list[float]) -> CoreShare:
    """A fiftieth of a core, of a process that has used the last of `seconds`, by a clock that stands still."""
    return CoreShare(1 / 50, lambda: seconds[-1], lambda: 0.0)


def test_what_was_used_is_paid_for_before_the_next_piece():
    """With a clock that stands still a process that owes never has its turn; one that has something left goes on."""

    async def done(used: list[float]) -> int:
        threads = PacedThreads(spent(used))

        def piece() -> int:
            used.append(used[-1] + 0.3)
            return work()

        tasks = [asyncio.create_task(threads.call(piece)) for _ in range(20)]
        finished, late = await asyncio.wait(tasks, timeout=1.0)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        assert {task.result() for task in finished} <= {work()}
        return len(finished)

    assert SAVED_S / 0.3 <= asyncio.run(done([7.0])) <= SAVED_S / 0.3 + THREADS


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
