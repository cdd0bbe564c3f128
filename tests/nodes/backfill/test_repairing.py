"""What backfill asks for and what it makes of the answers, against a venue's history with every fault there is."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arbitration import trades
from tests.support.backfill_plan import PATIENCE, always
from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.schema import GAP, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import decode, encode, stamp_sequenced
from tickmesh.nodes.backfill.plan import REFUSALS, Plan
from tickmesh.nodes.sequencer.arbiter import Arbiter

SUBJECT = "binance.BTCUSDT"


class Loop:
    """A sequencer's arbiter and a plan that hear one another through a log."""

    def __init__(self, *brought, venue_ns=0):
        self.arbiter = Arbiter(0)
        self.plan = Plan(PATIENCE, lambda: lambda: 1.0)
        self.now, self.seq, self.number = 0.0, 0, 0
        self.log = []
        for n, i in enumerate(brought, 1):
            self.append(self.arbiter.offer(Kind.trade, SUBJECT, "a", n, trades(i, venue_ns=venue_ns), 0))
            self.append(self.arbiter.due(1))

    def append(self, out):
        for raw in out:
            self.seq += 1
            stamp_sequenced(raw, self.seq, 0, self.seq)
            self.log.append(decode(bytes(raw)))
            self.plan.observe(self.log[-1])

    def hear(self, said):
        """What backfill says reaches the log."""
        for raw in said:
            self.number += 1
            event = decode(raw)
            if event.kind == Kind.gap:
                self.append(self.arbiter.declare(SUBJECT, "backfill", event.records))
            else:
                self.append(self.arbiter.offer(Kind.trade, SUBJECT, "backfill", self.number, bytearray(raw), 0))

    def turn(self, page, unreadable=False):
        """One request: `page(first)` gives the ids that come back. Returns the id asked for, None when there is none."""
        effort = self.plan.next(self.now, always)
        if effort is None:
            return None
        first = effort.first_missing()
        self.plan.ask(effort)
        self.hear(self.plan.page(effort, [trades(i, flags=Flag.REPAIRED) for i in page(first)], unreadable, self.now))
        return first

    def ids(self):
        return sorted(e.last_id for e in self.log if e.kind == Kind.trade)

    def lost(self):
        """id → reason."""
        out = {}
        for event in self.log:
            if event.kind == Kind.gap:
                for low, high, _, state, reason, *_ in event.records.tolist():
                    if state == GapState.unrecoverable:
                        out.update(dict.fromkeys(range(low, high + 1), Reason(reason)))
        return out


def test_pages_are_asked_for_one_after_the_other():
    loop = Loop(1, 10)
    asked = [loop.turn(lambda first: range(first, first + 3)) for _ in range(4)]
    assert asked == [2, 5, 8, None]
    assert loop.ids() == list(range(1, 11)) and loop.arbiter.open_gaps == 0 and loop.plan.efforts == {}


def test_a_page_that_begins_later_declares_exactly_what_is_before():
    loop = Loop(1, 10)
    loop.turn(lambda first: range(6, 20))
    assert loop.lost() == dict.fromkeys(range(2, 6), Reason.retention)
    assert loop.ids() == [1, *range(6, 11)]


def test_a_history_that_begins_after_the_gap_has_nothing_of_it():
    loop = Loop(1, 10)
    loop.turn(lambda first: range(15, 20))
    assert loop.lost() == dict.fromkeys(range(2, 10), Reason.retention)


def test_a_page_may_begin_lower_than_asked():
    loop = Loop(3, 10)
    loop.turn(lambda first: range(1, 12))
    assert loop.ids() == list(range(3, 11)) and loop.lost() == {}


@pytest.mark.parametrize("late", [lambda first: (), lambda first: range(1, 5)], ids=["empty", "ends before"])
def test_a_history_that_lags_is_waited_for(late):
    loop = Loop(4, 10)
    assert loop.turn(late) == 5 and loop.turn(late) is None, "not at once"
    loop.now += PATIENCE - 1
    loop.turn(late)
    assert loop.lost() == {}
    loop.now += 2
    loop.turn(lambda first: range(first, 8))
    assert loop.ids() == [4, 5, 6, 7, 10] and loop.lost() == {}, "patience begins anew with each success"
    loop.turn(late)
    loop.now += PATIENCE + 1
    loop.turn(late)
    assert loop.lost() == {8: Reason.refused, 9: Reason.refused}


