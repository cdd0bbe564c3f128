"""Where a line connects to and from, what it may spend there, and what it says when the disk is full."""

import asyncio
import socket
import time

import msgspec
import pytest

from tests.support.feed_run import beside_exchange, ids, published
from tests.support.trading_server import Server, line_to, serving
from tests.support.waiting import until
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings
from tickmesh.nodes.net.budget import ConnectionBudget, RequestBudget, budget_of, connection_budget_of
from tickmesh.nodes.venues import binance, kraken


def test_a_line_begins_with_its_own_endpoint_and_hops_to_the_next_when_that_fails(tmp_path):
    bad, good, third = Server(100, refuse=True), Server(200), Server(300)

    async def go():
        async with serving(bad, good, third):
            async with line_to(tmp_path, [bad, good, third]) as ctx:
                await until(lambda: ids(ctx, Kind.trade) and published(ctx, Kind.instrument))
                assert 200 < ids(ctx, Kind.trade)[0] < 300, "the second one's trades"
                assert bad.peers and not ctx.counters["refused_frames"]
                assert "503" in ctx.counters["last_error"] or "502" in ctx.counters["last_error"]
                await until(lambda: ctx.counters["hops"] >= 2)
            async with line_to(tmp_path, [bad, good, third], "3", {"lines": 3}) as ctx:
                await until(lambda: ids(ctx, Kind.trade))
                assert ids(ctx, Kind.trade)[0] > 300, "line 3 begins with the third"

    asyncio.run(go())


def test_a_line_s_own_source_address_is_used_for_both_doors(tmp_path):
    server = Server(1)

    async def go():
        async with serving(server), line_to(tmp_path, [server], "2", {"local_addr": ["127.0.0.1", "127.0.0.2"]}) as ctx:
            await until(lambda: ids(ctx, Kind.trade) and published(ctx, Kind.instrument))
            assert set(server.peers) == {"127.0.0.2"} and len(server.peers) >= 2

    asyncio.run(go())


