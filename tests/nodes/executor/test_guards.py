"""When nothing is ordered: a wide spread, an old book, missing trades, a gap of the book, a venue that is late."""

import pytest

from tests.support.executor_tape import ASK, BID, LOT
from tests.support.parent_scene import Scene, is_cancel
from tickmesh.bus.schema import GapState, Kind

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


def test_a_wide_spread_is_earned_by_what_rests_but_nothing_new_is_ordered():
    scene = Scene("patient", patience_ms=1000, spread_max_bp=50)
    (order,) = scene.signal()
    scene.accept(order)
    assert scene.see(scene.tape.quote(**WIDE)) == []
    assert scene.see(scene.tape.quote(bid=BID + TICK, ask=WIDE["ask"])) == [], "nor is it moved"
    assert scene.see(scene.tape.clock(1000)) == [], "nor taken"
    assert is_cancel(scene.see(scene.tape.quote(bid=BID + TICK, ask=ASK + TICK)), order)
    assert scene.refused == {"spread": 1}


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
