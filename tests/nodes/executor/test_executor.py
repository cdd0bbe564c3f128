"""The executor as a function of the log: what it says to signals, reports and the passing of time."""

import numpy as np
import pytest

from tests.support.executor_tape import ASK, BID, LOG_ID, LOT, MS, SUBJECT, Tape, intents, make
from tickmesh.bus.schema import INTENT, Action, Kind, OrderType, Status
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import decode, encode


def test_a_strong_signal_becomes_an_intent_with_a_name_that_follows_from_the_log():
    step, tape = make(styles=("limit_ioc",)), Tape()
    tape.opened(step)
    published = step.step([tape.signal(0.9)])
    (intent,) = intents(published)
    assert intent["client_order_id"] == b"t00c0ffee00c0ffee-4-0"
    assert (intent["action"], intent["side"], intent["order_type"], intent["time_in_force"]) == (1, 1, 1, 2)
    assert (intent["price_ticks"], intent["quantity_lots"]) == (ASK, LOT)
    assert intent["expires_ns"] == tape.now_ns + 2000 * MS, "stale_ms, which is less than intent_ttl_ms"
    assert decode(published[0]).cause_seq == 4


@pytest.mark.parametrize("threshold, weak", [(0.6, 0.59), (0.6, -0.59), (0.0, 0.0), (0.0, -0.0)])
def test_weak_signals_and_other_instruments_change_nothing(threshold, weak):
    """Nor does a signal of 0, which is for neither side, where each counts."""
    step, tape = make(signal_threshold=threshold), Tape()
    tape.opened(step)
    assert step.step([tape.signal(weak), tape.signal(0.9, subject="binance.ETHUSDT")]) == []
    assert step.counters()["signals"] == 0
    assert step.step([tape.signal(threshold or 1e-9)]) != [], "from the threshold on it is one"
    assert step.counters()["signals"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.0001, -1e300])
def test_only_values_in_the_range_of_a_model_that_declares_none_trade(value):
    step, tape = make(), Tape()
    tape.opened(step)
    assert step.step([tape.signal(value)]) == []
    assert step.counters()["refused"] == {"range": 1} and step.counters()["signals"] == 0


@pytest.mark.parametrize("declared, value, trades", [
    ([0, 5], 4.0, True), ([0, 5], -0.9, False), ([-0.5, 0.5], 0.9, False), ([-9, 9], float("-inf"), False),
    ("all", 0.9, True), ("all", 4.0, False), ([5, 0], 4.0, False), ([float("nan"), 9], 4.0, False),
    ([float("-inf"), float("inf")], float("inf"), False), ([-9, float("inf")], 4.0, False),
])  # fmt: skip
def test_a_model_s_run_event_declares_what_its_values_may_be(declared, value, trades):
    step, tape = make(signal_threshold=0.3), Tape()
    tape.opened(step)
    step.step([tape.log(encode(Kind.run, "model-m", {"range": declared}), "model-m")])
    step.step([tape.log(encode(Kind.run, "model-other", {"range": [-100, 100]}), "model-other")])
    assert bool(step.step([tape.signal(value)])) == trades
    assert step.counters()["refused"] == ({} if trades else {"range": 1})


def test_an_order_may_be_sent_as_long_as_what_its_signal_is_about_is_not_stale():
    step, tape = make(styles=("limit_ioc",)), Tape()
    tape.opened(step)
    for _ in range(10):
        step.step([tape.clock(100), tape.quote()])
    about = tape.events[-3]
    (intent,) = intents(step.step([tape.signal(0.9, cause=about.seq)]))
    left_ms = (intent["expires_ns"] - about.seq_ns) / MS
    assert 2000 - 2000 / 16 <= left_ms <= 2000
    step, tape = make(styles=("limit_ioc",), intent_ttl_ms=300), Tape()
    tape.opened(step)
    assert intents(step.step([tape.signal(0.9)]))[0]["expires_ns"] == tape.now_ns + 300 * MS


def test_a_second_order_waits_until_the_log_has_the_first():
    """Who was away makes up for it in one go: the log has nothing of it yet, so it is one order, and no cancel of it."""
    step, tape = make(styles=("limit",)), Tape()
    tape.opened(step)
    published = step.step([event for _ in range(9) for event in (tape.signal(0.9), tape.clock(400), tape.quote())])
    assert len(published) == 1 and step.counters()["refused"] == {"unconfirmed": 8}
    step.step([tape.log(published[0], "executor")])
    assert step.step([tape.signal(0.9)]) != []
    cancels = intents(step.step([tape.clock(2000)]))
    assert [c["target_id"] for c in cancels] == [intents(published)[0]["client_order_id"]], "it is in the log, so it may stand"


def test_styles_take_turns():
    step, tape = make(styles=("limit_ioc", "limit", "market", "limit_maker")), Tape()
    tape.opened(step)
    got = [tape.answer(step, tape.signal(1.0))[0] for _ in range(4)]
    assert [int(i["order_type"]) for i in got] == [1, 1, 2, 3]
    assert [int(i["price_ticks"]) for i in got] == [ASK, BID, 0, BID]


