"""A wish that meets a larger resting order of another strategy: that is reduced in its place, when the venue has it."""

import pytest

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, make
from tests.support.limits_venue import LimitsVenue
from tickmesh.bus.schema import Action, Status
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings

RESTS = StrategySettings(name="rests", models=("rests",), order_quantity="0.003", styles=("limit",), position_max="9")
TAKES = StrategySettings(name="takes", models=("takes",), order_quantity="0.001", styles=("market",), position_max="9")
RESTS_ON = StrategySettings(name="rests", models=("rests",), order_quantity="0.003", styles=("post_only",), position_max="9")
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
    (parent,) = step.state.instruments[SUBJECT].books["rests"].parents.values()
    assert parent.wanted_lots == 2 * LOT, "of both wishes that part is gone"
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


def test_what_would_be_worth_no_order_is_cancelled():
    step, tape, order = resting(min_notional=50 * 10**8)
    assert meet(step, tape, "most")[0] == [(Action.CANCEL, order, 0)], "a sixth of it is worth 30: no order"


def known(step, tape, order, status=Status.New, filled=0, lots=3 * LOT):
    """What a report that an order stands causes, as (action, target, quantity)."""
    sent = tape.answer(step, tape.update(order, status, filled, lots=lots))
    return [(int(one["action"]), one["target_id"], int(one["quantity_lots"])) for one in sent]


def test_what_nobody_knows_to_stand_is_reduced_as_soon_as_it_is_known_to():
    """All that is wished meanwhile makes way at once; both wishes are less from the first moment on."""
    for status in (Status.PendingNew, Status.Unknown):
        step, tape, order = resting(status)
        assert meet(step, tape)[0] == [] and outstanding(step) == 3 * LOT
        (parent,) = step.state.instruments[SUBJECT].books["rests"].parents.values()
        assert parent.wanted_lots == 2 * LOT
        assert meet(step, tape)[0] == [] and step.counters()["strategies"]["takes"]["refused"] == {"netted": 2}
        assert parent.wanted_lots == LOT, "each time what was wished then"
        assert known(step, tape, order) == [(Action.AMEND, order, LOT)], "for both"
        assert known(step, tape, order) == [], "and once"
        assert meet(step, tape)[0] == [(Action.CANCEL, order, 0)], "now nothing of it is left"


def test_an_order_whose_time_is_over_is_cancelled_and_not_reduced_before():
    step, tape, order = resting(Status.PendingNew)
    meet(step, tape)
    tape.now_ns += 2_000_000_000
    assert known(step, tape, order) == [(Action.CANCEL, order, 0)]


def test_an_amendment_waits_for_the_one_that_is_under_way():
    step, tape, order = resting()
    meet(step, tape)
    assert meet(step, tape)[0] == []
    assert known(step, tape, order, Status.PendingReplace) == []
    assert known(step, tape, order, lots=2 * LOT) == [(Action.AMEND, order, LOT)]
    assert known(step, tape, order, Status.PendingReplace, lots=2 * LOT) == []
    assert known(step, tape, order, lots=LOT) == [] and outstanding(step) == LOT


def test_an_amendment_that_waits_is_gone_with_one_that_was_not_done():
    step, tape, order = resting()
    meet(step, tape)
    meet(step, tape)
    assert known(step, tape, order, Status.PendingReplace) == []
    assert known(step, tape, order) == [(Action.CANCEL, order, 0)]
    assert known(step, tape, order, Status.PendingCancel) == known(step, tape, order) == []


