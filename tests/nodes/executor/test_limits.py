"""Limits by strategy and of the account, tightened at run time; losses; the kill switch."""

import itertools

import pytest

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, make
from tickmesh.bus.schema import Action, Kind, OrderType, Status
from tickmesh.bus.settings_trading import Limits, StrategySettings
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.ordering import closable, closable_of_ours
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.executor.traders import Bounds, limit_error, tightened
from tickmesh.nodes.orders.commands import Flatten, KillSwitch, SetLimit, read_command

ETH = "binance.ETHUSDT"
HOUR_MS = 3_600_000


def one(**settings) -> StrategySettings:
    return StrategySettings(name="one", **{"styles": ("limit_ioc",), **settings})


def ready(*strategies, limits=None, symbols=("BTCUSDT", "ETHUSDT"), **changes) -> tuple:
    step = make(symbols, strategies, limits, instruments=("binance.*",), **changes)
    tape = Tape()
    return step, tape.opened(step, [f"binance.{symbol}" for symbol in symbols])


def refused(step, name="one") -> dict:
    return step.counters()["strategies"][name]["refused"]


def bought(step, tape, subject=SUBJECT, price=ASK, trade_id=1):
    (intent,) = tape.answer(step, tape.signal(1.0, subject=subject))
    lots, name = int(intent["quantity_lots"]), intent["client_order_id"]
    step.step([tape.fill(name, trade_id, lots, price=price, subject=subject)])
    step.step([tape.update(name, Status.Filled, lots, subject=subject)])


@pytest.mark.parametrize("limit, reason", [
    ({"position_max": "0.001"}, "position"), ({"position_notional": "61"}, "position"),
    ({"notional_max": "119"}, "notional_limit"), ({"open_orders_max": 1}, "open_orders"),
])  # fmt: skip
def test_a_second_order_is_beyond_each_limit_of_strategy_or_account(limit, reason):
    for strategy, account, prefix in ((limit, {}, ""), ({}, limit, "account_")):
        step, tape = ready(one(**strategy), limits=account)
        assert len(tape.answer(step, tape.signal(1.0))) == 1 and tape.answer(step, tape.signal(1.0)) == []
        assert refused(step) == {prefix + reason: 1}


@pytest.mark.parametrize("limit, reason", [
    ({"order_quantity_max": "0.0009"}, "order_size"), ({"order_notional_max": "59"}, "order_size"),
    ({"price_collar": 1e-8}, "price_collar"),
])  # fmt: skip
def test_a_single_order_is_beyond_its_limits(limit, reason):
    step, tape = ready(one(**limit))
    assert tape.answer(step, tape.signal(1.0)) == [] and refused(step) == {reason: 1}
    step, tape = ready(one(), limits=limit)
    assert tape.answer(step, tape.signal(1.0)) == [] and refused(step) == {f"account_{reason}": 1}


def test_notional_and_open_orders_are_of_all_instruments_and_closing_is_always_allowed():
    step, tape = ready(one(), limits={"notional_max": "130", "open_orders_max": 2})
    bought(step, tape)
    bought(step, tape, ETH, trade_id=2)
    assert tape.answer(step, tape.signal(1.0, subject=ETH)) == [] and refused(step) == {"account_notional_limit": 1}
    assert tape.answer(step, tape.command(SetLimit("account", "notional_max", "50", "operator"))) == []
    (sold,) = tape.answer(step, tape.signal(-1.0))
    assert sold["side"] == -1, "it makes the position smaller"


@pytest.mark.parametrize("limit, orders", [("179", 0), ("181", 1)])
@pytest.mark.parametrize("held", [True, False])
def test_what_an_instrument_without_a_quote_is_worth_counts_by_what_it_cost(held, limit, orders):
    """As after a reconciliation that found positions and orders of a market that is not there yet."""
    step = make(("BTCUSDT", "ETHUSDT"), (one(),), {"notional_max": limit}, instruments=("binance.*",))
    tape = Tape().opened(step)
    fill, rests = tape.fill(b"by-hand", 1, 2 * LOT, subject=ETH), tape.update(b"rests", Status.New, lots=2 * LOT, subject=ETH)
    step.step([tape.instrument(subject=ETH), fill if held else rests])
    assert len(tape.answer(step, tape.signal(1.0))) == orders, "120 there, and 60 more"
    assert refused(step) == ({} if orders else {"account_notional_limit": 1})