def test_nothing_is_said_before_log_identity_and_instrument_are_known():
    step, tape = make(), Tape()
    assert step.step([tape.quote(), tape.signal(1.0), tape.instrument(), tape.signal(1.0)]) == []
    assert step.step([tape.run(), tape.signal(1.0)]) != []
    assert step.counters()["refused"] == {"not_ready": 2}


def test_only_the_sequencers_run_event_names_the_log():
    step, tape = make(), Tape()
    step.step([tape.instrument(), tape.quote()])
    step.step([tape.log(encode(Kind.run, "model-x", {"log_id": "f" * 16}), "model-x")])
    assert step.step([tape.signal(1.0)]) == []


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda tape: [tape.clock(2001)], "stale_quote"),
        (lambda tape: [tape.quote(ask=0, ask_lots=0)], "quote"),
        (lambda tape: [tape.quote(bid=ASK + 1_000_000)], "quote"),
        (lambda tape: [tape.quote(ask=ASK + 1)], "price"),
        (lambda tape: [tape.instrument(min_quantity=LOT + 1)], "quantity"),
        (lambda tape: [tape.instrument(lot_size=3000)], "quantity"),
        (lambda tape: [tape.instrument(min_notional=100 * 10**8)], "notional"),
    ],
)
def test_refusals_are_counted_by_reason(prepare, reason):
    step, tape = make(styles=("limit_ioc",), order_quantity="0.001"), Tape()
    tape.opened(step)
    assert step.step([*prepare(tape), tape.signal(1.0)]) == []
    assert step.counters()["refused"] == {reason: 1}


def test_a_signal_about_the_past_is_ignored():
    """A model that catches up after a restart speaks of quotes that are long gone."""
    step, tape = make(), Tape()
    tape.opened(step)
    for _ in range(30):
        step.step([tape.clock(100), tape.quote()])
    assert step.step([tape.signal(1.0, cause=3)]) == []
    assert step.counters()["refused"] == {"stale_signal": 1}
    assert step.step([tape.signal(1.0, cause=len(tape.events) - 5)]) != []


def test_order_rate_is_bounded_by_the_time_of_the_log():
    step, tape = make(orders_per_s=2.0, position_max="1"), Tape()
    tape.opened(step)
    assert sum(len(tape.answer(step, tape.signal(1.0))) for _ in range(5)) == 2
    assert step.counters()["refused"] == {"rate": 3}
    step.step([tape.clock(499)])
    assert step.step([tape.signal(1.0)]) == []
    step.step([tape.clock(1)])
    assert len(tape.answer(step, tape.signal(1.0))) == 1 and tape.answer(step, tape.signal(1.0)) == []


def test_pending_intents_count_in_the_exposure_until_a_final_report():
    step, tape = make(position_max="0.002", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    sent = [record for _ in range(3) for record in tape.answer(step, tape.signal(1.0))]
    assert len(sent) == 2 and step.counters()["refused"] == {"position": 1}
    step.step([tape.clock(60_000), tape.quote()])  # long expired, but nobody has reported what became of them
    assert step.step([tape.signal(1.0)]) == []
    step.step([tape.update(sent[0]["client_order_id"], Status.Rejected)])
    assert len(step.step([tape.signal(1.0)])) == 1


def test_at_the_limit_only_the_other_side_is_traded():
    step, tape = make(position_max="0.001", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    (intent,) = intents(step.step([tape.signal(1.0)]))
    order_id = intent["client_order_id"]
    step.step([tape.fill(order_id, 1, LOT), tape.update(order_id, Status.Filled, LOT)])
    assert step.counters()["positions"][SUBJECT]["position"] == pytest.approx(0.001)
    assert step.step([tape.signal(1.0)]) == []
    (back,) = tape.answer(step, tape.signal(-1.0))
    assert back["side"] == -1
    assert tape.answer(step, tape.signal(-1.0)) != [], "from long 0.001 to short 0.001 are two orders"
    assert step.step([tape.signal(-1.0)]) == []


def test_filled_before_its_fills_still_counts():
    step, tape = make(position_max="0.001", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.Filled, LOT)])
    assert step.counters()["positions"][SUBJECT]["position"] == 0 and step.step([tape.signal(1.0)]) == []
    assert step.step([tape.clock(10_000), tape.quote()]) == [], "what is over is not cancelled"
    step.step([tape.fill(order_id, 9, LOT), tape.fill(order_id, 9, LOT)])
    assert step.counters()["positions"][SUBJECT]["position"] == pytest.approx(0.001) and step.counters()["fills"] == 1


def test_unknown_counts_and_can_be_resolved():
    step, tape = make(position_max="0.001", styles=("limit",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.Unknown)])
    assert step.step([tape.signal(1.0)]) == [] and step.counters()["open_orders"] == 1
    step.step([tape.update(order_id, Status.Canceled)])
    assert len(step.step([tape.signal(1.0)])) == 1


