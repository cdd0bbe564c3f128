"""The judge of the living, the budget of restarts and the crash loops: pure, from events that a seed makes."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import CLOCK, CURSOR, LINE, WATERMARK, Kind
from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import decode, encode, stamp_sequenced
from tickmesh.nodes.sentinel.deaths import HOPELESS_DEATHS, LOOP_DEATHS, CrashLoops
from tickmesh.nodes.sentinel.judge import Diagnosis, Judge, Process
from tickmesh.nodes.sentinel.restarts import HOUR_NS, RESTART, Restarts

SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
READERS = ("recorder", "model-flow", "executor", "sentinel-1", "sentinel-2")
FEEDS = ("feed-1", "feed-2")


class World:
    """A mesh that says what a mesh says, second by second, into a judge; a test makes parts of it fail."""

    def __init__(self, seed: int = 1, **settings):
        self.random = random.Random(seed)
        self.settings = SentinelSettings(**settings)
        self.judge = Judge(self.settings, segment_s=6.0)
        self.now = BEGIN
        self.seq = 0
        self.beats: dict[str, dict] = {}
        self.hung: set[str] = set()
        self.processes: dict[str, Process] = {}
        self.taken: dict[str, int] = {}
        self.alerts: list[Diagnosis] = []
        self.restarts = Restarts(self.settings)
        self.decisions: list = []
        self.rate = 0  # market events a second
        for name in ("sequencer", *FEEDS, *READERS):
            self.start(name)

    def start(self, name: str) -> None:
        pid = self.random.randrange(1000, 10**6)
        self.processes[name] = Process(name, pid, self.now, ready_ns=self.now)
        self.beats[name] = {"pid": pid}
        if name in FEEDS:
            self.beats[name] |= {"events": 0, "reconnects": 0}
        elif name != "sequencer":
            self.beats[name] |= {"lag": 0, "deaf_s": 0.0}
        self.hung.discard(name)

    def say(self, kind: Kind, subject: str, content) -> None:
        raw = encode(kind, subject, content)
        self.seq += 1
        stamp_sequenced(raw, self.seq, 0, self.now)
        self.judge.hear([decode(raw)])

    def second(self, looks: bool = True) -> list[Diagnosis]:
        """One second: heartbeats in some order, a cursor, a clock; then a look."""
        if "sequencer" not in self.hung:
            self.seq += self.rate
            names = [name for name in self.beats if name not in self.hung]
            self.random.shuffle(names)
            for name in names:
                self.now += SECOND // 50
                beat = self.beats[name]
                if name in FEEDS:
                    beat["events"] += self.rate
                if name == "sequencer":
                    beat["durable_seq"] = self.seq
                self.taken[name] = self.taken.get(name, 0) + 1
                self.say(Kind.health, name, beat)
            cursors = np.zeros(len(self.taken), CURSOR)
            for row, (name, number) in zip(cursors, self.taken.items()):
                row["producer"], row["number"] = name, number
            self.say(Kind.cursor, "sequencer", cursors)
            clock = np.zeros(1, CLOCK)
            clock["durable_seq"] = self.seq
            self.say(Kind.clock, "sequencer", clock)
            if "recorder" not in self.hung:
                self.say(Kind.watermark, "recorder", np.array([(self.seq, self.seq)], WATERMARK))
        self.now = self.now // SECOND * SECOND + SECOND
        if not looks:
            return []
        verdicts = self.judge.look(self.now, list(self.processes.values()))
        self.alerts += verdicts
        working = frozenset(p.name for p in self.processes.values() if self.judge.works(p))
        decided = self.restarts.decide(verdicts, list(self.processes.values()), working, self.now)
        self.decisions += decided
        for decision in decided:
            if decision.restart:
                self.start(decision.target)
        return verdicts

    def run(self, seconds: int) -> list[Diagnosis]:
        return [verdict for _ in range(seconds) for verdict in self.second()]


def line(world: World, name: str, firsts: int, duplicates: int) -> None:
    row = np.zeros(1, LINE)
    row["line"], row["firsts"], row["duplicates"], row["events"] = name, firsts, duplicates, firsts + duplicates
    row["begin_ns"], row["end_ns"], row["stream"] = world.now - 10 * SECOND, world.now, Kind.trade
    world.say(Kind.line, "binance.BTCUSDT", row)


# -- no false alarm


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
            assert world.second() == []
        assert world.run(17) == []


def test_a_planned_renewal_that_counts_as_no_reconnect_makes_nobody_stale():
    world = World(stale_s=10.0)
    for _ in range(5):
        for _ in range(3):
            world.beats["feed-1"]["events"] += 2
            assert world.second() == []
        assert world.run(30) == []


def test_a_heartbeat_behind_a_long_queue_is_not_missing():
    """A replay at full speed: the feed's events, and its heartbeats among them, wait in its outbox."""
    world = World()
    world.run(5)
    world.hung.add("feed-1")  # no health …
    for _ in range(120):
        world.taken["feed-1"] += 50_000  # … but what it has said is still being taken
        assert world.second() == []


