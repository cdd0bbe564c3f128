"""Ids that contradict one another: nothing valid is lost by one that is absurd, and ids that begin anew are followed."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arbitration import HOLD, SUBJECT, Lines, event
from tickmesh.bus.schema import QUOTE, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import encode
from tickmesh.nodes.sequencer import doubts

STREAMS = [Kind.trade, Kind.quote, Kind.depth]
ABSURD = 10**12


def refusals(lines):
    return [one.map() for one in lines.out if one.kind == Kind.refusal]


def alerts(lines):
    return [one.map()["what"] for one in lines.out if one.kind == Kind.alert]


def contradictions(lines):
    found = [record for one in lines.out if one.kind == Kind.gap for record in one.records.tolist()]
    return [record[:2] for record in found if record[4] == Reason.contradiction]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("copies", [1, 2])
def test_an_id_out_of_proportion_is_held_and_refused_when_its_line_goes_on_below_it(kind, copies):
    lines = Lines()
    names = "ab"[:copies]
    for i in (1, 2, 3):
        for line in names:
            lines.say(line, kind, i)
    for line in names:
        lines.say(line, kind, 4 if kind == Kind.depth else ABSURD, ABSURD)
    assert lines.ids(kind) == [1, 2, 3], "nothing is built on it before a neighbour has spoken"
    for i in (5, 6):
        for line in names:
            lines.say(line, kind, i)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [1, 2, 3, 5, 6]
    assert contradictions(lines) == [(4, 4)], "said once, whatever the number of lines that brought it"
    (refusal,) = refusals(lines)
    assert str(ABSURD) in refusal["why"] and len(refusal["raw"]) == refusal["raw_bytes"]
    assert alerts(lines) == ["contradiction"]


@pytest.mark.parametrize("kind", STREAMS)
def test_another_line_that_has_the_true_event_leaves_no_gap(kind):
    lines = Lines()
    for i in (1, 2, 3):
        lines.say("a", kind, i), lines.say("b", kind, i)
    lines.say("a", kind, 4 if kind == Kind.depth else ABSURD, ABSURD)
    lines.say("b", kind, 4)
    lines.say("a", kind, 5)
    lines.say("b", kind, 5)
    assert lines.ids(kind) == [1, 2, 3, 4, 5] and len(refusals(lines)) == 1
    lines.wait(2 * HOLD)
    assert contradictions(lines) in ([], [(5, 4)])


@pytest.mark.parametrize("kind", STREAMS)
def test_a_jump_that_the_line_s_next_event_confirms_was_one(kind):
    lines = Lines()
    lines.say("a", kind, 1)
    for i in range(4):
        lines.say("a", kind, ABSURD + i)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [1, *range(ABSURD, ABSURD + 4)] and refusals(lines) == [] and contradictions(lines) == []


@pytest.mark.parametrize("kind", STREAMS)
def test_a_jump_that_nothing_confirms_is_believed_in_the_end_with_an_alert_and_gone_back_from(kind):
    lines = Lines()
    lines.say("a", kind, 1), lines.say("a", kind, 2)
    lines.say("a", kind, ABSURD)
    lines.wait(2 * HOLD)
    assert lines.ids(kind) == [1, 2]
    lines.wait(doubts_holds() * HOLD)
    assert lines.ids(kind) == [1, 2, ABSURD] and alerts(lines) == ["unconfirmed_jump"]
    for i in (4, 5, 6):
        lines.say("a", kind, i)
    assert lines.ids(kind) == [1, 2, ABSURD, 4, 5, 6]
    assert contradictions(lines) == [(3, 3)]
    assert lines.arbiter.streams[kind, SUBJECT].last == 6


def doubts_holds():
    from tickmesh.nodes.sequencer.holding import DOUBT_HOLDS

    return DOUBT_HOLDS


@pytest.mark.parametrize("kind", [Kind.quote, Kind.depth])
@pytest.mark.parametrize("jump", [70, 500, 5000])
def test_an_absurd_id_in_proportion_is_gone_back_from_and_nothing_after_it_is_lost(kind, jump):
    lines = Lines()
    for i in range(1, 11):
        lines.say("a", kind, i)
    lines.say("a", kind, 11, 11 + jump)
    for i in range(12, 40):
        lines.say("a", kind, i)
    wanted = [*range(1, 11), 11 + jump, *range(12, 40)]
    assert lines.ids(kind) == wanted
    assert len(contradictions(lines)) == 1 and lines.arbiter.contradictions == 1
    if kind == Kind.depth:
        flags = {one.last_id: one.flags for one in lines.out if one.kind == kind}
        assert flags[12] & Flag.UNSYNCED, "what follows belongs to no book until a snapshot is there"


@pytest.mark.parametrize("asked_at", [11, 5010])
def test_a_snapshot_brought_up_to_an_absurd_change_does_not_confirm_it(asked_at):
    lines = Lines()
    for i in range(1, 11):
        for line in "ab":
            lines.say(line, Kind.depth, i)
    for line in "ab":
        lines.say(line, Kind.depth, 11, 5011)
    lines.say("a", Kind.depth, asked_at + 1, asked_at, snapshot=True)
    assert lines.ids(Kind.depth) == [*range(1, 11), 5011, 5011], "the book, as of the last change"
    for i in range(12, 40):
        for line in "ab":
            lines.say(line, Kind.depth, i)
    lines.say("a", Kind.depth, 40, 39, snapshot=True)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.depth) == [*range(1, 11), 5011, 5011, *range(12, 40), 39]
    assert contradictions(lines) == [(12, 11)] and lines.arbiter.eras == 0
    flags = {one.last_id: one.flags for one in lines.out if one.kind == Kind.depth}
    assert flags[12] & Flag.UNSYNCED and flags[39] & Flag.SNAPSHOT


@pytest.mark.parametrize("kind", STREAMS)
def test_jumps_of_two_lines_at_once_are_each_decided(kind):
    lines = Lines()
    lines.say("a", kind, 1), lines.say("b", kind, 1)
    lines.say("b", kind, ABSURD), lines.say("a", kind, 2 * ABSURD)
    lines.say("b", kind, ABSURD + 1)
    lines.wait((doubts_holds() + 1) * HOLD)
    assert set(lines.ids(kind)) == {1, ABSURD, ABSURD + 1, 2 * ABSURD}


def test_a_trade_that_was_overtaken_on_its_line_is_taken_in_its_place():
    lines = Lines()
    for i in (1, 2, 4, 5, 3, 6, 8, 9, 7, 10):
        lines.say("a", Kind.trade, i)
    assert lines.ids() == list(range(1, 11)) and lines.gaps() == []


def test_a_quote_that_comes_too_late_for_its_place_is_refused_with_its_bytes():
    lines = Lines()
    for i in (10, 20, 40, 30, 50, 60):
        lines.say("a", Kind.quote, i)
    for i in (10, 20, 40, 50):
        lines.say("b", Kind.quote, i)
    lines.wait(10 * HOLD)
    (refusal,) = refusals(lines)
    assert "30" in refusal["why"] and lines.ids(Kind.quote) == [10, 20, 40, 50, 60]


@pytest.mark.parametrize(("subject", "refused"), [("binance.BTCUSDT", [2, 3]), ("okx.BTC-USDT", [])])
def test_what_each_line_numbers_by_itself_is_no_news_because_its_id_is_lower(subject, refused):
    """Line b heard the same quotes sooner, and brings them later: a, whose ids are higher, has them still before it."""
    lines = Lines()

    def say(line, i, venue_ns):
        raw = encode(Kind.quote, subject, np.zeros(1, QUOTE), first_id=i, last_id=i, venue_ns=venue_ns)
        lines.say_raw(line, Kind.quote, raw, subject)

    for line in "ab":
        say(line, 1, 1)
    say("a", 1000, 2)
    for i in (2, 3):
        say("b", i, i + 1)
    for i in (1001, 1002):
        say("a", i, i - 998)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.quote) == [1, 1000, 1001, 1002]
    assert [int(one["why"].split(" says id ")[1].split()[0]) for one in refusals(lines)] == refused


def test_trades_that_came_late_are_kept_when_the_id_that_opened_their_gap_is_taken_back():
    lines = Lines()
    for i in range(1, 6):
        lines.say("a", Kind.trade, i)
    lines.say("b", Kind.trade, 5006)
    lines.wait((doubts_holds() + 1) * HOLD)  # believed in the end
    for i in (6, 7):
        lines.say_raw("backfill", Kind.trade, repaired(i))
    for i in (10, 11, 12):  # its own line goes on below it
        lines.say("b", Kind.trade, i)
    assert lines.ids() == [1, 2, 3, 4, 5, 5006, 6, 7, 10, 11, 12]
    missing = lines.arbiter.streams[Kind.trade, SUBJECT].gaps.missing(1, 6000)
    assert missing == [(8, 9)], "what nobody brought, and no more"
    for i in (8, 9):
        lines.say_raw("backfill", Kind.trade, repaired(i))
    assert lines.gaps()[-1] == (8, 9, GapState.repaired) and lines.arbiter.open_gaps == 0


def test_an_absurd_id_of_a_line_that_is_gone_is_taken_back_by_what_another_one_says():
    lines = Lines()
    for i in range(1, 6):
        lines.say("a", Kind.trade, i)
    lines.say("b", Kind.trade, 5006)
    lines.wait((doubts_holds() + 1) * HOLD)
    for i in range(6, 12):
        lines.say("a", Kind.trade, i)
        lines.wait(HOLD)
    assert lines.ids() == [1, 2, 3, 4, 5, 5006, *range(6, 12)] and lines.arbiter.open_gaps == 0
    assert not any(one.flags & Flag.REPAIRED for one in lines.out if one.kind == Kind.trade)


def repaired(i):
    raw = event(Kind.trade, i, i)
    raw[10] = Flag.REPAIRED
    return raw


def test_a_trade_id_that_is_a_little_too_high_is_taken_back_by_later_ones():
    lines = Lines()
    for i, at in ((1, 1), (2, 2), (6, 3), (4, 4), (5, 5), (6, 6), (7, 7)):  # 6 for 3
        raw = later(Kind.trade, i, at)
        raw[168] = at  # a price of its own
        lines.say_raw("a", Kind.trade, raw)
        if i == 6:
            lines.wait(HOLD + 1)
    assert lines.ids() == [1, 2, 6, 4, 5, 6, 7] and contradictions(lines) == [(3, 3)]


def test_quotes_that_two_connections_bring_in_turn_are_no_contradiction():
    """While a connection is replaced the new one may be ahead, and the old one's come behind what it has said."""
    lines = Lines()
    for i in (10, 20, 30, 60, 40, 50, 70, 80):
        lines.say("a", Kind.quote, i)
    lines.wait(10 * HOLD)
    assert contradictions(lines) == [] and lines.ids(Kind.quote) == [10, 20, 30, 60, 70, 80]
    assert len(refusals(lines)) == 2, "both are named"


