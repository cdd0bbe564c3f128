"""The emergency cancel, as its own process against the local exchange: it needs nothing else of the mesh."""

import asyncio
import json
import sys

import pytest

from tests.support.exchange_clients import limit, venue
from tickmesh.bus.file_lock import FileLock
from tickmesh.nodes.exchange.server.faults import PATH
from tickmesh.nodes.session.credentials import read_credentials
from tickmesh.nodes.session.emergency import EmergencyCanceller

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

OURS = "t0123456789abcdef-{:x}-0"
COUNT = 12


def run(scene) -> None:
    """Plays a scene; a process of its own takes its time to start on a busy machine."""
    asyncio.run(asyncio.wait_for(scene(), 280))


async def place(rest, folder) -> None:
    """Orders of ours on two lines of the book, and two of somebody else."""
    names = [OURS.format(i) for i in range(COUNT)] + ["by-hand", "t-of-another-program"]
    for i, name in enumerate(names):
        status, answer = await rest.order(**limit("BUY", f"{50_000 + i}.00", newClientOrderId=name))
        assert status == 200, answer


async def open_orders(rest) -> set[str]:
    status, rows = await rest.order("GET", "/api/v3/openOrders")
    assert status == 200
    return {row["clientOrderId"] for row in rows}


async def emergency(folder) -> tuple[int, dict, str]:
    """Runs the process; gives its exit code, what it printed, and its log."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickmesh.nodes.session.emergency", cwd=folder, stdout=pipe, stderr=pipe
    )
    out, log = await process.communicate()
    return process.returncode or 0, json.loads(out), log.decode()


def test_it_cancels_ours_and_leaves_what_is_somebody_elses(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            await place(rest, tmp_path)
            code, outcome, log = await emergency(tmp_path)
            assert code == 0 and outcome["cancelled"] == COUNT and outcome["left"] == 0 and outcome["last_cancel_ns"] > 0
            assert await open_orders(rest) == {"by-hand", "t-of-another-program"}
            assert f"{COUNT} cancelled at the venue" in log and "local-secret" not in log
            code, outcome, _ = await emergency(tmp_path)
            assert (code, outcome["cancelled"], outcome["left"], outcome["last_cancel_ns"]) == (0, 0, 0, 0), (
                "nothing is left to do"
            )

    run(scene)


def test_where_foreign_orders_are_adopted_it_cancels_them_too(tmp_path):
    async def scene():
        async with venue(tmp_path, '[session]\nforeign = "adopt"\n') as (rest, _, _):
            await place(rest, tmp_path)
            code, outcome, _ = await emergency(tmp_path)
            assert code == 0 and outcome["cancelled"] == COUNT + 2 and await open_orders(rest) == set()

    run(scene)


@pytest.mark.parametrize("fault", [
    {"kind": "clock", "length_s": 0, "offset_ms": 20_000},
    {"kind": "answer", "length_s": 0, "endpoint": "DELETE /api/v3/order", "status": 503, "times": 9},
    {"kind": "answer", "length_s": 0, "endpoint": "GET /api/v3/openOrders", "status": 429, "retry_after_s": 1, "times": 1},
    {"kind": "refuse", "length_s": 0, "endpoint": "DELETE /api/v3/order", "status": 0, "times": 9},
], ids=["clock", "5xx", "429", "no answer"])  # fmt: skip
def test_it_goes_on_until_the_venue_shows_none_whatever_it_answers_first(tmp_path, fault):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            await place(rest, tmp_path)
            async with rest.session.post(f"{rest.base}{PATH}", json=fault) as answer:
                assert answer.status == 200, await answer.text()
            code, outcome, log = await emergency(tmp_path)
            assert code == 0 and outcome["left"] == 0, (outcome, log)
            async with rest.session.get(f"{rest.base}{PATH}") as answer:
                assert fault["kind"] == "clock" or (await answer.json())["faults"][0]["taken"], "the fault was met"
            async with rest.session.delete(f"{rest.base}{PATH}"):
                pass
            assert await open_orders(rest) == {"by-hand", "t-of-another-program"}

    run(scene)


def test_a_venue_that_is_away_is_said_after_the_patience(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, ctx):
            canceller = EmergencyCanceller(ctx.config, read_credentials(ctx.config))
            (ctx.config.run_dir / "exchange.json").write_text(
                (ctx.config.run_dir / "exchange.json").read_text().replace(rest.base, "http://127.0.0.1:1")
            )
            outcome = await canceller.cancel_all(patience_s=1.0)
            assert outcome.left == -1 and outcome.cancelled == 0 and "127.0.0.1:1" in outcome.why

    run(scene)


def test_without_a_key_or_beside_another_one_it_says_why(tmp_path):
    async def scene():
        async with venue(tmp_path, '[session]\nkey_file = "no.toml"\n') as (rest, _, ctx):
            code, outcome, log = await emergency(tmp_path)
            assert code == 1 and outcome["left"] == -1 and "no.toml cannot be read" in outcome["why"] and "not known" in log
            with FileLock.acquired(ctx.config.run_dir / "emergency.lock"):
                code, outcome, _ = await emergency(tmp_path)
            assert code == 1 and "another emergency cancel of this mesh is at work" in outcome["why"]

    run(scene)
