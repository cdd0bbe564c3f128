"""Ids that begin anew lower are followed as a new era, and copies of the old one are none."""

import pytest

from tests.support.arbitration import HOLD, Lines, event
from tests.support.doubted_ids import STREAMS, alerts, contradictions, later, refusals
from tickmesh.bus.schema import Flag, GapState, Kind, Reason
from tickmesh.bus.wire import stamp_venue_ns
from tickmesh.nodes.sequencer import doubts
from tickmesh.nodes.sequencer.arbiter import Arbiter


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("timed", [True, False])
def test_ids_that_begin_anew_lower_are_followed_as_a_new_era_and_none_is_lost(kind, timed):
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer_raw("a", kind, later(kind, i, i if timed else 0))
    for line in "ab":
        lines.connect(line)
    holds = doubts.ERA_HOLDS if timed else doubts.LATE_HOLDS
    for i in range(1, 2 * holds):
        for line in "ab":
            lines.offer_raw(line, kind, later(kind, i, 2000 + i if timed else 0))
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
            lines.offer_raw(line, kind, later(kind, i, i))
    for line in "ab":
        lines.connect(line)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for line in "ab" if i >= 5 else "b":
            lines.offer_raw(line, kind, later(kind, i, 2000 + i))
        lines.wait(HOLD if i > 5 else 1)
    assert lines.ids(kind)[10:] == list(range(1, 4 * doubts.ERA_HOLDS)) and refusals(lines) == []


def test_a_new_era_that_says_the_old_one_again_to_the_byte_is_no_copy_of_it():
    """An exchange of the same seed: the same ids, prices and quantities, only later. Its quotes have no time of their own."""
    lines, second, old, new = Lines(), 1_000_000_000, range(1, 21), range(1, 3 * doubts.ERA_HOLDS)

    def say(line, i, seconds):
        lines.offer_raw(line, Kind.quote, event(Kind.quote, i, i, recv_ns=seconds * second))
        depth = event(Kind.depth, i, i, recv_ns=seconds * second)
        stamp_venue_ns(depth, seconds * second)
        lines.offer_raw(line, Kind.depth, depth)

    for i in old:
        for line in "ab":
            say(line, i, i)
    assert lines.ids(Kind.quote) == lines.ids(Kind.depth) == list(old), "a copy is a copy"
    for line in "ab":
        lines.connect(line)
    for i in new:
        for line in "ab":
            say(line, i, 30 + i)
        lines.wait(HOLD)
    assert lines.ids(Kind.depth) == lines.ids(Kind.quote) == [*old, *new], "nothing of it was dropped"
    assert {(one.kind, one.last_id) for one in lines.out if one.flags & Flag.RESET} == {(Kind.depth, 1), (Kind.quote, 1)}


def test_a_copy_that_a_line_brings_much_later_is_still_dropped():
    lines, second = Lines(), 1_000_000_000
    for i in range(1, 30):
        lines.offer_raw("a", Kind.quote, event(Kind.quote, i, i, recv_ns=i * second))
    for i in range(1, 30):
        lines.offer_raw("b", Kind.quote, event(Kind.quote, i, i, recv_ns=(i + 60) * second))
    for i in range(30, 40):
        lines.offer_raw("a", Kind.quote, event(Kind.quote, i, i, recv_ns=(i + 60) * second))
    lines.wait(200 * HOLD)
    assert lines.ids(Kind.quote) == list(range(1, 40)) and not refusals(lines) and not alerts(lines)


def test_one_event_out_of_order_does_not_end_what_may_be_a_new_era():
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer("a", Kind.quote, i)
    lines.connect("a")
    for i in range(1, 3 * doubts.LATE_HOLDS):
        for k in (i + 1, i, i) if i % 10 == 5 else () if i % 10 == 6 else (i,):
            lines.offer("a", Kind.quote, k)
        lines.wait(HOLD)
    taken = lines.ids(Kind.quote)[10:]
    assert set(range(1, 3 * doubts.LATE_HOLDS - 5)) - set(taken) <= {i for i in range(1000) if i % 10 == 5}
    assert [one.last_id for one in lines.out if one.flags & Flag.RESET] == [1]