def test_one_event_that_was_overtaken_is_no_contradiction():
    lines = Lines()
    for i in (10, 20, 40, 30, 50, 60):
        lines.say("a", Kind.quote, i)
    assert lines.ids(Kind.quote) == [10, 20, 40, 50, 60] and contradictions(lines) == []


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
@pytest.mark.parametrize("count", [1, 2])
def test_what_was_overtaken_behind_a_hole_is_no_part_of_it(kind, count):
    lines = Lines()
    for first in (1, 2, 3, 10, 7, 13):
        for line in "ab"[:count]:
            lines.say(line, kind, first, first if first < 7 else first + 2)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [1, 2, 3, 9, 12, 15]
    assert [gap[:2] for gap in lines.gaps()] == [(4, 6)] and refusals(lines) == []


@pytest.mark.parametrize("both", [False, True])
def test_an_absurd_quote_of_a_line_that_waits_to_join_is_refused_by_what_stands_behind_it(both):
    """Lines are back after a silence: each has an absurd id of its own in proportion, near the other's."""
    lines = Lines()
    for i in range(100, 110):
        lines.say("a", Kind.quote, i), lines.say("b", Kind.quote, i)
    for line in "ab"[: 1 + both]:
        lines.connect(line)
        lines.say(line, Kind.quote, 5000 + ord(line))
        for i in (200, 201, 203):
            lines.say(line, Kind.quote, i)
    lines.wait(HOLD + 1)
    lines.say("a", Kind.quote, 204), lines.say("b", Kind.quote, 204)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.quote) == [*range(100, 110), 200, 201, 203, 204]
    assert len(refusals(lines)) == 1 + both


