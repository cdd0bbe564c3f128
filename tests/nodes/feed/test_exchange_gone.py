"""A line whose local exchange is gone: it is not refused, there is nobody to ask, and it says so."""

import asyncio
import shutil

from tests.support.exchange_clients import served
from tests.support.feed_run import BUSY, line, published
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.nodes.feed import reachability, upkeep


def test_a_local_exchange_that_is_gone_is_named_and_its_return_too(tmp_path, monkeypatch):
    """run/exchange.json names a process that has ended, or is not there."""
    monkeypatch.setattr(reachability, "GRACE_S", 0.3)
    monkeypatch.setattr(upkeep, "ABSENT_LOOK_S", 0.1)
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path, {"feed": {"backoff_s": [0.01, 0.05]}, "exchange": BUSY})

    def said(ctx) -> list[tuple[str, str]]:
        found = [event.map() for event in published(ctx, Kind.alert)]
        return [(one["what"], one["target"]) for one in found if one["what"] in ("unreachable", "reachable")]

    async def scene() -> None:
        async with line(config) as ctx:
            async with served(config):
                await until(lambda: ctx.counters["events"], what="it to hear")
            (config.run_dir / "exchange.json").unlink()
            await until(lambda: said(ctx), what="the alert")
            assert said(ctx) == [("unreachable", "binance")]
            (why,) = [event.map()["why"] for event in published(ctx, Kind.alert) if event.map()["what"] == "unreachable"]
            assert "the local exchange: it does not run" in why
            async with line(config, "2") as other:
                await asyncio.sleep(0.8)
                assert said(other) == [], "beside a line that begins the exchange may begin, too"
            async with served(config):
                await until(lambda: len(said(ctx)) > 1, what="the end of it")
                assert said(ctx)[1:] == [("reachable", "binance")]

    try:
        asyncio.run(scene())
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