@pytest.mark.parametrize("kind", STREAMS)
def test_copies_that_come_late_are_no_new_era(kind):
    """A line that lags far behind another one that has gone: what it brings is known."""
    lines = Lines()
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.offer_raw("a", kind, later(kind, i, i))
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.offer_raw("b", kind, later(kind, i, i))
        lines.wait(HOLD)
    lines.offer_raw("b", kind, later(kind, 4 * doubts.ERA_HOLDS, 100))
    assert lines.ids(kind) == list(range(1, 4 * doubts.ERA_HOLDS + 1)) and lines.gaps() == []


@pytest.mark.parametrize("newer", [True, False])
def test_at_a_clean_stop_copies_are_dropped_and_what_may_be_a_new_era_waits(newer):
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.offer("a", Kind.quote, i)
    for i in range(1, 4):
        lines.offer_raw("b", Kind.depth, later(Kind.depth, i, 2000 + i if newer else i))
        lines.offer("b", Kind.quote, i)
    lines.arbiter.end()
    assert sorted(lines.arbiter.held_numbers("b")) == ([1, 2, 3, 4, 5, 6] if newer else [])


def test_quotes_without_a_time_follow_their_book_into_its_new_era():
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.offer("a", Kind.quote, i)
    lines.connect("a")
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, 2000 + i))
        lines.offer("a", Kind.quote, i)
        lines.wait(HOLD)
    assert lines.ids(Kind.quote) == [*range(1000, 1010), *range(1, 3 * doubts.ERA_HOLDS)]


@pytest.mark.parametrize("kind", [Kind.trade, Kind.quote])
@pytest.mark.parametrize("renewed", [False, True])
def test_an_id_that_its_own_connection_takes_back_is_none_of_the_era_before(kind, renewed):
    """Ids had begun anew unheard; the first one heard is absurd, and above those of the old era, in proportion."""
    lines = Lines()
    for i in range(100_000, 100_010):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
        lines.offer_raw("a", kind, later(kind, i, i))
    lines.connect("a")
    jump = 8 * 64 if kind == Kind.quote else 2000
    lines.offer_raw("a", kind, later(kind, 100_009 + jump, 200_000))
    if kind == Kind.trade:
        lines.wait(10 * HOLD + 1)  # it has waited for what lies between
    if renewed:
        lines.connect("a")
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, 200_000 + i))
        lines.offer_raw("a", kind, later(kind, i, 200_000 + i))
        lines.wait(HOLD)
    assert lines.ids(kind)[10:13] == [100_009 + jump, 1, 2]
    assert contradictions(lines) == ([] if renewed else [(100_010, 100_009)])
    resets = [r.tolist() for one in lines.out if one.kind == Kind.gap for r in one.records if r["reason"] == Reason.reset]
    after = 100_010 + (jump if renewed else 0)
    assert (after, after) in [row[:2] for row in resets if row[2] == kind]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_copy_of_the_old_era_is_none_of_the_new_one(kind):
    """It comes again while it is not decided yet that ids began anew, and lies above all that the new ones say."""
    lines = Lines()
    for i in range(1000, 1010):
        lines.offer_raw("a", kind, later(kind, i, 0 if kind == Kind.quote else i))
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
    lines.connect("a")
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for one in sorted({kind, Kind.depth}):
            lines.offer_raw("a", one, later(one, i, 0 if one == Kind.quote else 2000 + i))
        if i == 4:
            lines.offer_raw("a", kind, later(kind, 1005, 0 if kind == Kind.quote else 1005))
        lines.wait(HOLD)
    assert lines.ids(kind).count(1005) == 1 and lines.ids(kind)[10:] == list(range(1, 4 * doubts.ERA_HOLDS))


def test_the_last_change_of_an_era_is_taken_back_by_no_new_one():
    """It stands for several ids, nothing has confirmed them yet, and the same connection goes on from 1."""
    lines = Lines()
    for i in range(100_000, 100_010):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
    raw = event(Kind.depth, 100_010, 100_017)
    stamp_venue_ns(raw, 100_010 * 10**9)
    lines.offer_raw("a", Kind.depth, raw)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, 200_000 + i))
        lines.wait(HOLD)
    assert lines.ids(Kind.depth)[10:13] == [100_017, 1, 2] and contradictions(lines) == []


