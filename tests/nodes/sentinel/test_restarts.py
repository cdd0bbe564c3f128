"""Restarts have a budget that whoever takes over finds in the log; crash loops slow down and are told once."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.watched_world import BEGIN, FEEDS, SECOND, World
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import decode, encode, stamp_sequenced
from tickmesh.nodes.sentinel.deaths import HOPELESS_DEATHS, LOOP_DEATHS, CrashLoops
from tickmesh.nodes.sentinel.judge import Diagnosis, Process
from tickmesh.nodes.sentinel.restarts import HOUR_NS, RESTART, Restarts


def test_the_budget_ends_and_is_told_once():
    world = World(restarts_per_hour=3)
    world.rate = 3
    for _ in range(40):
        world.run(10)
        world.hung.add("model-flow")
    done = [d.restart for d in world.decisions]
    assert done == [True, True, True, False]
    assert world.decisions[-1].alert["level"] == "critical" and "budget" in world.decisions[-1].alert["action"]
    assert world.restarts.left("model-flow", world.now) == 0 and world.restarts.left("feed-1", world.now) == 3
    assert world.restarts.left("model-flow", world.now + HOUR_NS) == 3


def test_two_lines_of_a_venue_are_never_restarted_at_once():
    world = World()
    world.rate = 3
    world.run(20)
    world.hung.update(FEEDS)
    times = {}
    for _ in range(60):
        world.pass_second()
        for decision in world.decisions:
            times.setdefault(decision.target, world.now)
    assert sorted(times) == ["feed-1", "feed-2"] and abs(times["feed-1"] - times["feed-2"]) >= 5 * SECOND
    assert len(world.decisions) == 2


def as_events(decisions) -> list:
    out = []
    for seq, decision in enumerate(decisions, 1):
        raw = encode(Kind.alert, "sentinel-1", decision.alert)
        stamp_sequenced(raw, seq, 0, decision.alert["at_ns"])
        out.append(decode(raw))
    return out


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "feed-1"]), st.integers(1, 900)), max_size=40), st.randoms())
def test_who_takes_over_decides_the_same(steps, shuffle):
    """From the alerts alone, heard in any order, also twice."""
    settings = SentinelSettings(restarts_per_hour=2)
    first = Restarts(settings)
    processes = [Process(name, 1, 0) for name in ("a", "b", "feed-1")]
    now, said = BEGIN, []
    for name, pause in steps:
        now += pause * SECOND
        said += first.decide([Diagnosis(name, "memory", "why")], processes, frozenset(), now)
    log = as_events(said)
    heard = log + log[:3]
    shuffle.shuffle(heard)
    second = Restarts(settings)
    second.read_alerts(heard)
    for process in processes:
        assert second.left(process.name, now) == first.left(process.name, now)
        times = [d.alert["at_ns"] for d in said if d.restart and d.target == process.name]
        assert all(later - early >= HOUR_NS for early, later in zip(times, times[2:])), "never three in an hour"
    second.take_over(now)
    wrong = [Diagnosis(process.name, "memory", "why") for process in processes]
    mine, theirs = (r.decide(wrong, processes, frozenset(), now) for r in (first, second))
    assert [d.target for d in theirs if d.restart] == [d.target for d in mine if d.restart]


def test_alerts_of_others_are_no_restarts():
    restarts = Restarts(SentinelSettings())
    raw = encode(Kind.alert, "recorder", {"level": "warning", "what": "disk", "target": "a", "why": "", "action": RESTART})
    stamp_sequenced(raw, 1, 0, BEGIN)
    restarts.read_alerts([decode(raw)])
    assert restarts.left("a", BEGIN) == SentinelSettings().restarts_per_hour


def test_a_crash_loop_is_told_once_and_slows_down():
    loops = CrashLoops()
    alerts = []
    for n in range(12):
        alerts += loops.died("feed-1", 0.5, 3.0 * n)[0]
    assert [a["what"] for a in alerts] == ["crash loop"] and loops.looping("feed-1", 34)
    assert not loops.looping("feed-2", 34)
    assert not loops.looping("feed-1", 120), "a minute without a death"


def test_deaths_after_work_or_far_apart_are_no_loop():
    loops = CrashLoops()
    for n in range(50):
        assert loops.died("feed-1", 2.5, 3.0 * n) == ([], False)
        assert loops.died("feed-2", 0.1, 61.0 / (LOOP_DEATHS - 1) * n) == ([], False)


def test_a_step_that_never_gets_past_an_event_is_stopped_and_nobody_else_is():
    loops = CrashLoops()
    stopped = [n for n in range(HOPELESS_DEATHS) if loops.died("model-flow", None, n)[1]]
    assert stopped == [HOPELESS_DEATHS - 1]
    assert not any(loops.died(name, None, n)[1] for n in range(100) for name in ("feed-1", "recorder", "session"))
    assert not any(loops.died("model-imbalance", (None, 0.1)[n % 2], n)[1] for n in range(100)), "it was ready in between"
