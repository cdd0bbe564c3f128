"""Strategies: which signals they act on, how much they order, what nets, whose orders and fills are, how they are switched."""

import numpy as np
import pytest

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, intents, make
from tickmesh.bus.schema import INTENT, SHADOW, Action, Kind, OrderType, Status
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.orders.commands import Flatten, SwitchStrategy

FAST = StrategySettings(name="fast", models=("fast*",), styles=("limit",))
SLOW = StrategySettings(name="slow", models=("slow",), order_quantity="0.002", styles=("market",))
TARGET = StrategySettings(name="aim", target_quantity="0.01", styles=("limit_ioc",), signal_threshold=0.1)


def ready(*strategies, **changes) -> tuple:
    step, tape = make(strategies=strategies, **changes), Tape()
    return step, tape.opened(step)


def switch(step, tape, name, state) -> list[np.void]:
    return tape.answer(step, tape.command(SwitchStrategy(name, state, "operator")))


def strategy(step, name) -> dict:
    return step.counters()["strategies"][name]


def fill(step, tape, intent, trade_id=1, price=ASK) -> None:
    lots, side, name = int(intent["quantity_lots"]), int(intent["side"]), intent["client_order_id"]
    step.step([tape.fill(name, trade_id, lots, side=side, price=price), tape.update(name, Status.Filled, lots)])


def test_a_strategy_acts_on_the_signals_of_its_models_in_its_own_size_and_way():
    step, tape = ready(FAST, SLOW)
    (one,) = tape.answer(step, tape.signal(0.9, model="fast-2"))
    (two,) = tape.answer(step, tape.signal(0.9, model="slow"))
    assert tape.answer(step, tape.signal(0.9, model="other")) == []
    assert (one["strategy"], one["order_type"], one["quantity_lots"]) == (b"fast", OrderType.LIMIT, LOT)
    assert (two["strategy"], two["order_type"], two["quantity_lots"]) == (b"slow", OrderType.MARKET, 2 * LOT)


def test_one_signal_is_answered_by_strategies_in_the_order_of_their_names():
    both = [StrategySettings(name=name, styles=("limit",)) for name in ("b", "a")]
    step, tape = ready(*both)
    published = step.step([tape.signal(0.9)])
    assert [record["strategy"] for record in intents(published)] == [b"a", b"b"]
    assert [decode(raw).k for raw in published] == [0, 1]


def test_positions_fees_and_profit_are_each_strategy_s_and_add_up():
    step, tape = ready(FAST, SLOW)
    (one,) = tape.answer(step, tape.signal(0.9, model="fast"))
    (two,) = tape.answer(step, tape.signal(0.9, model="slow"))
    fill(step, tape, one, 1, BID)
    fill(step, tape, two, 2, ASK)
    step.step([tape.fill(b"by-hand", 3, LOT, side=-1, price=BID)])
    counted = step.counters()
    of = {name: said["positions"][SUBJECT]["position"] for name, said in counted["strategies"].items()}
    assert of == {"": pytest.approx(-0.001), "fast": pytest.approx(0.001), "slow": pytest.approx(0.002)}
    assert counted["positions"][SUBJECT]["position"] == pytest.approx(sum(of.values()))
    profits = [said["profit"] for said in counted["strategies"].values()]
    assert counted["profit"] == pytest.approx(sum(profits)) and strategy(step, "fast")["profit"] == pytest.approx(
        0.001 * (ASK - BID) / 2 * 1e-8 - 7e-8
    )
    assert strategy(step, "slow")["fees"] == {"USDT": pytest.approx(7e-8)}


def test_a_fill_of_an_order_that_only_the_log_knows_is_its_strategy_s():
    step, tape = ready(FAST)
    row = np.zeros(1, INTENT)
    row["client_order_id"], row["action"], row["side"], row["quantity_lots"] = b"t0-old", Action.NEW, -1, LOT
    row["strategy"] = b"gone"
    step.step([tape.log(encode(Kind.intent, SUBJECT, row, cause_seq=3), "executor")])
    step.step([tape.fill(b"t0-old", 1, LOT, side=-1)])
    assert strategy(step, "gone")["positions"][SUBJECT]["position"] == pytest.approx(-0.001)
    assert strategy(step, "gone")["why"] == "mesh.toml does not have it any more"
    (closing,) = tape.answer(step, tape.command(Flatten("operator", strategy="gone")), tape.quote())
    assert (closing["side"], closing["quantity_lots"], closing["strategy"]) == (1, LOT, b"gone"), "a person can close it"


