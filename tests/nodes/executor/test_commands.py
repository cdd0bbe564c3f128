"""What a person has cancelled and closed: `cancel` and `flatten` commands, as the executor carries them out."""

import pytest

from tests.support.executor_tape import ASK, BID, LOT, Tape, make
from tickmesh.bus.schema import Action, OrderType, Status
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.nodes.executor.control import CLOSE_NS
from tickmesh.nodes.orders.commands import CancelOrders, Flatten

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
LIMIT = {"styles": ("limit",), "order_quantity": "0.001", "position_max": "1"}


@pytest.fixture
def scene():
    """Two strategies, each with an order that rests on each of two instruments, bought at the bid."""
    pair = tuple(StrategySettings(name=name, models=(name,)) for name in ("fast", "slow"))
    step, tape = make(SYMBOLS, pair, instruments=("binance.*",), **LIMIT), Tape()
    tape.opened(step, SUBJECTS)
    orders = {}
    for name in ("fast", "slow"):
        for subject in SUBJECTS:
            (intent,) = tape.answer(step, tape.signal(1.0, subject=subject, model=name))
            orders[name, subject] = bytes(intent["client_order_id"])
            tape.answer(step, tape.update(orders[name, subject], Status.New, subject=subject, price=BID))
    return step, tape, orders


def cancelled(records) -> set:
    assert all(one["action"] == Action.CANCEL for one in records)
    return {bytes(one["target_id"]) for one in records}


@pytest.mark.parametrize("scope, expected", [
    ({}, {("fast", BTC), ("fast", ETH), ("slow", BTC), ("slow", ETH)}),
    ({"instrument": BTC}, {("fast", BTC), ("slow", BTC)}),
    ({"strategy": "slow"}, {("slow", BTC), ("slow", ETH)}),
    ({"strategy": "slow", "instrument": ETH}, {("slow", ETH)}),
    ({"strategy": "nobody"}, set()),
])  # fmt: skip
def test_a_cancel_is_of_what_it_names(scene, scope, expected):
    step, tape, orders = scene
    asked = tape.answer(step, tape.command(CancelOrders("operator", **scope)))
    assert cancelled(asked) == {orders[one] for one in expected}


def test_a_cancel_of_one_order_leaves_the_others(scene):
    step, tape, orders = scene
    one = orders["fast", ETH]
    assert cancelled(tape.answer(step, tape.command(CancelOrders("operator", order=one.decode())))) == {one}


def test_a_cancel_reaches_an_order_that_is_on_its_way_to_the_log():
    step, tape = make(**LIMIT), Tape()
    tape.opened(step)
    (raw,) = step.step([tape.signal(1.0)])
    assert step.step([tape.command(CancelOrders("operator"))]) == [], "nobody can cancel what nobody has read"
    intent = tape.log(raw, "executor")
    (cancel,) = tape.answer(step, intent)
    assert cancel["target_id"] == intent.records["client_order_id"][0]


def held(step, subject=BTC) -> dict:
    return {name: book.position.lots for name, book in step.state.instruments[subject].books.items()}


def fill_all(step, tape, orders, *names):
    """The buys of these strategies are filled."""
    for number, name in enumerate(names, 1):
        order = orders[name, BTC]
        tape.answer(step, tape.fill(order, number, LOT), tape.update(order, Status.Filled, LOT, price=BID))


def test_flatten_cancels_then_closes_and_orders_nothing_else_meanwhile(scene):
    step, tape, orders = scene
    fill_all(step, tape, orders, "fast")
    cancels = tape.answer(step, tape.command(Flatten("operator", BTC)))
    assert cancelled(cancels) == {orders["slow", BTC]}
    assert tape.answer(step, tape.quote()) == [], "it would be met"
    tape.answer(step, tape.update(orders["slow", BTC], Status.Canceled, price=BID))
    closing = tape.answer(step, tape.quote())
    assert [(o["side"], o["order_type"], o["quantity_lots"], o["reduce_only"], bytes(o["strategy"])) for o in closing] == [
        (-1, OrderType.MARKET, LOT, 1, b"fast")
    ]
    assert closing[0]["expires_ns"] == tape.now_ns + 2_000_000_000, "stale_ms: the session has to have the time to send it"
    assert tape.answer(step, tape.signal(1.0, model="fast")) == []
    assert step.state.instruments[BTC].book("fast").refusals == {"closing": 1}
    assert tape.answer(step, tape.signal(1.0, subject=ETH, model="fast")), "elsewhere it trades"
    sell = bytes(closing[0]["client_order_id"])
    tape.answer(step, tape.fill(sell, 9, LOT, side=-1, price=BID), tape.update(sell, Status.Filled, LOT, side=-1))
    tape.now_ns += 1_000_000_000
    assert tape.answer(step, tape.quote()) == [] and held(step) == {"fast": 0, "slow": 0}
    assert step.state.instruments[BTC].closing == {} and step.counters()["closing"] == {}
    assert tape.answer(step, tape.signal(1.0, model="fast")), "it is over, and it trades again"


