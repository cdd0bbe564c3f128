"""The session at the local exchange that answers 429: it waits as long as it is told, and sends nothing meanwhile."""

import asyncio
import contextlib
import shutil
import time

import aiohttp
import pytest

from tests.support.exchange_clients import Rest, served
from tests.support.places import KNOWN
from tests.support.session_scene import Mesh
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.nodes.sequencer import node as sequencer

TOLD_S = 8
ORDER = {"lots": 1_000_000, "price_ticks": 5_000_000_000_000}  # 0.01 at 50000: it rests


@contextlib.asynccontextmanager
async def trading(tmp_path, **exchange):
    """Runs a sequencer, a session and the local exchange; gives the mesh and a REST client of the exchange."""
    (tmp_path / "mesh.toml").write_text(KNOWN)
    config = load(tmp_path, {"exchange": {"lines": 0, **exchange}, "session": {"backoff_s": [0.01, 0.05]}})
    async with served(config) as (rest, _, _), aiohttp.ClientSession() as http:
        log = sequencer.SequencerContext(config, "sequencer")
        sequencing = asyncio.create_task(sequencer.run(log))
        await asyncio.sleep(0.05)
        mesh = Mesh(config, None)
        mesh.start()
        try:
            yield mesh, Rest(rest, http)
        finally:
            mesh.ctx.stop.set()
            await asyncio.wait_for(asyncio.gather(mesh.task, return_exceptions=True), 5)
            await mesh.ctx.close()
            await mesh.executor.close()
            log.stop.set()
            await asyncio.wait_for(sequencing, 5)
            await log.close()
            shutil.rmtree(config.outbox_dir, ignore_errors=True)


async def faults(rest, **planned):
    """The exchange's faults, after one more is planned."""
    method = "POST" if planned else "GET"
    async with rest.session.request(method, rest.base + "/tickmesh/v1/faults", json=planned or None) as answer:
        return (await answer.json())["faults"]


async def lasts(rest):
    """Whether a fault lasts."""
    return any(row["state"] == "active" for row in await faults(rest))


async def refused(rest):
    """How many requests the exchange's faults have answered."""
    return sum(row["taken"] for row in await faults(rest))


@pytest.mark.parametrize("status, code", [(429, -1015), (429, -1003), (418, -1003)])
def test_no_order_is_sent_before_the_moment_that_the_answer_names(tmp_path, status, code):
    async def play():
        async with trading(tmp_path) as (mesh, rest):
            mesh.publish_intent("first", **ORDER, ttl_s=60)
            await until(lambda: mesh.states("first")[-1:] == ["New"])
            await faults(rest, kind="answer", endpoint="order.place", status=status, code=code, retry_after_s=TOLD_S)
            await until(lambda: lasts(rest))
            told = time.monotonic()
            mesh.publish_intent("late-0", **ORDER, ttl_s=TOLD_S / 4)
            await until(lambda: mesh.states("late-0")[-1:] == ["Rejected"])  # the answer has come
            for number in range(1, 20):
                mesh.publish_intent(f"late-{number}", **ORDER, ttl_s=TOLD_S / 4)
                await asyncio.sleep(0.05)
            await until(lambda: all(mesh.states(f"late-{n}")[-1:] in (["Rejected"], ["Expired"]) for n in range(20)))
            assert time.monotonic() - told < TOLD_S, "the machine is too slow for this test"
            assert mesh.ctx.counters["orders_sent"] == 2 and await refused(rest) == 1
            mesh.publish_intent("after", **ORDER, ttl_s=60)
            await until(lambda: mesh.ctx.counters["orders_sent"] == 3)
            assert time.monotonic() - told >= TOLD_S - 0.2 and await refused(rest) == 2

    asyncio.run(play())


def test_the_venues_own_limit_on_orders_is_kept_as_its_answers_count_them(tmp_path):
    async def play():
        async with trading(tmp_path, limits={"orders_per_10_s": 3}) as (mesh, rest):
            await asyncio.sleep(10.05 - time.time() % 10 if time.time() % 10 > 2 else 0)  # a window of our own
            for number in range(12):
                mesh.publish_intent(f"o-{number}", **ORDER, ttl_s=3)
                if number < 3:  # an answer says how many were counted: what is sent before it came is sent unknowing
                    await until(lambda number=number: mesh.states(f"o-{number}")[-1:] == ["New"])
            await until(lambda: all(mesh.states(f"o-{n}")[-1:] in (["New"], ["Rejected"], ["Expired"]) for n in range(12)))
            ended = [mesh.states(f"o-{n}") for n in range(12)]
            assert ended.count(["PendingNew", "New"]) == 3
            assert mesh.ctx.counters["orders_sent"] == 3, "the fourth would be refused"
            _, rows = await rest.order("GET", "/api/v3/openOrders")
            assert len(rows) == 3

    asyncio.run(play())