def test_strategies_have_limits_of_their_own_and_share_the_account_s():
    step, tape = ready(one(), StrategySettings(name="two", styles=("limit_ioc",)), limits={"position_max": "0.003"})
    for _ in range(2):
        tape.answer(step, tape.signal(1.0))
    assert sum(len(state["positions"]) for state in step.counters()["strategies"].values()) == 0
    assert (refused(step), refused(step, "two")) == ({}, {"account_position": 1})


def test_rates_of_a_strategy_and_of_messages():
    step, tape = ready(one(orders_per_s=1.0), limits={"messages_per_s": 3.0})
    sent = [len(tape.answer(step, tape.signal(1.0, subject=subject))) for subject in (SUBJECT, ETH)]
    assert sent == [1, 0] and refused(step) == {"rate": 1}
    step, tape = ready(one(styles=("limit",)), limits={"messages_per_s": 2.0})
    tape.answer(step, tape.signal(1.0))
    tape.answer(step, tape.signal(1.0))
    assert tape.answer(step, tape.signal(1.0)) == [] and refused(step) == {"message_rate": 1}
    cancels = tape.answer(step, tape.clock(2000))
    assert len(cancels) == 2, "cancels go all the same"
    assert tape.answer(step, tape.quote(), tape.signal(1.0)) == [] and refused(step) == {"message_rate": 2}, "and count"


def test_a_limit_is_tightened_by_a_command_and_never_widened():
    step, tape = ready(one(position_max="0.002"))
    set_to = lambda value: tape.answer(step, tape.command(SetLimit("one", "position_max", value, "operator")))  # noqa: E731
    set_to("0.0005")
    assert tape.answer(step, tape.signal(1.0)) == [] and refused(step) == {"position": 1}
    again = make(("BTCUSDT", "ETHUSDT"), (one(position_max="0.002"),), instruments=("binance.*",))
    again.load(step.save())
    assert tape.answer(again, tape.signal(1.0)) == [], "a checkpoint keeps it"
    set_to("5")
    sent = sum(len(tape.answer(step, tape.signal(1.0))) for _ in range(4))
    assert sent == 2, "0.002 as mesh.toml says, whatever the command"
    set_to("0.0005")
    set_to("")
    assert step.counters()["tightened"] == {}


@pytest.mark.parametrize("settings", [{}, {"position_notional": "120"}])
@pytest.mark.parametrize("limit, value", [("position_notional", "100000"), ("position_max", "100")])
def test_a_wide_limit_of_a_position_does_not_replace_the_one_that_holds_without_it(settings, limit, value):
    """Ten orders where mesh.toml says nothing."""
    step, tape = ready(one(**settings), orders_per_s=100.0)
    tape.answer(step, tape.command(SetLimit("one", limit, value, "operator")))
    sent = sum(len(tape.answer(step, tape.signal(1.0))) for _ in range(15))
    assert sent == (2 if settings else 10)


def test_what_can_be_a_limit():
    limits = Limits(notional_max="100", price_collar=0.1)
    tight = tightened(limits, {"notional_max": "20", "price_collar": "0.5", "open_orders_max": "3", "drawdown_max": "7"})
    assert (tight.notional_max, tight.price_collar, tight.open_orders_max, tight.drawdown_max) == ("20", 0.1, 3, "7")
    assert (
        limit_error("notional_max", "12.5") == limit_error("open_orders_max", "3") == limit_error("price_collar", "0.01") == ""
    )
    assert limit_error("drawdown_max", "") == ""
    for name, value in (("speed", "1"), ("notional_max", "-1"), ("notional_max", "0"), ("open_orders_max", "1.5"),
                        ("price_collar", "2"), ("open_orders_max", "0"), ("price_collar", "nan")):  # fmt: skip
        assert limit_error(name, value), (name, value)
    assert limit_error("notional_max", "abc").startswith("notional_max is 'abc'; allowed: a plain decimal above 0")