def test_a_reader_that_works_as_fast_as_it_can_is_told_of_and_left_alone():
    world = World()
    world.rate = 60_000
    world.run(3)
    for behind in range(60):
        world.beats["recorder"]["lag"] = 20_000 * behind  # it reads 40,000 a second
        world.second()
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
        world.second(looks=False)
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
        assert world.second() == []


# -- what is wrong is found, in time


@pytest.mark.parametrize("name", ["feed-1", "recorder", "model-flow", "sentinel-2"])
def test_a_hung_process_is_restarted_within_its_bound(name):
    world = World()
    world.rate = 10
    world.run(20)
    world.hung.add(name)
    before, pid = world.now, world.processes[name].pid
    while not world.decisions:
        world.second()
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
        world.second(looks=False)
        assert world.judge.look(world.now, list(world.processes.values()), log_end=size) == []


def test_a_full_disk_is_told_and_nobody_is_killed_for_it():
    world = World()
    world.run(20)
    world.hung.add("sequencer")
    found = []
    for _ in range(30):
        world.second(looks=False)
        found += world.judge.look(world.now, list(world.processes.values()), disk_full="3 bytes are free")
    assert {(v.target, v.what, v.curable) for v in found} == {("sequencer", "disk full", False)}


def test_a_line_that_brings_nothing_while_the_other_does():
    world = World()
    world.rate = 5
    world.run(10)
    events = world.beats["feed-2"]["events"]
    while not world.decisions:
        world.second()
        if not world.decisions:
            world.beats["feed-2"]["events"] = events
        assert world.now - BEGIN < 50 * SECOND
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("feed-2", "stream stale", True)]
    assert world.now - BEGIN >= 40 * SECOND


def test_a_reader_that_reads_next_to_nothing_is_restarted():
    world = World()
    world.rate = 5_000
    for behind in range(60):
        world.beats["model-flow"]["lag"] = 4_999 * behind
        world.second()
        if world.decisions:
            break
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("model-flow", "lag growing", True)]


def test_a_beating_heart_that_no_longer_reads():
    world = World()
    world.run(5)
    for busy in range(30):
        world.beats["executor"]["deaf_s"] = float(busy)
        world.second()
        if world.decisions:
            break
    assert [(d.target, d.alert["what"], d.restart) for d in world.decisions] == [("executor", "deaf", True)]


def test_a_line_that_is_always_last_is_restarted_once_an_hour_and_told_of():
    world = World(last_s=60.0)
    for _ in range(40):
        world.run(10)
        line(world, "feed-1", 40, 2)
        line(world, "feed-2", 0, 42)
    assert [(d.target, d.restart) for d in world.decisions] == [("feed-2", True), ("feed-2", False)]
    world = World(last_s=60.0)
    for n in range(40):
        world.run(10)
        line(world, "feed-2", int(n % 5 == 0), 42)
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
        world.second()
        world.say(Kind.health, "recorder", world.beats["recorder"])
        beats += 1
        assert beats < 70
    assert [(d.target, d.alert["what"]) for d in world.decisions] == [("recorder", "watermark still")] and beats >= 59


# -- the budget


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
        world.second()
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
    second.hear(heard)
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
    restarts.hear([decode(raw)])
    assert restarts.left("a", BEGIN) == SentinelSettings().restarts_per_hour


# -- deaths


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
