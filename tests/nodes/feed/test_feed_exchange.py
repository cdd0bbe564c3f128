"""A line against the local exchange: what it does when connections end, streams fall silent, frames break, clocks err.

After each of these the raw frames that were kept must make the same events again (`feed_run.assert_rebuilt_equal`).
"""

import asyncio

import pytest

from tests.support.feed_run import assert_nothing_lost, beside_exchange, changes, fault, ids, published
from tests.support.waiting import until
from tickmesh.bus.schema import Flag, Kind


def snapshots(ctx):
    return [event for event in published(ctx, Kind.depth) if event.flags & Flag.SNAPSHOT]


def alerts(ctx, what):
    return [event.map() for event in published(ctx, Kind.alert) if event.map()["what"] == what]


async def flows(mesh):
    await until(lambda: snapshots(mesh.feed) and len(ids(mesh.feed, Kind.trade)) > 20, what="the flow")


def test_one_line_that_is_renewed_again_and_again_loses_nothing(tmp_path):
    async def go():
        async with beside_exchange(tmp_path, {"renew_s": 0.5}) as mesh:
            await flows(mesh)
            await until(lambda: mesh.feed.counters["renewals"] >= 3, 40, "three renewals")
            await until(lambda: mesh.exchange.counters.get("clients") == 1, what="the old ones are gone")
            assert_nothing_lost(mesh.feed, 100)
            assert mesh.feed.counters["reconnects"] == mesh.feed.counters["resyncs"] == 0
            assert len(snapshots(mesh.feed)) == mesh.feed.counters["snapshots"] == 1, "a renewal asks for no snapshot"
            assert len(published(mesh.feed, Kind.instrument)) == 1, "and is no new connection to those who listen"

    asyncio.run(go())


def test_server_shutdown_is_answered_by_a_renewal_at_once(tmp_path):
    async def go():
        async with beside_exchange(tmp_path, exchange={"life_s": 4.0, "notice_s": 3.0}) as mesh:
            await flows(mesh)
            await until(lambda: mesh.feed.counters["renewals"] >= 2, 30, "two renewals")
            assert_nothing_lost(mesh.feed, 100)
            assert mesh.feed.counters["reconnects"] == 0

    asyncio.run(go())


def test_a_stream_that_stalls_on_a_healthy_socket_is_noticed_and_renewed(tmp_path):
    async def go():
        async with beside_exchange(tmp_path, {"fresh_min_s": 0.8, "overlap_s": 2.0}) as mesh:
            await flows(mesh)
            await fault(mesh.rest, kind="skip", stream="btcusdt@trade", connection=1)
            before = ids(mesh.feed, Kind.trade)[-1]
            await until(lambda: ids(mesh.feed, Kind.trade)[-1] > before + 100, what="trades flow again")
            (alert,) = alerts(mesh.feed, "stale_stream")
            assert alert["target"] == "trade.binance.BTCUSDT" and alert["level"] == "warning"
            assert mesh.feed.counters["renewals"] == 1 and mesh.feed.counters["reconnects"] == 0
            chain = changes(mesh.feed)  # the streams that did not stall have lost nothing
            assert all(one[1] + 1 == after[0] for one, after in zip(chain, chain[1:], strict=False))

    asyncio.run(go())


def test_a_half_open_socket_is_left_at_the_deadline(tmp_path):
    async def go():
        async with beside_exchange(tmp_path, {"stale_s": 1.0, "ping_s": 0.5}, {"ping_s": 0.3}) as mesh:
            await flows(mesh)
            await until(lambda: mesh.feed.counters.get("ping_ms"), what="a round trip")
            assert 0 < mesh.feed.counters["ping_ms"] < 1000
            await fault(mesh.rest, kind="stall", connection=1)
            before = ids(mesh.feed, Kind.trade)[-1]
            await until(lambda: ids(mesh.feed, Kind.trade)[-1] > before + 50, what="trades flow again")
            assert mesh.feed.counters["reconnects"] >= 1
            assert "nothing was heard" in mesh.feed.counters["last_error"]

    asyncio.run(go())


@pytest.mark.parametrize("kind", ["garbage", "truncate"])
def test_a_broken_frame_is_refused_and_its_book_synchronised_anew_without_a_reconnect(tmp_path, kind):
    async def go():
        async with beside_exchange(tmp_path) as mesh:
            await flows(mesh)
            await fault(mesh.rest, kind=kind, stream="btcusdt@depth@100ms", length_s=0.3, connection=1)
            await until(lambda: published(mesh.feed, Kind.refusal), what="a refusal")
            await until(lambda: len(snapshots(mesh.feed)) >= 2, what="a fresh snapshot")
            assert published(mesh.feed, Kind.refusal)[0].map()["raw_bytes"] > 0
            await until(lambda: mesh.feed.counters["resyncs"] >= 1 and mesh.feed.counters["refused_frames"] >= 1)
            assert mesh.feed.counters["reconnects"] == 0 and mesh.feed.counters["connections"] == 1
            trades = ids(mesh.feed, Kind.trade)
            assert trades == list(range(trades[0], trades[0] + len(trades))), "the other streams went on"

    asyncio.run(go())


