"""Parent orders: one at a time is worked, a turned signal ends it, a target moves it, and what became of it is on record."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, make
from tests.support.parent_scene import Scene, is_cancel, records
from tickmesh.bus.schema import PARENT, Action, Kind, ParentState, Status
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.bus.wide import joined, split
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.parents import Parent, parent_record
from tickmesh.nodes.orders.commands import KillSwitch, SetLimit, SwitchStrategy

MID2 = BID + ASK
TICK = 1_000_000


def money(record, name: str) -> int:
    return joined(record[f"{name}_high"], record[f"{name}_low"])


def test_a_parent_is_on_record_when_it_begins_and_when_it_ends():
    scene = Scene("patient", lots=2 * LOT, patience_ms=1000)
    (order,) = scene.signal()
    (begun,) = scene.parents
    signal_seq = next(event.seq for event in scene.tape.events if event.kind == Kind.signal)
    assert (begun["state"], begun["strategy"], begun["style"], begun["why"]) == (ParentState.begun, b"s", b"patient", b"")
    assert (begun["parent_seq"], begun["children"], begun["wanted_lots"], begun["filled_lots"]) == (signal_seq, 1, 2 * LOT, 0)
    assert order["parent_seq"] == signal_seq
    scene.accept(order)
    scene.fill(order, LOT)
    scene.see(scene.tape.quote(bid=ASK, ask=ASK + 3 * TICK), scene.tape.clock(1000))
    assert scene.over(order, filled=LOT) != []
    assert scene.parents == [begun], "it is not over"
    scene.fill(scene.intents[-1], price=ASK + 3 * TICK)
    ended = scene.ended()
    assert (ended["parent_seq"], ended["why"], ended["children"], ended["reprices"]) == (signal_seq, b"filled", 2, 0)
    assert (ended["bid_ticks"], ended["ask_ticks"], ended["end_bid_ticks"]) == (BID, ASK, ASK)
    value = LOT * (BID + ASK + 3 * TICK)
    assert (money(ended, "value"), money(ended, "fee_cost")) == (value, 14 * 10**8), "7e-8 USDT each, at 10^-16"
    assert money(ended, "shortfall") == value - 2 * LOT * MID2 // 2 + 14 * 10**8


@pytest.mark.parametrize("style", ["market", "limit", "post_only"])
def test_an_order_is_given_first_and_the_rest_of_what_a_step_says_after_it(style):
    """Who acts on the order need not wait for the record of its parent; together both parts are what `step` gives."""
    strategies = (StrategySettings(name="s", styles=(style,), order_quantity="0.001", position_max="1"),)
    whole, parts = (make(strategies=strategies, kind=executor.Step) for _ in range(2))
    tape = Tape()

    def given(*events):
        first = parts.step_first(list(events))
        rest = parts.step_rest()
        assert whole.step(list(events)) == first + rest
        assert parts.step_rest() == [] and parts.save() == whole.save()
        return [[decode(one).kind for one in part] for part in (first, rest)], first + rest

    given(tape.run(), tape.instrument(), tape.quote())
    kinds, published = given(tape.signal(1.0))
    assert kinds == [[Kind.intent], [Kind.parent]]
    logged = [tape.log(one, "executor") for one in published]
    assert given(*logged)[0] == [[], []]
    (order,) = records(published, Kind.intent)
    terms = {"side": int(order["side"]), "lots": int(order["quantity_lots"]), "price": int(order["price_ticks"])}
    taken, ended = (tape.update(order["client_order_id"], status, **terms) for status in (Status.New, Status.Canceled))
    assert given(taken)[0] == [[], []]
    kinds, _ = given(ended)
    assert kinds[0] == [] and (Kind.parent in kinds[1]) is (style != "post_only"), "that one orders again"
    given(tape.clock(1000), tape.quote(), tape.signal(-1.0), tape.clock(10_000))  # a list has one last event


@given(
    st.sampled_from([1, -1]), st.integers(1, 1 << 53), st.integers(0, 1 << 40),
    st.lists(st.tuples(st.integers(1, 1 << 60), st.integers(1, 1 << 50), st.integers(-(1 << 60), 1 << 60)), max_size=9),
)  # fmt: skip
def test_shortfall_is_exact_to_the_last_unit(side, bid, spread, fills):
    parent = Parent(1, "post_only", side, 1, 1, 0, bid, bid + spread, 0, 1)
    for price, lots, fee in fills:
        parent.add_fill(price, lots, fee)
    twice = sum(2 * side * (price * lots) - side * lots * (2 * bid + spread) + 2 * fee for price, lots, fee in fills)
    assert 0 <= 2 * parent.shortfall - twice <= 1, "a half is rounded up, and nothing else is"
    (record,) = np.frombuffer(parent_record("s", parent, ParentState.ended, Quote(0, 0, 0, 0)), PARENT)
    assert money(record, "shortfall") == parent.shortfall and money(record, "value") == sum(p * lots for p, lots, _ in fills)


def test_what_is_netted_at_once_is_in_the_record_of_the_beginning():
    """An order may have left before another strategy's wish took from it, all in one event."""
    parent = Parent(1, "post_only", 1, 5, 5, 0, 10, 11, 0, 1)
    parent.net(5)
    states = (ParentState.begun, ParentState.ended)
    begun, ended = (np.frombuffer(parent_record("s", parent, one, Quote(0, 0, 0, 0)), PARENT)[0] for one in states)
    assert (begun["wanted_lots"], begun["why"], ended["wanted_lots"], ended["why"]) == (5, b"", 0, b"netted")