def test_what_belongs_to_no_strategy_counts_in_the_limit_of_each():
    step, tape = ready(StrategySettings(name="a", position_max="0.001"), StrategySettings(name="b", position_max="0.002"))
    step.step([tape.fill(b"by-hand", 1, LOT)])
    assert [record["strategy"] for record in tape.answer(step, tape.signal(1.0))] == [b"b"]
    assert strategy(step, "a")["refused"] == {"position": 1}


def test_a_target_is_reached_by_the_difference_and_what_is_under_way_counts():
    step, tape = ready(TARGET)
    (bought,) = tape.answer(step, tape.signal(0.5))
    assert (bought["side"], bought["quantity_lots"]) == (1, 5 * LOT)
    assert tape.answer(step, tape.signal(0.5)) == [], "it is on its way"
    (more,) = tape.answer(step, tape.signal(1.0))
    assert (more["side"], more["quantity_lots"]) == (1, 5 * LOT)
    fill(step, tape, bought, 1)
    fill(step, tape, more, 2)
    closes, opens = tape.answer(step, tape.signal(-0.2))
    assert [(one["side"], one["quantity_lots"]) for one in (closes, opens)] == [(-1, 10 * LOT), (-1, 2 * LOT)], "to −0.002"
    fill(step, tape, closes, 3, BID)
    fill(step, tape, opens, 4, BID)
    (flat,) = tape.answer(step, tape.signal(0.05))
    assert (flat["side"], flat["quantity_lots"]) == (1, 2 * LOT), "below the threshold it is flat"
    assert strategy(step, "aim")["refused"] == {}


@pytest.mark.parametrize(("side", "value"), [(-1, 0.5), (1, 1.5)])
def test_without_a_price_a_target_of_so_much_money_is_not_known_and_what_is_worked_goes_on(side, value):
    """A book that lost its bids for a moment is no wish to be flat."""
    aim = StrategySettings(name="aim", models=("m",), target_notional="240", styles=("post_only",), position_max="9")
    step, tape = make(strategies=(aim,)), Tape()
    tape.opened(step)
    step.step([tape.log(encode(Kind.run, "model-m", {"range": [-2, 2]}), "model-m")])
    (bought,) = tape.answer(step, tape.signal(1.0))
    fill(step, tape, bought, 1)
    (order,) = tape.answer(step, tape.signal(value))
    terms = {"side": side, "lots": 2 * LOT, "price": int(order["price_ticks"])}
    assert (order["side"], order["quantity_lots"]) == (side, 2 * LOT)
    empty = tape.quote(bid=0, bid_lots=0)
    assert tape.answer(step, tape.update(order["client_order_id"], Status.New, **terms), empty, tape.signal(value)) == []
    assert strategy(step, "aim")["refused"] == {"quote": 1}
    assert tape.answer(step, tape.quote(), tape.signal(value)) == [], "it is being done"
    (cancel,) = tape.answer(step, tape.quote(bid=0, bid_lots=0), tape.signal(0.0), tape.quote())[:1]
    if side > 0:
        assert cancel["target_id"] == order["client_order_id"], "flat is flat at any price"
    else:
        assert (cancel["side"], cancel["quantity_lots"]) == (-1, 2 * LOT), "and the rest is sold, too"


def test_a_share_of_the_equity_follows_what_was_gained():
    share = StrategySettings(name="share", order_equity=0.1, capital="600", styles=("market",), position_max="9")
    step, tape = ready(share)
    (first,) = tape.answer(step, tape.signal(1.0))
    assert first["quantity_lots"] == LOT, "a tenth of 600, at 60,000"
    fill(step, tape, first, 1, ASK)
    step.step([tape.quote(bid=10 * BID, ask=10 * ASK)])  # 0.001 that are worth 540 more
    (second,) = tape.answer(step, tape.signal(1.0))
    assert second["quantity_lots"] == pytest.approx(114 / 600_000 * 1e8, abs=1000)


def test_opposite_wishes_net_what_rests_makes_way_and_only_the_rest_is_sent():
    step, tape = ready(FAST, SLOW)
    (resting,) = tape.answer(step, tape.signal(0.9, model="fast"))
    step.step([tape.update(resting["client_order_id"], Status.New)])
    sent = tape.answer(step, tape.quote(), tape.signal(-0.9, model="slow"))
    assert [(r["action"], r["target_id"]) for r in sent] == [(Action.CANCEL, resting["client_order_id"])]
    assert strategy(step, "slow")["refused"] == {"own_order": 1}, "0.001 is left, and a market order would still meet it"
    step, tape = ready(FAST, StrategySettings(name="slow", models=("slow",), order_quantity="0.003", styles=("limit",)))
    (resting,) = tape.answer(step, tape.signal(0.9, model="fast"))
    order, cancel = tape.answer(step, tape.signal(-0.9, model="slow"))
    assert (order["side"], order["quantity_lots"], order["price_ticks"]) == (-1, 2 * LOT, ASK), "it cannot meet a bid"
    assert cancel["target_id"] == resting["client_order_id"]
    step, tape = ready(FAST, StrategySettings(name="slow", models=("slow",), styles=("market",)))
    tape.answer(step, tape.signal(0.9, model="fast"))
    assert [r["action"] for r in tape.answer(step, tape.signal(-0.9, model="slow"))] == [Action.CANCEL]
    assert strategy(step, "slow")["refused"] == {"netted": 1}, "both wishes are gone, and no fee is paid"


