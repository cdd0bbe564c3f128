"""What only closes a position says so: the venue may not open the other side by it, whatever fills meanwhile."""

import pytest

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, make
from tests.support.parent_scene import Scene
from tickmesh.bus.schema import Kind, OrderType, Status, TimeInForce
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor.drafts import Draft
from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.orders.commands import Flatten, KillSwitch

AIM = {"models": ("aim",), "target_quantity": "0.004", "signal_threshold": 0.0, "position_max": "9"}
TAKES, RESTS = (StrategySettings(name="aim", styles=(style,), **AIM) for style in ("market", "limit_maker"))
OTHER = StrategySettings(name="other", models=("other",), order_quantity="0.003", styles=("market",), position_max="9")


def scene(*strategies, **more):
    step, tape = make(strategies=strategies, **more), Tape()
    return step, tape.opened(step)


def trade(step, tape, intent, trade_id):
    """Fills an order in whole."""
    lots, side, name = int(intent["quantity_lots"]), int(intent["side"]), intent["client_order_id"]
    price = ASK if side > 0 else BID
    return tape.answer(step, tape.fill(name, trade_id, lots, side=side, price=price), tape.update(name, Status.Filled, lots))


def wish(step, tape, value, model="aim"):
    """(side, lots, reduce-only) of the order on a signal, and the order."""
    (order,) = tape.answer(step, tape.quote(), tape.signal(value, model=model))
    return (int(order["side"]), int(order["quantity_lots"]) // LOT, bool(order["reduce_only"])), order


def wishes(step, tape, value):
    """(side, lots, reduce-only) of each order on a signal, and the orders."""
    orders = tape.answer(step, tape.quote(), tape.signal(value, model="aim"))
    return [(int(o["side"]), int(o["quantity_lots"]) // LOT, bool(o["reduce_only"])) for o in orders], orders


@pytest.mark.parametrize("strategy", [TAKES, RESTS])
def test_a_target_through_zero_is_two_orders_what_closes_is_reduce_only_and_what_goes_on_is_not(strategy):
    step, tape = scene(strategy)
    said, order = wish(step, tape, 1.0)
    assert said == (1, 4, False)
    trade(step, tape, order, 1)
    said, order = wish(step, tape, 0.25)
    assert said == (-1, 3, True)
    trade(step, tape, order, 2)
    said, (closes, opens) = wishes(step, tape, -1.0)
    assert said == [(-1, 1, True), (-1, 4, False)]
    trade(step, tape, closes, 3)
    trade(step, tape, opens, 4)
    assert wish(step, tape, 0.0)[0] == (1, 4, True)


def test_what_closes_goes_through_where_the_venue_refuses_what_opens():
    """The account has not enough for it, or at spot nothing to sell: the position is closed all the same."""
    step, tape = scene(TAKES)
    trade(step, tape, wish(step, tape, 1.0)[1], 1)
    _, (closes, opens) = wishes(step, tape, -1.0)
    trade(step, tape, closes, 2)
    tape.answer(step, tape.update(opens["client_order_id"], Status.Rejected, lots=4 * LOT, side=-1))
    assert step.state.instruments[SUBJECT].position.lots == 0
    assert wish(step, tape, -1.0)[0] == (-1, 4, False), "the next signal asks for it again"


@pytest.mark.parametrize(("least", "orders"), [(LOT, 2), (LOT + 1000, 1)])
def test_a_part_that_the_venue_would_not_take_is_not_cut_off(least, orders):
    step, tape = scene(TAKES)
    step.step([tape.instrument(min_quantity=0)])
    trade(step, tape, wish(step, tape, 0.25)[1], 1)
    step.step([tape.instrument(min_quantity=least)])
    assert len(wishes(step, tape, -1.0)[1]) == orders
    fresh, tape = scene(TAKES)
    trade(fresh, tape, wish(fresh, tape, 1.0)[1], 1)
    fresh.step([tape.instrument(min_quantity=least)])
    assert len(wishes(fresh, tape, -0.25)[1]) == orders, "nor what would be beyond it"


def test_a_style_that_works_closes_first_and_goes_on_when_the_log_has_that():
    scene = Scene("post_only", target="0.004")
    (order,) = scene.signal(0.25)
    scene.fill(order)
    closes, opens = scene.signal(-1.0)
    assert [(o["side"], o["quantity_lots"], o["reduce_only"]) for o in (closes, opens)] == [(-1, LOT, 1), (-1, 4 * LOT, 0)]
    assert opens["parent_seq"] == closes["parent_seq"], "one parent"
    scene.fill(closes)
    scene.fill(opens)
    assert scene.ended()["why"] == b"filled" and scene.ended()["filled_lots"] == 5 * LOT


def test_an_order_of_a_fixed_size_is_a_wish_of_its_own():
    step, tape = scene(OTHER)
    _, order = wish(step, tape, 1.0, "other")
    tape.answer(step, tape.fill(order["client_order_id"], 1, LOT))
    tape.answer(step, tape.update(order["client_order_id"], Status.Expired, LOT, lots=3 * LOT))
    assert wish(step, tape, -1.0, "other")[0] == (-1, 3, False), "whatever of it closes the one that is held"


def test_what_two_strategies_hold_against_each_other_is_closed_by_plain_orders():
    """The account holds 1 long of it, so a sale of 4 opens a short position there, as it has to."""
    step, tape = scene(TAKES, OTHER)
    trade(step, tape, wish(step, tape, 1.0)[1], 1)
    trade(step, tape, wish(step, tape, -1.0, "other")[1], 2)
    assert wish(step, tape, 0.0)[0] == (-1, 4, False)


@pytest.mark.parametrize(("side", "order_rests", "draft_rests", "lots"), [
    (-1, True, True, [1, 1]), (-1, False, True, [1, 1]), (-1, False, False, [1, 1]),  # 1 of 4 is left to close
    (-1, True, False, [2]),  # what rests is not before an order that takes
    (1, True, True, [2]), (1, False, False, [2]),  # nor what opens more
])  # fmt: skip
def test_what_is_under_way_to_close_comes_first(side, order_rests, draft_rests, lots):
    """4 are held, and an order of 3 is under way; one to sell 2 only closes as far as they are left."""
    instrument, exposures = InstrumentState(), Exposures(ExecutorState(), frozenset(("s",)))
    instrument.book("s").position.lots = instrument.position.lots = 4
    limit, market = (int(OrderType.LIMIT), 100), (int(OrderType.MARKET), 0)
    kind, price = limit if order_rests else market
    instrument.orders["x"] = Order("x", side, kind, int(TimeInForce.GTC), price, 3, 0, strategy="s")
    kind, price = limit if draft_rests else market
    draft = Draft(-1, kind, int(TimeInForce.GTC), price, 2, 100)
    assert exposures.marked(instrument, "s", draft).reduce_only is (lots == [2])
    parts = exposures.parts(instrument, "s", draft, InstrumentRules(0, 0, 1, 1, 1, 0))
    assert [part.quantity_lots for part in parts] == lots
    at_once = draft._replace(price_ticks=100, time_in_force=int(TimeInForce.IOC))
    assert exposures.marked(instrument, "s", at_once).reduce_only is (order_rests or side > 0 or lots == [2])
    instrument.book("s").position.lots = 0
    assert not exposures.marked(instrument, "s", draft).reduce_only, "what another strategy holds is not its to close"


def closing(step, tape):
    return sorted(
        (bytes(o["strategy"]), int(o["quantity_lots"]) // LOT, int(o["reduce_only"])) for o in tape.answer(step, tape.quote())
    )


@pytest.mark.parametrize("all_at_once", [False, True])
def test_flatten_and_the_kill_switch_close_by_orders_that_only_reduce(all_at_once):
    step, tape = scene(TAKES, OTHER, limits={"on_kill": "flatten"})
    for number, model in enumerate(("aim", "other")):
        trade(step, tape, wish(step, tape, 1.0, model)[1], number)
    tape.answer(step, tape.command(KillSwitch(True, "operator") if all_at_once else Flatten("operator")))
    assert closing(step, tape) == [(b"aim", 4, 1), (b"other", 3, 1)]


def hear(step, tape, **lots):
    """The session's health: where the venue has other positions than the log's fills say."""
    said = {"pid": 1, "venue_positions": {SUBJECT: lots["lots"]}} if lots else {"pid": 1}
    step.step([tape.log(encode(Kind.health, "session", said), "session")])


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize(("lots", "closes"), [(0, False), (-LOT, False), (LOT, True)])
def test_what_the_venue_does_not_have_is_not_closed_again_and_again(kill, lots, closes):
    """Somebody else has closed it. The venue would refuse each order, and an order that is not reduce-only would open one."""
    step, tape = scene(TAKES, limits={"on_kill": "flatten"})
    trade(step, tape, wish(step, tape, 1.0)[1], 1)
    hear(step, tape, lots=lots)
    tape.answer(step, tape.command(KillSwitch(True, "operator") if kill else Flatten("operator")))
    assert closing(step, tape) == ([(b"aim", 4, 1)] if closes else [])
    if not closes:
        assert step.counters()["closing"] == {}, "it is over"
        hear(step, tape)
        tape.answer(step, tape.command(Flatten("operator")))
        assert closing(step, tape) == [(b"aim", 4, 1)], "the venue and the log agree again"


def test_a_target_orders_nothing_that_would_close_what_the_venue_does_not_have():
    step, tape = scene(TAKES)
    trade(step, tape, wish(step, tape, 0.5)[1], 1)
    hear(step, tape, lots=0)
    assert tape.answer(step, tape.quote(), tape.signal(0.25, model="aim")) == []
    assert step.counters()["strategies"]["aim"]["refused"] == {"nothing_to_close": 1}
    assert wish(step, tape, 1.0)[0] == (1, 2, False), "what opens goes on"
