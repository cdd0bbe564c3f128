"""A feed beside the local exchange, in one loop but over real sockets, and what its outbox must show afterwards."""

import asyncio
import contextlib
import shutil
from types import SimpleNamespace

import aiohttp

from tests.support.exchange_clients import Rest, served
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.layout import header_slice
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Flag, Kind
from tickmesh.nodes.feed import node as feed
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.rebuilding import rebuild_line
from tickmesh.nodes.venues.table import adapter_of

BUSY = {"trades_per_s": 200, "quotes_per_s": 300, "lines": 0}
MARKET = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth)
STAMPS = tuple(header_slice(name) for name in ("producer", "epoch", "number", "sent_ns"))


@contextlib.asynccontextmanager
async def line(config, instance="1"):
    """Runs a feed; gives its context, and raises what it raised."""
    ctx = Context(config, f"feed-{instance}", instance)
    task = asyncio.create_task(feed.run(ctx))
    await until(lambda: ctx.counters or task.done(), what="its start")
    try:
        yield ctx
        assert not task.done(), task.exception()
    finally:
        ctx.stop.set()
        await asyncio.wait_for(task, 10)
        await ctx.close()


@contextlib.asynccontextmanager
async def beside_exchange(folder, settings=None, exchange=None, **more):
    """Runs a feed and an exchange; gives both contexts, a REST client and the settings."""
    (folder / "mesh.toml").write_text("")
    raw = {"raw": True, "backoff_s": [0.01, 0.1]}
    config = load(folder, {"feed": {**raw, **(settings or {})}, "exchange": {**BUSY, **(exchange or {})}, **more})
    try:
        async with served(config) as (base, _, venue), aiohttp.ClientSession() as session:
            async with line(config) as ctx:
                yield SimpleNamespace(feed=ctx, exchange=venue, rest=Rest(base, session), config=config)
            assert_rebuilt_equal(ctx)
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)


async def fault(rest, **terms):
    """Commands a fault from the exchange."""
    async with rest.session.post(rest.base + "/tickmesh/v1/faults", json=terms) as answer:
        assert answer.status == 200, await answer.text()


def published(ctx, *kinds):
    """Events of these kinds in the feed's outbox."""
    return [event for event in LogReader(ctx.config.outbox_dir / ctx.name).events() if event.kind in kinds]


def ids(ctx, kind):
    """Last ids of the events of a kind in the feed's outbox."""
    return [event.last_id for event in published(ctx, kind)]


def changes(ctx):
    """(first id, last id) of the depth changes in the feed's outbox, without the snapshots."""
    return [(e.first_id, e.last_id) for e in published(ctx, Kind.depth) if not e.flags & Flag.SNAPSHOT]


def assert_nothing_lost(ctx, trades=10):
    """Asserts that every trade and change of the book is in the outbox once and in order, and quotes rise."""
    found = ids(ctx, Kind.trade)
    assert len(found) >= trades and found == list(range(found[0], found[0] + len(found)))
    chain = changes(ctx)
    assert all(one[1] + 1 == next_[0] for one, next_ in zip(chain, chain[1:], strict=False))
    quotes = ids(ctx, Kind.quote)
    assert quotes == sorted(set(quotes))


def without_stamps(raw):
    """An event without the outbox's stamps."""
    event = bytearray(raw)
    for field in STAMPS:
        event[field] = bytes(field.stop - field.start)
    return bytes(event)


def assert_rebuilt_equal(ctx):
    """Asserts that the raw frames make the same market events again, byte for byte but for the outbox's stamps."""
    if not ctx.config.feed.raw:
        return
    adapter = adapter_of(line_of(ctx.config, ctx.instance)[0])
    instruments = [i for i in ctx.config.instruments if i.venue == adapter.VENUE]
    raws = published(ctx, Kind.raw)
    again = [without_stamps(one) for made in rebuild_line(raws, adapter, instruments, ctx.config.feed) for one in made]
    live = [without_stamps(event.raw) for event in published(ctx, *MARKET)]
    assert live and again == live
