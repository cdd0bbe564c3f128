"""Arbitration: whatever the lines do, the log gets each id once, in order, and a hole only where no line had it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.schema import DEPTH, QUOTE, TRADE, Flag, GapState, Kind
from bus.wire import decode, encode
from nodes.sequencing.arbiter import Arbiter

SUBJECT = "binance.BTCUSDT"
HOLD = 100


def event(kind, first, last, snapshot=False):
    dtype = {Kind.trade: TRADE, Kind.quote: QUOTE, Kind.depth: DEPTH}[kind]
    return encode(kind, SUBJECT, np.zeros(1, dtype), first_id=first, last_id=last, flags=snapshot * Flag.SNAPSHOT)


class Lines:
    """Feeds an arbiter from several lines and keeps what comes out."""

    def __init__(self):
        self.arbiter = Arbiter(HOLD)
        self.out = []
        self.now = 0
        self.number = {}

    def say(self, line, kind, first, last=None, snapshot=False):
        number = self.number[line] = self.number.get(line, 0) + 1
        raw = event(kind, first, first if last is None else last, snapshot)
        self.out += map(decode, self.arbiter.offer(kind, SUBJECT, line, number, raw, self.now))

    def wait(self, ns):
        self.now += ns
        self.out += map(decode, self.arbiter.due(self.now))

    def ids(self, kind=Kind.trade):
        return [e.last_id for e in self.out if e.kind == kind]

    def gaps(self):
        return [(e.first_id, e.last_id, int(e.records["state"][0])) for e in self.out if e.kind == Kind.gap]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(2, 3), st.sampled_from([Kind.trade, Kind.quote, Kind.depth]))
def test_lines_in_any_interleaving_give_each_id_once_in_order(data, count, kind):
    """Every id is on one line at least, lines reconnect with holes, one line is whole: nothing is lost."""
    ids = list(range(1, data.draw(st.integers(2, 30)) + 1))
    lines = Lines()
    queues = {"a": [("id", i) for i in ids]}
    for n in range(1, count):
        start = data.draw(st.integers(0, len(ids)))
        stop = data.draw(st.integers(start, len(ids)))
        again = data.draw(st.integers(stop, len(ids)))
        queues["abc"[n]] = (
            [("connect", 0)] + [("id", i) for i in ids[start:stop]] + [("connect", 0)] + [("id", i) for i in ids[again:]]
        )
    # The stream begins with the whole line, as a mesh begins with every line up.
    lines.say("a", kind, queues["a"].pop(0)[1])
    while any(queues.values()):
        line = data.draw(st.sampled_from(sorted(name for name, queue in queues.items() if queue)))
        what, i = queues[line].pop(0)
        if what == "connect":
            lines.arbiter.connected(line, SUBJECT)
        else:
            lines.say(line, kind, i)
    assert lines.ids(kind) == ids
    assert lines.gaps() == []
    assert not any(lines.arbiter.held_numbers(line) for line in "abc")


def test_a_hole_that_nobody_fills_is_a_gap_after_the_hold():
    lines = Lines()
    for i in (1, 2, 5, 6):
        lines.say("a", Kind.trade, i)
    assert lines.ids() == [1, 2] and lines.arbiter.held_numbers("a") == [3, 4]
    lines.wait(HOLD)
    assert lines.ids() == [1, 2, 5, 6]
    assert lines.gaps() == [(3, 4, GapState.open)]
    lines.say("b", Kind.trade, 4)  # late: taken after all, and flagged
    assert lines.ids()[-1] == 4
    assert next(e for e in lines.out if e.last_id == 4 and e.kind == Kind.trade).flags == Flag.REPAIRED
    lines.say("b", Kind.trade, 4)
    assert lines.ids().count(4) == 1
    assert lines.gaps()[-1] == (4, 4, GapState.repaired)


def test_another_line_fills_a_hole_within_the_hold():
    lines = Lines()
    for i in (1, 2, 5, 6):
        lines.say("a", Kind.trade, i)
    lines.wait(HOLD - 1)
    for i in (1, 2, 3, 4, 5):
        lines.say("b", Kind.trade, i)
    assert lines.ids() == [1, 2, 3, 4, 5, 6]
    assert lines.gaps() == []
    assert lines.arbiter.duplicates == {"b": 3}


def test_a_book_wants_one_snapshot_and_another_after_a_break():
    lines = Lines()
    lines.say("a", Kind.depth, 1, 5)
    lines.say("a", Kind.depth, 6, 7, snapshot=True)
    lines.say("a", Kind.depth, 6, 9)  # overlaps the snapshot, as real ones do
    lines.say("b", Kind.depth, 9, 8, snapshot=True)  # the other line's is not needed
    lines.say("b", Kind.depth, 10, 12)
    assert [(e.first_id, e.last_id, e.flags) for e in lines.out] == [(1, 5, 0), (6, 7, 1), (6, 9, 0), (10, 12, 0)]
    lines.say("a", Kind.depth, 20, 22)
    lines.wait(HOLD)
    lines.say("a", Kind.depth, 23, 22, snapshot=True)
    lines.say("a", Kind.depth, 23, 25)
    assert [(e.kind, e.first_id, e.last_id) for e in lines.out[4:]] == [
        (Kind.gap, 13, 19),
        (Kind.depth, 20, 22),
        (Kind.depth, 23, 22),
        (Kind.depth, 23, 25),
    ]


def test_a_snapshot_beyond_a_whole_book_says_the_hole_first():
    """As after a restart of everything: nothing may be missed without a word, and the book is in step again."""
    lines = Lines()
    lines.say("a", Kind.depth, 1, 5)
    lines.say("a", Kind.depth, 6, 5, snapshot=True)
    lines.say("a", Kind.depth, 100, 99, snapshot=True)
    lines.say("a", Kind.depth, 100, 101)
    assert len(lines.out) == 2, "another line might still fill it"
    lines.wait(HOLD)
    assert [(e.kind, e.first_id, e.last_id) for e in lines.out[2:]] == [
        (Kind.gap, 6, 99),
        (Kind.depth, 100, 99),
        (Kind.depth, 100, 101),
    ]


def test_a_reconnected_line_cannot_overtake_one_that_is_behind():
    lines = Lines()
    lines.say("a", Kind.quote, 10)
    lines.say("b", Kind.quote, 10)
    lines.arbiter.connected("a", SUBJECT)
    lines.say("a", Kind.quote, 30)  # b still has 12, 15 and 30 on the way
    for i in (12, 15, 30):
        lines.say("b", Kind.quote, i)
    lines.say("a", Kind.quote, 33)
    assert lines.ids(Kind.quote) == [10, 12, 15, 30, 33]


def test_state_goes_on_after_a_restart():
    lines = Lines()
    for i in (1, 2, 5):
        lines.say("a", Kind.trade, i)
    lines.wait(HOLD)
    fresh = Arbiter(HOLD)
    fresh.restore(lines.arbiter.state())
    assert fresh.offer(Kind.trade, SUBJECT, "b", 1, event(Kind.trade, 5, 5), 0) == []
    assert len(fresh.offer(Kind.trade, SUBJECT, "b", 2, event(Kind.trade, 6, 6), 0)) == 1
    assert len(fresh.offer(Kind.trade, SUBJECT, "b", 3, event(Kind.trade, 3, 3), 0)) == 2  # late, and its gap record


def test_a_log_replayed_gives_the_same_cursor():
    lines = Lines()
    for i in (1, 2, 5, 3):
        lines.say("a", Kind.trade, i)
    lines.wait(HOLD)
    fresh = Arbiter(HOLD)
    for e in lines.out:
        if e.kind == Kind.gap:
            fresh.observe_gap(SUBJECT, int(e.records["stream"][0]), e.first_id, e.last_id, int(e.records["state"][0]))
        else:
            fresh.observe(e.kind, SUBJECT, "a", bytearray(e.raw))
    assert fresh.streams[(Kind.trade, SUBJECT)].last == lines.arbiter.streams[(Kind.trade, SUBJECT)].last