def test_nobody_there_costs_no_more_than_the_connection_budget_allows(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = Server(0)
        nobody.port = unused.getsockname()[1]

        async def go():
            known = [{"symbol": "BTCUSDT", "price_exponent": -8, "quantity_exponent": -8}]
            async with line_to(tmp_path, [nobody], feed={"connections_per_5_minutes": 4}, instruments=known) as ctx:
                await until(lambda: ctx.counters["reconnects"] == 4)
                await asyncio.sleep(0.5)
                assert ctx.counters["reconnects"] == 4 and ctx.counters["connections"] == 0

        asyncio.run(go())


def test_attempts_are_counted_in_their_window():
    async def go():
        attempts = ConnectionBudget(2, 0.3)
        begin = time.monotonic()
        for _ in range(5):
            await attempts.spend()
        return time.monotonic() - begin

    assert asyncio.run(go()) >= 0.6


def test_a_budget_by_the_second_is_spent_one_after_the_other():
    async def go(per_s):
        budget, begin, at = RequestBudget(60.0, 0.5, per_s), time.monotonic(), []
        for _ in range(5):
            await budget.spend(1)
            at.append(time.monotonic() - begin)
        return at

    assert asyncio.run(go(0.0))[-1] < 0.1, "a minute's worth may be spent at once"
    at = asyncio.run(go(20.0))
    assert all(after - one >= 0.099 for one, after in zip(at, at[1:], strict=False)), "half of twenty a second"


def test_what_a_venue_allows_is_as_its_adapter_says_or_as_mesh_toml_does(tmp_path):
    (tmp_path / "mesh.toml").write_text("[venues.kraken]\nweight_per_minute = 240\n")
    config = load(tmp_path)
    assert budget_of(config, kraken, 0.25).weight_max == 60.0
    assert budget_of(config, binance, 0.25).weight_max == 1500.0
    connections = [connection_budget_of(FeedSettings(lines=lines), kraken).connections_max for lines in (1, 2, 9)]
    assert connections == [60, 37, 8], "what is set, or a line's part of the venue's 150 in ten minutes"
    (tmp_path / "mesh.toml").write_text("[venues.kraken]\nweight_per_minute = -1\n")
    with pytest.raises(ConfigError, match=r"venues\.kraken\.weight_per_minute = -1.*0 or more"):
        load(tmp_path)


def test_snapshots_of_many_instruments_stay_within_the_weight_budget(tmp_path):
    symbols = tuple(f"A{n}USDT" for n in range(40))
    server = Server(1, symbols)
    weight = {"/api/v3/depth": 50, "/api/v3/exchangeInfo": 20, "/api/v3/time": 1}

    async def go():
        instruments = [{"symbol": symbol} for symbol in symbols]
        async with serving(server), line_to(tmp_path, [server], feed={"weight_share": 0.2}, instruments=instruments) as ctx:
            await until(lambda: sum(weight[path] for _, path in server.asked) > 500)
            await asyncio.sleep(1.0)
            assert sum(weight[path] for _, path in server.asked) <= 600, (
                "of a fifth of 6000 in a minute, one of two lines has half"
            )
            assert published(ctx, Kind.depth) and ctx.counters["reconnects"] == 0

    asyncio.run(go())


def test_short_of_disk_raw_frames_go_first_then_depth_and_all_of_it_comes_back(tmp_path):
    async def go():
        disk = {"low_bytes": 1, "critical_bytes": 1, "look_s": 0.1}
        async with beside_exchange(tmp_path, disk=disk) as mesh:
            feed = mesh.feed

            def count(kind):
                return len(published(feed, kind))

            await until(lambda: count(Kind.trade) > 20 and count(Kind.depth) and count(Kind.raw))

            set_marks(feed.config, low=1 << 62, critical=1)
            await until(lambda: feed.counters["disk"] == "low")
            raws, changes = count(Kind.raw), count(Kind.depth)
            await until(lambda: count(Kind.depth) > changes + 5)
            assert count(Kind.raw) == raws, "raw frames are the first to go"

            set_marks(feed.config, low=1 << 62, critical=1 << 62)
            await until(lambda: feed.counters["disk"] == "critical")
            changes, trades, quotes = count(Kind.depth), count(Kind.trade), count(Kind.quote)
            await until(lambda: count(Kind.trade) > trades + 50 and count(Kind.quote) > quotes + 50)
            await until(lambda: feed.counters["depth_left_out"] > 3)
            assert count(Kind.depth) == changes, "then depth"

            set_marks(feed.config, low=1, critical=1)
            await until(lambda: any(event.flags & Flag.SNAPSHOT for event in published(feed, Kind.depth)[changes:]))
            await until(lambda: count(Kind.raw) > raws)
            steps = [event.map() for event in published(feed, Kind.alert)]
            assert [(step["what"], step["level"]) for step in steps] == [
                ("disk", "warning"),
                ("disk", "critical"),
                ("disk", "info"),
            ]
            assert feed.counters["disk_steps"] == 3
            trades = ids(feed, Kind.trade)
            assert trades == list(range(trades[0], trades[0] + len(trades))), "trades never"
            set_marks(feed.config, low=1, critical=1, raw=False)  # what was left out cannot be made again

    asyncio.run(go())


def set_marks(config, low, critical, raw=True):
    """As if the disk had filled: the marks move, since its free space cannot."""
    config.disk = msgspec.structs.replace(config.disk, low_bytes=low, critical_bytes=critical)
    config.feed = msgspec.structs.replace(config.feed, raw=raw)


def test_two_endpoints_and_a_renewal_between_them(tmp_path):
    """A renewal stays where it is; only what broke goes elsewhere."""
    one, two = Server(100), Server(100)

    async def go():
        async with serving(one, two), line_to(tmp_path, [one, two], feed={"renew_s": 0.5, "overlap_s": 0.5}) as ctx:
            await until(lambda: ctx.counters["renewals"] >= 1 and ctx.counters["connections"] >= 2)
            assert not two.peers and ctx.counters["reconnects"] == 0

    asyncio.run(go())
