"""One absurd id costs no valid one: it is refused, or gone back from, and what follows it is taken."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.arbitration import HOLD, SUBJECT, Lines, event
from tests.support.doubted_ids import STREAMS, alerts, contradictions, later, refusals, repaired
from tests.support.event_fields import record_slice
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.bus.wire import stamp_venue_ns
from tickmesh.nodes.sequencer import doubts
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.sequencer.holding import DOUBT_HOLDS

ABSURD = 10**12


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("copies", [1, 2])
def test_an_id_out_of_proportion_is_held_and_refused_when_its_line_goes_on_below_it(kind, copies):
    lines = Lines()
    names = "ab"[:copies]
    for i in (1, 2, 3):
        for line in names:
            lines.offer(line, kind, i)
    for line in names:
        lines.offer(line, kind, 4 if kind == Kind.depth else ABSURD, ABSURD)
    assert lines.ids(kind) == [1, 2, 3], "nothing is built on it before a neighbour has spoken"
    for i in (5, 6):
        for line in names:
            lines.offer(line, kind, i)
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
        lines.offer("a", kind, i), lines.offer("b", kind, i)
    lines.offer("a", kind, 4 if kind == Kind.depth else ABSURD, ABSURD)
    lines.offer("b", kind, 4)
    lines.offer("a", kind, 5)
    lines.offer("b", kind, 5)
    assert lines.ids(kind) == [1, 2, 3, 4, 5] and len(refusals(lines)) == 1
    lines.wait(2 * HOLD)
    assert contradictions(lines) in ([], [(5, 4)])


@pytest.mark.parametrize("kind", STREAMS)
def test_a_jump_that_the_line_s_next_event_confirms_was_one(kind):
    lines = Lines()
    lines.offer("a", kind, 1)
    for i in range(4):
        lines.offer("a", kind, ABSURD + i)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [1, *range(ABSURD, ABSURD + 4)] and refusals(lines) == [] and contradictions(lines) == []


@pytest.mark.parametrize("kind", STREAMS)
def test_a_jump_that_nothing_confirms_is_believed_in_the_end_with_an_alert_and_gone_back_from(kind):
    lines = Lines()
    lines.offer("a", kind, 1), lines.offer("a", kind, 2)
    lines.offer("a", kind, ABSURD)
    lines.wait(2 * HOLD)
    assert lines.ids(kind) == [1, 2]
    lines.wait(DOUBT_HOLDS * HOLD)
    assert lines.ids(kind) == [1, 2, ABSURD] and alerts(lines) == ["unconfirmed_jump"]
    for i in (4, 5, 6):
        lines.offer("a", kind, i)
    assert lines.ids(kind) == [1, 2, ABSURD, 4, 5, 6]
    assert contradictions(lines) == [(3, 3)]
    assert lines.arbiter.streams[kind, SUBJECT].last == 6


@pytest.mark.parametrize("kind", [Kind.quote, Kind.depth])
@pytest.mark.parametrize("jump", [70, 500, 5000])
def test_an_absurd_id_in_proportion_is_gone_back_from_and_nothing_after_it_is_lost(kind, jump):
    lines = Lines()
    for i in range(1, 11):
        lines.offer("a", kind, i)
    lines.offer("a", kind, 11, 11 + jump)
    for i in range(12, 40):
        lines.offer("a", kind, i)
    wanted = [*range(1, 11), 11 + jump, *range(12, 40)]
    assert lines.ids(kind) == wanted
    assert len(contradictions(lines)) == 1 and lines.arbiter.contradictions == 1
    if kind == Kind.depth:
        flags = {one.last_id: one.flags for one in lines.out if one.kind == kind}
        assert flags[12] & Flag.UNSYNCED, "what follows belongs to no book until a snapshot is there"


@pytest.mark.parametrize("kind", [Kind.quote, Kind.depth])
@pytest.mark.parametrize("jump", [70, 5000])
@pytest.mark.parametrize("restarted", [False, True])
def test_two_lines_that_are_wrong_alike_do_not_confirm_one_another(kind, jump, restarted):
    """Each of them says one id that is too high by as much, the second of the next event."""
    lines = Lines()
    for i in range(1, 11):
        lines.offer("a", kind, i), lines.offer("b", kind, i)

    def wrong(line, i):
        lines.offer(line, kind, i if kind == Kind.depth else i + jump, i + jump)

    wrong("a", 11), wrong("b", 12)
    if restarted:
        state, lines.arbiter = lines.arbiter.state(), Arbiter(HOLD)
        lines.arbiter.restore(state)
    for i in range(12, 40):
        lines.offer("a", kind, i), lines.offer("b", kind, max(i, 13))
    lines.wait(10 * HOLD)
    # The book's change 12 is there, with the wrong end
    assert lines.ids(kind) == [*range(1, 11), 11 + jump, 12 + jump, *range(12 + (kind == Kind.depth), 40)]
    assert len(contradictions(lines)) == 1 and lines.arbiter.eras == 0


def test_a_line_that_repeats_what_another_one_said_first_contradicts_nothing():
    """Quotes whose first steps are wide, where two lines take turns at being first: such are those of Coinbase."""
    lines, subject = Lines(), "coinbase.DASH-BTC"
    for line, many in (("a", (1,)), ("b", (1, 2153)), ("a", (2153, 3251, 3253, 3255)), ("b", (3251, 3253, 3255, 4000))):
        for i in many:
            lines.offer(line, Kind.quote, i, subject=subject)
    lines.wait(10 * HOLD)
    assert [e.last_id for e in lines.out if e.kind == Kind.quote] == [1, 2153, 3251, 3253, 3255, 4000]
    assert not contradictions(lines) and not lines.arbiter.contradictions


def test_copies_after_a_restart_contradict_no_step_that_was_true():
    """Two lines take turns at being first, so neither has confirmed the step yet when the sequencer begins anew."""
    lines = Lines()
    for i in range(1, 11):
        lines.offer("a", Kind.quote, i), lines.offer("b", Kind.quote, i)
    lines.offer("a", Kind.quote, 5000), lines.offer("b", Kind.quote, 5001)
    lines.offer("a", Kind.quote, 5002)
    state, lines.arbiter = lines.arbiter.state(), Arbiter(HOLD)
    lines.arbiter.restore(state)
    for i in (5000, 5001, 5002, 5003, 5004):
        lines.offer("b", Kind.quote, i)
    for i in (5001, 5002, 5003, 5004, 5005):
        lines.offer("a", Kind.quote, i)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.quote) == [*range(1, 11), *range(5000, 5006)] and contradictions(lines) == []


@pytest.mark.parametrize("asked_at", [11, 5010])
def test_a_snapshot_brought_up_to_an_absurd_change_does_not_confirm_it(asked_at):
    lines = Lines()
    for i in range(1, 11):
        for line in "ab":
            lines.offer(line, Kind.depth, i)
    for line in "ab":
        lines.offer(line, Kind.depth, 11, 5011)
    lines.offer("a", Kind.depth, asked_at + 1, asked_at, snapshot=True)
    assert lines.ids(Kind.depth) == [*range(1, 11), 5011, 5011], "the book, as of the last change"
    for i in range(12, 40):
        for line in "ab":
            lines.offer(line, Kind.depth, i)
    lines.offer("a", Kind.depth, 40, 39, snapshot=True)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.depth) == [*range(1, 11), 5011, 5011, *range(12, 40), 39]
    assert contradictions(lines) == [(12, 11)] and lines.arbiter.eras == 0
    flags = {one.last_id: one.flags for one in lines.out if one.kind == Kind.depth}
    assert flags[12] & Flag.UNSYNCED and flags[39] & Flag.SNAPSHOT


@pytest.mark.parametrize("kind", STREAMS)
def test_jumps_of_two_lines_at_once_are_each_decided(kind):
    lines = Lines()
    lines.offer("a", kind, 1), lines.offer("b", kind, 1)
    lines.offer("b", kind, ABSURD), lines.offer("a", kind, 2 * ABSURD)
    lines.offer("b", kind, ABSURD + 1)
    lines.wait((DOUBT_HOLDS + 1) * HOLD)
    assert set(lines.ids(kind)) == {1, ABSURD, ABSURD + 1, 2 * ABSURD}


def test_trades_that_came_late_are_kept_when_the_id_that_opened_their_gap_is_taken_back():
    lines = Lines()
    for i in range(1, 6):
        lines.offer("a", Kind.trade, i)
    lines.offer("b", Kind.trade, 5006)
    lines.wait((DOUBT_HOLDS + 1) * HOLD)  # believed in the end
    for i in (6, 7):
        lines.offer_raw("backfill", Kind.trade, repaired(i))
    for i in (10, 11, 12):  # its own line goes on below it
        lines.offer("b", Kind.trade, i)
    assert lines.ids() == [1, 2, 3, 4, 5, 5006, 6, 7, 10, 11, 12]
    missing = lines.arbiter.streams[Kind.trade, SUBJECT].gaps.missing(1, 6000)
    assert missing == [(8, 9)], "what nobody brought, and no more"
    for i in (8, 9):
        lines.offer_raw("backfill", Kind.trade, repaired(i))
    assert lines.gaps()[-1] == (8, 9, GapState.repaired) and lines.arbiter.open_gaps == 0


def test_an_absurd_id_of_a_line_that_is_gone_is_taken_back_by_what_another_one_says():
    lines = Lines()
    for i in range(1, 6):
        lines.offer("a", Kind.trade, i)
    lines.offer("b", Kind.trade, 5006)
    lines.wait((DOUBT_HOLDS + 1) * HOLD)
    for i in range(6, 12):
        lines.offer("a", Kind.trade, i)
        lines.wait(HOLD)
    assert lines.ids() == [1, 2, 3, 4, 5, 5006, *range(6, 12)] and lines.arbiter.open_gaps == 0
    assert not any(one.flags & Flag.REPAIRED for one in lines.out if one.kind == Kind.trade)


def test_a_trade_id_that_is_a_little_too_high_is_taken_back_by_later_ones():
    lines = Lines()
    for i, at in ((1, 1), (2, 2), (6, 3), (4, 4), (5, 5), (6, 6), (7, 7)):  # 6 for 3
        raw = later(Kind.trade, i, at)
        raw[record_slice(Kind.trade, "price_ticks").start] = at  # a price of its own
        lines.offer_raw("a", Kind.trade, raw)
        if i == 6:
            lines.wait(HOLD + 1)
    assert lines.ids() == [1, 2, 6, 4, 5, 6, 7] and contradictions(lines) == [(3, 3)]


@pytest.mark.parametrize("kind", STREAMS)
def test_an_absurd_id_that_refutes_a_higher_one_is_refused_as_well(kind):
    """Both are out of proportion: the lower one is no evidence of where the stream goes on."""
    lines = Lines()
    for i in range(1, 11):
        lines.offer("a", kind, i)
    for i, absurd in ((11, 100 * ABSURD), (12, ABSURD)):
        lines.offer("a", kind, i if kind == Kind.depth else absurd, absurd)
    for i in range(13, 20):
        lines.offer("a", kind, i)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [*range(1, 11), *range(13, 20)] and len(refusals(lines)) == 2
    assert contradictions(lines) == [(11, 12)]


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_jump_of_quotes_that_refutes_a_higher_one_and_is_taken_stands_behind_a_gap(confirmed):
    """Something lay in the place of the refused one; where the jump is believed for want of a word, no less."""
    lines = Lines()
    for i in (1, 2, 3, 100 * ABSURD, ABSURD):
        lines.offer("a", Kind.quote, i)
    assert lines.ids(Kind.quote) == [1, 2, 3] and contradictions(lines) == []
    for i in range(1, 4 if confirmed else 1):
        lines.offer("a", Kind.quote, ABSURD + i)
    lines.wait(0 if confirmed else DOUBT_HOLDS * HOLD)
    assert lines.ids(Kind.quote)[:4] == [1, 2, 3, ABSURD] and len(refusals(lines)) == 1
    assert contradictions(lines) == [(4, ABSURD - 1)]


def test_an_absurd_quote_in_proportion_that_refutes_a_higher_one_is_gone_back_from():
    """It was taken on its line's word alone: what was given up before it confirms nothing."""
    lines = Lines()
    for i in (*range(1, 11), ABSURD, 5012, *range(13, 20)):
        lines.offer("a", Kind.quote, i)
    assert lines.ids(Kind.quote) == [*range(1, 11), 5012, *range(13, 20)]
    assert contradictions(lines) == [(11, 5011), (11, 12)]