def test_flatten_of_one_strategy_leaves_the_other_one_its_position(scene):
    step, tape, orders = scene
    fill_all(step, tape, orders, "fast", "slow")
    tape.answer(step, tape.command(Flatten("operator", strategy="slow")))
    closing = tape.answer(step, tape.quote())
    assert [bytes(one["strategy"]) for one in closing if one["action"] == Action.NEW] == [b"slow"]
    assert step.state.instruments[BTC].closing.keys() == {"slow"}


def test_an_order_of_another_strategy_on_the_same_side_stays(scene):
    """Both are long; fast has an order that sells resting when slow's position is sold."""
    step, tape, orders = scene
    fill_all(step, tape, orders, "fast", "slow")
    (rests,) = tape.answer(step, tape.signal(-1.0, model="fast"))
    tape.answer(
        step, tape.update(rests["client_order_id"], Status.New, side=-1), tape.command(Flatten("operator", BTC, "slow"))
    )
    closing = tape.answer(step, tape.quote())
    assert [(one["action"], bytes(one["strategy"]), one["side"]) for one in closing] == [(Action.NEW, b"slow", -1)]


def test_an_order_of_another_strategy_that_it_would_meet_makes_way(scene):
    """slow is short and buys back; fast has an order that sells."""
    step, tape, orders = scene
    tape.answer(step, tape.command(CancelOrders("operator")))
    for one in orders.values():
        tape.answer(step, *(tape.update(one, Status.Canceled, subject=s, price=BID) for s in SUBJECTS))
    short = tape.answer(step, tape.signal(-1.0, model="slow"))[0]["client_order_id"]
    tape.answer(step, tape.fill(short, 5, LOT, side=-1), tape.update(short, Status.Filled, LOT, side=-1))
    tape.now_ns += 1_000_000_000
    rests = tape.answer(step, tape.quote(), tape.signal(-1.0, model="fast"))[0]["client_order_id"]
    tape.answer(step, tape.update(rests, Status.New, side=-1))
    tape.answer(step, tape.command(Flatten("operator", BTC, "slow")))
    assert cancelled(tape.answer(step, tape.quote())) == {bytes(rests)}
    assert "would meet it" in step.counters()["closing"][BTC]["slow"]
    tape.answer(step, tape.update(rests, Status.Canceled, side=-1))
    (closing,) = tape.answer(step, tape.quote())
    assert closing["side"] == 1 and bytes(closing["strategy"]) == b"slow"


def test_what_cannot_be_closed_says_why_and_is_given_up_in_time(scene):
    step, tape, orders = scene
    fill_all(step, tape, orders, "fast", "slow")
    tape.answer(step, tape.command(Flatten("operator", BTC)))
    assert tape.answer(step, tape.quote(bid=ASK, ask=BID)) == []
    assert step.counters()["closing"][BTC] == dict.fromkeys(("fast", "slow"), "an order to close it is refused: quote")
    tape.answer(step, tape.clock(CLOSE_NS / 1e6 + 1))
    assert step.counters()["closing"] == {}
    assert [one for one in tape.answer(step, tape.quote()) if one["action"] == Action.NEW] == []


def test_a_restart_in_the_middle_changes_nothing(scene):
    step, tape, orders = scene
    fill_all(step, tape, orders, "fast", "slow")
    tape.answer(step, tape.command(Flatten("operator", BTC)))
    fresh = make(
        SYMBOLS, tuple(StrategySettings(name=n, models=(n,)) for n in ("fast", "slow")), instruments=("binance.*",), **LIMIT
    )
    fresh.load(step.save())
    quote = tape.quote()
    assert [bytes(raw) for raw in fresh.step([quote])] == [bytes(raw) for raw in step.step([quote])] != []