@pytest.mark.parametrize(
    "status, filled, lots, then",
    [
        (Status.PartiallyFilled, LOT, 3 * LOT, Action.AMEND),
        (Status.PartiallyFilled, 2 * LOT, 3 * LOT, Action.CANCEL),  # nothing of the rest is wished
        (Status.PartiallyFilled, 3 * LOT - 1000, 3 * LOT, Action.CANCEL),
        (Status.New, 0, 2 * LOT, None),  # somebody else has reduced it as far
        (Status.Filled, 3 * LOT, 3 * LOT, None),
        (Status.Canceled, 0, 3 * LOT, None),
        (Status.Rejected, 0, 3 * LOT, None),
    ],
)
def test_an_amendment_that_waited_asks_for_what_is_left_to_ask_for(status, filled, lots, then):
    step, tape, order = resting(Status.PendingNew)
    assert meet(step, tape)[0] == []
    assert [action for action, *_ in known(step, tape, order, status, filled, lots)] == ([then] if then else [])
    if status == Status.Filled:
        assert outstanding(step) == 3 * LOT, "its fills are not in the log yet"
        assert step.state.instruments[SUBJECT].orders[order.decode()].staying_lots == 3 * LOT


def test_an_order_that_makes_way_before_its_intent_is_read_is_cancelled_when_it_is():
    both = (
        StrategySettings(name="a", models=("a",), order_quantity="0.001", styles=("limit",), position_max="9"),
        StrategySettings(name="b", models=("b",), order_quantity="0.001", styles=("market",), position_max="9"),
    )
    step, tape = make(strategies=both), Tape()
    tape.opened(step)
    (raw,) = step.step([tape.signal(1.0, model="a"), tape.signal(-1.0, model="b"), tape.signal(-1.0, model="b")])
    assert step.counters()["strategies"]["b"]["refused"] == {"netted": 1, "own_order": 1}, "what goes is netted once"
    (cancel,) = tape.answer(step, tape.log(raw, "executor"))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, tape.events[-2].records["client_order_id"][0])
    assert tape.answer(step, tape.quote(), tape.signal(-1.0, model="b")) == []


def test_what_waits_to_make_way_is_not_netted_again():
    """Of 3 that rest 2 wait to make way; who sells 2 then finds 1, and the other one of its wish is left."""
    two = StrategySettings(name="two", models=("two",), order_quantity="0.002", styles=("limit",), position_max="9")
    step, tape = make(strategies=(RESTS, two)), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(0.9, model="rests"))
    assert tape.answer(step, tape.signal(-0.9, model="two")) == []
    placed, cancel = tape.answer(step, tape.signal(-0.9, model="two"))
    assert (placed["action"], placed["side"], placed["quantity_lots"]) == (Action.NEW, -1, LOT)
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order["client_order_id"])


def test_the_oldest_makes_way_first_and_no_more_than_is_asked_for():
    step, tape, first = resting()
    (second,) = tape.answer(step, tape.signal(0.9, model="rests"))
    step.step([tape.update(second["client_order_id"], Status.New, lots=3 * LOT)])
    assert meet(step, tape)[0] == [(Action.AMEND, first, 2 * LOT)]


def test_of_several_each_makes_way_for_what_the_ones_before_it_have_left():
    step, tape, first = resting()
    (second,) = tape.answer(step, tape.signal(0.9, model="rests"))
    step.step([tape.update(second["client_order_id"], Status.New, lots=3 * LOT)])
    four = StrategySettings(name="four", models=("four",), order_quantity="0.004", styles=("market",), position_max="9")
    step, tape, seen = make(strategies=(RESTS, four)), tape, tape.events
    for event in seen:
        step.step([event])
    assert meet(step, tape, "four")[0] == [(Action.AMEND, second["client_order_id"], 2 * LOT), (Action.CANCEL, first, 0)]
    assert step.counters()["strategies"]["four"]["refused"] == {"netted": 1}


