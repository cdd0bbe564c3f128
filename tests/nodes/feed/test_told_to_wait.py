"""Lines of a venue that is told to leave it alone: asked once, obeyed by all of them, said, and then they go on."""

import asyncio
import json
import shutil

import aiohttp

from tests.support.command_run import mesh_here
from tests.support.exchange_clients import Rest, served
from tests.support.feed_run import BUSY, fault, line, published
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.nodes.net import waits

TOLD_S = 31


def alerts(ctx) -> list[dict]:
    """What a line has raised about being told to wait."""
    return [found for event in published(ctx, Kind.alert) if (found := event.map())["what"] == "told_to_wait"]


def test_two_lines_ask_a_server_once_that_refuses_them_with_a_time_and_go_on_when_it_is_over(tmp_path):
    """429 at the handshake. What is left of the time is taken back by hand, as its alert says."""
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path, {"feed": {"backoff_s": [0.01, 0.05], "renew": False}, "exchange": BUSY})

    async def refusals(rest) -> int:
        async with rest.session.get(rest.base + "/tickmesh/v1/faults") as answer:
            rows = (await answer.json())["faults"]
            return sum(row["taken"] for row in rows if row["fault"]["kind"] == "refuse")

    async def scene() -> None:
        async with served(config) as (base, _, _venue), aiohttp.ClientSession() as session:
            rest = Rest(base, session)
            async with line(config, "1") as first, line(config, "2") as second:
                await until(lambda: first.counters["events"] and second.counters["events"], what="both to hear")
                await fault(rest, kind="refuse", status=429, retry_after_s=TOLD_S, length_s=600)
                await fault(rest, kind="cut", length_s=0)
                await until(lambda: waits.all_waits(config), what="the venue's word")
                await asyncio.sleep(1.0)
                assert 1 <= await refusals(rest) <= 2, "lines may meet at the door; nobody comes again"
                lines = first.counters, second.counters
                await until(lambda: all(one["waiting"] and one["no_data_until"] for one in lines), what="health to say it")
                (until_when,) = {one["no_data_until"] for one in lines}
                assert until_when == waits.as_json(waits.all_waits(config)[0])["until"], "and until when nothing is heard"
                told = [*alerts(first), *alerts(second)]
                assert 1 <= len(told) <= 2 and all("429" in one["why"] for one in told)
                (wait,) = waits.all_waits(config)
                assert TOLD_S - 5 < wait.left_s <= TOLD_S
                status = json.loads(mesh_here(config.root, "status", "--json").stdout)
                assert status["told_to_wait"] == [] and not status["running"], "of a mesh that is down there is nothing to say"
                async with rest.session.delete(rest.base + "/tickmesh/v1/faults") as answer:
                    assert answer.status == 200
                for file in (config.run_dir / "waits").iterdir():
                    file.unlink()
                counts = first.counters["connections"], second.counters["connections"]
                await until(
                    lambda: first.counters["connections"] > counts[0] and second.counters["connections"] > counts[1], 10,
                    what="both lines to come back",
                )  # fmt: skip
                await until(lambda: not (first.counters["waiting"] or second.counters["waiting"]), what="health to follow")
                await until(lambda: not (first.counters["no_data_until"] or second.counters["no_data_until"]), what="that, too")

    try:
        asyncio.run(scene())
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