def losing(step, tape, drop: int) -> list:
    """Bought at the ask, and the price falls so many ticks: what the executor publishes then."""
    bought(step, tape)
    tape.now_ns += 500 * 1_000_000
    published = step.step([tape.quote(bid=BID - drop, ask=ASK - drop)])
    return [decode(raw) for raw in published]


def test_a_strategy_that_has_lost_too_much_today_is_off_until_a_person_switches_it_on():
    limit = one(daily_loss_max="1", order_quantity="0.001")
    step, tape = ready(limit)
    assert losing(step, tape, 99_000_000_000) == [], "0.99 and the fee of 0.00000007, and half a tick"
    step, tape = ready(limit)
    (said,) = losing(step, tape, 101_000_000_000)
    assert (said.kind, said.map()["command"], said.map()["state"], said.map()["by"]) == (
        Kind.command,
        "strategy",
        "off",
        "executor",
    )
    assert "daily_loss_max allows 1" in said.map()["why"]
    assert tape.answer(step, tape.signal(1.0)) == [] and refused(step) == {"stopping": 1}, "it is on its way to the log"
    step.step([tape.log(bytearray(said.raw), "executor")])
    assert step.counters()["strategies"]["one"]["state"] == "off" and not step.counters()["kill_switch"]["on"]
    assert tape.answer(step, tape.signal(1.0)) == []
    on = read_command({"command": "strategy", "name": "one", "state": "live", "by": "operator"})
    assert tape.answer(step, tape.command(on)) == []
    tape.now_ns += 500 * 1_000_000
    assert len(tape.answer(step, tape.quote(bid=BID - 101_000_000_000, ask=ASK - 101_000_000_000), tape.signal(1.0))) == 1


def test_a_day_later_yesterday_s_loss_is_no_daily_loss_and_a_drawdown_still_is_one():
    step, tape = ready(one(daily_loss_max="1", drawdown_max="1.5", order_quantity="0.001"))
    assert losing(step, tape, 80_000_000_000) == []
    step.step([tape.clock(24 * HOUR_MS)])
    (said,) = [
        decode(raw) for raw in step.step([tape.quote(bid=BID - 155_000_000_000, ask=ASK - 155_000_000_000), tape.clock(500)])
    ]
    assert "drawdown_max allows 1.5" in said.map()["why"], "0.75 today, 1.55 below its best"


def test_the_account_s_loss_throws_the_kill_switch_which_cancels_everything_and_latches():
    strategies = one(styles=("limit_ioc", "limit"), order_quantity="0.001")
    step, tape = ready(strategies, limits={"daily_loss_max": "1"})
    bought(step, tape)
    (resting,) = tape.answer(step, tape.signal(1.0, subject=ETH))  # the first style there: IOC
    (resting,) = tape.answer(step, tape.signal(1.0))
    assert resting["order_type"] == OrderType.LIMIT and resting["time_in_force"] == 1
    tape.now_ns += 500 * 1_000_000
    (raw,) = step.step([tape.quote(bid=BID - 101_000_000_000, ask=ASK - 101_000_000_000)])
    command = tape.log(raw, "executor")
    cancels = [decode(raw) for raw in step.step([command])]
    assert (command.map()["command"], command.map()["on"]) == ("kill_switch", True)
    assert {event.records["action"][0] for event in cancels} == {Action.CANCEL} and len(cancels) == 2
    assert [(event.cause_seq, event.k) for event in cancels] == [(command.seq, 0), (command.seq, 1)]
    again = make(("BTCUSDT", "ETHUSDT"), (strategies,), {"daily_loss_max": "1"}, instruments=("binance.*",))
    again.load(step.save())
    assert tape.answer(again, tape.quote(), tape.signal(1.0)) == [] and refused(again)["kill_switch"] == 1
    said = again.counters()["kill_switch"]
    assert said["on"] and said["by"] == "executor" and "lost since midnight" in said["why"]
    assert tape.answer(again, tape.command(KillSwitch(False, "operator", "seen"))) == []
    assert len(tape.answer(again, tape.quote(), tape.signal(1.0))) == 1