def test_a_change_that_ends_elsewhere_than_the_one_that_was_taken_is_named():
    """The absurd one of the two was first, in proportion, and was gone back from."""
    lines = Lines()
    for first, last in ((1, 3), (4, 6), (7, 507), (10, 12), (13, 15), (16, 18), (7, 9), (19, 21)):
        lines.say("a", Kind.depth, first, last), lines.say("b", Kind.depth, first, last)
        lines.wait(HOLD // 10)
    lines.wait(doubts.KEPT_HOLDS * HOLD)
    assert lines.ids(Kind.depth) == [3, 6, 507, 12, 15, 18, 21]
    (refusal,) = refusals(lines)
    assert "says id 9 again" in refusal["why"]


def test_a_change_that_comes_when_its_hole_was_given_up_is_refused_with_its_bytes():
    """No book goes back for it, and the ledger calls it missing; but it was heard."""
    lines = Lines()
    for i in (1, 2, 3, 6, 7):
        lines.say("a", Kind.depth, i)
    lines.wait(HOLD + 1)
    for i in range(1, 8):
        lines.say("b", Kind.depth, i), lines.say("c", Kind.depth, i)
    lines.say("a", Kind.depth, 8)
    assert lines.ids(Kind.depth) == [1, 2, 3, 6, 7, 8] and [gap[:2] for gap in lines.gaps()] == [(4, 5)]
    assert [refusal["why"].split(",")[0].rpartition(" ")[2] for refusal in refusals(lines)] == ["4", "5"]


def later(kind, first, seconds):
    raw = event(kind, first, first)
    raw[120:128] = int(seconds * 1e9).to_bytes(8, "little")
    return raw


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("timed", [True, False])
def test_ids_that_begin_anew_lower_are_followed_as_a_new_era_and_none_is_lost(kind, timed):
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", kind, later(kind, i, i if timed else 0))
    for line in "ab":
        lines.connect(line)
    holds = doubts.ERA_HOLDS if timed else doubts.LATE_HOLDS
    for i in range(1, 2 * holds):
        for line in "ab":
            lines.say_raw(line, kind, later(kind, i, 2000 + i if timed else 0))
        lines.wait(HOLD)
        assert lines.ids(kind)[:10] == list(range(1000, 1010))
    assert lines.ids(kind) == [*range(1000, 1010), *range(1, 2 * holds)]
    assert [one.last_id for one in lines.out if one.flags & Flag.RESET] == [1]
    assert lines.reasons() == [Reason.reset] and "ids_began_anew" in alerts(lines)


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
def test_a_new_era_begins_with_the_line_that_has_heard_most_of_it(kind):
    """One line was away when ids began anew, and it is the one whose run is looked at first."""
    lines = Lines()
    for i in range(1000, 1010):
        for line in "ab":
            lines.say_raw(line, kind, later(kind, i, i))
    for line in "ab":
        lines.connect(line)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for line in "ab" if i >= 5 else "b":
            lines.say_raw(line, kind, later(kind, i, 2000 + i))
        lines.wait(HOLD if i > 5 else 1)
    assert lines.ids(kind)[10:] == list(range(1, 4 * doubts.ERA_HOLDS)) and refusals(lines) == []


def test_one_event_out_of_order_does_not_end_what_may_be_a_new_era():
    lines = Lines()
    for i in range(1000, 1010):
        lines.say("a", Kind.quote, i)
    lines.connect("a")
    for i in range(1, 3 * doubts.LATE_HOLDS):
        for k in (i + 1, i, i) if i % 10 == 5 else () if i % 10 == 6 else (i,):
            lines.say("a", Kind.quote, k)
        lines.wait(HOLD)
    taken = lines.ids(Kind.quote)[10:]
    assert set(range(1, 3 * doubts.LATE_HOLDS - 5)) - set(taken) <= {i for i in range(1000) if i % 10 == 5}
    assert [one.last_id for one in lines.out if one.flags & Flag.RESET] == [1]


@pytest.mark.parametrize("kind", STREAMS)
def test_copies_that_come_late_are_no_new_era(kind):
    """A line that lags far behind another one that has gone: what it brings is known."""
    lines = Lines()
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.say_raw("a", kind, later(kind, i, i))
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.say_raw("b", kind, later(kind, i, i))
        lines.wait(HOLD)
    lines.say_raw("b", kind, later(kind, 4 * doubts.ERA_HOLDS, 100))
    assert lines.ids(kind) == list(range(1, 4 * doubts.ERA_HOLDS + 1)) and lines.gaps() == []


@pytest.mark.parametrize("newer", [True, False])
def test_at_a_clean_stop_copies_are_dropped_and_what_may_be_a_new_era_waits(newer):
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.say("a", Kind.quote, i)
    for i in range(1, 4):
        lines.say_raw("b", Kind.depth, later(Kind.depth, i, 2000 + i if newer else i))
        lines.say("b", Kind.quote, i)
    lines.arbiter.end()
    assert sorted(lines.arbiter.held_numbers("b")) == ([1, 2, 3, 4, 5, 6] if newer else [])


def test_quotes_without_a_time_follow_their_book_into_its_new_era():
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.say("a", Kind.quote, i)
    lines.connect("a")
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, 2000 + i))
        lines.say("a", Kind.quote, i)
        lines.wait(HOLD)
    assert lines.ids(Kind.quote) == [*range(1000, 1010), *range(1, 3 * doubts.ERA_HOLDS)]


