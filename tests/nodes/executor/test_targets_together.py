"""Strategies with targets on one instrument whose signals come together: what all miss together is ordered, and is reached."""

import random
from itertools import product

import pytest

from tests.support.executor_tape import BID, LOT, SUBJECT, intents
from tests.support.targets_venue import TargetsVenue
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.nodes.orders.commands import CancelOrders, KillSwitch, SwitchStrategy

RATIOS = ((4, -1), (1, -4), (-3, 3), (3, 2), (-7, 2), (5, -4))
ONE_ORDER, WORKED = ("limit", "market", "limit_ioc", "limit_maker"), ("post_only", "patient", "sweep", "twap", "pov")


def settle(venue: TargetsVenue, targets: dict[str, int], rounds: int, quiet: int = 3) -> int:
    """So many rounds of the same signals; gives after how many the account's net position is theirs, and stays so.

    In the last `quiet` ones nothing may be asked for any more.
    """
    reached, wanted = rounds, sum(targets.values())
    for number in range(rounds):
        asked = len(venue.venue.messages)
        venue.round(targets)
        reached = min(reached, number) if venue.net() == wanted else rounds
        assert number < rounds - quiet or len(venue.venue.messages) == asked, "it is asked for again and again"
    assert reached < rounds, f"{venue.net()} lots after {rounds} rounds, {wanted} are asked for"
    return reached


@pytest.mark.parametrize("late", [0, 4])
@pytest.mark.parametrize("fills", [True, False])
def test_the_sum_of_targets_is_reached_whose_signals_come_together(late, fills):
    """Without an acknowledgement more than the first: one order each, and one cancel or amendment at the most."""
    for one, other in product((*ONE_ORDER[:3], "post_only"), repeat=2):
        for a, b in RATIOS:
            venue = TargetsVenue(late, fills, a=one, b=other)
            assert settle(venue, {"a": a, "b": b}, 2 * late + 8) <= 2 * late + 4, (one, other, a, b)
            assert venue.reductions <= 1 and len(venue.venue.sent) <= 2, (one, other, a, b)
            assert min(a, b, a + b, 0) <= venue.shortest / LOT and venue.longest / LOT <= max(a, b, a + b, 0)


@pytest.mark.parametrize("late", [0, 4])
def test_it_is_reached_by_one_signal_of_each_where_they_only_rest(late):
    for one, other in product(("limit", "limit_maker", "post_only"), repeat=2):
        for a, b in RATIOS:
            venue = TargetsVenue(late, False, a=one, b=other)
            venue.round({"a": a, "b": b})
            for _ in range(2 * late + 4):
                venue.round()
            assert venue.net() == a + b and venue.reductions <= 1, (one, other, a, b)


def test_worked_styles_reach_it_too():
    for one, other in [("twap", "limit"), ("pov", "limit"), ("post_only", "twap"), ("pov", "market"), ("twap", "patient")]:
        for (a, b), late in zip(RATIOS, (0, 3, 1, 2, 0, 3)):
            venue = TargetsVenue(late, a=one, b=other)
            settle(venue, {"a": a, "b": b}, 120)
            assert venue.reductions <= 4, (one, other, a, b, late)


def test_they_may_change_faster_than_reports_come():
    """Two or three strategies, whatever reports, cancels and amendments do: when the signals change no more it is reached."""
    for seed in range(120):
        chance = random.Random(seed)
        names = "abc"[: chance.choice((2, 3))]
        late, fills = chance.choice((0, 0, 1, 2, 5)), chance.random() < 0.7
        venue = TargetsVenue(late, fills, **{name: chance.choice((*ONE_ORDER, *WORKED[:3])) for name in names})
        rounds, changes = chance.choice((1, 2, late + 2, 2 * late + 5)), chance.randrange(1, 6)
        for _ in range(changes):
            targets = {name: chance.choice((-16, -7, -3, -1, 0, 1, 2, 5, 16)) for name in chance.sample(names, len(names))}
            if chance.random() < 0.3:
                venue.venue.answer_cancels(chance.choice(("done", "late", "filled", *(("refused",) if fills else ()))))
            venue.lost = chance.random() < 0.15
            for _ in range(rounds):
                venue.round(targets, together=chance.random() < 0.9)
        venue.lost = False
        venue.venue.answer_cancels("done")
        settle(venue, targets, 60)
        assert venue.reductions <= 4 * changes + 2, f"seed {seed}"


def test_it_is_reached_between_changes_that_are_slower_than_reports():
    for late in (0, 2):
        venue = TargetsVenue(late, a="limit", b="limit_maker", c="market")
        for number in range(6):
            sign = 1 if number % 2 else -1
            before = venue.reductions
            settle(venue, {"a": 8 * sign, "b": -5 * sign, "c": 2 * sign}, 5 * late + 14)
            assert venue.reductions - before <= 3


# What counts for what all miss


def netted(**settings) -> TargetsVenue:
    """a (4) buys 3 of its 4 because b's target is −1; nothing is filled."""
    venue = TargetsVenue(1, False, **(settings or {"a": "limit", "b": "market"}))
    settle(venue, {"a": 4, "b": -1}, 8)
    assert venue.net() == 3
    return venue


