"""The mesh's time, whatever the wall clock does: never back, never still, at a bounded pace, and every step is said."""

import ast
import os
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import PROJECT
from tickmesh.bus import clock
from tickmesh.bus.clock import SECOND, ClockSegment, ClockWriter, Follower, MeshClock, Reading, first_segment, pack
from tickmesh.bus.clock_faults import ClockFaults, FaultyClocks
from tickmesh.bus.schema import QUOTE, Flag, Kind
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.sequencer.arbiter import Arbiter

HOUR = 3600 * SECOND
TICK = SECOND // 50
START = 1_700_000_000 * SECOND


class Machine:
    """Clocks that a test moves, and a MeshClock that looks at them."""

    def __init__(self, elapsed_ns=10 * SECOND, wall_ns=START):
        self.elapsed_ns = self.awake_ns = elapsed_ns
        self.wall_ns = wall_ns
        self.clock = MeshClock(first_segment(self.reading(), None, 0), self.reading())
        self.said = []

    def reading(self):
        return Reading(self.elapsed_ns, self.awake_ns, self.wall_ns)

    def now(self):
        return self.clock.at(self.elapsed_ns)

    def run(self, ns, every_ns=TICK, pace=1.0):
        """Time passes; gives what is said."""
        said = []
        for _ in range(ns // every_ns):
            self.elapsed_ns += every_ns
            self.awake_ns += every_ns
            self.wall_ns += int(every_ns * pace)
            said += self.clock.look(self.reading())
        self.said += said
        return said


MOVES = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 400 * TICK)),
    st.tuples(st.just("wall"), st.integers(-2 * HOUR, 2 * HOUR)),
    st.tuples(st.just("sleep"), st.integers(0, HOUR)),
    st.tuples(st.just("freeze"), st.integers(1, 20 * SECOND)),
    st.tuples(st.just("fast"), st.integers(1, 20 * SECOND)),
)


@given(st.lists(MOVES, max_size=30))
def test_it_never_goes_back_nor_stands_still_and_leaves_its_pace_only_by_steps_that_it_says(moves):
    machine = Machine()
    for what, size in moves:
        before, at = machine.now(), machine.elapsed_ns
        said = []
        if what == "wall":
            machine.wall_ns += size
            said = machine.run(TICK)
        elif what == "sleep":
            machine.elapsed_ns += size
            machine.wall_ns += size
            said = machine.run(TICK)
        else:
            pace = {"pass": 1.0, "freeze": 0.0, "fast": 1.5}[what]
            said = machine.run(max(size, TICK), pace=pace)
        passed = machine.elapsed_ns - at
        steps = sum(one.size_ns for one in said if one.what == "clock_step")
        moved = machine.now() - before - passed - steps
        assert abs(moved) <= passed // 100 + 50, f"{what} {size}: {moved} ns beside {passed}"
        assert all(one.size_ns > clock.STEP_NS for one in said if one.what == "clock_step")
        assert machine.now() - before >= passed * 98 // 100
    assert machine.clock.corrected_ns == machine.now() - START - (machine.elapsed_ns - 10 * SECOND)


@given(st.integers(-HOUR, HOUR), st.lists(st.integers(0, SECOND), min_size=2, max_size=50))
def test_between_two_looks_it_only_rises(offset, reads):
    segment = ClockSegment(0, START, offset)
    at = 0
    for passed in reads:
        assert segment.at(at + passed) - segment.at(at) >= passed - passed // 100 - 2
        at += passed


