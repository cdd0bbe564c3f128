"""A wish that meets a larger resting order of another strategy: that is reduced in its place, or cancelled if it cannot be."""

import pytest

from tests.support.executor_tape import LOT, SUBJECT, Tape, make
from tickmesh.bus.schema import Action, Status
from tickmesh.bus.settings_trading import StrategySettings

RESTS = StrategySettings(name="rests", models=("rests",), order_quantity="0.003", styles=("limit",), position_max="9")
TAKES = StrategySettings(name="takes", models=("takes",), order_quantity="0.001", styles=("market",), position_max="9")

MOST = StrategySettings(name="most", models=("most",), order_quantity="0.0025", styles=("market",), position_max="9")


def resting(status=Status.New, filled=0, **instrument):
    """A step where 0.003 rest at the bid; gives it, the tape, and the order's client id."""
    step, tape = make(strategies=(RESTS, TAKES, MOST)), Tape()
    tape.opened(step, **instrument)
    (order,) = tape.answer(step, tape.signal(0.9, model="rests"))
    if status != Status.PendingNew:
        step.step([tape.update(order["client_order_id"], status, filled, lots=3 * LOT)])
    return step, tape, order["client_order_id"]


def meet(step, tape, model="takes"):
    """Answers to the wish to sell (0.001), as (action, target, quantity)."""
    sent = tape.answer(step, tape.quote(), tape.signal(-0.9, model=model))
    assert all(record["expires_ns"] == 0 for record in sent), "neither a cancel nor an amendment is ever too late"
    return [(int(record["action"]), record["target_id"], int(record["quantity_lots"])) for record in sent], sent


def outstanding(step):
    return sum(order.outstanding_lots for order in step.state.instruments[SUBJECT].orders.values())


@pytest.mark.parametrize("status, filled", [(Status.New, 0), (Status.PartiallyFilled, LOT // 2)])
def test_a_part_makes_way_and_the_rest_keeps_its_place(status, filled):
    step, tape, order = resting(status, filled)
    answer, _ = meet(step, tape)
    assert answer == [(Action.AMEND, order, 2 * LOT)]
    assert step.counters()["strategies"]["takes"]["refused"] == {"netted": 1} and step.counters()["amends"] == 1
    assert outstanding(step) == 3 * LOT, "what was asked for is not done yet"
    for said, lots in ((Status.PendingReplace, 3 * LOT), (status, 2 * LOT)):
        assert step.step([tape.update(order, said, filled, lots=lots)]) == []
    assert outstanding(step) == 2 * LOT
    if not filled:
        assert meet(step, tape)[0] == [(Action.AMEND, order, LOT)], "and again"


def test_all_of_it_makes_way_where_the_amendment_was_not_done():
    step, tape, order = resting()
    meet(step, tape)
    assert step.step([tape.update(order, Status.New, lots=3 * LOT)]) == [], "said before the session has asked"
    said = [tape.update(order, status, lots=3 * LOT) for status in (Status.PendingReplace, Status.New)]
    (cancel,) = tape.answer(step, *said)
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order)
    assert tape.answer(step, tape.update(order, Status.PendingCancel, lots=3 * LOT)) == []


def test_all_of_it_makes_way_where_the_session_refuses_the_amendment():
    step, tape, order = resting()
    _, (amendment,) = meet(step, tape)
    (cancel,) = tape.answer(step, tape.update(amendment["client_order_id"], Status.Rejected, lots=0))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order)
    assert step.counters()["open_orders"] == 1, "the refusal is no order, and ends none"


def test_what_nobody_can_reduce_is_cancelled():
    step, tape, order = resting(Status.PendingNew)
    assert meet(step, tape)[0] == [(Action.CANCEL, order, 0)], "nobody knows yet that it stands"
    step, tape, order = resting(min_notional=50 * 10**8)
    assert meet(step, tape, "most")[0] == [(Action.CANCEL, order, 0)], "a sixth of it is worth 30: no order"
    step, tape, order = resting()
    meet(step, tape)
    assert meet(step, tape)[0] == [(Action.CANCEL, order, 0)], "an amendment is under way, and more is asked for"


def test_the_oldest_makes_way_first_and_no_more_than_is_asked_for():
    step, tape, first = resting()
    (second,) = tape.answer(step, tape.signal(0.9, model="rests"))
    step.step([tape.update(second["client_order_id"], Status.New, lots=3 * LOT)])
    assert meet(step, tape)[0] == [(Action.AMEND, first, 2 * LOT)]


def test_an_order_is_amended_again_after_a_restart_from_the_log_alone():
    """Each prefix of the log leads to the same intents, whatever was said before."""
    step, tape, order = resting()
    meet(step, tape)
    for said, lots in ((Status.PendingReplace, 3 * LOT), (Status.New, 2 * LOT)):
        step.step([tape.update(order, said, lots=lots)])
    again = make(strategies=(RESTS, TAKES, MOST))
    for event in tape.events:
        again.step([event])
    assert again.save() == step.save()
    half = make(strategies=(RESTS, TAKES, MOST))
    half.step(tape.events[:-1])
    other = make(strategies=(RESTS, TAKES, MOST))
    other.load(half.save())
    other.step(tape.events[-1:])
    assert other.save() == step.save()
