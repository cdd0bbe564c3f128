"""Styles that work a parent order: where they rest, when they follow, when they take, and what they leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.executor_tape import ASK, BID, LOT
from tests.support.parent_scene import Scene, is_cancel
from tickmesh.bus.schema import OrderType, Status, TimeInForce
from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.styles.interface import Trigger, View, worst_price
from tickmesh.nodes.executor.styles.schedules import pov

TICK = 1_000_000


def terms(intent) -> tuple[int, int, int, int]:
    return int(intent["order_type"]), int(intent["time_in_force"]), int(intent["price_ticks"]), int(intent["quantity_lots"])


@pytest.mark.parametrize("value, improve, price", [(1.0, 0, BID), (-1.0, 0, BID + 9 * TICK), (1.0, 2, BID + 2 * TICK),
    (-1.0, 2, BID + 7 * TICK), (1.0, 99, BID + 8 * TICK), (-1.0, 99, BID + TICK)])  # fmt: skip
def test_post_only_joins_or_improves_and_never_reaches_the_other_side(value, improve, price):
    scene = Scene("post_only", improve_ticks=improve)
    scene.see(scene.tape.quote(ask=BID + 9 * TICK))
    (order,) = scene.signal(value)
    assert terms(order) == (OrderType.LIMIT_MAKER, TimeInForce.GTC, price, LOT)


def test_post_only_follows_when_another_is_better_and_not_when_it_is_itself():
    scene = Scene("post_only", improve_ticks=1)
    scene.see(scene.tape.quote(ask=BID + 9 * TICK))
    (order,) = scene.signal()
    scene.accept(order)
    assert scene.see(scene.tape.quote(bid=BID + TICK, ask=BID + 9 * TICK)) == [], "its own order is the best now"
    assert scene.see(scene.tape.quote(bid=BID, ask=BID + 9 * TICK)) == [], "the book went away from it: it is still the best"
    cancelled = scene.see(scene.tape.quote(bid=BID + 4 * TICK, ask=BID + 9 * TICK))
    assert is_cancel(cancelled, order)
    assert scene.see(scene.tape.quote(bid=BID + 5 * TICK, ask=BID + 9 * TICK)) == [], "not before the first is gone"
    (again,) = scene.over(order)
    assert terms(again)[2:] == (BID + 6 * TICK, LOT)
    scene.accept(again)
    scene.fill(again)
    ended = scene.ended()
    assert (ended["why"], ended["children"], ended["reprices"], ended["filled_lots"]) == (b"filled", 2, 1, LOT)


def test_what_was_filled_before_the_cancel_is_not_ordered_again():
    scene = Scene("post_only", lots=4 * LOT)
    (order,) = scene.signal()
    scene.accept(order)
    scene.fill(order, LOT)
    scene.see(scene.tape.quote(bid=ASK, ask=ASK + TICK))
    (again,) = scene.over(order, filled=LOT)
    assert terms(again)[2:] == (ASK, 3 * LOT)


def test_asked_again_it_stays_where_it_is_the_best_itself():
    scene = Scene("post_only", improve_ticks=1)
    scene.see(scene.tape.quote(ask=BID + 9 * TICK))
    (order,) = scene.signal()
    scene.accept(order)
    scene.see(scene.tape.quote(bid=BID + TICK, ask=BID + 9 * TICK))
    assert scene.accept(order) == [], "a report of its order is no reason to outbid itself"


def test_a_book_without_a_side_moves_nothing_and_is_waited_for():
    scene = Scene("post_only", improve_ticks=1)
    scene.see(scene.tape.quote(ask=BID + 9 * TICK))
    (order,) = scene.signal(-1.0)
    scene.accept(order)
    empty = {"ask": 0, "ask_lots": 0}
    assert scene.see(scene.tape.quote(**empty)) == []
    assert scene.over(order) == scene.see(scene.tape.clock(300)) == [] and scene.refused == {}, "risk is not asked"
    assert len(scene.see(scene.tape.quote())) == 1


def test_post_only_rests_at_its_slippage_bound_though_others_are_better():
    scene = Scene("post_only", slippage_max_bp=1.0)
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.see(scene.tape.quote(bid=BID + 700 * TICK, ask=BID + 701 * TICK)), order)
    (again,) = scene.over(order)
    assert terms(again)[2] == (BID + ASK) * 10_001 // 20_000 // TICK * TICK < BID + 700 * TICK
    scene.accept(again)
    assert scene.see(scene.tape.quote(bid=BID + 800 * TICK, ask=BID + 801 * TICK)) == []


@pytest.mark.parametrize("improve, price", [(0, BID), (1, BID + 1), (99, BID + 8)])
def test_where_the_venue_has_no_tick_size_a_step_is_the_smallest_there_is(improve, price):
    scene = Scene("post_only", improve_ticks=improve)
    scene.see(scene.tape.instrument(tick_size=0), scene.tape.quote(ask=BID + 9))
    (order,) = scene.signal()
    assert terms(order)[2] == price
    scene.accept(order)
    moved = scene.see(scene.tape.quote(bid=price + 1, ask=price + 9))
    assert is_cancel(moved, order), "by the smallest step another one is better"


def test_who_may_follow_less_than_once_in_ten_seconds_follows_once_and_then_in_time():
    scene = Scene("post_only", reprices_per_min=3.0, lifetime_ms=60_000)
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.see(scene.tape.quote(bid=ASK, ask=ASK + TICK)), order)
    (order,) = scene.over(order)
    scene.accept(order)
    better = {"bid": ASK + TICK, "ask": ASK + 2 * TICK}
    assert scene.see(scene.tape.quote(**better)) == []
    for _ in range(19):
        assert scene.see(scene.tape.clock(1000), scene.tape.quote(**better)) == []
    assert is_cancel(scene.see(scene.tape.clock(1000)), order), "20 s after the first"


@pytest.mark.parametrize("tick, bought, sold", [(5, 115, 95), (2, 114, 96), (0, 115, 95)])
def test_the_worst_price_is_within_the_bound_and_on_the_tick_grid(tick, bought, sold):
    rules = InstrumentRules(0, 0, tick, 1, 1, 0)
    for side, price in ((1, bought), (-1, sold)):  # 10 % from 105: 115.5 and 94.5
        parent = Parent(1, "sweep", side, 1, 1, 0, 100, 110, 0, 1)
        for bound, worst in ((1000.0, price), (0.0, None), (None, None)):
            view = View(Quote(90, 1, 120, 1), 0, rules, ExecutionSettings(slippage_max_bp=bound), (), 0)
            assert worst_price(parent, view) == worst


def test_reprices_stay_in_their_budget():
    scene = Scene("post_only", reprices_per_min=12.0, lifetime_ms=60_000)
    (order,) = scene.signal()
    scene.accept(order)
    repriced, price = 0, BID
    for _ in range(300):
        price += 2 * TICK
        scene.tape.now_ns += 100 * 1_000_000
        for cancel in scene.see(scene.tape.quote(bid=price, ask=price + TICK)):
            assert cancel["target_id"] == order["client_order_id"]
            (order,) = scene.over(order)
            scene.accept(order)
            repriced += 1
    assert repriced in (7, 8), "two at once, and one each five of the thirty seconds"


def test_patient_rests_and_then_takes_what_is_left():
    scene = Scene("patient", lots=3 * LOT, patience_ms=1000)
    (order,) = scene.signal()
    scene.accept(order)
    scene.fill(order, LOT)
    assert scene.see(scene.tape.clock(999)) == []
    assert is_cancel(scene.see(scene.tape.clock(1)), order)
    (taken,) = scene.over(order, filled=LOT)
    assert terms(taken) == (OrderType.MARKET, TimeInForce.GTC, 0, 2 * LOT)
    scene.fill(taken, price=ASK)
    assert scene.ended()["why"] == b"filled"


def test_patient_with_a_slippage_bound_takes_no_farther():
    scene = Scene("patient", patience_ms=1000, slippage_max_bp=1.0)
    (order,) = scene.signal()
    scene.accept(order)
    scene.see(scene.tape.clock(1000))
    scene.see(scene.tape.quote(bid=2 * BID, ask=2 * ASK))
    assert scene.over(order) == []
    (taken,) = scene.see(scene.tape.quote())
    bound = (BID + ASK) * 10_001 // 20_000 // TICK * TICK
    assert terms(taken) == (OrderType.LIMIT, TimeInForce.IOC, bound, LOT)


def test_sweep_takes_up_to_the_bound_and_again_when_more_is_offered():
    scene = Scene("sweep", lots=5 * LOT, slippage_max_bp=2.0, lifetime_ms=5000)
    bound = (BID + ASK) * 10_002 // 20_000 // TICK * TICK
    (first,) = scene.signal()
    assert terms(first) == (OrderType.LIMIT, TimeInForce.IOC, bound, 5 * LOT)
    scene.fill(first, 2 * LOT)
    assert scene.over(first, Status.Expired, 2 * LOT) == [], "not at once again"
    assert scene.see(scene.tape.quote(ask=bound + TICK)) == []
    assert scene.see(scene.tape.clock(500)) == [], "beyond the bound"
    (second,) = scene.see(scene.tape.quote(ask=bound))
    assert terms(second)[2:] == (bound, 3 * LOT)
    scene.over(second, Status.Expired)
    scene.see(scene.tape.quote(ask=bound + TICK))
    scene.see(scene.tape.clock(5000))
    ended = scene.ended()
    assert (ended["why"], ended["filled_lots"], ended["wanted_lots"]) == (b"deadline", 2 * LOT, 5 * LOT)


def test_a_book_that_shows_what_nobody_gets_is_asked_for_it_ever_more_rarely():
    scene = Scene("sweep", lots=5 * LOT, slippage_max_bp=2.0, lifetime_ms=60_000)
    scene.signal()
    sent_ns: list[int] = []
    for _ in range(1200):
        if scene.intents[len(sent_ns) :]:
            sent_ns.append(scene.tape.now_ns)
            filled = LOT if len(sent_ns) == 9 else 0
            if filled:
                scene.fill(scene.intents[-1], filled)
            scene.over(scene.intents[-1], Status.Expired, filled)
        scene.see(scene.tape.clock(50), scene.tape.quote())
    pauses_s = [(later - before) / 1e9 for before, later in zip(sent_ns, sent_ns[1:])]
    assert pauses_s == pytest.approx(
        [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 6.4, 6.4, 0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 6.4, 6.4, 6.4], abs=0.11
    )
    assert scene.ended()["why"] == b"deadline" and scene.ended()["filled_lots"] == LOT


def test_twap_does_a_part_at_the_beginning_of_each_slice():
    scene = Scene("twap", lots=6 * LOT, horizon_ms=3000, slices=3, slice_style="market")
    times = []
    (order,) = scene.signal()
    begun_ns = scene.tape.now_ns
    while True:
        times.append((scene.tape.now_ns - begun_ns) // 1_000_000)
        assert terms(order) == (OrderType.MARKET, TimeInForce.GTC, 0, 2 * LOT)
        scene.fill(order, price=ASK)
        made: list = []
        while not made and scene.tape.now_ns < begun_ns + 4_000_000_000:
            made = scene.see(scene.tape.clock(50), scene.tape.quote())
        if not made:
            break
        (order,) = made
    assert times == [0, 1000, 2000] and scene.ended()["why"] == b"filled"


def test_a_slice_that_rests_leaves_alone_what_the_one_before_is_taking():
    """Only what rests follows the book: a market order that is under way costs nothing of the budget to follow."""
    scene = Scene("twap", lots=2 * LOT, horizon_ms=4000, slices=2, slice_style="patient", patience_ms=1000)
    (rests,) = scene.signal()
    scene.accept(rests)
    assert is_cancel(scene.see(scene.tape.clock(1000)), rests)
    (takes,) = scene.over(rests)
    scene.accept(takes)
    (second,) = scene.see(scene.tape.quote(), scene.tape.clock(1000))
    assert (takes["order_type"], terms(second)) == (OrderType.MARKET, (OrderType.LIMIT_MAKER, TimeInForce.GTC, BID, LOT))
    scene.fill(takes, price=ASK)
    scene.fill(second)
    assert (scene.ended()["why"], scene.ended()["reprices"]) == (b"filled", 0)


def test_what_a_slice_leaves_the_next_does_too():
    scene = Scene("twap", lots=4 * LOT, horizon_ms=2000, slices=2, slice_style="post_only")
    (order,) = scene.signal()
    scene.accept(order)
    (more,) = scene.see(scene.tape.clock(1000))
    assert terms(more)[3] == 2 * LOT, "the first still rests"
    scene.accept(more)
    scene.fill(order, LOT)
    cancels = scene.see(scene.tape.clock(1000))
    assert {one["target_id"] for one in cancels} == {order["client_order_id"], more["client_order_id"]}
    scene.over(order, filled=LOT)
    scene.over(more)
    assert (scene.ended()["why"], scene.ended()["filled_lots"]) == (b"deadline", LOT)


def test_all_orders_of_a_parent_that_the_book_has_left_follow_at_once():
    scene = Scene("twap", lots=4 * LOT, horizon_ms=2000, slices=2, slice_style="post_only")
    (first,) = scene.signal()
    scene.accept(first)
    (second,) = scene.see(scene.tape.clock(1000))
    scene.accept(second)
    cancels = scene.see(scene.tape.quote(bid=ASK, ask=ASK + TICK))
    assert {one["target_id"] for one in cancels} == {first["client_order_id"], second["client_order_id"]}
    assert scene.see(scene.tape.quote(bid=ASK, ask=ASK + TICK)) == []


def test_pov_does_its_share_of_what_is_traded():
    scene = Scene("pov", lots=3 * LOT, participation=0.1, slice_style="market", slices=6)
    scene.see(scene.tape.instrument(min_quantity=LOT // 4), scene.tape.trade(1000 * LOT))
    scene.see(scene.tape.quote(bid=0, bid_lots=0))
    assert scene.signal() == [] and scene.refused == {"quote": 1}, "without a price no part has a size"
    scene.see(scene.tape.quote())
    assert scene.signal() == [] and len(scene.parents) == 1, "what was traded before it says nothing"
    assert scene.see(scene.tape.trade(5 * LOT - 1)) == []
    assert scene.see(scene.tape.trade(LOT, flags=2), scene.tape.trade(LOT, flags=16)) == [], "repaired, and off the book"
    (order,) = scene.see(scene.tape.trade(1))
    assert terms(order)[3] == LOT // 2, "a sixth"
    assert order["expires_ns"] == scene.tape.now_ns + 2_000_000_000, "stale_ms, which is less than intent_ttl_ms"
    scene.fill(order, price=ASK)
    (order,) = scene.see(scene.tape.trade(20 * LOT))
    assert terms(order)[3] == 2 * LOT
    scene.fill(order, price=ASK)
    (order,) = scene.see(scene.tape.trade(100 * LOT))
    assert terms(order)[3] == LOT // 2, "no more than is wanted"


@given(
    st.integers(1, 60), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1e-9, 1e-6, 0.02, 0.7, 1.0])
    | st.floats(0.001, 1), st.integers(0, 900),
)  # fmt: skip
def test_pov_is_never_ahead_of_its_share_and_makes_no_more_parts_than_slices(wanted, slices, lot, least, share, before):
    """Asked when its triggers fire, and just before: its parts are orders that the venue takes, and nothing is left over."""
    rules, ppm = InstrumentRules(-8, -8, 1, lot, least, 0), max(round(share * 1_000_000), 1)
    settings = ExecutionSettings(participation=share, slices=slices)
    wanted *= lot
    parent = Parent(1, "pov", 1, wanted, wanted, 0, 100, 101, 0, 1)
    parent.traded_lots, least = before, rules.whole_up(least)

    def ask(traded: int) -> tuple[int, Trigger]:
        return pov(parent, View(Quote(100, 1, 101, 1), 1, rules, settings, (), traded))

    (due, wait), parts = ask(before), 0
    assert due == 0
    while due < wanted:
        traded = wait.volume_lots
        assert wait == Trigger(volume_lots=traded) and ask(traded - 1) == (due, wait), "nothing is due before"
        last, (due, wait) = due, ask(traded)
        parts += 1
        assert due * 1_000_000 <= (traded - before) * ppm and due % lot == 0
        assert due - last >= min(least, wanted) and (wanted - due >= least or due == wanted)
    assert (due, wait) == (wanted, Trigger()) and parts <= slices


def test_orders_that_the_venue_refuses_end_the_parent_and_not_in_a_storm():
    scene = Scene("post_only", lifetime_ms=60_000)
    scene.signal()
    sent_ns = []
    for _ in range(600):
        if scene.intents[len(sent_ns) :]:
            sent_ns.append(scene.tape.now_ns)
            scene.over(scene.intents[-1], Status.Rejected)
        scene.see(scene.tape.clock(20), scene.tape.quote())
    assert scene.ended()["why"] == b"rejected" and len(sent_ns) == 5
    pauses = [later - before for before, later in zip(sent_ns, sent_ns[1:])]
    assert all(pause >= 200_000_000 << i for i, pause in enumerate(pauses))