@pytest.mark.parametrize("kind", [Kind.trade, Kind.quote])
@pytest.mark.parametrize("renewed", [False, True])
def test_an_id_that_its_own_connection_takes_back_is_none_of_the_era_before(kind, renewed):
    """Ids had begun anew unheard; the first one heard is absurd, and above those of the old era, in proportion."""
    lines = Lines()
    for i in range(100_000, 100_010):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.say_raw("a", kind, later(kind, i, i))
    lines.connect("a")
    jump = 8 * 64 if kind == Kind.quote else 2000
    lines.say_raw("a", kind, later(kind, 100_009 + jump, 200_000))
    if kind == Kind.trade:
        lines.wait(10 * HOLD + 1)  # it has waited for what lies between
    if renewed:
        lines.connect("a")
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, 200_000 + i))
        lines.say_raw("a", kind, later(kind, i, 200_000 + i))
        lines.wait(HOLD)
    assert lines.ids(kind)[10:13] == [100_009 + jump, 1, 2]
    assert contradictions(lines) == ([] if renewed else [(100_010, 100_009)])
    resets = [r.tolist() for one in lines.out if one.kind == Kind.gap for r in one.records if r["reason"] == Reason.reset]
    after = 100_010 + (jump if renewed else 0)
    assert (after, after) in [row[:2] for row in resets if row[2] == kind]


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_copy_beside_a_contradiction_costs_nothing(kind, at):
    """One absurd id was believed, and while its line takes it back, something old comes again."""
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", kind, later(kind, i, i))
    raw = event(kind, 1010, 6010)
    raw[120:128] = (1010 * 10**9).to_bytes(8, "little")
    lines.say_raw("a", kind, raw)
    for i in range(1011, 1020):
        if i == 1011 + at:
            lines.say_raw("a", kind, later(kind, 1005, 1005))
        lines.say_raw("a", kind, later(kind, i, i))
        lines.wait(HOLD)
    lines.wait(10 * HOLD)
    assert [i for i in lines.ids(kind) if i != 6010] == [*range(1000, 1010), *range(1011, 1020)]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("last", [False, True])