@pytest.fixture
def working():
    """Two strategies whose styles would order again, and one that is tried; each has an order that rests."""
    styles = {"styles": ("post_only",), "execution": ExecutionSettings(lifetime_ms=600_000), "order_ttl_ms": 600_000}
    three = [
        StrategySettings(name=name, models=("m",), state=state, **styles)
        for name, state in (("fast", "live"), ("slow", "live"), ("tried", "shadow"))
    ]
    step, tape = make(strategies=three, **LIMIT), Tape()
    tape.opened(step)
    orders = {}
    for one in tape.answer(step, tape.signal(1.0)):
        if "action" in one.dtype.names:
            orders[one["strategy"].decode()] = bytes(one["client_order_id"])
            tape.answer(step, tape.update(orders[one["strategy"].decode()], Status.New, price=BID))
    assert set(orders) == {"fast", "slow"}
    return step, tape, orders


@pytest.mark.parametrize(("of", "ended"), [
    ("all", ["fast", "slow"]), ("strategy", ["fast"]), ("order", ["fast"]), ("flatten", ["fast", "slow"]),
])  # fmt: skip
def test_what_a_person_has_cancelled_its_style_does_not_order_again(working, of, ended):
    """Nor, while a position is being closed, what others work on the instrument; what is only tried goes on."""
    step, tape, orders = working
    tape.answer(step, tape.command({
        "all": CancelOrders("operator"), "strategy": CancelOrders("operator", strategy="fast"),
        "order": CancelOrders("operator", order=orders["fast"].decode()), "flatten": Flatten("operator", strategy="fast"),
    }[of]))  # fmt: skip
    books = step.state.instruments[BTC].books
    assert [name for name, book in books.items() if book.worked() is None] == ended
    for name in ended:
        tape.answer(step, tape.update(orders[name], Status.Canceled, price=BID))
    for _ in range(20):
        sent = tape.answer(step, tape.clock(500), tape.quote())
        assert not [one for one in sent if one["strategy"].decode() in ended], sent
    assert books["tried"].worked() is not None


@pytest.mark.parametrize("scope", [{}, {"strategy": "timed"}, {"instrument": BTC}])
def test_a_cancel_ends_what_waits_for_its_next_part(scope):
    """Nothing of it rests, so there is no order to be named."""
    timed = ExecutionSettings(horizon_ms=60_000, slices=6, slice_style="market")
    step, tape = make(strategies=(StrategySettings(name="timed", styles=("twap",), execution=timed),)), Tape()
    tape.opened(step)
    (first,) = tape.answer(step, tape.signal(1.0))
    name, lots = first["client_order_id"], int(first["quantity_lots"])
    tape.answer(step, tape.fill(name, 1, lots), tape.update(name, Status.Filled, lots, lots=lots))
    assert tape.answer(step, tape.command(CancelOrders("operator", **scope))) == []
    assert [one for _ in range(70) for one in tape.answer(step, tape.clock(1000), tape.quote())] == []


@pytest.mark.parametrize(("ttl_ms", "pause_ms"), [(2000, 1000), (300, 300)])
def test_a_closing_order_that_is_refused_is_made_again_after_a_pause(ttl_ms, pause_ms):
    step, tape = make(order_ttl_ms=ttl_ms, **LIMIT), Tape()
    tape.opened(step)
    (buy,) = tape.answer(step, tape.signal(1.0))
    tape.answer(step, tape.fill(buy["client_order_id"], 1, LOT), tape.update(buy["client_order_id"], Status.Filled, LOT))
    tape.answer(step, tape.command(Flatten("operator")))
    (first,) = tape.answer(step, tape.quote())
    assert "is under way" in step.counters()["closing"][BTC]["default"]
    tape.answer(step, tape.update(first["client_order_id"], Status.Rejected, side=-1))
    assert tape.answer(step, tape.clock(pause_ms - 1), tape.quote()) == []
    (second,) = tape.answer(step, tape.clock(1), tape.quote())
    assert (second["side"], second["quantity_lots"]) == (-1, LOT)
    assert tape.answer(step, tape.clock(ttl_ms - 1), tape.quote()) == [], "one at a time"
    assert cancelled(tape.answer(step, tape.clock(1))) == {bytes(second["client_order_id"])}, "nobody has reported it"


@pytest.mark.parametrize("least", [{"min_quantity": LOT + 1000}, {"min_notional": 61 * 10**8}])
def test_what_is_less_than_the_venue_takes_stays_and_flatten_is_over(least):
    step, tape = make(**LIMIT), Tape()
    tape.opened(step)
    (buy,) = tape.answer(step, tape.signal(1.0))
    tape.answer(step, tape.fill(buy["client_order_id"], 1, LOT), tape.update(buy["client_order_id"], Status.Filled, LOT))
    tape.answer(step, tape.instrument(**least), tape.command(Flatten("operator")))
    assert tape.answer(step, tape.quote()) == [] and step.state.instruments[BTC].closing == {}