def test_a_kill_switch_that_flattens_closes_each_strategy_s_position_when_no_order_is_open():
    two = StrategySettings(name="two", models=("two",), styles=("limit_ioc",), order_quantity="0.002")
    step, tape = ready(one(models=("m",), styles=("limit_ioc", "limit")), two, limits={"on_kill": "flatten"})
    bought(step, tape)
    (other,) = tape.answer(step, tape.signal(-1.0, model="two"))
    step.step([tape.fill(other["client_order_id"], 2, 2 * LOT, side=-1, price=BID)])
    step.step([tape.update(other["client_order_id"], Status.Filled, 2 * LOT)])
    (resting,) = tape.answer(step, tape.signal(1.0))
    (cancel,) = tape.answer(step, tape.command(KillSwitch(True, "operator", "a test")))
    assert cancel["target_id"] == resting["client_order_id"] and tape.answer(step, tape.quote()) == [], "it may still fill"
    step.step([tape.update(resting["client_order_id"], Status.Canceled)])
    closing = tape.answer(step, tape.quote())
    assert [(r["strategy"], r["side"], r["quantity_lots"], r["order_type"]) for r in closing] == [
        (b"one", -1, LOT, OrderType.MARKET), (b"two", 1, 2 * LOT, OrderType.MARKET),
    ]  # fmt: skip
    assert tape.answer(step, tape.quote()) == [], "once"


BY_HAND, LOST = b"web_4711", b"t0badc0de0badc0de-1-0"  # placed at the venue's site; by an executor of a log that is gone