@pytest.mark.parametrize("resync", [True, False])
def test_a_broken_chain_needs_its_snapshot(tmp_path, resync):
    """The switch shows it: without a fresh one the book stays out of step."""

    async def go():
        async with beside_exchange(tmp_path, {"resync": resync}) as mesh:
            await flows(mesh)
            await fault(mesh.rest, kind="skip", stream="btcusdt@depth@100ms", length_s=0.5, connection=1)
            await until(lambda: mesh.feed.counters["resyncs"] == 1, what="the break")
            if resync:
                await until(lambda: len(snapshots(mesh.feed)) == 2, what="a fresh snapshot")
            else:
                await asyncio.sleep(1.0)
                assert len(snapshots(mesh.feed)) == 1

    asyncio.run(go())


def test_frames_repeated_and_out_of_order_are_said_as_they_came(tmp_path):
    """The sequencer judges them; the line's own book bears them."""

    async def go():
        async with beside_exchange(tmp_path) as mesh:
            await flows(mesh)
            await fault(mesh.rest, kind="duplicate", stream="*", length_s=1.0, connection=1)
            await until(lambda: len(ids(mesh.feed, Kind.trade)) > len(set(ids(mesh.feed, Kind.trade))), what="duplicates")
            assert mesh.feed.counters["resyncs"] == 0
            before = len(ids(mesh.feed, Kind.trade))

            async def disordered():
                """Two trades have to be neighbours in what is sent: it is asked for until they were."""
                await fault(mesh.rest, kind="reorder", stream="btcusdt@trade", probability=0.5, length_s=0.5, connection=1)
                await asyncio.sleep(0.25)
                trades = ids(mesh.feed, Kind.trade)[before:]
                return trades != sorted(trades)

            await until(disordered, what="a trade before its predecessor")

            def in_order():
                trades = ids(mesh.feed, Kind.trade)[-100:]
                return trades == list(range(trades[0], trades[0] + 100))

            await until(in_order, what="the fault's end")
            trades = sorted(set(ids(mesh.feed, Kind.trade)))
            assert trades == list(range(trades[0], trades[0] + len(trades)))
            assert mesh.feed.counters["reconnects"] == 0

    asyncio.run(go())


def test_a_cut_is_followed_by_a_new_connection_with_its_mark(tmp_path):
    async def go():
        async with beside_exchange(tmp_path) as mesh:
            await flows(mesh)
            await until(lambda: published(mesh.feed, Kind.instrument), what="the definition")
            await fault(mesh.rest, kind="cut")
            await until(lambda: mesh.feed.counters["connections"] == 2 and len(snapshots(mesh.feed)) == 2)
            assert len(published(mesh.feed, Kind.instrument)) == 2
            assert len(set(ids(mesh.feed, Kind.trade))) == len(ids(mesh.feed, Kind.trade))

    asyncio.run(go())


@pytest.mark.parametrize("offset_ms", [-40_000, 3_000])
def test_the_venue_s_clock_is_measured(tmp_path, offset_ms):
    async def go():
        async with beside_exchange(tmp_path, {"clock_s": 0.2}) as mesh:
            counters = mesh.feed.counters
            await until(lambda: "clock_offset_ms" in counters, what="a measurement")
            assert abs(counters["clock_offset_ms"]) < 400 and counters["clock_rtt_ms"] > 0
            await fault(mesh.rest, kind="clock", offset_ms=offset_ms, length_s=2.0)
            await until(lambda: alerts(mesh.feed, "clock_offset"), what="an alert")
            assert abs(counters["clock_offset_ms"] - offset_ms) < counters["clock_rtt_ms"] + 100
            await until(lambda: len(alerts(mesh.feed, "clock_offset")) == 2, what="the all-clear")
            assert [alert["level"] for alert in alerts(mesh.feed, "clock_offset")] == ["warning", "info"]

    asyncio.run(go())


@pytest.mark.parametrize("status", [429, 503])
def test_a_venue_that_refuses_snapshots_is_asked_again_in_time(tmp_path, status):
    async def go():
        async with beside_exchange(tmp_path, {"clock_s": 100.0}) as mesh:
            await flows(mesh)
            await fault(mesh.rest, kind="answer", endpoint="GET /api/v3/depth", status=status, retry_after_s=1,
                        html=status == 503, length_s=1.0)  # fmt: skip
            await fault(mesh.rest, kind="cut")
            await until(lambda: mesh.feed.counters["rest_failures"] >= 1, what="a refusal")
            await until(lambda: len(snapshots(mesh.feed)) == 2, what="a fresh snapshot")
            assert mesh.feed.counters["limited"] == (1 if status == 429 else 0)
            assert len(published(mesh.feed, Kind.refusal)) == 0

    asyncio.run(go())


def test_times_come_in_microseconds_where_they_are_asked_for(tmp_path):
    async def go():
        async with beside_exchange(tmp_path, {"microseconds": True}) as mesh:
            await flows(mesh)
            trade = published(mesh.feed, Kind.trade)[-1]
            assert abs(trade.venue_ns - trade.recv_ns) < 60 * 10**9
            frames = [frame for raw in published(mesh.feed, Kind.raw) for frame in raw.map()["frames"] if b"@trade" in frame]
            assert b'"T":1' in frames[-1] and len(frames[-1].split(b'"T":')[1].split(b",")[0]) == 16

    asyncio.run(go())