def test_the_same_id_with_something_else_in_it_is_named_and_a_copy_is_not(kind, last):
    lines = Lines()

    def say(line, i, size=0):
        raw = event(kind, i, i)
        raw[168:176] = size.to_bytes(8, "little")  # of its first record
        lines.say_raw(line, kind, raw)

    for i in range(1, 10):
        say("a", i), say("b", i)
    for line in "ab":
        say(line, 9 if last else 7, size=5)
        lines.wait(HOLD)
    for i in range(10, 12):
        say("a", i), say("b", i)
    lines.wait(doubts.KEPT_HOLDS * HOLD)
    assert lines.ids(kind) == list(range(1, 12)) and contradictions(lines) == []
    (refusal,) = refusals(lines)
    assert "something else" in refusal["why"] and refusal["raw"][168] == 5


@pytest.mark.parametrize("kind", STREAMS)
def test_a_copy_of_the_old_era_is_none_of_the_new_one(kind):
    """It comes again while it is not decided yet that ids began anew, and lies above all that the new ones say."""
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", kind, later(kind, i, 0 if kind == Kind.quote else i))
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
    lines.connect("a")
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for one in sorted({kind, Kind.depth}):
            lines.say_raw("a", one, later(one, i, 0 if one == Kind.quote else 2000 + i))
        if i == 4:
            lines.say_raw("a", kind, later(kind, 1005, 0 if kind == Kind.quote else 1005))
        lines.wait(HOLD)
    assert lines.ids(kind).count(1005) == 1 and lines.ids(kind)[10:] == list(range(1, 4 * doubts.ERA_HOLDS))


