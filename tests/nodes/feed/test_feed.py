"""The feed on a real loopback websocket and REST server, with a real outbox."""

import asyncio
import contextlib
import json

import pytest
from aiohttp import WSMsgType, web

from tests.support.feed_frames import INFO, depth, trade
from tests.support.waiting import still, until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.nodes.feed import node as feed
from tickmesh.nodes.net import exchange_address


class Venue:
    """A scripted venue: `script(ws, connection number)` runs after the SUBSCRIBE; snapshots are taken from a list."""

    def __init__(self, script, snapshots):
        self.script = script
        self.snapshots = list(snapshots)
        self.connections = 0
        self.asked_before_subscribed = False
        self.subscribed = False

    async def stream(self, request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.connections += 1
        number = self.connections
        async for message in ws:
            assert message.type is WSMsgType.TEXT
            assert json.loads(message.data)["params"] == [
                "btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms",
            ]  # fmt: skip
            self.subscribed = True
            await ws.send_str('{"result":null,"id":1}')
            await self.script(ws, number)
        return ws

    async def depth(self, request):
        self.asked_before_subscribed |= not self.subscribed
        last = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        if isinstance(last, web.Response):
            return last
        return web.json_response({"lastUpdateId": last, "bids": [["1.00000000", "2.00000000"]], "asks": []})

    async def info(self, request):
        return web.json_response(INFO)


@contextlib.asynccontextmanager
async def running(venue, tmp_path, context=Context, settings=None):
    """A feed connected to the venue, until the block ends."""
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path, {"feed": {"backoff_s": [0.01, 0.05], **(settings or {})}})
    app = web.Application()
    app.router.add_get("/stream", venue.stream)
    app.router.add_get("/api/v3/depth", venue.depth)
    app.router.add_get("/api/v3/exchangeInfo", venue.info)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config.run_dir.mkdir(exist_ok=True)
    exchange_address.write(config, f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
    ctx = context(config, "feed-1", "1")
    task = asyncio.create_task(feed.run(ctx))
    try:
        yield ctx
    finally:
        ctx.stop.set()
        await asyncio.wait_for(task, 5)
        await ctx.close()
        await runner.cleanup()


def said(ctx, *kinds):
    return [event for event in LogReader(ctx.config.outbox_dir / "feed-1").events() if event.kind in kinds]


def changes(ctx):
    """What was said of the book: ("snapshot", L) and (U, u), in order."""
    return [
        ("snapshot", event.last_id) if event.flags & Flag.SNAPSHOT else (event.first_id, event.last_id)
        for event in said(ctx, Kind.depth)
    ]


def test_frames_are_said_in_order_and_a_bad_one_is_refused_with_its_bytes(tmp_path):
    async def script(ws, number):
        await ws.send_str(trade(1))
        await ws.send_str("{this is no JSON")
        await ws.send_str(trade(2).replace("61837.63000000", "61837.630000001"))
        await ws.send_str(trade(3))

    async def go():
        async with running(Venue(script, [5]), tmp_path) as ctx:
            await until(lambda: len(said(ctx, Kind.trade)) == 2 and said(ctx, Kind.instrument))
            trades = said(ctx, Kind.trade)
            assert [event.last_id for event in trades] == [1, 3]
            assert all(event.recv_ns <= event.sent_ns for event in trades)
            assert trades[0].records["price_ticks"][0] == 6183763000000
            refusals = [event.map() for event in said(ctx, Kind.refusal)]
            assert [bytes(refusal["raw"])[:8] for refusal in refusals] == [b"{this is", b'{"stream']
            assert "61837.630000001" in refusals[1]["why"]
            definition = said(ctx, Kind.instrument)[0].records[0]
            assert (definition["tick_size"], definition["lot_size"]) == (1000000, 1000)
            assert definition["min_notional"] == 500000000
            assert ctx.counters["refused_frames"] == 2
            assert (ctx.config.run_dir / "ready" / "feed-1.json").is_file()

    asyncio.run(go())


def test_the_snapshot_stands_between_the_changes_before_and_after_it(tmp_path):
    feeds = []

    async def script(ws, number):
        await ws.send_str(depth(11, 20))
        await until(lambda: feeds and ("snapshot", 20) in changes(feeds[0]))
        for first in range(21, 51, 10):
            await ws.send_str(depth(first, first + 9))

    venue = Venue(script, [20])

    async def go():
        async with running(venue, tmp_path) as ctx:
            feeds.append(ctx)
            await until(lambda: len(changes(ctx)) == 5)
            assert changes(ctx) == [(11, 20), ("snapshot", 20), (21, 30), (31, 40), (41, 50)]

    asyncio.run(go())
    assert not venue.asked_before_subscribed


def test_a_skipped_change_is_followed_by_a_new_snapshot_and_no_change_is_lost(tmp_path):
    feeds = []

    async def script(ws, number):
        await ws.send_str(depth(11, 20))
        await until(lambda: feeds and ("snapshot", 15) in changes(feeds[0]))
        await ws.send_str(depth(31, 40))
        await until(lambda: ("snapshot", 35) in changes(feeds[0]))
        await ws.send_str(depth(41, 50))

    async def go():
        async with running(Venue(script, [15, 18, 35]), tmp_path) as ctx:
            feeds.append(ctx)
            await until(lambda: len(changes(ctx)) == 5)
            assert changes(ctx) == [(11, 20), ("snapshot", 15), (31, 40), ("snapshot", 35), (41, 50)], "nothing waits"
            await until(lambda: ctx.counters.get("resyncs") == 1)

    asyncio.run(go())


def test_it_reconnects_after_a_disconnect_and_synchronises_again(tmp_path):
    feeds = []

    async def script(ws, number):
        await ws.send_str(trade(number))
        await ws.send_str(depth(number * 100, number * 100 + 9))
        await until(lambda: feeds and ("snapshot", number * 100 + 5) in changes(feeds[0]))
        if number < 3:
            await ws.close()

    refused = web.Response(status=503, text="<html>busy</html>")

    async def go():
        async with running(Venue(script, [105, refused, 205, 305]), tmp_path) as ctx:
            feeds.append(ctx)
            await until(lambda: ctx.counters.get("reconnects", 0) >= 2 and (300, 309) in changes(ctx))
            assert [event.last_id for event in said(ctx, Kind.trade)] == [1, 2, 3]
            ids = [change for change in changes(ctx) if change[0] != "snapshot"]
            assert ids == [(100, 109), (200, 209), (300, 309)]
            definitions = said(ctx, Kind.instrument)  # the mark of each connection
            assert len(definitions) == 3 and len({bytes(event.records) for event in definitions}) == 1

    asyncio.run(go())


def test_a_silent_connection_is_left(tmp_path):
    async def script(ws, number):
        if number == 1:
            await asyncio.sleep(30)
        await ws.send_str(trade(number))

    async def go():
        async with running(Venue(script, [1]), tmp_path, settings={"stale_s": 0.2}) as ctx:
            await until(lambda: len(said(ctx, Kind.trade)) >= 1)
            assert ctx.counters.get("reconnects", 0) >= 1

    asyncio.run(go())


def test_a_full_outbox_stops_the_socket_and_loses_nothing(tmp_path):
    total = 30_000
    progress = {"sent": 0}

    class Full(Context):
        full = True

        def publish(self, events):
            if self.full and any(event[8] == Kind.trade for event in events):
                raise OutboxFull("the test says so")
            super().publish(events)

    async def script(ws, number):
        for t in range(total):
            await ws.send_str(trade(t + 1))
            progress["sent"] = t + 1

    async def go():
        async with running(Venue(script, [1]), tmp_path, context=Full) as ctx:
            await until(lambda: ctx.counters.get("outbox_full", 0) >= 3)
            assert await still(lambda: progress["sent"]) < total, "the venue itself is held back"
            ctx.full = False
            await until(lambda: progress["sent"] == total, 30)
            await until(lambda: len(said(ctx, Kind.trade)) == total, 30)
            assert [event.last_id for event in said(ctx, Kind.trade)] == list(range(1, total + 1))

    asyncio.run(go())


@pytest.fixture(autouse=True)
def no_outbox_left(tmp_path):
    yield
    import shutil

    with contextlib.suppress(OSError):
        shutil.rmtree(load(tmp_path).outbox_dir)
