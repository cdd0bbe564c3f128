"""Hops counted live: of the last minutes, and since the gateway began; from made-up events whose every time is known."""

from tests.support.hop_scene import SENT, HopScene
from tickmesh.bus.schema import Kind
from tickmesh.nodes.gateway.hop_latency import CAUSES, EDGES_NS, SLOTS, HopLatency
from tickmesh.nodes.hops.tracker import FEED, HOPS, MARKET_TO_LOG, TICK_TO_ORDER


def quotes(scene: HopScene, lengths: list[int]) -> list:
    """Quotes whose feed took so many ns."""
    return [scene.add(Kind.quote, {}, ns + SENT) for ns in lengths]


def test_a_hop_is_counted_below_each_edge_that_it_does_not_reach():
    scene, latency = HopScene(), HopLatency(300.0)
    lengths = [EDGES_NS[0] - 1, EDGES_NS[0], 3 * EDGES_NS[0], EDGES_NS[3] - 1, EDGES_NS[3], 500_000]
    latency.take(quotes(scene, lengths))
    row = {one["hop"]: one for one in latency.rows(scene.market.seq_ns)}[FEED]
    wanted = [sum(ns < edge for ns in lengths) for edge in EDGES_NS]
    assert row["buckets"] == [[edge, count] for edge, count in zip(EDGES_NS, wanted, strict=True)]
    assert (row["count"], row["max_ns"]) == (6, 500_000) and 500_000 * 63 / 64 < row["p99_ns"] <= 500_000
    total = next(one for one in latency.totals() if one.hop == FEED)
    assert (total.count, total.sum_ns, list(total.buckets)) == (6, sum(lengths), wanted)
    assert latency.p99_ms(scene.market.seq_ns)[FEED] == round(row["p99_ns"] / 1e6, 3)


def test_what_is_older_than_the_window_is_forgotten_and_stays_in_the_totals():
    scene, latency = HopScene(), HopLatency(1.0)
    latency.take(quotes(scene, [400_000]))
    latency.take(quotes(scene, [20_000] * 900))
    assert latency.rows(scene.market.seq_ns)[0]["max_ns"] == 400_000
    latency.take(quotes(scene, [20_000] * 300))
    (row, other) = latency.rows(scene.market.seq_ns)
    assert (row["hop"], other["hop"]) == (FEED, MARKET_TO_LOG) and row["max_ns"] == 20_000
    assert 1000 - 1000 / SLOTS <= row["count"] <= 1000, "the window, but for the slot that is not whole"
    assert next(one.count for one in latency.totals() if one.hop == FEED) == 1201
    assert latency.rows(scene.market.seq_ns + 2 * 10**9) == [], "also where nothing comes any more"


def test_what_was_before_the_beginning_is_shown_and_not_counted():
    """A gateway begins with what the log had before: another life of it has counted that already."""
    scene = HopScene()
    before = quotes(scene, [20_000] * 5)
    latency = HopLatency(300.0, since_ns=scene.market.seq_ns + 1)
    latency.take([*before, *quotes(scene, [30_000] * 2)])
    assert latency.rows(scene.market.seq_ns)[0]["count"] == 7
    assert [one.count for one in latency.totals() if one.hop == FEED] == [2]


def test_every_hop_is_there_from_the_beginning_and_an_order_is_followed_to_its_tick():
    scene, latency = HopScene(), HopLatency(300.0)
    assert [(one.hop, one.count) for one in latency.totals()] == [(name, 0) for name in HOPS] and latency.rows(0) == []
    quote = scene.add(Kind.quote, {}, 500_000)
    signal = scene.add(Kind.signal, {}, 200_000, cause_seq=quote.seq)
    scene.order(1, signal.seq)
    latency.take(scene.log)
    row = latency.rows(scene.market.seq_ns)[-1]
    assert (row["hop"], row["count"], row["max_ns"]) == (TICK_TO_ORDER, 1, 3_500_000 - SENT)


def test_memory_does_not_grow_with_the_events():
    scene, latency = HopScene(), HopLatency(1.0)
    for _ in range(4):
        latency.take(quotes(scene, list(range(1, 4000))))
        scene.log.clear()
    assert len(latency._tracker._ticks) <= CAUSES and len(latency._slots) <= SLOTS + 1
    assert all(len(counts._counts) < 700 for slot in latency._slots for counts in slot.counts.values())