@pytest.mark.parametrize("state", ["off", "shadow"])
def test_a_strategy_that_is_switched_counts_no_more(state):
    venue = netted()
    venue.give(venue.tape.command(SwitchStrategy("b", state, "operator")))
    for _ in range(6):
        venue.round({"a": 4, "b": -1})
    assert venue.net() == 4
    venue.give(venue.tape.command(SwitchStrategy("b", "live", "operator")))
    venue.round({"a": 4})
    assert venue.net() == 4, "what it asked for before counts no more"
    settle(venue, {"a": 4, "b": -1}, 8)


@pytest.mark.parametrize("command", [KillSwitch(True, "operator"), CancelOrders("operator", strategy="b")])
def test_what_a_person_has_stopped_counts_no_more(command):
    venue = netted()
    venue.give(venue.tape.command(command))
    venue.give(venue.tape.command(KillSwitch(False, "operator")))
    for _ in range(6):
        venue.round({"a": 4})
    assert venue.net() == 4


def test_a_target_counts_as_long_as_its_style_is_worked_after_the_signal():
    venue = netted()
    venue.give(venue.tape.clock(500_000))  # order_ttl_ms: 600,000
    venue.round({"a": 4})
    assert venue.net() == 3
    venue.give(venue.tape.clock(100_000), venue.tape.quote())
    for _ in range(9):
        venue.round({"a": 4})
    assert venue.net() == 4, "b has been silent"


def test_what_the_venue_does_not_take_holds_up_nobody():
    """a's order is refused each time: b, that asks later, sells what it wishes."""
    venue = TargetsVenue(0, False, a="limit", b="market")
    for _ in range(3):
        venue.give(venue.tape.signal(4 / 16, model="a"))
        (name,) = venue.venue.working
        venue.venue.end(name, Status.Rejected)
        venue.give(venue.venue.log())
        venue.tape.now_ns += 10_000_000
    venue.round({"b": -1})
    assert venue.net() == -1


def test_what_a_limit_refuses_holds_up_nobody():
    venue = TargetsVenue(0, False, limits={"order_quantity_max": "0.003"}, a="limit", b="market")
    for _ in range(3):
        venue.round({"a": 4, "b": -1})
    assert venue.net() == -1 and venue.step.counters()["strategies"]["a"]["refused"] == {"account_order_size": 3}


def test_a_guard_that_keeps_one_from_ordering_holds_up_nobody():
    venue = TargetsVenue(0, False, spreads={"a": 0.001}, a="limit", b="market")
    for _ in range(3):
        venue.round({"a": 4, "b": -1})
    assert venue.net() == -1 and venue.step.counters()["strategies"]["a"]["refused"]["spread"] == 3


def test_what_was_placed_by_hand_is_nobodys_target_and_stays():
    venue = TargetsVenue(1, False, a="limit", b="limit")
    venue.give(venue.tape.update(b"web_1", Status.New, side=1, lots=9 * LOT, price=BID - 1_000_000))
    settle(venue, {"a": -4, "b": 1}, 8)
    assert venue.step.state.instruments[SUBJECT].orders["web_1"].cancels == 0


def test_an_order_that_is_over_counts_until_all_its_fills_are_read():
    """a wants nothing any more, but its order was filled before the cancel: it will sell, so b need not buy."""
    venue = netted()
    (order,) = venue.venue.working
    venue.give(venue.tape.signal(0.0, model="a"))
    assert venue.reductions == 2, "an amendment, and now a cancel"
    venue.give(venue.tape.update(order, Status.Filled, 3 * LOT, lots=3 * LOT))
    sent = len(venue.venue.sent)
    venue.give(venue.tape.signal(1 / 16, model="b"))
    assert len(venue.venue.sent) == sent and venue.step.counters()["strategies"]["b"]["refused"]["netted"] > 1


def test_who_has_what_its_target_asks_for_is_not_counted_as_netted():
    venue = TargetsVenue(0, True, a="limit", b="market")
    settle(venue, {"a": 4}, 5)
    venue.round({"a": 4, "b": 0})
    assert all(not one["refused"] for one in venue.step.counters()["strategies"].values())


def test_a_target_that_turns_takes_its_own_order_out_of_the_way_of_the_limit():
    """16 to buy rest when −16 is asked for: both at once would be beyond the limit, and the resting one is what has to go."""
    venue = TargetsVenue(0, False, a="limit")
    settle(venue, {"a": 16}, 5)
    settle(venue, {"a": -16}, 5)
    assert venue.reductions == 1 and venue.step.counters()["strategies"]["a"]["refused"] == {"own_order": 1}


# From the log alone


def test_a_replay_orders_the_same_with_every_size_of_lists_and_from_every_checkpoint():
    venue = TargetsVenue(2, a="limit", b="market", c="post_only")
    for a, b, c in ((4, -1, 0), (9, -1, -3), (-2, 2, 5), (7, -9, 1)):
        venue.fills = b > 0
        for _ in range(4):
            venue.round({"a": a, "b": b, "c": c})
    events = venue.tape.events
    sent = [one.records[0] for one in events if one.kind == Kind.intent]
    assert len(sent) > 9 and {int(one["action"]) for one in sent} == {Action.NEW, Action.CANCEL, Action.AMEND}
    for size in (1, 2, 7, 50, len(events)):
        step, said = venue.fresh(), []
        for first in range(0, len(events), size):
            said += step.step(events[first : first + size])
            if size == 7:
                state, step = step.save(), venue.fresh()
                step.load(state)
        assert intents(said) == sent, size
        assert step.save() == venue.step.save()