def test_the_last_change_of_an_era_is_taken_back_by_no_new_one():
    """It stands for several ids, nothing has confirmed them yet, and the same connection goes on from 1."""
    lines = Lines()
    for i in range(100_000, 100_010):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
    raw = event(Kind.depth, 100_010, 100_017)
    raw[120:128] = (100_010 * 10**9).to_bytes(8, "little")
    lines.say_raw("a", Kind.depth, raw)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, 200_000 + i))
        lines.wait(HOLD)
    assert lines.ids(Kind.depth)[10:13] == [100_017, 1, 2] and contradictions(lines) == []


def test_quotes_of_a_new_era_that_only_one_line_has_are_taken_in_their_place():
    """While it is not decided that ids began anew, each line is away for a while."""
    lines = Lines()
    for i in range(1000, 1010):
        for line in "ab":
            lines.say_raw(line, Kind.depth, later(Kind.depth, i, i))
            lines.say(line, Kind.quote, i)
    for line in "ab":
        lines.connect(line)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for line in "a" if i % 4 == 0 else "b" if i % 4 == 2 else "ab":
            lines.say_raw(line, Kind.depth, later(Kind.depth, i, 2000 + i))
            lines.say(line, Kind.quote, i)
        lines.wait(HOLD // 2)
    assert lines.ids(Kind.quote)[10:] == list(range(1, 4 * doubts.ERA_HOLDS)) and refusals(lines) == []


@pytest.mark.parametrize("by_rest", [False, True])
def test_the_snapshot_of_the_new_era_is_its_book(by_rest):
    lines = Lines()
    lines.say("a", Kind.depth, 1001, 1000, snapshot=True)
    for i in range(1001, 1010):
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, i))
    lines.connect("a")
    for i in range(5, 5 + 3 * doubts.ERA_HOLDS):
        if i == 5 and not by_rest:  # the stream begins with it
            lines.say("a", Kind.depth, 5, 4, snapshot=True)
        lines.say_raw("a", Kind.depth, later(Kind.depth, i, 2000 + i))
        if i == 7 and by_rest:  # asked for when the stream flows
            lines.say("a", Kind.depth, 7, 6, snapshot=True)
        lines.wait(HOLD)
    new = [one for one in lines.out if one.kind == Kind.depth][10:]
    said = [(one.last_id, one.flags) for one in new]
    if by_rest:
        assert said[:5] == [(5, Flag.RESET | Flag.UNSYNCED), (6, Flag.UNSYNCED), (7, Flag.UNSYNCED), (7, Flag.SNAPSHOT), (8, 0)]
    else:
        assert said[:3] == [(4, Flag.RESET | Flag.SNAPSHOT), (5, 0), (6, 0)]