@pytest.mark.parametrize("kind", [Kind.quote, Kind.depth])
def test_a_step_that_was_taken_back_is_no_measure_of_the_next(kind):
    """The second absurd id is far lower than the first: beside such steps it would pass for mere disorder."""
    lines = Lines()
    for i in range(1, 60):
        lines.offer("a", kind, i, {20: 90_000, 25: 540}.get(i, i))
    assert [i for i in lines.ids(kind) if i < 60] == [i for i in range(1, 60) if i not in (20, 25)]
    assert contradictions(lines) == [(21, 20), (26, 25)] if kind == Kind.depth else [(20, 20), (25, 25)]


@pytest.mark.parametrize("both", [False, True])
def test_an_absurd_quote_of_a_line_that_waits_to_join_is_refused_by_what_stands_behind_it(both):
    """Lines are back after a silence: each has an absurd id of its own in proportion, near the other's."""
    lines = Lines()
    for i in range(100, 110):
        lines.offer("a", Kind.quote, i), lines.offer("b", Kind.quote, i)
    for line in "ab"[: 1 + both]:
        lines.connect(line)
        lines.offer(line, Kind.quote, 5000 + ord(line))
        for i in (200, 201, 203):
            lines.offer(line, Kind.quote, i)
    lines.wait(HOLD + 1)
    lines.offer("a", Kind.quote, 204), lines.offer("b", Kind.quote, 204)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.quote) == [*range(100, 110), 200, 201, 203, 204]
    assert len(refusals(lines)) == 1 + both


