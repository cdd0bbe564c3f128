"""The memory of recent events gives what a list of all events gives, as far as it goes back, within its bound."""

import random

from tests.support.stored import Market
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.gateway.rates import RequestRates
from tickmesh.nodes.gateway.recent_events import OVERHEAD, RecentEvents, WantedEvents

BYTES = 20_000


def test_pages_are_those_of_a_list_of_all_events():
    """Seeded: kinds, topics, spans, limits and places at random, while events come and old ones go."""
    rng, market = random.Random(15), Market()
    recent, all_events = RecentEvents(0, BYTES), []
    dropped = False
    for _ in range(300):
        new = [Event(raw) for raw in market.mixed(rng.randint(1, 60))]
        all_events += new
        recent.take(new, new[-1].seq)
        kinds = frozenset(rng.sample((Kind.trade, Kind.depth, Kind.clock, Kind.health), rng.randint(1, 3)))
        topic = rng.choice(("", "trade.binance.ETHUSDT"))
        start, end = sorted(rng.choice(all_events).seq_ns for _ in range(2))
        wanted = WantedEvents(
            kinds, lambda one, topic=topic: one.startswith(topic), rng.choice((0, start)), rng.choice((None, end))
        )
        held = recent.whole_after(kinds)
        dropped |= held > 0
        after, limit = rng.randint(held, recent.head), rng.randint(1, 50)
        right = [e.seq for e in all_events if e.kind in kinds and e.seq > after and wanted.has(e.topic, e.seq_ns)]
        page = recent.read(wanted, after, limit, 1 << 30)
        assert [e.seq for e in page.events] == right[:limit] and page.more == (len(right) > limit)
        assert page.seq < right[limit] if page.more else page.ended or page.seq == recent.head
        newest = [e.seq for e in recent.read_newest(wanted, limit, 1 << 30)]
        whole = [e.seq for e in all_events if e.kind in kinds and e.seq > held and wanted.has(e.topic, e.seq_ns)][-limit:]
        assert newest[-len(whole) :] == whole or not whole
    assert dropped, "the memory was too small for all of it"


def test_each_kind_has_its_own_bound():
    """A flood of one kind pushes nothing else out, and holds no more than the bound."""
    market, recent = Market(), RecentEvents(0, BYTES)
    rare = Event(market.instrument())
    recent.take([rare], rare.seq)
    for _ in range(2000):
        event = Event(market.trade())
        recent.take([event], event.seq)
        assert recent.bytes <= BYTES + rare.size + OVERHEAD
    assert [e.seq for e in recent.read_newest(WantedEvents(frozenset({Kind.instrument}), lambda _: True), 5, 1 << 20)] == [1]
    assert recent.whole_after((Kind.instrument,)) == 0 < recent.whole_after((Kind.trade,))
    large = Event(market.depth([(price, 1, 1) for price in range(1, 3000)], 1, snapshot=True))
    recent.take([large], large.seq)
    assert recent.whole_after((Kind.depth,)) == large.seq, "one that is larger than the bound is not kept"


def test_a_page_of_bytes_has_one_event_at_least():
    market, recent = Market(), RecentEvents(0, BYTES)
    events = [Event(market.trade()) for _ in range(5)]
    recent.take(events, 5)
    wanted = WantedEvents(frozenset({Kind.trade}), lambda _: True)
    page = recent.read(wanted, 0, 100, 10)
    assert [e.seq for e in page.events] == [1] and page.more and page.seq == 1
    assert len(recent.read(wanted, 0, 100, 3 * events[0].size).events) == 3


def test_an_address_has_so_many_requests_a_second():
    rates = RequestRates(10)
    assert [rates.wait_s("a", 0.0) for _ in range(20)] == [0] * 20, "twice as many at once"
    assert 0 < rates.wait_s("a", 0.0) <= 0.1 and rates.wait_s("b", 0.0) == 0
    assert rates.wait_s("a", 0.1) == 0 and rates.wait_s("a", 0.1) > 0