def test_a_jump_inside_a_page_is_asked_again_before_it_is_believed():
    loop = Loop(1, 10)
    assert loop.turn(lambda first: (2, 3, 6, 7, 8, 9)) == 2
    assert loop.ids() == [1, 2, 3, 10], "nothing beyond the jump"
    assert loop.turn(lambda first: (6, 7, 8, 9)) == 4
    assert loop.lost() == {}
    loop.now += PATIENCE + 1
    loop.turn(lambda first: (6, 7, 8, 9))
    assert loop.lost() == {4: Reason.skipped, 5: Reason.skipped} and loop.arbiter.open_gaps == 0


def test_all_jumps_of_a_page_are_waited_for_at_once():
    """Trades that never met the book are in no history: a gap with many of them is repaired after one patience, not many."""
    loop = Loop(1, 10)
    page = (2, 3, 5, 6, 8, 9)
    assert loop.turn(lambda first: page) == 2
    loop.now += PATIENCE - 1
    loop.turn(lambda first: page)
    assert loop.lost() == {}
    loop.now += 2
    assert loop.turn(lambda first: page) == 4
    assert loop.turn(lambda first: page) == 7
    assert loop.lost() == {4: Reason.skipped, 7: Reason.skipped} and loop.ids() == [1, 2, 3, 5, 6, 8, 9, 10]
    loop = Loop(1, 10)
    assert loop.turn(lambda first: page) == 2
    loop.now += PATIENCE + 1
    loop.plan.reset_patience(loop.plan.next(loop.now, always))
    loop.turn(lambda first: page)
    assert loop.lost() == {}, "where no question could be asked, the patience begins anew for all of them"


def test_rows_that_cannot_be_read_are_asked_again_and_named_in_the_end():
    loop = Loop(1, 6)
    for _ in range(2):
        loop.turn(lambda first: (3, 4, 5), unreadable=True)
        loop.now += PATIENCE + 1
    assert loop.lost() == {2: Reason.unreadable} and loop.ids() == [1, 3, 4, 5, 6]


def test_a_refusal_is_believed_after_a_few_times_and_beyond_our_patience():
    loop = Loop(1, 6)

    def refuse(times):
        for _ in range(times):
            effort = loop.plan.next(loop.now, always)
            loop.hear(loop.plan.refused(effort, loop.now))
            loop.now += 2

    refuse(REFUSALS + 1)
    assert loop.lost() == {}, "a moment's trouble of a proxy"
    loop.plan.reset_patience(loop.plan.next(loop.now, always))
    loop.now += PATIENCE
    refuse(1)
    assert loop.lost() == {}, "nobody could be asked meanwhile"
    loop.now += PATIENCE
    refuse(1)
    assert loop.lost() == dict.fromkeys(range(2, 6), Reason.refused)


def test_a_page_of_which_nothing_can_be_read_says_something_of_one_id():
    loop = Loop(1, 6)
    for _ in range(2):
        loop.turn(lambda first: (), unreadable=True)
        loop.now += PATIENCE + 1
    assert loop.lost() == {2: Reason.unreadable}


def test_a_page_that_begins_lower_proves_no_retention():
    loop = Loop(3, 10)
    loop.turn(lambda first: (1, 2, 3, 6, 7, 8, 9))
    assert loop.lost() == {}
    loop.now += PATIENCE + 1
    loop.turn(lambda first: (1, 2, 3, 6, 7, 8, 9))
    assert set(loop.lost().values()) <= {Reason.skipped}


def test_gaps_take_turns_and_the_oldest_begins():
    loop = Loop(1, 10, 11, 20, 21, 30)
    asked = [loop.turn(lambda first: (first, first + 1)) for _ in range(7)]
    assert asked == [2, 12, 22, 4, 14, 24, 6]


def test_what_was_said_and_did_not_arrive_is_asked_for_again():
    loop = Loop(1, 4)
    effort = loop.plan.next(0.0, always)
    loop.plan.ask(effort)
    assert len(loop.plan.page(effort, [trades(i, flags=Flag.REPAIRED) for i in (2, 3)], False, 0.0)) == 2
    effort.published_number = 7
    assert loop.plan.next(0.0, always) is None, "it is on its way"
    loop.plan.taken(6)
    assert loop.plan.next(0.0, always) is None
    loop.plan.taken(7)
    assert loop.plan.next(0.0, always).first_missing() == 2