def test_a_change_that_ends_elsewhere_than_the_one_that_was_taken_is_named():
    """The absurd one of the two was first, in proportion, and was gone back from."""
    lines = Lines()
    for first, last in ((1, 3), (4, 6), (7, 507), (10, 12), (13, 15), (16, 18), (7, 9), (19, 21)):
        lines.offer("a", Kind.depth, first, last), lines.offer("b", Kind.depth, first, last)
        lines.wait(HOLD // 10)
    lines.wait(doubts.KEPT_HOLDS * HOLD)
    assert lines.ids(Kind.depth) == [3, 6, 507, 12, 15, 18, 21]
    (refusal,) = refusals(lines)
    assert "says id 9 again" in refusal["why"]


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_copy_beside_a_contradiction_costs_nothing(kind, at):
    """One absurd id was believed, and while its line takes it back, something old comes again."""
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer_raw("a", kind, later(kind, i, i))
    raw = event(kind, 1010, 6010)
    stamp_venue_ns(raw, 1010 * 10**9)
    lines.offer_raw("a", kind, raw)
    for i in range(1011, 1020):
        if i == 1011 + at:
            lines.offer_raw("a", kind, later(kind, 1005, 1005))
        lines.offer_raw("a", kind, later(kind, i, i))
        lines.wait(HOLD)
    lines.wait(10 * HOLD)
    assert [i for i in lines.ids(kind) if i != 6010] == [*range(1000, 1010), *range(1011, 1020)]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(STREAMS))
