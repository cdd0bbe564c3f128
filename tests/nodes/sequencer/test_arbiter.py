"""Arbitration: whatever the lines do, the log gets each id once, in order, and a hole only where no line had it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arbitration import HOLD, SUBJECT, Lines, event, trades, unrecoverable
from tickmesh.bus.layout import RECORDS
from tickmesh.bus.schema import Flag, GapState, Kind, Reason
from tickmesh.bus.wire import decode
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.sequencer.copies import Copies
from tickmesh.nodes.sequencer.statements import line_reports


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
    lines.offer("a", kind, queues["a"].pop(0)[1])
    while any(queues.values()):
        line = data.draw(st.sampled_from(sorted(name for name, queue in queues.items() if queue)))
        what, i = queues[line].pop(0)
        if what == "connect":
            lines.connect(line)
        else:
            lines.offer(line, kind, i)
    assert lines.ids(kind) == ids
    assert lines.gaps() == []
    lines.wait(10 * HOLD)
    assert not any(lines.arbiter.held_numbers(line) for line in "abc")
    assert lines.ids(kind) == ids


def test_a_hole_that_nobody_fills_is_a_gap_after_the_hold():
    lines = Lines()
    for i in (1, 2, 5, 6):
        lines.offer("a", Kind.trade, i)
    assert lines.ids() == [1, 2] and lines.arbiter.held_numbers("a") == [3, 4]
    lines.wait(HOLD)
    assert lines.ids() == [1, 2, 5, 6]
    assert lines.gaps() == [(3, 4, GapState.open)]
    lines.offer("b", Kind.trade, 4)  # late: taken after all, and flagged
    assert lines.ids()[-1] == 4
    assert next(e for e in lines.out if e.last_id == 4 and e.kind == Kind.trade).flags == Flag.REPAIRED
    lines.offer("b", Kind.trade, 4)
    assert lines.ids().count(4) == 1
    assert lines.gaps() == [(3, 4, GapState.open)], "half of it is still open"
    lines.offer("b", Kind.trade, 3)
    assert lines.gaps()[1:] == [(3, 4, GapState.repaired)]
    assert lines.arbiter.open_gaps == 0


def test_another_line_fills_a_hole_within_the_hold():
    lines = Lines()
    for i in (1, 2, 5, 6):
        lines.offer("a", Kind.trade, i)
    lines.wait(HOLD - 1)
    for i in (1, 2, 3, 4, 5):
        lines.offer("b", Kind.trade, i)
    assert lines.ids() == [1, 2, 3, 4, 5, 6]
    lines.wait(10 * HOLD)
    assert lines.gaps() == []
    assert lines.arbiter.copies.duplicates == {"b": 3}


def test_a_book_wants_one_snapshot_and_another_after_a_break():
    lines = Lines()
    lines.offer("a", Kind.depth, 1, 5)
    lines.offer("a", Kind.depth, 6, 9)  # overlaps the snapshot, as real ones do
    lines.offer("a", Kind.depth, 6, 7, snapshot=True)  # older than the last change: brought up to it
    lines.offer("b", Kind.depth, 9, 8, snapshot=True)  # the other line's is not needed
    lines.offer("b", Kind.depth, 10, 12)
    assert [(e.first_id, e.last_id, e.flags) for e in lines.out] == [(1, 5, 8), (6, 9, 8), (10, 9, 1), (10, 12, 0)]
    lines.offer("a", Kind.depth, 20, 22)
    lines.wait(HOLD)
    lines.offer("a", Kind.depth, 23, 22, snapshot=True)
    lines.offer("a", Kind.depth, 23, 25)
    assert [(e.kind, e.first_id, e.last_id) for e in lines.out[4:]] == [
        (Kind.gap, 13, 19),
        (Kind.depth, 20, 22),
        (Kind.depth, 23, 22),
        (Kind.depth, 23, 25),
    ]


def test_a_snapshot_beyond_a_whole_book_says_the_hole_first():
    """As after a restart of everything: nothing may be missed without a word, and the book is in step again."""
    lines = Lines()
    lines.offer("a", Kind.depth, 1, 5)
    lines.offer("a", Kind.depth, 6, 5, snapshot=True)
    lines.offer("a", Kind.depth, 100, 99, snapshot=True)
    lines.offer("a", Kind.depth, 100, 101)
    assert len(lines.out) == 2, "another line might still fill it"
    lines.wait(HOLD)
    assert [(e.kind, e.first_id, e.last_id) for e in lines.out[2:]] == [
        (Kind.gap, 6, 99),
        (Kind.depth, 100, 99),
        (Kind.depth, 100, 101),
    ]


def test_a_reconnected_line_cannot_overtake_one_that_is_behind():
    lines = Lines()
    lines.offer("a", Kind.quote, 10)
    lines.offer("b", Kind.quote, 10)
    lines.connect("a")
    lines.offer("a", Kind.quote, 30)  # b still has 12, 15 and 30 on the way
    for i in (12, 15, 30):
        lines.offer("b", Kind.quote, i)
    lines.offer("a", Kind.quote, 33)
    assert lines.ids(Kind.quote) == [10, 12, 15, 30, 33]


def test_state_goes_on_after_a_restart():
    lines = Lines()
    for i in (1, 2, 5):
        lines.offer("a", Kind.trade, i)
    lines.wait(HOLD)
    fresh = Arbiter(HOLD)
    fresh.restore(lines.arbiter.state())
    assert fresh.offer(Kind.trade, SUBJECT, "b", 1, event(Kind.trade, 5, 5), 0) == []
    assert len(fresh.offer(Kind.trade, SUBJECT, "b", 2, event(Kind.trade, 6, 6), 0)) == 1
    fresh.offer(Kind.trade, SUBJECT, "b", 3, event(Kind.trade, 3, 3), 0)
    assert len(fresh.offer(Kind.trade, SUBJECT, "b", 4, event(Kind.trade, 4, 4), 0)) == 2  # late, and what became of the gap


def holed(*ids):
    """Lines of which one brought these trades, with the holes between them given up."""
    lines = Lines()
    for i in ids:
        lines.offer("a", Kind.trade, i)
    lines.wait(HOLD)
    lines.out.clear()
    return lines


def test_backfill_repairs_and_declares_and_the_log_says_what_became_of_each_id():
    lines = holed(1, 11)
    for i in (2, 3, 9):
        lines.offer_raw("backfill", Kind.trade, trades(i, flags=Flag.REPAIRED))
    assert lines.gaps() == []
    lines.declare(unrecoverable(1, 8))
    assert lines.gaps() == [(4, 8, GapState.unrecoverable)], "only what is still missing"
    lines.offer_raw("backfill", Kind.trade, trades(10, flags=Flag.REPAIRED))
    assert lines.gaps()[1:] == [(2, 3, GapState.repaired), (9, 10, GapState.repaired)]
    assert lines.reasons() == [Reason.retention, Reason.none, Reason.none]
    assert all(e.flags == Flag.REPAIRED for e in lines.out if e.kind == Kind.trade)
    assert lines.ids() == [2, 3, 9, 10]


def test_what_backfill_says_again_changes_nothing():
    lines = holed(1, 4)
    lines.declare(unrecoverable(2, 2))
    lines.offer_raw("backfill", Kind.trade, trades(3, flags=Flag.REPAIRED))
    before = len(lines.out)
    lines.declare(unrecoverable(2, 3))
    lines.offer_raw("backfill", Kind.trade, trades(3, flags=Flag.REPAIRED))
    lines.offer_raw("backfill", Kind.trade, trades(9, flags=Flag.REPAIRED))
    assert len(lines.out) == before
    assert lines.arbiter.copies.duplicates["backfill"] == 3
    assert lines.arbiter.streams[Kind.trade, SUBJECT].last == 4, "a repair never moves the stream on"


def test_an_event_of_several_trades_gives_what_is_new_in_it():
    lines = Lines()
    lines.offer_raw("a", Kind.trade, trades(1, 2, 3))
    lines.offer_raw("b", Kind.trade, trades(2, 3, 4, 5))
    assert [r for e in lines.out for r in e.records["trade_id"].tolist()] == [1, 2, 3, 4, 5]
    assert [(e.first_id, e.last_id, e.count) for e in lines.out] == [(1, 3, 3), (4, 5, 2)]


def test_an_event_that_lies_across_a_hole_fills_only_the_hole():
    lines = holed(1, 2, 5, 6)
    lines.offer_raw("b", Kind.trade, trades(2, 3, 4, 5))
    assert [(e.first_id, e.last_id) for e in lines.out if e.kind == Kind.trade] == [(3, 4)]
    assert lines.gaps() == [(3, 4, GapState.repaired)]


def test_a_trade_that_stands_for_known_and_new_ids_is_not_taken_and_its_new_ids_are_a_gap():
    lines = Lines()
    lines.offer_raw("a", Kind.trade, trades((1, 4)))
    lines.offer_raw("b", Kind.trade, trades((3, 6), (7, 8)))
    assert [(e.kind, e.first_id, e.last_id) for e in lines.out] == [
        (Kind.trade, 1, 4),
        (Kind.gap, 5, 6),
        (Kind.trade, 7, 8),
    ]
    lines.offer_raw("backfill", Kind.trade, trades((4, 5), flags=Flag.REPAIRED))
    assert lines.arbiter.copies.duplicates == {"backfill": 1}
    lines.offer_raw("backfill", Kind.trade, trades((5, 6), flags=Flag.REPAIRED))
    assert lines.gaps() == [(5, 6, GapState.open), (5, 6, GapState.repaired)]


def test_a_gap_of_depth_cannot_be_repaired():
    lines = Lines()
    lines.offer("a", Kind.depth, 1, 5)
    lines.offer("a", Kind.depth, 9, 9)
    lines.wait(HOLD)
    lines.offer("b", Kind.depth, 6, 8)
    assert lines.gaps() == [(6, 8, GapState.unrecoverable)] and lines.reasons() == [Reason.no_history]
    assert lines.ids(Kind.depth) == [5, 9]


def test_too_many_open_gaps_are_not_forgotten_silently(monkeypatch):
    monkeypatch.setattr("tickmesh.nodes.sequencer.trade_gaps.MISSING_MAX", 2)
    lines = holed(1, 4, 6, 8)
    assert lines.gaps() == []
    lines = Lines()
    for i in (1, 4, 6, 8):
        lines.offer("a", Kind.trade, i)
        lines.wait(HOLD)
    assert lines.gaps() == [
        (2, 3, GapState.open),
        (5, 5, GapState.open),
        (7, 7, GapState.open),
        (2, 3, GapState.unrecoverable),
    ]
    assert lines.reasons()[-1] == Reason.skipped and lines.arbiter.trade_gaps.forgotten == 1
    lines.offer("b", Kind.trade, 2)
    assert 2 not in lines.ids()


def test_new_ids_are_followed_and_a_line_that_is_behind_cannot_bring_back_the_old_ones():
    lines = Lines()
    for line in "ab":
        lines.offer(line, Kind.depth, 1000, 1005, snapshot=line == "a")
        lines.offer(line, Kind.quote, 1005)
    lines.offer("a", Kind.depth, 7, 7, snapshot=True, reset=True)
    assert lines.reasons() == [Reason.reset]
    lines.offer("b", Kind.depth, 1006, 1006)
    lines.offer("b", Kind.quote, 1006)
    lines.offer("a", Kind.depth, 8, 9)
    lines.offer("a", Kind.quote, 9)
    lines.wait(10 * HOLD)
    lines.offer("b", Kind.depth, 7, 7, snapshot=True, reset=True)
    lines.offer("b", Kind.depth, 8, 9)
    lines.offer("b", Kind.depth, 10, 11)
    lines.offer("b", Kind.quote, 9)
    lines.offer("b", Kind.quote, 11)
    assert lines.ids(Kind.depth) == [1005, 7, 9, 11]
    assert lines.ids(Kind.quote) == [1005, 9, 11]
    assert [e.last_id for e in lines.out if e.flags & Flag.RESET] == [7, 9], "each stream begins its own era"
    assert len(lines.gaps()) == 2 and set(lines.reasons()) == {Reason.reset}


KRAKEN = "kraken.XBTUSD"


def test_a_book_without_ids_is_taken_from_one_line_until_that_goes():
    lines = Lines()

    def offer(line, ident, snapshot=False):
        return [
            e.last_id for e in lines.offer(line, Kind.depth, ident, ident, snapshot, subject=KRAKEN) if e.kind == Kind.depth
        ]

    assert offer("a", 100, snapshot=True) == [100]
    assert offer("b", 101, snapshot=True) == [] and offer("b", 102) == []
    assert offer("a", 103) == [103]
    lines.arbiter.connected("a", lines.next_number("a"), KRAKEN)
    assert offer("b", 104) == [], "no snapshot: what b knows is not known here"
    assert offer("b", 110, snapshot=True) == [110]
    assert lines.gaps() == [(104, 109, GapState.unrecoverable)] and lines.reasons() == [Reason.resync]
    assert offer("a", 112, snapshot=True) == [] and offer("a", 113) == [] and offer("b", 114) == [114]


def test_a_silent_line_is_left_and_a_quiet_market_is_no_silent_line():
    lines = Lines()

    def offer(line, ident, snapshot=False):
        return [
            e.last_id for e in lines.offer(line, Kind.depth, ident, ident, snapshot, subject=KRAKEN) if e.kind == Kind.depth
        ]

    offer("a", 100, snapshot=True)
    offer("b", 101)  # b's copy of the same change
    lines.now += 50 * HOLD
    assert offer("b", 200, snapshot=True) == [], "nothing has happened meanwhile"
    offer("b", 201)
    lines.now += HOLD // 2
    assert offer("a", 202) == [202] and offer("b", 203, snapshot=True) == []
    lines.now += 2 * HOLD
    assert offer("b", 300) == []  # the last that a owes
    lines.now += HOLD + 1
    assert offer("b", 301) == [] and offer("b", 302, snapshot=True) == [302]
    assert lines.arbiter.taken_over == 1


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([Kind.trade, Kind.quote, Kind.depth]))
def test_a_copy_that_is_known_at_a_glance_changes_what_the_whole_of_arbitration_would(data, kind):
    """Lines repeat, lie, connect anew and begin their ids anew: log, counts and state are those without the short way."""
    step, what = st.sampled_from([1] * 8 + [0, -1, 2, -6]), st.sampled_from([""] * 12 + ["other", "connect", "reset"])
    acts = st.tuples(st.sampled_from("abc"), step, st.integers(1, 2), what)
    played = data.draw(st.lists(acts, min_size=20, max_size=80))
    at_a_glance = played_through(kind, played)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copies, "glance", lambda *event: False)
        assert played_through(kind, played) == at_a_glance


def played_through(kind, acts):
    """All that an arbiter makes of acts of lines: what it gives, its state, its counts."""
    lines, at = Lines(), dict.fromkeys("abc", 10)
    for line, step, width, what in acts:
        lines.wait(1)
        if what == "connect":
            lines.connect(line)
            continue
        if what == "reset":
            at[line] = 1
        first, at[line] = at[line], max(at[line] + step * (width if kind == Kind.depth else 1), 1)
        last = max(at[line] - 1, first) if kind == Kind.depth else first
        raw = event(kind, first, last, reset=what == "reset", recv_ns=lines.now)
        raw[RECORDS.start + 9] = what == "other"  # of its price
        lines.offer_raw(line, kind, raw)
    lines.wait(20 * HOLD)
    arbiter = lines.arbiter
    reports = line_reports(arbiter.in_order(), 7)
    return [bytes(e.raw) for e in lines.out], arbiter.state(), arbiter.copies.duplicates, reports


def test_what_a_line_is_worth():
    lines = Lines()
    for i in range(1, 101):
        lines.now = 1000 * i
        lines.offer("a", Kind.trade, i)
        lines.now += i
        lines.offer("b", Kind.trade, i)
    lines.offer("b", Kind.trade, 50)
    (report,) = map(decode, line_reports(lines.arbiter.in_order(), 7))
    a, b = report.records
    assert (a["line"], a["events"], a["firsts"], a["duplicates"], a["disordered"]) == (b"a", 100, 100, 0, 0)
    assert (b["line"], b["events"], b["firsts"], b["duplicates"], b["disordered"]) == (b"b", 101, 0, 101, 1)
    assert (a["lead_p50_ns"], a["lead_p99_ns"], a["lag_p50_ns"]) == (50, 99, 0)
    assert b["lead_p50_ns"] == 0 and b["lag_p50_ns"] >= 50 and a["stream"] == Kind.trade
    assert line_reports(lines.arbiter.in_order(), 8) == [], "nothing came since"


def test_the_first_is_who_came_first_even_if_it_had_to_wait():
    lines = Lines()
    for line, i in (("a", 1), ("a", 3), ("b", 1), ("b", 2), ("b", 3)):
        lines.offer(line, Kind.trade, i)
    assert lines.ids() == [1, 2, 3]
    a, b = decode(line_reports(lines.arbiter.in_order(), 7)[0]).records
    assert (a["firsts"], a["duplicates"], b["firsts"], b["duplicates"]) == (2, 0, 1, 2)


def test_statistics_are_bounded(monkeypatch):
    monkeypatch.setattr("tickmesh.nodes.sequencer.line_quality.SAMPLES", 16)
    lines = Lines()
    for i in range(1, 5001):
        lines.now = i
        lines.offer("a", Kind.trade, i)
        lines.now = 3 * i
        lines.offer("b", Kind.trade, i)
    stream = lines.arbiter.streams[Kind.trade, SUBJECT].lines
    assert len(stream.slots) == 2048 and len(stream.lines["b"].lags) == 16
    assert min(stream.lines["b"].lags) > 2 * 4900, "the newest are kept"


def test_trades_without_ids_go_on_after_their_line_has_connected_anew():
    """Each is whole by itself: another line's, too, once the one that was taken has gone."""
    subject = "kraken_v1.XBT/USD"
    lines = Lines()
    for i in (100, 200):
        lines.offer("feed-1", Kind.trade, i, subject=subject)
    lines.arbiter.connected("feed-1", lines.next_number("feed-1"), subject)
    for i in (300, 400):
        lines.offer("feed-1", Kind.trade, i, subject=subject)
    assert [one.last_id for one in lines.out if one.kind == Kind.trade] == [100, 200, 300, 400]


def test_the_oldest_gap_that_was_repaired_just_before_a_crash_is_not_lost_again(monkeypatch):
    monkeypatch.setattr("tickmesh.nodes.sequencer.trade_gaps.MISSING_MAX", 2)
    lines = Lines()
    lines.offer("feed-1", Kind.trade, 1)
    for i in (3, 5):
        lines.offer("feed-1", Kind.trade, i)
        lines.now += 2 * HOLD
        lines.arbiter.due(lines.now)
    (stream,) = [one for one in lines.arbiter.streams.values() if len(one.gaps) == 2]
    stream.gaps.fill(2, 2)  # it is in the log, and then came the crash: what became of the gap is not
    said = lines.offer_raw("feed-1", Kind.trade, trades((5, 9)))
    states = [int(record["state"]) for one in said if one.kind == Kind.gap for record in one.records]
    assert GapState.repaired in states and GapState.unrecoverable not in states and lines.arbiter.trade_gaps.forgotten == 0