@given(st.integers(-(1 << 127), (1 << 127) - 1))
def test_wide_numbers_come_back(value):
    assert joined(*split(value)) == value


def test_beyond_wide_is_an_error():
    with pytest.raises(OverflowError, match="more than 128 bits"):
        split(1 << 127)


def test_one_parent_is_worked_at_a_time():
    scene = Scene("post_only")
    (order,) = scene.signal()
    scene.accept(order)
    assert scene.signal() == [] and scene.refused == {"working": 1}


def test_a_signal_of_the_other_side_ends_it_first():
    scene = Scene("post_only")
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.signal(-1.0), order)
    assert scene.signal(-1.0) == [], "its order may still fill"
    scene.over(order)
    assert scene.ended()["why"] == b"reversed"
    (sold,) = scene.signal(-1.0)
    assert (sold["side"], sold["action"]) == (-1, Action.NEW)


def test_a_signal_about_the_past_ends_nothing():
    scene = Scene("post_only", lifetime_ms=60_000)
    scene.accept(scene.signal()[0])
    for _ in range(30):
        scene.see(scene.tape.clock(100), scene.tape.quote())
    assert scene.see(scene.tape.signal(-1.0, cause=3)) == [] and scene.refused == {"stale_signal": 1}
    assert [one["state"] for one in scene.parents] == [ParentState.begun]


