"""The hops between a tick and its order, from made-up events whose every time is known; and how lengths of time are counted."""

import random

import numpy as np

from tests.support.hop_scene import SENT, HopScene
from tickmesh.bus.schema import Action, Flag, Kind, Status
from tickmesh.nodes.hops import tracker as hops
from tickmesh.nodes.hops.counts import LatencyCounts
from tickmesh.nodes.hops.tracker import HopTracker, order_paths


def found(events, tracker=None):
    """Hop → its lengths."""
    tracker, out = tracker or HopTracker(), {}
    for event in events:
        for name, ns in tracker.add(event)[0]:
            out.setdefault(name, []).append(ns)
    return out


def test_every_hop_of_an_order_and_its_whole_way():
    mesh = HopScene()
    quote = mesh.add(Kind.quote, {}, 500_000, last_id=77, venue_ns=mesh.market.seq_ns)
    signal = mesh.add(Kind.signal, {}, 200_000, cause_seq=quote.seq)
    mesh.order(1, signal.seq)
    assert found(mesh.log) == {
        hops.VENUE: [500_000], hops.FEED: [500_000 - SENT], hops.MARKET_TO_LOG: [SENT],
        hops.TO_MODEL: [800_000], hops.MODEL: [200_000 - SENT], hops.SIGNAL_TO_LOG: [SENT],
        hops.TO_EXECUTOR: [600_000], hops.EXECUTOR: [400_000 - SENT], hops.INTENT_TO_LOG: [SENT],
        hops.NOTED: [1_000_000 - SENT], hops.ACKNOWLEDGED: [700_000 + SENT], hops.FILLED: [1_750_000 + SENT],
        hops.TICK_TO_ORDER: [3_500_000 - SENT],
    }  # fmt: skip
    (path,) = order_paths(mesh.log)
    assert (path.client_order_id, path.tick.last_id) == ("t1-1", 77)
    assert path.times[-1] - path.times[0] == 3_500_000 - SENT and list(path.times) == sorted(path.times)


def test_what_has_no_such_hop_shows_none():
    """A repaired trade came by REST; a tick without a venue's time; a cancel; an order that no signal caused."""
    mesh = HopScene()
    mesh.add(Kind.trade, {}, 500_000, venue_ns=1, flags=Flag.REPAIRED)
    quote = mesh.add(Kind.quote, {}, 500_000)
    mesh.add(Kind.intent, {"client_order_id": b"c", "action": Action.CANCEL}, 400_000, cause_seq=quote.seq)
    mesh.add(Kind.update, {"client_order_id": b"c", "status": Status.PendingCancel}, 400_000)
    mesh.order(1, quote.seq)
    seen = found(mesh.log)
    assert hops.VENUE not in seen and hops.TICK_TO_ORDER not in seen and list(order_paths(mesh.log)) == []
    assert len(seen[hops.TO_EXECUTOR]) == 2 and len(seen[hops.NOTED]) == len(seen[hops.ACKNOWLEDGED]) == 1


def test_causes_are_remembered_for_long_and_not_for_ever():
    mesh = HopScene()
    quotes = [mesh.add(Kind.quote, {}, 500_000) for _ in range(31)]
    for quote in (quotes[0], quotes[-1]):
        mesh.add(Kind.signal, {}, 200_000, cause_seq=quote.seq)
    assert found(mesh.log, HopTracker(remembered=10))[hops.TO_MODEL] == [mesh.log[-1].recv_ns - quotes[-1].seq_ns]


def test_quantiles_are_right_to_a_part_in_five_hundred_whatever_the_size():
    random_ = random.Random(3)
    values = [int(random_.lognormvariate(13, 3)) for _ in range(5000)] + [-4_000_000, -3, 0]
    counts = LatencyCounts()
    for value in values:
        counts.add(value)
    values.sort()
    assert (counts.total, counts.least, counts.most) == (5003, -4_000_000, values[-1])
    for share in (0.5, 0.9, 0.99, 0.999, 1.0):
        exact = values[max(int(np.ceil(share * len(values))) - 1, 0)]
        assert exact * (1 - 1 / 500) <= counts.quantile(share) <= exact
    edges = [0, 1 << 20, 1 << 30]
    assert counts.between(edges) == [int(n) for n in np.histogram(values, [-(1 << 62), *edges, 1 << 62])[0]]
    assert counts.at_least()[0] == (-4_001_792, 1.0) and counts.at_least()[-1][1] == 1 / 5003 and len(counts.at_least()) < 4000


def test_nothing_counted_has_no_quantile():
    assert LatencyCounts().quantile(0.5) is None