def test_a_resting_order_is_cancelled_after_its_time_and_again_ever_more_rarely():
    step, tape = make(styles=("limit",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.New)])
    assert step.step([tape.clock(1999)]) == []
    (cancel,) = intents(step.step([tape.clock(1)]))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order_id)
    assert cancel["client_order_id"] == f"t{LOG_ID}-{len(tape.events):x}-0".encode()
    step.step([tape.update(cancel["client_order_id"], Status.Rejected)])
    assert step.counters()["open_orders"] == 1, "a refused cancel is no refused order"
    published = [intent for _ in range(200) for intent in intents(step.step([tape.clock(100)]))]
    assert [i["target_id"] for i in published] == [order_id, order_id], "after 5 s and after 10 s more"
    step.step([tape.update(order_id, Status.Canceled)])
    assert step.step([tape.clock(600_000)]) == []


def test_an_order_that_the_log_has_after_its_time_is_cancelled():
    step, tape = make(styles=("limit",)), Tape()
    tape.opened(step)
    (raw,) = step.step([tape.signal(1.0)])
    assert step.step([tape.clock(2500)]) == [], "nobody can have sent it"
    intent = tape.log(raw, "executor")
    name = intent.records["client_order_id"][0]
    assert tape.answer(step, intent, tape.update(name, Status.New, price=BID)) == []
    (cancel,) = tape.answer(step, tape.clock(2000))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, name)


@pytest.mark.parametrize(("ttl_ms", "first_s"), [(2000, 5), (8000, 8)])  # the longer of ttl and intent_ttl_ms
def test_the_pause_between_two_cancels_doubles_five_times_and_no_more(ttl_ms, first_s):
    """Whatever the venue answers, an order beyond its time is asked about every few minutes."""
    step, tape = make(styles=("limit",), order_ttl_ms=ttl_ms), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(1.0))
    asked_ns = []
    while len(asked_ns) < 9:
        for cancel in tape.answer(step, tape.clock(1000)):
            assert cancel["target_id"] == order["client_order_id"]
            asked_ns.append(tape.now_ns)
    pauses = [(later - before) // 1_000_000_000 for before, later in zip(asked_ns, asked_ns[1:])]
    assert pauses == [first_s << number for number in (0, 1, 2, 3, 4, 5, 5, 5)]


def test_a_turned_signal_cancels_what_rests_on_the_other_side_first():
    step, tape = make(styles=("limit", "market")), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.New)])
    (cancel,) = intents(step.step([tape.signal(-1.0)]))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order_id)
    assert step.step([tape.signal(-1.0)]) == []
    step.step([tape.update(order_id, Status.Canceled)])
    assert intents(step.step([tape.signal(-1.0)]))[0]["order_type"] == OrderType.MARKET


def test_orders_of_another_life_count_and_ours_are_cancelled():
    step, tape = make(position_max="0.001"), Tape()
    tape.opened(step)
    lost = b"tdeadbeefdeadbeef-77-0"  # of a tail that a power cut took
    step.step([tape.update(lost, Status.New), tape.update(b"by-hand", Status.New, price=BID)])
    assert step.step([tape.signal(1.0)]) == []
    assert [i["target_id"] for i in intents(step.step([tape.clock(2000)]))] == [lost]


def test_an_intent_that_the_log_passed_by_was_never_said():
    """Other settings: the replay makes intents that the one who ran before did not make."""
    for cause_seq, kept in ((3, {f"t{LOG_ID}-4-0"}), (5, set())):
        step, tape = make(position_max="0.002", styles=("limit_ioc",)), Tape()
        tape.opened(step)
        step.step([tape.signal(1.0)])
        row = np.zeros(1, INTENT)
        row["client_order_id"], row["action"], row["side"], row["quantity_lots"] = b"t0-old", Action.NEW, -1, LOT
        step.step([tape.log(encode(Kind.intent, SUBJECT, row, cause_seq=cause_seq), "executor")])
        assert set(step.state.instruments[SUBJECT].orders) == kept | {"t0-old"}


def test_an_order_that_the_log_has_otherwise_is_its_parent_s_child_once():
    """Other settings: the replay makes a larger order than the one who ran before. What is missing beside that is made."""
    one = StrategySettings(name="s", styles=("post_only",), order_quantity="0.004", position_max="1")
    step, tape = make(strategies=(one,)), Tape()
    tape.opened(step)
    (made,) = intents(step.step([tape.signal(1.0)]))
    said = np.array([made], INTENT)
    said["quantity_lots"] = LOT
    event = tape.log(encode(Kind.intent, SUBJECT, said, cause_seq=int(made["parent_seq"])), "executor")
    (more,) = intents(step.step([event]))
    assert (made["quantity_lots"], more["quantity_lots"], more["parent_seq"]) == (4 * LOT, 3 * LOT, made["parent_seq"])


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(ValueError, match="other code, parameters or instruments"):
        make(order_ttl_ms=1).load(make().save())
    with pytest.raises(ValueError, match="cannot be read"):
        make().load(b"{")


def test_ids_fit_the_venue_for_ever():
    step, tape = make(), Tape()
    tape.opened(step)
    event = tape.signal(1.0)
    event.seq = 2**63
    (intent,) = intents(step.step([event]))
    assert intent["client_order_id"].decode().startswith(f"t{LOG_ID}-8000000000000000-0"[:36])
    assert len(intent["client_order_id"]) <= 36