def test_nothing_makes_way_for_an_order_that_may_not_be_sent():
    step, tape = ready(FAST, StrategySettings(name="slow", models=("slow",), styles=("market",), position_max="0.0005"))
    tape.answer(step, tape.signal(0.9, model="fast"))
    assert tape.answer(step, tape.signal(-0.9, model="slow")) == []
    assert strategy(step, "slow")["refused"] == {"position": 1}


def test_a_strategy_that_is_off_orders_nothing_and_what_it_has_open_is_cancelled():
    step, tape = ready(FAST, SLOW)
    (resting,) = tape.answer(step, tape.signal(0.9, model="fast"))
    assert [r["target_id"] for r in switch(step, tape, "fast", "off")] == [resting["client_order_id"]]
    assert tape.answer(step, tape.signal(0.9, model="fast")) == []
    assert len(tape.answer(step, tape.signal(0.9, model="slow"))) == 1, "the other one goes on"
    assert switch(step, tape, "fast", "live") == [] and len(tape.answer(step, tape.signal(0.9, model="fast"))) == 1
    assert strategy(step, "fast")["state"] == "live" and strategy(step, "fast")["why"] == "operator has switched it"


def test_an_order_that_was_on_its_way_when_its_strategy_was_switched_off_is_cancelled_when_it_is_there():
    step, tape = ready(FAST)
    (said,) = step.step([tape.signal(0.9, model="fast")])
    assert step.step([tape.command(SwitchStrategy("fast", "off", "operator"))]) == [], "the log does not have it yet"
    (cancel,) = step.step([tape.log(said, "executor")])
    assert intents([cancel])[0]["action"] == Action.CANCEL


@pytest.mark.parametrize("content", [
    {}, {"command": "strategy"}, {"command": "dance"}, {"command": "strategy", "name": "none", "state": "off", "by": "x"},
    {"command": "strategy", "name": "fast", "state": "away", "by": "x"},
])  # fmt: skip
def test_a_command_that_means_nothing_is_counted(content):
    step, tape = ready(FAST)
    assert step.step([tape.log(encode(Kind.command, "operator", content), "operator")]) == []
    assert step.counters()["commands_refused"] == 1 and strategy(step, "fast")["state"] == "live"


def shadows(published) -> list[np.void]:
    assert all(decode(raw).kind == Kind.shadow for raw in published)
    return [np.frombuffer(bytes(decode(raw).body), SHADOW)[0] for raw in published]


def test_a_strategy_that_is_tried_sends_nothing_and_its_fills_are_simulated():
    tried = StrategySettings(name="tried", state="shadow", styles=("market", "limit"), order_ttl_ms=1000, shadow_fee_ppm=1000)
    step, tape = ready(tried)
    (taken,) = shadows(step.step([tape.signal(0.9)]))
    assert (taken["status"], taken["fill_ticks"], taken["quantity_lots"]) == (Status.Filled, ASK, LOT)
    (resting,) = shadows(step.step([tape.signal(0.9)]))
    assert (resting["status"], resting["price_ticks"], resting["fill_ticks"]) == (Status.New, BID, 0)
    assert step.step([tape.quote(bid=BID - 2_000_000, ask=BID + 1_000_000)]) == []
    (filled,) = shadows(step.step([tape.quote(bid=BID - 2_000_000, ask=BID)]))
    assert (filled["client_order_id"], filled["status"], filled["fill_ticks"]) == (
        resting["client_order_id"],
        Status.Filled,
        BID,
    )
    said = strategy(step, "tried")
    assert said["shadow"][SUBJECT]["position"] == pytest.approx(0.002) and said["positions"] == {} and said["fills"] == 0
    worth = 0.002 * (BID - 1_000_000) * 1e-8
    assert said["shadow_profit"] == pytest.approx(worth - 0.001 * (ASK + BID) * 1e-8 * 1.001, abs=1e-9)
    step.step([tape.signal(0.9)])
    shadows(step.step([tape.signal(0.9)]))
    tape.now_ns += 1001 * 1_000_000
    (over,) = shadows(step.step([tape.quote()]))
    assert over["status"] == Status.Expired and step.counters()["open_orders"] == 0
