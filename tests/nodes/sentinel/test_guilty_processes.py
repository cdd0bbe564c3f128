"""Who hangs, is deaf, stale or too large is named and restarted within its bound, and nobody else."""

import pytest

from tests.support.watched_world import BEGIN, SECOND, World, publish_line
from tickmesh.bus.schema import Kind
from tickmesh.nodes.sentinel.judge import Process


@pytest.mark.parametrize("name", ["feed-1", "recorder", "model-flow", "sentinel-2"])
def test_a_hung_process_is_restarted_within_its_bound(name):
    world = World()
    world.rate = 10
    world.run(20)
    world.hung.add(name)
    before, pid = world.now, world.processes[name].pid
    while not world.decisions:
        world.pass_second()
        assert world.now - before < 13 * SECOND
    assert [(d.target, d.pid, d.restart, d.alert["what"]) for d in world.decisions] == [(name, pid, True, "heartbeat missing")]
    assert world.now - before >= 10 * SECOND
    assert world.run(60) == [], "and that was all"


def test_one_that_hung_before_anybody_listened_is_found():
    world = World()
    world.hung.add("model-flow")
    world.run(15)
    assert [(d.target, d.restart) for d in world.decisions] == [("model-flow", True)]


def test_a_hung_sequencer_is_the_only_one_blamed():
    world = World()
    world.run(20)
    world.hung.add("sequencer")
    world.run(40)
    assert [(d.target, d.alert["what"]) for d in world.decisions] == [("sequencer", "log still")]
    assert world.run(60) == []


def test_a_log_that_grows_unheard_is_not_still():
    world = World()
    world.run(20)
    world.hung.add("sequencer")
    for size in range(60):
        world.pass_second(looks=False)
        assert world.judge.look(world.now, list(world.processes.values()), log_end=size) == []


def test_a_full_disk_is_told_and_nobody_is_killed_for_it():
    world = World()
    world.run(20)
    world.hung.add("sequencer")
    found = []
    for _ in range(30):
        world.pass_second(looks=False)
        found += world.judge.look(world.now, list(world.processes.values()), disk_full="3 bytes are free")
    assert {(v.target, v.what, v.curable) for v in found} == {("sequencer", "disk full", False)}


def test_a_line_that_brings_nothing_while_the_other_does():
    world = World()
    world.rate = 5
    world.run(10)
    events = world.beats["feed-2"]["events"]
    world.beats["feed-2"]["waiting"] = 1
    while not world.decisions:
        world.pass_second()
        if world.now - BEGIN == 70 * SECOND:
            assert not world.decisions, "its venue told it to wait: a restart cannot help"
            world.beats["feed-2"]["waiting"] = 0
        if not world.decisions:
            world.beats["feed-2"]["events"] = events
        assert world.now - BEGIN < 110 * SECOND
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("feed-2", "stream stale", True)]
    assert world.now - BEGIN >= 100 * SECOND


def test_a_reader_that_reads_next_to_nothing_is_restarted():
    world = World()
    world.rate = 5_000
    for behind in range(60):
        world.beats["model-flow"]["lag"] = 4_999 * behind
        world.pass_second()
        if world.decisions:
            break
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("model-flow", "lag growing", True)]


def test_a_beating_heart_that_no_longer_reads():
    world = World()
    world.run(5)
    for busy in range(30):
        world.beats["executor"]["deaf_s"] = float(busy)
        world.pass_second()
        if world.decisions:
            break
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("executor", "deaf", True)]


def test_a_line_that_is_always_last_is_restarted_once_an_hour_and_told_of():
    world = World(last_s=60.0)
    for _ in range(40):
        world.run(10)
        publish_line(world, "feed-1", 40, 2)
        publish_line(world, "feed-2", 0, 42)
    assert [(d.target, d.restart) for d in world.decisions] == [("feed-2", True), ("feed-2", False)]
    world = World(last_s=60.0)
    for n in range(40):
        world.run(10)
        publish_line(world, "feed-2", int(n % 5 == 0), 42)
    assert world.decisions == [], "one first is enough"


def test_memory_over_its_bound():
    world = World(memory_bytes=100 << 20)
    world.run(5)
    process = world.processes["recorder"]
    world.processes["recorder"] = Process("recorder", process.pid, process.since_ns, 101 << 20, ready_ns=process.since_ns)
    world.run(10)
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("recorder", "memory", True)]


def test_a_recorder_that_lives_and_does_not_archive():
    world = World()
    world.run(5)
    beats = 0
    while not world.decisions:
        world.hung.add("recorder")
        world.pass_second()
        world.publish(Kind.health, "recorder", world.beats["recorder"])
        beats += 1
        assert beats < 70
    assert [(d.target, d.alert["what"]) for d in world.decisions] == [("recorder", "watermark still")] and beats >= 59