def test_an_hour_back_is_slewed_away_and_never_stepped():
    machine = Machine()
    machine.run(SECOND)
    machine.wall_ns -= HOUR
    (said,) = machine.run(10 * SECOND)
    assert (said.what, abs(said.size_ns + HOUR) < SECOND) == ("clock_slew", True)
    assert machine.now() - START == pytest.approx(11 * SECOND - SECOND // 10, abs=2 * TICK), "1 % slow"
    machine.wall_ns += HOUR - 5 * SECOND  # somebody mends most of it
    (end,) = machine.run(600 * SECOND)
    assert (end.what, end.size_ns) == ("clock_slew_end", pytest.approx(-5 * SECOND, abs=SECOND // 50))
    assert abs(machine.now() - machine.wall_ns) < SECOND // 1000


def test_a_step_forward_waits_until_it_is_confirmed():
    machine = Machine()
    machine.wall_ns += HOUR
    assert machine.run(SECOND - 2 * TICK) == [], "one odd reading, or fifty, are no reason"
    machine.wall_ns -= HOUR
    machine.run(5 * SECOND)
    assert machine.clock.steps == 0 and abs(machine.now() - machine.wall_ns) < SECOND // 50
    machine.wall_ns += HOUR
    (step,) = [one for one in machine.run(2 * SECOND) if one.what == "clock_step"]
    assert step.size_ns == pytest.approx(HOUR, abs=SECOND // 50)
    assert machine.now() == machine.wall_ns


def test_a_sequencer_that_was_stopped_has_not_looked_often_enough():
    machine = Machine()
    machine.wall_ns += HOUR
    machine.run(TICK)
    assert machine.run(10 * SECOND, every_ns=10 * SECOND) == []
    assert [one.what for one in machine.run(SECOND)] == ["clock_step"]


def test_a_suspend_counts_and_is_said():
    machine = Machine()
    before = machine.now()
    machine.elapsed_ns += HOUR
    machine.wall_ns += HOUR
    (said,) = machine.run(TICK)
    assert (said.what, said.size_ns) == ("clock_suspend", HOUR)
    assert machine.now() - before == HOUR + TICK and machine.clock.corrected_ns == 0
    if sys.platform == "linux":
        assert clock._STEADY == time.CLOCK_BOOTTIME, "the other one leaves the sleep out"


def test_a_clock_that_drifts_little_is_followed_without_a_word():
    machine = Machine()
    assert machine.run(200 * SECOND, pace=1.005) == []
    assert abs(machine.now() - machine.wall_ns) < SECOND // 1000


def test_a_start_goes_on_exactly_and_never_below_the_log():
    reading = Reading(100 * SECOND, 100 * SECOND, START)
    kept = ClockSegment(90 * SECOND, START + HOUR, 0)
    assert first_segment(reading, kept, 0).time_ns == START + HOUR + 10 * SECOND, "the wall clock says an hour less"
    assert first_segment(reading, None, START + HOUR).time_ns == START + HOUR + 1, "after a reboot: from the log's last"
    assert first_segment(reading, None, START - HOUR).time_ns == START


def test_every_process_computes_the_same_and_so_does_the_next_sequencer(tmp_path):
    writer = ClockWriter(tmp_path, clock.wall_ns() + HOUR)  # the log ends an hour ahead of the wall clock
    follower = Follower()
    follower.follow(tmp_path)
    for _ in range(100):
        before, now, after = writer.now_ns(), follower.now_ns(), writer.now_ns()
        assert before <= now <= after + 1
        writer.look()
    writer.close()
    again = ClockWriter(tmp_path, 0)
    assert 0 < again.now_ns() - now < 5 * SECOND
    again.close()


def test_corrections_add_up_over_every_death_of_the_sequencer(tmp_path, monkeypatch):
    """The time is slewed also while nobody is there, and what was not said before a death is said after it."""
    elapsed = [10**12]
    monkeypatch.setattr(clock, "elapsed_ns", lambda: elapsed[0])
    monkeypatch.setattr(clock, "wall_ns", lambda: elapsed[0] + START - HOUR - 10**12)
    writer = ClockWriter(tmp_path, START)
    begun, said = (writer.now_ns(), elapsed[0]), 0
    for _ in range(5):
        for turn in range(50):
            elapsed[0] += SECOND // 50
            writer.look()
            if turn % 20 == 0:
                said += writer.unpublished_ns
                writer.published(writer.unpublished_ns)
        writer.close()
        elapsed[0] += 2 * SECOND
        writer = ClockWriter(tmp_path, START)
    corrected = writer.now_ns() - begun[0] - (elapsed[0] - begun[1])
    assert abs(corrected + (elapsed[0] - begun[1]) // 100) < SECOND // 100, "a hundredth slower"
    assert abs(said + writer.unpublished_ns - corrected) < 100
    writer.close()


def test_without_a_file_time_goes_on_from_the_wall_clock_and_one_of_before_a_reboot_is_a_floor(tmp_path):
    follower = Follower()
    follower.follow(tmp_path)
    first = follower.now_ns()
    assert abs(first - time.time_ns()) < SECOND
    ahead = time.time_ns() + HOUR
    (tmp_path / clock.NAME).write_bytes(pack(ClockSegment(5, ahead, 0), b"another boot, 16"))
    fresh = Follower()
    fresh.follow(tmp_path)
    one, two = fresh.now_ns(), fresh.now_ns()
    assert ahead < one < two < ahead + SECOND
    (tmp_path / clock.NAME).write_bytes(b"nonsense" * 7)
    odd = Follower()
    odd.follow(tmp_path)
    assert abs(odd.now_ns() - time.time_ns()) < SECOND


def test_a_log_that_was_moved_away_takes_its_time_with_it(tmp_path):
    ClockWriter(tmp_path, time.time_ns() + HOUR).close()
    os.rename(tmp_path / clock.NAME, tmp_path / "moved")
    writer = ClockWriter(tmp_path, 0)
    assert abs(writer.now_ns() - time.time_ns()) < SECOND
    writer.close()


def test_faults_are_what_they_say_and_add_up(tmp_path):
    wall, elapsed = [time.time_ns()], [clock.machine_elapsed_ns()]
    faults = ClockFaults(tmp_path / "faults.json")
    seen = FaultyClocks(faults.path, lambda: wall[0], lambda: elapsed[0])

    def off():
        return seen.wall_ns() - wall[0]

    def passes(seconds):
        wall[0] += seconds * SECOND
        elapsed[0] += seconds * SECOND

    assert off() == 0
    faults.step(-HOUR)
    assert off() == pytest.approx(-HOUR, abs=1000)
    faults.suspend(HOUR)
    assert off() == pytest.approx(0, abs=1000) and seen.elapsed_ns() == elapsed[0] + HOUR
    faults.drift(1000)
    passes(100)
    assert off() == pytest.approx(SECOND // 10, abs=SECOND // 100)
    faults.freeze()
    frozen = seen.wall_ns()
    passes(100)
    assert seen.wall_ns() == frozen
    faults.heal()
    assert off() == 0 and seen.elapsed_ns() == elapsed[0] + HOUR, "what has passed does not come back"


def test_a_line_that_comes_back_with_lower_ids_is_followed_at_once_and_as_a_reset():
    """As after a reboot whose wall clock is behind, when the mesh's time was lost with the disk's cache."""
    hold_ns = SECOND
    arbiter = Arbiter(hold_ns)
    numbers = {"feed-1": 0, "feed-2": 0}

    def quote(line, ident, now):
        numbers[line] += 1
        event = encode(Kind.quote, "kraken.BTC/USD", np.zeros(1, QUOTE), first_id=ident, last_id=ident)
        return arbiter.offer(Kind.quote, "kraken.BTC/USD", line, numbers[line], event, now)

    assert quote("feed-1", 1_000_000, 0) and not quote("feed-2", 1_000_001, 1)
    arbiter.connected("feed-1", numbers["feed-1"])
    (again,) = quote("feed-1", 5_000, 2 * hold_ns)
    assert decode(again).flags & Flag.RESET
    assert quote("feed-1", 5_001, 2 * hold_ns + 1)
    arbiter.connected("feed-1", numbers["feed-1"])  # it goes, and the other one's ids are lower
    taken = [bool(quote("feed-2", 10 + n, (2 * hold_ns) + n * hold_ns // 2)) for n in range(1, 12)]
    assert 0 < taken.index(True) * hold_ns // 2 <= 4 * hold_ns and all(taken[taken.index(True) :])


def test_nobody_asks_the_machine_for_the_wall_clock_but_the_clock():
    """Else a wall clock that steps is seen there, and no test can make it step."""
    asks = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("time", "gmtime")}
    for package in ("bus", "storage", "nodes"):
        for path in (PROJECT / package).rglob("*.py"):
            if path.name in ("clock.py", "clock_faults.py") and path.parent.name == "bus":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
                    assert (owner, node.attr) not in asks, f"{path.relative_to(PROJECT)}:{node.lineno}: ask bus/clock.py"
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    assert not {"time", "time_ns"} & {alias.name for alias in node.names}, path
