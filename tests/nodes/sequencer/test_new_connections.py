"""What no line can bring any more is not waited for: ids before every line's connection, higher ids than those of a new era."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arbitration import HOLD, Lines
from tests.support.doubted_ids import STREAMS, later
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.nodes.sequencer import doubts, holding

SOON = HOLD // holding.HURRY  # so long a hole waits that nobody can fill


def cut_and_back(kind, *lines_back, lines="ab"):
    """Lines that were at id 10, and of which these are connected anew; the first of them has brought id 20."""
    heard = Lines()
    for line in lines:
        heard.offer(line, kind, 10)
    for line in lines_back:
        heard.connect(line)
    heard.offer(lines_back[0], kind, 20)
    return heard


@pytest.mark.parametrize("kind", STREAMS)
def test_a_hole_before_the_connections_of_all_lines_is_given_up_soon(kind):
    lines = cut_and_back(kind, "a", "b")
    lines.wait(5 * SOON)
    assert lines.ids(kind) == [10], "the other line has not begun: it may have what is missing"
    lines.offer("b", kind, 21)
    lines.offer("a", kind, 21)
    lines.wait(SOON - 1)
    assert lines.ids(kind) == [10], "what was overtaken on its way may come yet"
    lines.wait(1)
    state = GapState.open if kind == Kind.trade else GapState.unrecoverable
    assert lines.ids(kind) == [10, 20, 21] and lines.gaps() == ([] if kind == Kind.quote else [(11, 19, state)])


@pytest.mark.parametrize("kind", STREAMS)
def test_a_line_that_was_not_cut_is_waited_for_a_whole_hold(kind):
    lines = cut_and_back(kind, "a")
    lines.wait(HOLD - 1)
    for i in range(11, 21):
        lines.offer("b", kind, i)
    assert lines.ids(kind) == list(range(10, 21)) and lines.gaps() == []


@pytest.mark.parametrize("kind", STREAMS)
def test_a_third_line_that_is_not_back_is_waited_for_a_whole_hold(kind):
    lines = cut_and_back(kind, "a", "b", lines="abc")
    lines.offer("b", kind, 20)
    lines.wait(HOLD - 1)
    assert lines.ids(kind) == [10]
    lines.wait(1)
    assert lines.ids(kind) == [10, 20]


def test_what_a_line_skips_on_its_connection_is_waited_for():
    lines = Lines()
    for line in "ab":
        lines.offer(line, Kind.trade, 10)
        lines.connect(line)
    for line in "ab":
        lines.offer(line, Kind.trade, 11)
        lines.offer(line, Kind.trade, 20)
    lines.wait(HOLD - 1)
    assert lines.ids() == [10, 11], "nothing says that no line has it: the hole is within the connections"


def test_a_connection_of_another_venue_s_line_says_nothing_of_this_one_s():
    lines = Lines()
    for line in ("feed-binance-1", "feed-binance-2"):
        lines.offer(line, Kind.trade, 10)
    for line in ("feed-binance-1", "feed-binance-2", "feed-kraken-1", "recorder"):
        lines.connect(line)
    for line in ("feed-binance-1", "feed-binance-2"):
        lines.offer(line, Kind.trade, 20)
    lines.wait(SOON)
    assert lines.ids() == [10, 20]


def test_what_was_overtaken_at_the_beginning_of_a_connection_is_kept_in_its_place():
    lines = cut_and_back(Kind.trade, "a", "b")
    lines.offer("b", Kind.trade, 20)
    for line in "ab":
        lines.offer(line, Kind.trade, 19)
        lines.offer(line, Kind.trade, 21)
    lines.wait(SOON)
    assert lines.ids() == [10, 19, 20, 21] and lines.gaps() == [(11, 18, GapState.open)]


def test_an_id_out_of_proportion_waits_for_its_neighbours_all_the_same():
    lines = Lines()
    for line in "ab":
        lines.offer(line, Kind.trade, 10)
        lines.connect(line)
    for line in "ab":
        lines.offer(line, Kind.trade, 10**12)
    lines.wait(5 * HOLD)
    assert lines.ids() == [10]


def test_a_connection_that_was_found_in_the_log_is_none_that_has_just_begun():
    """After a restart of the sequencer: the line may have brought what it knew already, which was dropped then."""
    lines = Lines()
    for line in "ab":
        lines.offer(line, Kind.trade, 10)
        lines.arbiter.connected(line, lines.next_number(line), live=False)
    for line in "ab":
        lines.offer(line, Kind.trade, 20)
    lines.wait(HOLD - 1)
    assert lines.ids() == [10]


def new_era(kind, back="ab", said="ab"):
    """Lines that were at id 1010, connected anew but for some; those of `said` bring lower ids, later by the venue's time."""
    lines = Lines()
    for i in range(1000, 1010):
        for line in "ab":
            lines.offer_raw(line, kind, later(kind, i, i))
    for line in back:
        lines.connect(line)
    for i in range(1, 5):
        for line in said:
            lines.offer_raw(line, kind, later(kind, i, 2000 + i))
    return lines


@pytest.mark.parametrize("kind", STREAMS)
def test_a_new_era_that_all_new_connections_show_is_followed_after_half_a_hold(kind):
    lines = new_era(kind)
    lines.wait(HOLD // doubts.ALONE_PART)
    assert max(lines.ids(kind)[-2:]) == 1009, "not yet"
    lines.wait(1)
    assert lines.ids(kind)[10:] == [1, 2, 3, 4]
    assert [one.last_id for one in lines.out if one.flags & Flag.RESET] == [1]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("back, said", [("a", "ab"), ("ab", "a"), ("", "ab")])
def test_a_line_that_might_say_a_higher_id_is_waited_for(kind, back, said):
    lines = new_era(kind, back, said)
    lines.wait(HOLD)
    assert lines.ids(kind) == list(range(1000, 1010))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_the_lines_bring_after_a_cut_of_all_comes_once(data):
    """Both were cut, and begin anew anywhere, with what was overtaken on its way; time passes as it will."""
    lines = cut_and_back(Kind.trade, "a", "b")
    queues = {}
    for line in "ab":
        first, last = sorted((data.draw(st.integers(11, 40)), data.draw(st.integers(11, 40))))
        ids = list(range(first, last + 1))
        if len(ids) > 1 and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(ids) - 2))
            ids[place], ids[place + 1] = ids[place + 1], ids[place]
        queues[line] = ids
    said = {10, 20} | {one for ids in queues.values() for one in ids}
    while any(queues.values()):
        line = data.draw(st.sampled_from(sorted(name for name, queue in queues.items() if queue)))
        lines.offer(line, Kind.trade, queues[line].pop(0))
        lines.wait(data.draw(st.sampled_from([0, 1, SOON, HOLD])))
    lines.wait(10 * HOLD)
    assert sorted(lines.ids()) == sorted(said)
