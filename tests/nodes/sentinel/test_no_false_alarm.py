"""Nothing that a healthy mesh does makes the judge call anybody guilty."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.watched_world import FEEDS, READERS, SECOND, World
from tickmesh.nodes.sentinel.judge import Process


def test_a_quiet_market_is_no_fault():
    world = World()
    assert world.run(600) == []


def test_a_reconnect_in_a_quiet_market_makes_nobody_stale():
    world = World(stale_s=10.0)
    world.run(20)
    for _ in range(5):
        world.beats["feed-1"]["reconnects"] += 1
        for _ in range(3):  # definitions and books
            world.beats["feed-1"]["events"] += 2
            assert world.pass_second() == []
        assert world.run(17) == []


def test_a_planned_renewal_that_counts_as_no_reconnect_makes_nobody_stale():
    world = World(stale_s=10.0)
    for _ in range(5):
        for _ in range(3):
            world.beats["feed-1"]["events"] += 2
            assert world.pass_second() == []
        assert world.run(30) == []


def test_a_heartbeat_behind_a_long_queue_is_not_missing():
    """A replay at full speed: the feed's events, and its heartbeats among them, wait in its outbox."""
    world = World()
    world.run(5)
    world.hung.add("feed-1")  # no health …
    for _ in range(120):
        world.taken["feed-1"] += 50_000  # … but what it has said is still being taken
        assert world.pass_second() == []


def test_a_reader_that_works_as_fast_as_it_can_is_told_of_and_left_alone():
    world = World()
    world.rate = 60_000
    world.run(3)
    for behind in range(60):
        world.beats["recorder"]["lag"] = 20_000 * behind  # it reads 40,000 a second
        world.pass_second()
    assert {(d.target, d.alert["what"], d.restart) for d in world.decisions} == {("recorder", "overloaded", False)}
    assert len(world.decisions) == 1, "once"


def test_the_start_of_a_mesh_is_no_fault():
    world = World()
    world.processes = {name: Process(name, p.pid, world.now) for name, p in world.processes.items()}
    world.hung = set(world.beats)
    assert world.run(25) == [], "nobody is ready"
    for name in ("sequencer", *FEEDS, *READERS):  # one after the other
        world.hung.discard(name)
        assert world.run(8) == []
    assert world.run(30) == []


def test_a_long_start_is_no_silence_when_it_is_over():
    """Ready a moment ago, its first word still on its way: neither a model that compiled nor a sequencer that catches up."""
    for name in ("model-flow", "sequencer"):
        world = World()
        world.run(20)
        world.start(name)
        process = world.processes[name]
        world.processes[name] = Process(name, process.pid, process.since_ns)
        world.hung.add(name)
        assert world.run(18) == [], "it starts"
        world.processes[name] = Process(name, process.pid, process.since_ns, ready_ns=world.now)
        assert world.run(2) == []
        world.hung.discard(name)
        assert world.run(20) == []


def test_a_sequencer_that_was_away_makes_nobody_late():
    world = World()
    world.run(20)
    for _ in range(3):
        world.hung.add("sequencer")
        assert world.run(9) == []
        world.hung.discard("sequencer")
        assert world.run(5) == []


def test_a_sentinel_that_was_stopped_itself_blames_nobody():
    world = World()
    world.run(20)
    world.now += 3600 * SECOND
    assert world.run(30) == []
    for _ in range(60):  # the log goes on; its looks do not
        world.pass_second(looks=False)
    assert world.run(30) == []


@given(st.integers(0, 2**32), st.sampled_from((0, 0, 1, 7, 300, 5000)))
def test_no_seed_makes_a_healthy_mesh_guilty(seed, rate):
    world = World(seed, stale_s=15.0)
    for _ in range(90):
        if world.random.random() < 0.1:
            world.rate = rate if world.rate == 0 else 0
        if world.random.random() < 0.05:
            world.start(world.random.choice(list(world.beats)))
        if world.random.random() < 0.05:
            world.beats["recorder"]["lag"] = world.random.randrange(100_000)
        assert world.pass_second() == []
