"""One executor, several instruments: state of each, one order rate, ids and cancels in a fixed order, orders left behind."""

import numpy as np
import pytest

from tests.support.executor_tape import ASK, LOG_ID, LOT, Tape, intents, make
from tickmesh.bus.config import Config
from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.bus.wire import decode, encode

SYMBOLS = ("XRPUSDT", "BTCUSDT", "ETHUSDT")  # as in mesh.toml: in no other order
XRP, BTC, ETH = SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
ALL = {"instruments": ("binance.*",)}


def answered(tape: Tape, step, event) -> list[tuple[str, np.void]]:
    """(subject, record) of each intent that an event causes; they are in the log afterwards, and read."""
    out = []
    for raw in step.step([event]):
        own = tape.log(raw, "executor")
        out.append((own.subject, own.records[0]))
        step.step([own])
    return out


def test_each_instrument_has_its_own_position_turn_and_quote():
    step, tape = make(SYMBOLS, **ALL, styles=("limit", "market"), position_max="0.001"), Tape()
    tape.opened(step, SUBJECTS)
    ((_, bought),) = answered(tape, step, tape.signal(1.0, subject=ETH))
    step.step([tape.fill(bought["client_order_id"], 7, LOT, subject=ETH)])
    step.step([tape.fill(bought["client_order_id"], 7, LOT, subject=ETH)])
    assert step.step([tape.signal(1.0, subject=ETH)]) == [], "there it is at its limit"
    ((subject, sold),) = answered(tape, step, tape.signal(-1.0, subject=BTC))
    assert (subject, sold["order_type"]) == (BTC, 1), "the first style there, and no limit"
    step.step(
        [tape.fill(sold["client_order_id"], 7, LOT // 2, side=-1, subject=BTC)]
    )  # ids of trades are each instrument's own
    counted = step.counters()
    assert {subject: one["position"] for subject, one in counted["positions"].items()} == {
        ETH: pytest.approx(0.001), BTC: pytest.approx(-0.0005),
    }  # fmt: skip
    assert (counted["fills"], counted["intents"], counted["open_orders"]) == (2, 2, 1)
    assert counted["refused"] == {"position": 1} == counted["positions"][ETH]["refused"]
    assert counted["fees"] == {"USDT": pytest.approx(14e-8)}


def test_the_order_rate_is_that_of_all_instruments_together():
    step, tape = make(SYMBOLS, **ALL, orders_per_s=2.0), Tape()
    tape.opened(step, SUBJECTS)
    published = step.step([tape.signal(1.0, subject=subject) for subject in SUBJECTS])
    assert [decode(raw).subject for raw in published] == [XRP, BTC]
    assert step.counters()["positions"][ETH]["refused"] == {"rate": 1}


def test_cancels_that_one_event_makes_due_are_by_name_of_instrument_and_their_ids_count_on():
    step, tape = make(SYMBOLS, **ALL, styles=("limit",)), Tape()
    tape.opened(step, SUBJECTS)
    placed = {}
    for subject in (XRP, ETH, BTC, ETH):
        for where, record in answered(tape, step, tape.signal(1.0, subject=subject)):
            placed.setdefault(where, []).append(record["client_order_id"])
    tape.now_ns += 2_000_000_000
    signal = tape.signal(1.0, subject=XRP)
    published = step.step([signal])
    assert [decode(raw).subject for raw in published] == [XRP, BTC, ETH, ETH, XRP], "its own instrument's answer, then cancels"
    bought, *records = intents(published)
    assert bought["action"] == Action.NEW and [r["target_id"] for r in records] == [*placed[BTC], *placed[ETH], *placed[XRP]]
    assert all(r["action"] == Action.CANCEL and r["expires_ns"] == 0 for r in records)
    assert [r["client_order_id"].decode() for r in records] == [f"t{LOG_ID}-{signal.seq:x}-{k}" for k in range(1, 5)]
    assert [(decode(raw).cause_seq, decode(raw).k) for raw in published] == [(signal.seq, k) for k in range(5)]
    assert step.step([tape.clock(1)]) == []


def test_an_order_whose_time_was_brought_forward_is_cancelled_once():
    step, tape = make(SYMBOLS, **ALL, styles=("limit", "market")), Tape()
    tape.opened(step, SUBJECTS)
    ((_, bought),) = answered(tape, step, tape.signal(1.0, subject=ETH))
    ((_, cancel),) = answered(tape, step, tape.signal(-1.0, subject=ETH))  # it turned: what rests makes way
    assert cancel["target_id"] == bought["client_order_id"]
    assert step.step([tape.clock(2000)]) == [] and len(step.state.due) == 1, "the time that it had before is void"
    step.step([tape.update(bought["client_order_id"], Status.Canceled, subject=ETH)])
    assert step.step([tape.clock(2000), tape.clock(60_000)]) == [] and step.state.due == []


def test_without_a_list_the_first_instrument_is_traded_and_no_other():
    step, tape = make(SYMBOLS), Tape()
    tape.opened(step, SUBJECTS)
    published = step.step([tape.signal(1.0, subject=subject) for subject in SUBJECTS])
    assert [decode(raw).subject for raw in published] == [XRP]
    step, tape = make(SYMBOLS, instruments=("binance.[!X]*", "binance.ETH*")), Tape()
    assert step.identity()["instruments"] == [BTC, ETH]
    other = make(SYMBOLS, instruments=("binance.ETHUSDT", "binance.BTCUSDT"))
    assert other.identity() == step.identity(), "what is meant counts, not how it is written"
    other.load(step.save())
    with pytest.raises(ValueError, match="other code, parameters or instruments"):
        make(SYMBOLS, instruments=("binance.ETHUSDT",)).load(step.save())


def test_at_a_venue_without_orders_nothing_is_traded(tmp_path):
    mesh = Mesh(instruments=(Instrument("BTC/USD", "kraken"), Instrument("BTCUSDT")))
    assert Config(mesh, tmp_path).traded == (), "not the second either: nobody asked for it"


def left_behind() -> tuple[Tape, list[bytes]]:
    """A log of an executor that traded two instruments: a resting order on each, and half of the one on ETHUSDT is filled."""
    step, tape = make(SYMBOLS, **ALL, styles=("limit",)), Tape()
    tape.opened(step, SUBJECTS)
    names = []
    for subject in (BTC, ETH):
        ((_, record),) = answered(tape, step, tape.signal(1.0, subject=subject))
        names.append(record["client_order_id"])
        step.step([tape.update(names[-1], Status.New, subject=subject)])
    step.step([tape.fill(names[1], 5, LOT // 2, subject=ETH)])
    return tape, names


def test_orders_on_an_instrument_that_is_no_longer_listed_are_followed_and_cancelled():
    tape, (kept, left) = left_behind()
    step = make(SYMBOLS, instruments=(BTC,), styles=("limit",))
    step.step(tape.events)
    assert step.counters()["unlisted_orders"] == {ETH: 1} and step.counters()["positions"][ETH]["position"] > 0
    step.step([tape.quote(bid=ASK + 10_000_000, ask=ASK + 20_000_000, subject=ETH)])
    assert step.counters()["positions"][ETH]["unrealised"] > 0, "what is held there is valued at the newest quote"
    assert step.step([tape.signal(1.0, subject=ETH)]) == []
    assert step.counters()["refused"] == {} and step.state.instruments[ETH].books["default"].signals == 0, (
        "nobody asked it to trade there"
    )
    cancels = answered(tape, step, tape.clock(2000))
    assert [(subject, r["target_id"]) for subject, r in cancels] == [(BTC, kept), (ETH, left)]
    again = make(SYMBOLS, instruments=(BTC,), styles=("limit",))
    again.load(step.save())
    assert [r["target_id"] for _, r in answered(tape, again, tape.clock(5000))] == [kept, left], "until it is gone"
    again.step([tape.fill(left, 6, LOT // 2, subject=ETH), tape.update(left, Status.Filled, LOT, subject=ETH)])
    assert again.counters()["unlisted_orders"] == {}
    assert again.counters()["positions"][ETH]["position"] == pytest.approx(0.001), "what it had, it has"


@pytest.mark.parametrize("other", ["another instrument", "a cancel", "other terms"])
def test_what_the_log_has_at_a_place_counts_not_what_these_settings_would_have_put_there(other):
    step, tape = make(SYMBOLS, instruments=(ETH,), styles=("limit_ioc",)), Tape()
    tape.opened(step, SUBJECTS)
    (record,) = intents(step.step([tape.signal(1.0, subject=ETH)]))
    row = np.zeros(1, INTENT)
    row["client_order_id"], row["action"], row["side"], row["quantity_lots"] = record["client_order_id"], 1, -1, 7 * LOT
    if other == "a cancel":
        row["action"], row["target_id"] = Action.CANCEL, b"x"
    subject = BTC if other == "another instrument" else ETH
    step.step([tape.log(encode(Kind.intent, subject, row, cause_seq=tape.events[-1].seq), "executor")])
    orders = {name: [o.quantity_lots for o in one.orders.values()] for name, one in step.state.instruments.items()}
    assert orders == {XRP: [], BTC: [], ETH: []} | {"a cancel": {}, "another instrument": {BTC: [7 * LOT]}}.get(
        other, {ETH: [7 * LOT]}
    )
    assert step.state.unconfirmed == {} or other == "other terms"


def test_an_order_that_the_log_has_where_these_settings_would_have_cancelled_one_is_followed_to_its_end():
    tape, (kept, left) = left_behind()
    step = make(SYMBOLS, instruments=(BTC,), styles=("limit",))
    step.step(tape.events)
    cause = tape.clock(2000)
    name = intents(step.step([cause]))[0]["client_order_id"]
    row = np.zeros(1, INTENT)
    row["client_order_id"], row["action"], row["side"], row["quantity_lots"] = name, Action.NEW, 1, LOT
    step.step([tape.log(encode(Kind.intent, ETH, row, cause_seq=cause.seq), "executor")])
    for status in (Status.New, Status.Canceled):
        for order in (kept, left, name):
            filled = LOT // 2 if order == left else 0
            step.step([tape.update(order, status, filled, subject=BTC if order == kept else ETH)])
    assert step.counters()["open_orders"] == 0


def test_an_intent_that_the_log_passed_by_is_forgotten_on_every_instrument():
    step, tape = make(SYMBOLS, **ALL, styles=("limit_ioc",)), Tape()
    tape.opened(step, SUBJECTS)
    step.step([tape.signal(1.0, subject=ETH), tape.signal(1.0, subject=BTC)])
    ((_, record),) = answered(tape, step, tape.signal(1.0, subject=XRP))
    assert [one.orders.keys() for one in step.state.instruments.values()].count(set()) == 2
    assert list(step.state.instruments[XRP].orders) == [record["client_order_id"].decode()]
