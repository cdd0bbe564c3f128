"""When nothing is ordered: a wide spread, an old book, missing trades, a gap of the book, a venue that is late."""

import numpy as np
import pytest

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT
from tests.support.parent_scene import Scene, is_cancel
from tickmesh.bus.schema import QUOTE, GapState, Kind
from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.guards import OPEN_GAPS_MAX, MarketState, closed, closed_by
from tickmesh.nodes.executor.styles.interface import any_quote

TICK = 1_000_000
WIDE = {"ask": BID + BID // 100}


class Case:
    """Events with which a guard begins to hold, those with which it ends, and the settings that it needs."""

    def __init__(self, begin, end, **execution):
        self.begin, self.end, self.execution = begin, end, execution


CASES = {
    "spread": Case(lambda tape: [tape.quote(**WIDE)], lambda tape: [tape.quote()], spread_max_bp=50),
    "gap": Case(
        lambda tape: [tape.gap(5, 9, GapState.open)],
        lambda tape: [tape.gap(5, 6, GapState.repaired), tape.gap(7, 9, GapState.unrecoverable)],
    ),
    "gap of the book": Case(
        lambda tape: [tape.gap(5, 9, GapState.unrecoverable, Kind.depth)],
        lambda tape: [tape.clock(1000), tape.quote(), tape.clock(1000)],
    ),
    "venue_lag": Case(lambda tape: [tape.quote(lag_ms=301)], lambda tape: [tape.trade(LOT, lag_ms=20)], venue_lag_max_ms=300),
    "stale_quote": Case(lambda tape: [tape.clock(2001)], lambda tape: [tape.quote()]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("style", ["limit_ioc", "post_only"])
def test_a_signal_begins_nothing_while_a_guard_holds(name, style):
    case = CASES[name]
    scene = Scene(style, **case.execution)
    scene.see(*case.begin(scene.tape))
    assert scene.signal() == [] and scene.refused == {name.split()[0]: 1} and scene.parents == []
    scene.see(*case.end(scene.tape))
    assert len(scene.signal()) == 1


@pytest.mark.parametrize("name", [name for name in CASES if name != "spread"])
def test_what_rests_is_cancelled_while_a_guard_holds_and_made_again_after_it(name):
    case = CASES[name]
    scene = Scene("post_only", **case.execution)
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.see(*case.begin(scene.tape)), order)
    assert scene.over(order) == [] and scene.refused == {name.split()[0]: 1}
    assert [one["quantity_lots"] for one in scene.see(*case.end(scene.tape))] == [LOT]
    scene.see(*case.begin(scene.tape))
    assert scene.refused == {name.split()[0]: 2}, "each time is counted"


def test_a_wide_spread_is_earned_by_what_rests_but_nothing_new_is_ordered():
    scene = Scene("patient", patience_ms=1000, spread_max_bp=50)
    (order,) = scene.signal()
    scene.accept(order)
    assert scene.see(scene.tape.quote(**WIDE)) == []
    assert scene.see(scene.tape.quote(bid=BID + TICK, ask=WIDE["ask"])) == [], "nor is it moved"
    assert scene.see(scene.tape.clock(1000)) == [], "nor taken"
    assert is_cancel(scene.see(scene.tape.quote(bid=BID + TICK, ask=ASK + TICK)), order)
    assert scene.refused == {"spread": 1}


def test_the_next_part_is_not_ordered_while_the_spread_is_wide():
    scene = Scene("twap", lots=2 * LOT, horizon_ms=2000, slices=2, slice_style="post_only", spread_max_bp=50)
    (order,) = scene.signal()
    scene.accept(order)
    assert scene.see(scene.tape.quote(**WIDE), scene.tape.clock(1000)) == [] and scene.refused == {"spread": 1}
    assert len(scene.see(scene.tape.quote())) == 1


def test_a_wide_spread_holds_nothing_while_a_cancel_is_under_way():
    """Whether its style is asked then must not matter: nothing waits but for the venue's word."""
    scene = Scene("patient", patience_ms=1000, spread_max_bp=50)
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.see(scene.tape.clock(1000)), order)
    scene.see(scene.tape.quote(**WIDE), scene.tape.gap(1, 2, GapState.repaired))
    assert scene.refused == {} and len(scene.intents) == 2


def test_guards_can_be_switched_off():
    scene = Scene("post_only", gap_pause=False)
    assert len(scene.see(scene.tape.gap(5, 9, GapState.open)) + scene.signal()) == 1


def test_a_repaired_trade_says_nothing_of_how_late_the_venue_is():
    scene = Scene("post_only", venue_lag_max_ms=300)
    assert len(scene.see(scene.tape.trade(LOT, lag_ms=9000, flags=2)) + scene.signal()) == 1


MS = 1_000_000
BOUNDED = ExecutionSettings(spread_max_bp=10.0, venue_lag_max_ms=300.0, gap_pause=True)


@pytest.mark.parametrize(("market", "ask", "age_ms", "reason"), [
    ({}, 1_000_500, 2000, ""), ({}, 1_000_500, 2000 + 1e-6, "stale_quote"),
    ({"book_gap_ns": 5000 * MS}, 1_000_500, 0, ""), ({"book_gap_ns": 5000 * MS + 1}, 1_000_500, 0, "gap"),
    ({"missing": [(1, 1)]}, 1_000_500, 0, "gap"),
    ({"lag_ns": 300 * MS}, 1_000_500, 0, ""), ({"lag_ns": 300 * MS + 1}, 1_000_500, 0, "venue_lag"),
    ({"lag_ns": -1}, 1_000_500, 0, ""),
    ({}, 1_000_501, 0, "spread"),
])  # fmt: skip
def test_each_guard_holds_beyond_its_bound_and_not_at_it(market, ask, age_ms, reason):
    """1,000 of 1,000,000 is 10 bp; it is 5 s, and a quote of 2 s is not stale."""
    now_ns = 5000 * MS
    quote_ns = now_ns - round(age_ms * MS)
    seen = BOUNDED, MarketState(**market), Quote(999_500, 1, ask, 1), quote_ns, now_ns, 2000 * MS
    assert closed_by(*seen) == reason == closed(*seen)[0]
    wait = closed(*seen)[1]
    if reason == "":
        assert (wait.time_ns, wait.lag_high_ns) == (quote_ns + 2000 * MS + 1, 300 * MS + 1), "by then it may hold"
    elif reason == "venue_lag":
        assert wait.lag_low_ns == 300 * MS
    elif reason == "spread":
        assert (wait.ask_low, wait.ask_high, wait.bid_low, wait.bid_high) == (ask - 1, ask + 1, 999_499, 999_501)
    elif reason == "stale_quote":
        assert wait == any_quote()


@pytest.mark.parametrize("none", [0.0, None])
def test_a_guard_without_a_bound_never_holds(none):
    settings = ExecutionSettings(spread_max_bp=none, venue_lag_max_ms=none, gap_pause=False)
    market = MarketState(lag_ns=10**12, missing=[(1, 1)], book_gap_ns=10**15)
    assert closed_by(settings, market, Quote(1, 1, 10**9, 1), 0, 0, 1) == ""


@pytest.mark.parametrize(("times", "lag_ns"), [
    ({"venue_ns": 5, "recv_ns": 9}, 4), ({"venue_ns": 5}, 1), ({"recv_ns": 9}, 1), ({}, 1),
])  # fmt: skip
def test_how_late_the_venue_is_follows_from_events_that_state_both_times(times, lag_ns):
    tape, market = Scene("post_only").tape, MarketState(lag_ns=1)
    market.note_lag(tape.log(encode(Kind.quote, SUBJECT, np.zeros(1, QUOTE), **times)))
    assert market.lag_ns == lag_ns


@pytest.mark.parametrize(("repaired", "left"), [
    ((4, 6), [(3, 3), (7, 9)]), ((3, 3), [(4, 9)]), ((9, 9), [(3, 8)]), ((0, 20), []), ((8, 20), [(3, 7)]), ((4, 9), [(3, 3)]),
    ((3, 8), [(9, 9)]), ((12, 20), [(3, 9)]), ((0, 1), [(3, 9)]),
])  # fmt: skip
def test_a_gap_is_open_as_far_as_it_is_not_filled(repaired, left):
    tape, market = Scene("post_only").tape, MarketState(missing=[(3, 9)])
    market.note_gap(tape.gap(*repaired, GapState.repaired), 1)
    assert market.missing == left


def test_of_missing_runs_the_newest_are_kept():
    tape, market = Scene("post_only").tape, MarketState(missing=[(one, one) for one in range(OPEN_GAPS_MAX)])
    market.note_gap(tape.gap(5000, 5000, GapState.open), 1)
    assert len(market.missing) == OPEN_GAPS_MAX and market.missing[0] == (1, 1) and market.missing[-1] == (5000, 5000)