def test_a_line_that_connected_before_another_one_saw_the_new_era_belongs_to_it():
    lines = Lines()
    for i in range(1000, 1010):
        lines.say_raw("a", Kind.trade, later(Kind.trade, i, i))
    lines.connect("b")
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.say_raw("a", Kind.trade, later(Kind.trade, i, 2000 + i))
        lines.wait(HOLD)
    begun = 3 * doubts.ERA_HOLDS
    lines.say_raw("c", Kind.trade, later(Kind.trade, 1010, 1010))  # of the old era, and late
    for i in range(begun, begun + 5):  # quiet until now
        lines.say_raw("b", Kind.trade, later(Kind.trade, i, 2000 + i))
    lines.wait(HOLD + 1)
    assert lines.ids()[-1] == begun + 4 and 1010 not in lines.ids()


def test_open_gaps_of_the_old_era_are_given_up_with_it():
    lines = Lines()
    lines.say_raw("a", Kind.trade, later(Kind.trade, 1000, 1))
    lines.say_raw("a", Kind.trade, later(Kind.trade, 1005, 2))
    lines.wait(HOLD + 1)
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.say_raw("a", Kind.trade, later(Kind.trade, i, 10 + i))
        lines.wait(HOLD)
    assert lines.gaps() == [
        (1001, 1004, GapState.open),
        (1001, 1004, GapState.unrecoverable),
        (1006, 1006, GapState.unrecoverable),
    ]
    assert lines.ids()[2:] == list(range(1, 3 * doubts.ERA_HOLDS)) and lines.arbiter.open_gaps == 0


def test_a_stream_that_drops_all_it_hears_says_so():
    lines = Lines()
    lines.say("a", Kind.trade, 1000)
    for _ in range(40):
        lines.say("a", Kind.trade, 1000)
        lines.wait(HOLD)
    assert alerts(lines) == ["stream_deaf"]
    lines.say("a", Kind.trade, 1001)
    for _ in range(10):
        lines.wait(HOLD)
    assert alerts(lines) == ["stream_deaf"]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32).map(random.Random), st.sampled_from(STREAMS))
def test_whatever_ids_are_absurd_every_other_event_is_in_the_log(rng, kind):
    """Absurd ids anywhere, on one line or on all of them: what is not absurd is taken, once, in order."""
    lines = Lines()
    names = "ab"[: rng.randint(1, 2)]
    size = rng.choice((10**6, 10**9, 10**12, 10**15))
    alike = rng.random() < 0.5  # two in a row that are absurd alike do not confirm one another
    at = rng.randrange(5, 50)
    wrong = {at: size, at + 1: size} if alike else {rng.randrange(5, 50): size * 10**k for k in range(rng.randint(0, 3))}
    on = {i: rng.choice((names, "a")) for i in wrong}
    at = dict.fromkeys(names, 1)
    while min(at.values()) < 60:
        line = rng.choice([name for name in names if at[name] < 60])
        i = at[line]
        at[line] += 1
        if i in wrong and line in on[i]:
            lines.say(line, kind, i if kind == Kind.depth else i + wrong[i], i + wrong[i])
        else:
            lines.say(line, kind, i)
        if rng.random() < 0.3:
            lines.wait(1)  # no line is a whole hold behind
    for _ in range(20):
        lines.wait(HOLD)
    taken = lines.ids(kind)
    # A quote that one line alone has is lost where the other is ahead: ids with holes show no hole.
    true = [i for i in range(1, 60) if not (i in wrong and (on[i] == names or kind == Kind.quote))]
    assert set(true) <= set(taken), f"lost {sorted(set(true) - set(taken))}"
    inside = [i for i in taken if i < 60]
    assert inside == sorted(set(inside)), "each once and in order"