def test_an_order_of_which_too_little_would_be_left_unfilled_is_cancelled():
    step, tape, order = resting(Status.PartiallyFilled, 3 * LOT // 2, min_quantity=LOT)
    assert meet(step, tape)[0] == [(Action.CANCEL, order, 0)], "half of one would be left"


def test_what_takes_at_once_and_what_is_nobody_s_is_not_netted():
    """A market order that is on its way is filled all the same; what was placed by hand is not ours to cancel."""
    step, tape = make(strategies=(TAKES, MOST)), Tape()
    tape.opened(step)
    tape.answer(step, tape.signal(0.9, model="takes"))
    answer = tape.answer(step, tape.signal(-0.9, model="most"))
    assert [(one["action"], one["quantity_lots"]) for one in answer] == [(Action.NEW, 5 * LOT // 2)]
    sells = StrategySettings(name="sells", models=("sells",), order_quantity="0.001", styles=("limit",), position_max="9")
    step, tape = make(strategies=(sells,)), Tape()
    tape.opened(step)
    step.step([tape.update(b"web_4711", Status.New, lots=3 * LOT, price=BID)])
    answer = tape.answer(step, tape.signal(-0.9, model="sells"))
    assert [(one["action"], one["quantity_lots"]) for one in answer] == [(Action.NEW, LOT)]


def test_for_what_is_only_tried_nothing_makes_way():
    tried = StrategySettings(name="tried", models=("tried",), state="shadow", styles=("limit",), order_quantity="0.001")
    step, tape = make(strategies=(RESTS, tried)), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(0.9, model="rests"))
    step.step([tape.update(order["client_order_id"], Status.New, lots=3 * LOT)])
    for value in (0.9, -0.9):
        sent = tape.answer(step, tape.signal(value, model="tried"))
        assert not [one for one in sent if "action" in one.dtype.names]
    assert step.counters()["strategies"]["tried"]["refused"] == {"own_order": 1}
    assert tape.answer(step, tape.quote()) == []


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


def pair(own: int, other: int, style: str = "post_only"):
    """Strategy a has an order for so many lots resting; then b wishes to sell so many, in this style. What b's wish caused."""
    both = [
        StrategySettings(
            name=name, models=(name,), order_quantity=f"{lots / 1000}", styles=(one,), position_max="9",
            execution=ExecutionSettings(lifetime_ms=60_000, horizon_ms=60_000, slices=2, slice_style="post_only"),
        )
        for name, lots, one in (("a", own, "post_only"), ("b", other, style))
    ]  # fmt: skip
    step, tape = make(strategies=both), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(1.0, model="a"))
    step.step([tape.update(order["client_order_id"], Status.New, lots=own * LOT)])
    sent = tape.answer(step, tape.signal(-1.0, model="b"))
    return step, tape, order["client_order_id"], sent


def wishes(step):
    """Lots that each strategy still wishes."""
    books = step.state.instruments[SUBJECT].books
    return {name: [one.left_lots // LOT for one in book.parents.values()] for name, book in books.items() if book.parents}


def test_of_two_post_only_wishes_the_larger_goes_on_with_what_is_left():
    step, tape, first, sent = pair(own=1, other=3)
    placed, cancel = sent
    assert (placed["action"], placed["side"], placed["quantity_lots"]) == (Action.NEW, -1, 2 * LOT)
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, first)
    assert tape.answer(step, tape.update(first, Status.Canceled), tape.quote(), tape.clock(1500), tape.quote()) == []
    assert wishes(step) == {"b": [2]}, "what was netted is not ordered again by either"
    name = placed["client_order_id"]
    tape.answer(step, tape.fill(name, 1, 2 * LOT, side=-1), tape.update(name, Status.Filled, 2 * LOT, side=-1, lots=2 * LOT))
    assert wishes(step) == {} and step.state.instruments[SUBJECT].position.lots == -2 * LOT


def test_of_two_post_only_wishes_the_smaller_is_gone_and_the_larger_keeps_its_place():
    step, tape, first, (amendment,) = pair(own=3, other=1)
    assert (amendment["action"], amendment["target_id"], amendment["quantity_lots"]) == (Action.AMEND, first, 2 * LOT)
    for said, lots in ((Status.PendingReplace, 3 * LOT), (Status.New, 2 * LOT)):
        tape.answer(step, tape.update(first, said, lots=lots))
    assert tape.answer(step, tape.clock(1500), tape.quote()) == [] and wishes(step) == {"a": [2]}
    assert step.counters()["strategies"]["b"]["refused"] == {"netted": 1}


def test_a_slice_that_is_netted_ends_no_more_than_itself():
    """b sells 4 in two slices, and a's 2 make way: what b has left is sent in two slices, too."""
    step, tape, first, (placed, cancel) = pair(own=2, other=4, style="twap")
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, first)
    assert wishes(step) == {"a": [0], "b": [2]}, "the same is not netted twice, though it still stands"
    assert (placed["side"], placed["quantity_lots"]) == (-1, LOT)
    tape.answer(step, tape.update(placed["client_order_id"], Status.New, side=-1), tape.update(first, Status.Canceled))
    placed = [one for _ in range(70) for one in tape.answer(step, tape.clock(500), tape.quote())]
    assert [(one["action"], one["side"], one["quantity_lots"]) for one in placed] == [(Action.NEW, -1, LOT)]
    assert wishes(step) == {"b": [2]}


def test_what_is_cancelled_whole_for_a_part_is_ordered_again_without_that_part():
    """The amendment is refused, so all of it makes way; its strategy wishes the rest all the same."""
    step, tape = make(strategies=(RESTS_ON, TAKES)), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(0.9, model="rests"))
    assert tape.answer(step, tape.signal(-0.9, model="takes")) == [], "nobody knows yet that it stands"
    (amendment,) = tape.answer(step, tape.update(order["client_order_id"], Status.New, lots=3 * LOT))
    (cancel,) = tape.answer(step, tape.update(amendment["client_order_id"], Status.Rejected, lots=0))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order["client_order_id"])
    tape.now_ns += 1_000_000_000
    (again,) = tape.answer(step, tape.update(order["client_order_id"], Status.Canceled, lots=3 * LOT), tape.quote())
    assert (again["action"], again["side"], again["quantity_lots"]) == (Action.NEW, 1, 2 * LOT)


