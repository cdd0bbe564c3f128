"""What comes late, or again with something else in it, is taken in its place or named with its bytes: no contradiction."""

import numpy as np
import pytest

from tests.support.arbitration import HOLD, Lines, event
from tests.support.doubted_ids import STREAMS, alerts, contradictions, refusals
from tests.support.event_fields import record_slice
from tickmesh.bus.schema import DTYPES, QUOTE, Kind
from tickmesh.bus.wire import encode
from tickmesh.nodes.sequencer import doubts


def test_a_trade_that_was_overtaken_on_its_line_is_taken_in_its_place():
    lines = Lines()
    for i in (1, 2, 4, 5, 3, 6, 8, 9, 7, 10):
        lines.offer("a", Kind.trade, i)
    assert lines.ids() == list(range(1, 11)) and lines.gaps() == []


def test_a_quote_that_comes_too_late_for_its_place_is_refused_with_its_bytes():
    lines = Lines()
    for i in (10, 20, 40, 30, 50, 60):
        lines.offer("a", Kind.quote, i)
    for i in (10, 20, 40, 50):
        lines.offer("b", Kind.quote, i)
    lines.wait(10 * HOLD)
    (refusal,) = refusals(lines)
    assert "30" in refusal["why"] and lines.ids(Kind.quote) == [10, 20, 40, 50, 60]


@pytest.mark.parametrize(("subject", "refused"), [("binance.BTCUSDT", [2, 3]), ("okx.BTC-USDT", [])])
def test_what_each_line_numbers_by_itself_is_no_news_because_its_id_is_lower(subject, refused):
    """Line b heard the same quotes sooner, and brings them later: a, whose ids are higher, has them still before it."""
    lines = Lines()

    def offer(line, i, venue_ns):
        raw = encode(Kind.quote, subject, np.zeros(1, QUOTE), first_id=i, last_id=i, venue_ns=venue_ns)
        lines.offer_raw(line, Kind.quote, raw, subject)

    for line in "ab":
        offer(line, 1, 1)
    offer("a", 1000, 2)
    for i in (2, 3):
        offer("b", i, i + 1)
    for i in (1001, 1002):
        offer("a", i, i - 998)
    lines.wait(10 * HOLD)
    assert lines.ids(Kind.quote) == [1, 1000, 1001, 1002]
    assert [int(one["why"].split(" says id ")[1].split()[0]) for one in refusals(lines)] == refused


def test_quotes_that_two_connections_bring_in_turn_are_no_contradiction():
    """While a connection is replaced the new one may be ahead, and the old one's come behind what it has said."""
    lines = Lines()
    for i in (10, 20, 30, 60, 40, 50, 70, 80):
        lines.offer("a", Kind.quote, i)
    lines.wait(10 * HOLD)
    assert contradictions(lines) == [] and lines.ids(Kind.quote) == [10, 20, 30, 60, 70, 80]
    assert len(refusals(lines)) == 2, "both are named"


def test_one_event_that_was_overtaken_is_no_contradiction():
    lines = Lines()
    for i in (10, 20, 40, 30, 50, 60):
        lines.offer("a", Kind.quote, i)
    assert lines.ids(Kind.quote) == [10, 20, 40, 50, 60] and contradictions(lines) == []


@pytest.mark.parametrize("kind", [Kind.trade, Kind.depth])
@pytest.mark.parametrize("count", [1, 2])
def test_what_was_overtaken_behind_a_hole_is_no_part_of_it(kind, count):
    lines = Lines()
    for first in (1, 2, 3, 10, 7, 13):
        for line in "ab"[:count]:
            lines.offer(line, kind, first, first if first < 7 else first + 2)
    lines.wait(HOLD + 1)
    assert lines.ids(kind) == [1, 2, 3, 9, 12, 15]
    assert [gap[:2] for gap in lines.gaps()] == [(4, 6)] and refusals(lines) == []


def test_a_change_that_comes_when_its_hole_was_given_up_is_refused_with_its_bytes():
    """No book goes back for it, and the ledger calls it missing; but it was heard."""
    lines = Lines()
    for i in (1, 2, 3, 6, 7):
        lines.offer("a", Kind.depth, i)
    lines.wait(HOLD + 1)
    for i in range(1, 8):
        lines.offer("b", Kind.depth, i), lines.offer("c", Kind.depth, i)
    lines.offer("a", Kind.depth, 8)
    assert lines.ids(Kind.depth) == [1, 2, 3, 6, 7, 8] and [gap[:2] for gap in lines.gaps()] == [(4, 5)]
    assert [refusal["why"].split(",")[0].rpartition(" ")[2] for refusal in refusals(lines)] == ["4", "5"]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("last", [False, True])
def test_the_same_id_with_something_else_in_it_is_named_and_a_copy_is_not(kind, last):
    lines = Lines()

    def offer(line, i, size=0):
        raw = event(kind, i, i)
        raw[record_slice(kind, DTYPES[kind].names[1])] = size.to_bytes(8, "little")
        lines.offer_raw(line, kind, raw)

    for i in range(1, 10):
        offer("a", i), offer("b", i)
    for line in "ab":
        offer(line, 9 if last else 7, size=5)
        lines.wait(HOLD)
    for i in range(10, 12):
        offer("a", i), offer("b", i)
    lines.wait(doubts.KEPT_HOLDS * HOLD)
    assert lines.ids(kind) == list(range(1, 12)) and contradictions(lines) == []
    (refusal,) = refusals(lines)
    assert "something else" in refusal["why"] and refusal["raw"][record_slice(kind, DTYPES[kind].names[1]).start] == 5


def test_a_stream_that_drops_all_it_hears_says_so():
    lines = Lines()
    lines.offer("a", Kind.trade, 1000)
    for _ in range(40):
        lines.offer("a", Kind.trade, 1000)
        lines.wait(HOLD)
    assert alerts(lines) == ["stream_deaf"]
    lines.offer("a", Kind.trade, 1001)
    for _ in range(10):
        lines.wait(HOLD)
    assert alerts(lines) == ["stream_deaf"]