def test_what_is_left_and_less_than_the_venue_takes_ends_it_at_once():
    scene = Scene("post_only", lots=2 * LOT, lifetime_ms=60_000)
    scene.see(scene.tape.instrument(min_quantity=LOT))
    (order,) = scene.signal()
    scene.fill(order, 3 * LOT // 2)
    assert [one["state"] for one in scene.parents] == [ParentState.begun], "its order rests"
    scene.over(order, filled=3 * LOT // 2)
    assert scene.ended()["why"] == b"remainder" and scene.ended()["filled_lots"] == 3 * LOT // 2


def test_with_a_target_what_is_left_follows_it():
    scene = Scene("post_only", target="0.008")
    (order,) = scene.signal(0.5)
    scene.accept(order)
    assert order["quantity_lots"] == 4 * LOT
    (more,) = scene.signal(0.875)
    assert (more["quantity_lots"], more["parent_seq"]) == (3 * LOT, order["parent_seq"]), "the same parent, and only the rest"
    scene.accept(more)
    scene.fill(order, 2 * LOT)
    cancels = scene.signal(0.375)
    assert [one["target_id"] for one in cancels] == [one["client_order_id"] for one in (order, more)], (
        "each is more than is left"
    )
    assert scene.over(order, filled=2 * LOT) == []
    (rest,) = scene.over(more)
    assert rest["quantity_lots"] == LOT
    scene.accept(rest)
    scene.signal(0.25)
    assert is_cancel(scene.intents[-1:], rest), "two are there"
    scene.over(rest)
    assert (scene.ended()["why"], scene.ended()["filled_lots"]) == (b"target", 2 * LOT)


@pytest.mark.parametrize("style", ["post_only", "sweep", "pov"])
@pytest.mark.parametrize(("lots", "ask", "reason"), [(LOT, ASK, ""), (LOT - 1000, ASK, "quantity"), (LOT, 0, "quote")])
def test_no_parent_begins_that_could_not_order(style, lots, ask, reason):
    """60 at the bid is the least: by the ask a little less would do."""
    scene = Scene(style, lots=lots, slippage_max_bp=5.0)
    scene.see(scene.tape.instrument(min_notional=60 * 10**8), scene.tape.quote(ask=ask))
    scene.signal()
    assert scene.refused == ({reason: 1} if reason else {}) and len(scene.parents) == (not reason)
    assert bool(scene.step.state.instruments["binance.BTCUSDT"].book("s").parents) == (not reason)


@pytest.mark.parametrize("styles", [("limit", "market"), ("post_only", "sweep")])
def test_a_signal_that_risk_refuses_begins_no_parent_and_is_no_style_s_turn(styles):
    execution = ExecutionSettings(slippage_max_bp=5.0)
    one = StrategySettings(name="s", styles=styles, position_max="1", order_quantity_max="0.0001", execution=execution)
    step, tape = make(strategies=(one,), kind=executor.Step), Tape()
    tape.opened(step)
    assert step.step([tape.signal(1.0)]) == [] and step.counters()["strategies"]["s"]["refused"] == {"order_size": 1}
    book = step.state.instruments[SUBJECT].book("s")
    assert (book.parents, book.turn, step._working.subjects) == ({}, 0, set())


def test_an_order_that_the_log_does_not_have_yet_is_left_alone_and_holds_up_its_own_strategy_only():
    both = [StrategySettings(name=name, models=(name,), styles=("post_only",), position_max="1") for name in "ab"]
    step, tape = make(strategies=both), Tape()
    tape.opened(step)
    (first,) = tape.answer(step, tape.signal(1.0, model="a"))
    (own,) = step.step([tape.signal(1.0, model="b")])
    (cancel,) = records(step.step([tape.quote(bid=ASK, ask=2 * ASK - BID)]), Kind.intent)
    assert cancel["target_id"] == first["client_order_id"]
    second = tape.log(own, "executor")
    (cancel,) = records(step.step([second]), Kind.intent)
    assert cancel["target_id"] == second.records[0]["client_order_id"]


def test_an_order_that_risk_refuses_is_tried_again_after_a_second():
    scene = Scene("post_only", lifetime_ms=60_000)
    (order,) = scene.signal()
    scene.accept(order)

    def limit_of(lots):
        return scene.tape.command(SetLimit("s", "order_quantity_max", lots, "operator"))

    scene.see(limit_of("0.0001"), scene.tape.quote(bid=ASK, ask=2 * ASK - BID))
    assert scene.over(order) == [] and scene.refused == {"order_size": 1}
    assert scene.see(limit_of(""), scene.tape.clock(999)) == []
    assert len(scene.see(scene.tape.clock(1))) == 1


def test_orders_that_together_are_for_more_than_the_target_asks_for_make_way():
    scene = Scene("post_only", target="0.008")
    (order,) = scene.signal(0.5)
    scene.accept(order)
    (more,) = scene.signal(0.75)
    scene.accept(more)
    assert is_cancel(scene.signal(0.625), more), "4 and 2 would be one beyond 5"
    (rest,) = scene.over(more)
    assert rest["quantity_lots"] == LOT
    scene.fill(order)
    scene.fill(rest)
    assert (scene.ended()["why"], scene.ended()["filled_lots"], scene.ended()["reprices"]) == (b"filled", 5 * LOT, 0)


@pytest.mark.parametrize("of_account", [False, True])
def test_what_rests_is_cancelled_while_the_command_to_stop_is_on_its_way(of_account):
    limit = {"daily_loss_max": "1"}
    one = StrategySettings(name="s", styles=("post_only",), order_quantity="0.003", **({} if of_account else limit))
    step, tape = make(strategies=(one,), limits=limit if of_account else None), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(1.0))
    name = order["client_order_id"]
    tape.answer(step, tape.update(name, Status.New, lots=3 * LOT), tape.fill(name, 1, LOT, price=BID))
    tape.now_ns += 500 * 1_000_000
    said = step.step([tape.quote(bid=BID - 200_000_000_000, ask=ASK - 200_000_000_000)])  # 2 are lost
    assert [decode(raw).kind for raw in said] == [Kind.command, Kind.intent]
    assert is_cancel(records(said, Kind.intent), order)
    assert step.step([tape.update(name, Status.Canceled, LOT, lots=3 * LOT)]) == [], "nor is anything made"


def test_each_answer_to_an_event_has_a_place_of_its_own():
    """By it a restart knows what has been published."""
    scene = Scene("limit")
    signal = scene.tape.signal(1.0)
    assert [(decode(raw).cause_seq, decode(raw).k) for raw in scene.step.step([signal])] == [(signal.seq, 0), (signal.seq, 1)]


@pytest.mark.parametrize("command", [SwitchStrategy("s", "off", "operator"), KillSwitch(True, "operator")])
def test_a_strategy_that_is_stopped_works_nothing_any_more(command):
    scene = Scene("post_only")
    (order,) = scene.signal()
    scene.accept(order)
    assert is_cancel(scene.see(scene.tape.command(command)), order)
    assert scene.over(order) == [] and scene.ended()["why"] == b"stopped"
    assert scene.see(scene.tape.quote(bid=ASK, ask=ASK + TICK), scene.tape.clock(1000)) == []


def test_a_child_that_the_log_has_after_its_parent_has_ended_is_cancelled():
    scene = Scene("post_only")
    (said, *_) = scene.step.step([scene.tape.signal(1.0)])
    assert records(scene.step.step([scene.tape.signal(-1.0)]), Kind.intent) == [], "the log does not have the order yet"
    (cancel,) = records(scene.step.step([scene.tape.log(said, "executor")]), Kind.intent)
    assert cancel["action"] == Action.CANCEL


def test_wishes_of_two_strategies_that_net_are_both_gone():
    both = [StrategySettings(name=name, models=(name,), styles=("post_only",), position_max="1") for name in "ab"]
    step, tape = make(strategies=both), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(1.0, model="a"))
    tape.answer(step, tape.update(order["client_order_id"], Status.New))
    (cancel,) = tape.answer(step, tape.signal(-1.0, model="b"))
    assert cancel["target_id"] == order["client_order_id"]
    assert tape.answer(step, tape.update(order["client_order_id"], Status.Canceled), tape.quote()) == []
    books = step.state.instruments[SUBJECT].books
    assert not books["a"].parents and books["b"].refusals == {"netted": 1}