@example(32291502, Kind.quote)  # two absurd quotes in a row, the second the lower one
def test_whatever_ids_are_absurd_every_other_event_is_in_the_log(seed, kind):
    """Absurd ids anywhere, on one line or on all of them: what is not absurd is taken, once, in order."""
    rng = random.Random(seed)
    lines = Lines()
    names = "ab"[: rng.randint(1, 2)]
    size = rng.choice((10**6, 10**9, 10**12, 10**15))
    alike = rng.random() < 0.5  # two in a row that are absurd alike do not confirm one another
    at = rng.randrange(5, 50)
    wrong = {at: size, at + 1: size} if alike else {rng.randrange(5, 50): size * 10**k for k in range(rng.randint(0, 3))}
    on = {i: rng.choice((names, "a")) for i in wrong}
    if rng.random() < 0.3 and kind == Kind.quote:  # two lines that are wrong alike, one after the other
        wrong, names = dict.fromkeys((at, at + 1), rng.choice((100, 5000, size))), "ab"
        on = {at: "a", at + 1: "b"}
    following = dict.fromkeys(names, 1)
    while min(following.values()) < 60:
        line = rng.choice([name for name in names if following[name] < 60])
        i = following[line]
        following[line] += 1
        if i in wrong and line in on[i]:
            lines.offer(line, kind, i if kind == Kind.depth else i + wrong[i], i + wrong[i])
        else:
            lines.offer(line, kind, i)
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