@pytest.mark.parametrize("sells", [1, 3, 4])  # a part of the order makes way, or all of it
@pytest.mark.parametrize("cancels", ["done", "late", "refused", "filled"])
@pytest.mark.parametrize("styles", [("limit", "market"), ("post_only", "limit"), ("post_only", "post_only")])
def test_targets_are_netted_and_held_whatever_becomes_of_the_cancel(styles, cancels, sells):
    """long rests to buy 4 when short wishes to sell. Whatever the venue does, no more is bought or sold at any instant than
    both have for a target, and in the end the account has what they have together."""
    targets = {"long": 4, "short": -sells}
    both = [
        StrategySettings(
            name=name, models=(name,), target_quantity=f"{abs(lots) / 1000}", styles=(style,), position_max="0.004"
        )
        for (name, lots), style in zip(targets.items(), styles)
    ]  # fmt: skip
    step, tape = make(strategies=both, orders_per_s=100.0), Tape()
    tape.opened(step)
    venue = LimitsVenue(tape)
    venue.quotes[SUBJECT] = BID, ASK

    def give(event):
        for raw in step.step([event]):
            own = tape.log(raw, "executor")
            assert step.step([own]) == []
            venue.take(SUBJECT, own.records[0])
        for name, lowest, most in (("long", 0, 4), ("short", -sells, 0), (None, -sells, 4)):
            shortest, longest = (lots // LOT for lots in reversed(venue.exposure(SUBJECT, name)))
            assert lowest <= shortest and longest <= most, name

    def report():
        for order in venue.working.values():
            venue.accept(order)
        while venue.unlogged:
            give(venue.log())

    give(tape.signal(1.0, model="long"))
    report()
    venue.answer_cancels(cancels)
    give(tape.signal(-1.0, model="short"))
    assert cancels == "filled" or len(venue.messages) > 1, "it makes way"
    for turn in range(12):
        if turn == 4:
            venue.answer_cancels("done")
        for _ in range(7):
            give(tape.clock(600))
            give(tape.quote())
        report()
        for model, value in (("long", 1.0), ("short", -1.0)):
            give(tape.signal(value, model=model))
            report()
        for name in tuple(venue.working) if turn > 3 else ():
            if name in venue.working:
                venue.fill(name, 1.0)
        report()
    assert sum(venue.positions.values()) == step.state.instruments[SUBJECT].position.lots == (4 - sells) * LOT