def test_quotes_of_a_new_era_that_only_one_line_has_are_taken_in_their_place():
    """While it is not decided that ids began anew, each line is away for a while."""
    lines = Lines()
    for i in range(1000, 1010):
        for line in "ab":
            lines.offer_raw(line, Kind.depth, later(Kind.depth, i, i))
            lines.offer(line, Kind.quote, i)
    for line in "ab":
        lines.connect(line)
    for i in range(1, 4 * doubts.ERA_HOLDS):
        for line in "a" if i % 4 == 0 else "b" if i % 4 == 2 else "ab":
            lines.offer_raw(line, Kind.depth, later(Kind.depth, i, 2000 + i))
            lines.offer(line, Kind.quote, i)
        lines.wait(HOLD // 2)
    assert lines.ids(Kind.quote)[10:] == list(range(1, 4 * doubts.ERA_HOLDS)) and refusals(lines) == []


@pytest.mark.parametrize("by_rest", [False, True])
def test_the_snapshot_of_the_new_era_is_its_book(by_rest):
    lines = Lines()
    lines.offer("a", Kind.depth, 1001, 1000, snapshot=True)
    for i in range(1001, 1010):
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, i))
    lines.connect("a")
    for i in range(5, 5 + 3 * doubts.ERA_HOLDS):
        if i == 5 and not by_rest:  # the stream begins with it
            lines.offer("a", Kind.depth, 5, 4, snapshot=True)
        lines.offer_raw("a", Kind.depth, later(Kind.depth, i, 2000 + i))
        if i == 7 and by_rest:  # asked for when the stream flows
            lines.offer("a", Kind.depth, 7, 6, snapshot=True)
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
        lines.offer_raw("a", Kind.trade, later(Kind.trade, i, i))
    lines.connect("b")
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.offer_raw("a", Kind.trade, later(Kind.trade, i, 2000 + i))
        lines.wait(HOLD)
    begun = 3 * doubts.ERA_HOLDS
    lines.offer_raw("c", Kind.trade, later(Kind.trade, 1010, 1010))  # of the old era, and late
    for i in range(begun, begun + 5):  # quiet until now
        lines.offer_raw("b", Kind.trade, later(Kind.trade, i, 2000 + i))
    lines.wait(HOLD + 1)
    assert lines.ids()[-1] == begun + 4 and 1010 not in lines.ids()


def test_open_gaps_of_the_old_era_are_given_up_with_it():
    lines = Lines()
    lines.offer_raw("a", Kind.trade, later(Kind.trade, 1000, 1))
    lines.offer_raw("a", Kind.trade, later(Kind.trade, 1005, 2))
    lines.wait(HOLD + 1)
    for i in range(1, 3 * doubts.ERA_HOLDS):
        lines.offer_raw("a", Kind.trade, later(Kind.trade, i, 10 + i))
        lines.wait(HOLD)
    assert lines.gaps() == [
        (1001, 1004, GapState.open),
        (1001, 1004, GapState.unrecoverable),
        (1006, 1006, GapState.unrecoverable),
    ]
    assert lines.ids()[2:] == list(range(1, 3 * doubts.ERA_HOLDS)) and lines.arbiter.open_gaps == 0


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
def test_a_sequencer_that_dies_meanwhile_does_not_begin_the_doubt_again(kind):
    """What waits is read again from the outboxes; a doubt that lasted only for one life of the sequencer would never end."""
    lines = Lines()

    def said(i, at):
        raw = event(kind, i, i, recv_ns=at * HOLD)
        stamp_venue_ns(raw, at * HOLD)
        return raw

    for i in range(1000, 1010):
        lines.offer_raw("a", kind, said(i, i))
    outbox = []
    for i in range(1, 2 * doubts.ERA_HOLDS):
        if i % 3 == 0:
            state = lines.arbiter.state()
            lines.arbiter = Arbiter(HOLD)
            lines.arbiter.restore(state)
            for raw in outbox:
                lines.offer_raw("a", kind, raw)
            assert len(lines.ids(kind)) == 10, "what was just read again has waited for nobody yet"
        outbox.append(said(i, 2000 + i))
        lines.offer_raw("a", kind, outbox[-1])
        lines.wait(HOLD)
        if len(lines.ids(kind)) > 10:
            break
    assert lines.ids(kind)[10:] == list(range(1, i + 1)) and i > doubts.ERA_HOLDS
    assert [one.last_id for one in lines.out if one.flags & Flag.RESET] == [1]