def test_what_was_missing_of_an_era_is_not_asked_for_in_the_next():
    loop = Loop(1, 4)
    loop.append([trades(1, flags=Flag.RESET)])
    assert not loop.plan.efforts and loop.plan.next(0.0, always) is None
    loop.append(loop.arbiter.due(10**12))
    record = np.zeros(1, GAP)
    record[0] = (2, 2, Kind.trade, GapState.open, Reason.skipped, 0, 0, 0, 0)
    loop.append([encode(Kind.gap, SUBJECT, record, first_id=2, last_id=2)])
    assert [effort.gap.low for effort in loop.plan.efforts.values()] == [2], "below all that was missing before"


SECOND = 10**9


@pytest.mark.parametrize(("later_ns", "repaired"), [(SECOND // 10_000, True), (60 * SECOND, False)])
def test_a_history_prints_its_times_otherwise_and_does_not_lie_in_another_minute(later_ns, repaired):
    """Later than what stands behind the hole by rounding: repaired. By a minute: another meaning of the same ids."""
    loop = Loop(1, 4, venue_ns=1000 * SECOND)
    for _ in range(REFUSALS + 2):
        if (effort := loop.plan.next(loop.now, always)) is None:
            break
        page = [trades(i, flags=Flag.REPAIRED, venue_ns=1000 * SECOND + later_ns) for i in (2, 3)]
        loop.hear(loop.plan.page(effort, page, False, loop.now))
        effort.published_number = loop.number
        loop.plan.taken(loop.number)
        loop.now += 1
    refused = [e for e in loop.log if e.kind == Kind.refusal]
    if repaired:
        assert loop.ids() == [1, 2, 3, 4] and not refused and not loop.lost()
    else:
        assert loop.ids() == [1, 4] and len(refused) > 1
        assert loop.lost() == {2: Reason.contradiction, 3: Reason.contradiction}
    assert not loop.plan.efforts


def test_the_state_is_what_the_log_says():
    loop = Loop(1, 10, 20)
    loop.turn(lambda first: range(first, first + 3))
    fresh = Plan(PATIENCE, lambda: lambda: 1.0)
    fresh.restore(loop.plan.state())
    assert [(k, e.first_missing(), e.opened_ns) for k, e in fresh.efforts.items()] == [
        ((SUBJECT, 2), 5, 2),
        ((SUBJECT, 11), 11, 4),
    ]
    assert fresh.state() == loop.plan.state()
    replayed = Plan(PATIENCE, lambda: lambda: 1.0)
    for event in loop.log:
        replayed.observe(event)
    assert replayed.state() == loop.plan.state()


@settings(max_examples=150)
@given(st.integers(0, 1 << 32).map(random.Random))
def test_whatever_the_venue_answers_each_id_is_repaired_or_declared_once(rng):
    brought = sorted(rng.sample(range(1, 80), 6))
    loop = Loop(*brought)
    span = range(brought[0], brought[-1] + 1)
    keeps = rng.randrange(1, 60)
    history = [i for i in range(keeps, 90) if rng.random() > 0.05]
    for _ in range(4000):
        if not loop.plan.efforts:
            break
        limit = rng.choice((1, 3, 10))
        dice = rng.random()

        def page(first, limit=limit, dice=dice):
            if dice < 0.2:
                return ()
            return [i for i in history if i >= first - (dice < 0.3) * 2][:limit]

        if rng.random() < 0.1:  # a crash: only the log is left
            state = loop.plan.state()
            loop.plan = Plan(PATIENCE, lambda: lambda: 1.0)
            loop.plan.restore(state)
        if loop.turn(page) is None:
            loop.now += rng.choice((1.0, 1.0, PATIENCE + 1))
    assert not loop.plan.efforts and loop.arbiter.open_gaps == 0
    lost = loop.lost()
    assert sorted([*loop.ids(), *lost]) == list(span)
    assert not set(loop.ids()) & set(lost)


def test_a_declaration_names_only_what_is_missing():
    loop = Loop(1, 10)
    loop.hear([trades(5, flags=Flag.REPAIRED)])
    (effort,) = loop.plan.efforts.values()
    (said,) = loop.plan.no_history(effort)
    assert np.frombuffer(said, GAP, offset=HEADER_SIZE)[["first_id", "last_id"]].tolist() == [(2, 4), (6, 9)]
    assert decode(said).records["reason"].tolist() == [Reason.no_history] * 2


def test_gaps_of_other_kinds_are_none_of_its_business():
    plan = Plan(PATIENCE, lambda: lambda: 1.0)
    for stream in (Kind.depth, Kind.quote):
        record = np.zeros(1, GAP)
        record[0] = (1, 9, stream, GapState.open, 0, 0, 0, 0, 0)
        plan.observe(decode(encode(Kind.gap, SUBJECT, record)))
    assert plan.efforts == {} and plan.next(0.0, always) is None