def test_a_style_of_one_order_has_a_parent_that_is_over_with_it():
    scene = Scene("limit_ioc")
    (order,) = scene.signal()
    (another,) = scene.signal()
    assert another["parent_seq"] > order["parent_seq"], "as before: each signal orders"
    scene.fill(order, LOT // 2)
    scene.over(order, Status.Expired, LOT // 2)
    assert (scene.ended()["why"], scene.ended()["filled_lots"]) == (b"unfilled", LOT // 2)
    scene.fill(another)
    assert scene.ended()["why"] == b"filled"


def test_a_strategy_that_is_tried_works_its_parents_with_simulated_orders():
    scene = Scene("patient", lots=LOT, state="shadow", patience_ms=1000)
    scene.signal()
    assert [one["status"] for one in scene.shadows] == [Status.New] and scene.intents == []
    scene.see(scene.tape.clock(1000))
    assert [one["status"] for one in scene.shadows] == [Status.New, Status.Expired, Status.Filled]
    ended = scene.ended()
    assert (ended["shadow"], ended["why"], ended["filled_lots"], money(ended, "value")) == (1, b"filled", LOT, LOT * ASK)


def test_the_kill_switch_stops_nothing_that_is_only_tried():
    scene = Scene("post_only", state="shadow")
    scene.signal()
    scene.see(scene.tape.command(KillSwitch(True, "operator")), scene.tape.quote(ask=BID))  # crossed: nothing is filled
    assert [one["status"] for one in scene.shadows] == [Status.New]
    scene.see(scene.tape.quote(bid=BID - TICK, ask=BID))
    assert scene.ended()["why"] == b"filled"


@pytest.mark.parametrize("style", ["market", "limit"])
def test_a_target_that_is_tried_is_reached_once_by_simulated_orders_whatever_is_stopped(style):
    """What it holds are its simulated fills, and what is under way its simulated orders; neither ends with a kill switch."""
    scene = Scene(style, target="0.004", state="shadow")
    scene.see(scene.tape.command(KillSwitch(True, "operator")))

    def sent() -> list[int]:
        return [int(one["side"] * one["quantity_lots"]) // LOT for one in scene.shadows]

    assert [scene.signal(1.0), scene.signal(1.0), scene.intents] == [[], [], []] and sent() == [4]
    if style == "market":
        scene.signal(0.5)
        assert sent() == [4, -2]


def test_a_parent_survives_a_checkpoint():
    scene = Scene("post_only", lots=4 * LOT)
    (order,) = scene.signal()
    scene.accept(order)
    scene.fill(order, LOT)
    again = make(strategies=(scene.step._config.strategies[0],), kind=executor.Step, orders_per_s=100.0)
    again.load(scene.step.save())
    event = scene.tape.quote(bid=ASK, ask=ASK + TICK)
    assert [bytes(raw) for raw in again.step([event])] == [bytes(raw) for raw in scene.step.step([event])] != []