@pytest.mark.parametrize(("held", "by_hand", "lost", "closing"), [
    ((0, 0), 3, 0, {}), ((0, 0), 0, 3, {"": -3}), ((0, 0), 3, 2, {"": -2}), ((0, 0), -1, 2, {"": -1}), ((0, 0), -3, 2, {}),
    ((3, 0), 2, 0, {"one": -3}), ((3, 0), -1, 0, {"one": -2}), ((3, 0), -5, 0, {}), ((-3, 0), 1, 0, {"one": 2}),
    ((3, -2), 0, 0, {"one": -3, "two": 2}), ((3, -2), -1, 0, {"one": -2, "two": 2}), ((2, 0), -3, 2, {"one": -1}),
])  # fmt: skip
def test_a_kill_switch_closes_what_executors_have_brought_and_what_was_placed_by_hand_only_a_person(
    held, by_hand, lost, closing
):
    """What a person has closed by hand it does not close again: that would open a position."""
    sized = {"order_quantity": "0.001", "position_max": "1"}
    pair = [StrategySettings(name=name, models=(name,), styles=("market",), **sized) for name in ("one", "two")]
    step, tape = ready(*pair, limits={"on_kill": "flatten"}, symbols=("BTCUSDT",))
    for name, lots in zip(("one", "two"), held):
        for _ in range(abs(lots)):
            tape.now_ns += 1_000_000_000
            (order,) = tape.answer(step, tape.quote(), tape.signal(lots / abs(lots), model=name))
            trade(step, tape, order["client_order_id"], lots // abs(lots))
    for order, lots in ((BY_HAND, by_hand), (LOST, lost)):
        if lots:
            trade(step, tape, order, lots)
    before = step.state.instruments[SUBJECT].position.lots // LOT
    tape.answer(step, tape.command(KillSwitch(True, "operator")))
    sent = tape.answer(step, tape.quote())
    assert {o["strategy"].decode(): int(o["side"] * o["quantity_lots"]) // LOT for o in sent} == closing
    for order in sent:
        trade(step, tape, order["client_order_id"], int(order["side"] * order["quantity_lots"]) // LOT)
    tape.now_ns += 1_000_000_000
    assert tape.answer(step, tape.quote()) == [], "once"
    after = step.state.instruments[SUBJECT].position.lots // LOT
    assert min(before, 0) <= after <= max(before, 0), "it opens nothing"
    tape.answer(step, tape.command(Flatten("operator")))
    for order in tape.answer(step, tape.quote()):
        trade(step, tape, order["client_order_id"], int(order["side"] * order["quantity_lots"]) // LOT)
    assert step.state.instruments[SUBJECT].position.lots == 0, "which a person has closed, whosever it is"


def trade(step, tape, name, lots, subject=SUBJECT):
    """An order of this client id is filled in whole: so many lots bought, below 0 sold."""
    side, lots = (1 if lots > 0 else -1), abs(lots) * LOT
    fill = tape.fill(name, len(tape.events), lots, side=side, subject=subject)
    step.step([fill, tape.update(name, Status.Filled, lots, side=side, lots=lots, subject=subject)])


def test_a_kill_switch_closes_beside_orders_placed_by_hand_and_passes_over_what_is_not_defined():
    step, tape = ready(one(), limits={"on_kill": "flatten"}, symbols=("BTCUSDT",))
    bought(step, tape)
    step.step([tape.update(BY_HAND, Status.New, side=-1, lots=LOT, price=ASK + 10_000_000)])
    trade(step, tape, LOST, 2, ETH)
    tape.answer(step, tape.command(KillSwitch(True, "operator")))
    assert tape.answer(step, tape.quote(subject=ETH)) == []
    (closing,) = tape.answer(step, tape.quote())
    assert (closing["action"], closing["side"], closing["quantity_lots"]) == (Action.NEW, -1, LOT)
    assert tape.answer(step, tape.clock(1000)) == [], "nor does its profit count"


def test_whatever_is_held_by_whom_a_kill_switch_opens_nothing_and_has_all_closed_at_once():
    rules = InstrumentRules(-8, -8, 1, 1, 1, 0)
    for one, two, lost, by_hand in itertools.product(range(-3, 4), repeat=4):
        state = InstrumentState(others_lots=by_hand)
        for name, lots in (("one", one), ("two", two), ("", lost + by_hand)):
            state.book(name).position.lots = lots
        account, closes = one + two + lost + by_hand, closable_of_ours(SUBJECT, state, rules)
        after = account - sum(closes.values())
        assert min(account, 0) <= after <= max(account, 0) and (by_hand or not after)
        assert all(abs(lots) <= abs(state.books[name].position.lots) for name, lots in closes.items())
        for name, lots in closes.items():
            state.books[name].position.lots -= lots
        assert not any(closable_of_ours(SUBJECT, state, rules).values())


@pytest.mark.parametrize(("lots", "asset", "fee", "exponent", "left"), [
    (9000, "BTC", 25, -8, 8975), (9000, "BTC", 25, -5, 8999), (9000, "BTC", 1000, -5, 8999), (9000, "BTC", 1001, -5, 8998),
    (9000, "BTC", 25, -10, 6500), (9000, "USDT", 25, -8, 9000), (-9000, "BTC", 25, -8, -9000), (9000, "BTC", 9001, -8, 0),
    (0, "BTC", 25, -8, 0),
])  # fmt: skip
def test_what_fees_in_the_base_currency_have_taken_cannot_be_sold(lots, asset, fee, exponent, left):
    """Fees are at 10^-8 of their asset; of a lot that is not whole any more nothing can be sold."""
    book = InstrumentState().book("one")
    book.position.lots, book.position.fees = lots, {asset: fee}
    assert closable(SUBJECT, book, InstrumentRules(-8, exponent, 1, 1, 1, 0)) == left


def test_whose_what_is_counts_in_a_strategy_s_limits_and_what_is_nobody_s_in_all():
    """two is another strategy; gone is none any more. On the second instrument they have the same, ten times as much."""
    exposures = Exposures(state := ExecutorState(), frozenset(("one", "two")))
    for subject, times in ((SUBJECT, 1), (ETH, 10)):
        instrument = state.instrument(subject)
        instrument.rules, instrument.quote = InstrumentRules(-2, -2, 1, 1, 1, 0), (11, 1, 13, 1)
        for name, lots in (("one", 1), ("two", 20), ("", 300), ("gone", 4000)):
            instrument.book(name).position.lots = lots * times
            state.add_order(subject, Order(f"{subject}{name}", 1, 1, 1, 10, 5 * lots * times, 0, strategy=name))
        instrument.position.lots = 4321 * times
    state.instrument("binance.XRPUSDT").rules = state.instruments[ETH].rules  # nothing is held or ordered there
    state.add_order("binance.DOGEUSDT", Order("d", 1, 1, 1, 10, 9, 0, strategy="one"))  # nor is it known what is worth what
    mine = state.instruments[SUBJECT]
    assert exposures.own_lots(mine, "one") == 4301 and exposures.own_lots(mine, "two") == 4320
    assert [order.strategy for order in exposures.own_orders(mine, "two")] == ["two", "", "gone"]
    bounds = Bounds(Limits(notional_max="1", open_orders_max=9), mine.rules)
    scope = exposures.of_strategy(SUBJECT, mine, "one", bounds, 7)
    assert scope[1:7] == (4301, 5 * 4301, 0, 6, 6 * 43010 * 12, 7), "of both instruments open orders, of the other one worth"
    scope = exposures.of_account(SUBJECT, mine, bounds, 10)
    assert scope[1:6] == (4321, 5 * 4321, 0, 8, 6 * 43210 * 12)
    for order in state.instruments[ETH].orders.values():
        order.side = -1
    assert exposures.of_account(SUBJECT, mine, bounds, 10).elsewhere == 4 * 43210 * 12, "short, if all of it is sold"
    eth = state.instruments[ETH]
    eth.quote, eth.position.lots, eth.position.cost = (0, 0, 0, 0), -7, -100
    assert exposures.of_account(SUBJECT, mine, bounds, 10).elsewhere == (5 * 43210 + 7) * 15, "unquoted: at what it has cost"
    eth.position.fills, eth.position.realised, eth.position.fee_cost, eth.position.funding = 1, 50, 7, -3
    assert exposures.profit(None) == 40 * 10**32, "without a price what is held is neither gained nor lost"


def test_coins_bought_by_hand_are_not_sold_or_bought_for_the_fees_that_they_have_paid():
    state, rules = InstrumentState(others_lots=10 * LOT), InstrumentRules(-8, -8, 1, 1, 1, 0)
    position = state.book("").position
    position.lots, position.fees = 10 * LOT, {"BTC": LOT // 100}
    assert closable_of_ours(SUBJECT, state, rules) == {"": 0}
    position.lots += 2 * LOT
    assert closable_of_ours(SUBJECT, state, rules) == {"": 2 * LOT - LOT // 100}


def test_a_limit_that_is_new_is_held_against_the_present_not_against_a_past_without_it():
    """Of the past the log has no command. While it is breached one is published again, ever more rarely."""
    before, tape = ready(one(order_quantity="0.001"))
    assert losing(before, tape, 101_000_000_000) == []
    tape.answer(before, tape.clock(60_000), tape.quote(), tape.clock(500), tape.quote())
    after = make(("BTCUSDT", "ETHUSDT"), (one(order_quantity="0.001", daily_loss_max="1"),), instruments=("binance.*",))
    said = [decode(raw) for raw in after.step(tape.events) if decode(raw).kind == Kind.command]
    assert len(said) == 2 and after.counters()["strategies"]["one"]["state"] == "live", "that is over, and nobody said so"
    assert len(tape.answer(after, tape.signal(1.0))) == 1
    step = make(("BTCUSDT", "ETHUSDT"), (one(daily_loss_max="1"),), instruments=("binance.*",))
    step.step(tape.events)
    low = [tape.quote(bid=BID - 101_000_000_000, ask=ASK - 101_000_000_000)]
    published = step.step(low + [tape.clock(500) for _ in range(240)])
    assert 4 <= sum(decode(raw).kind == Kind.command for raw in published) <= 7, "two minutes: after 0, 2, 6, 14, 30, 62 s"
