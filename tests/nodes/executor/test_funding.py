"""Fundings in the executor: they move positions of instrument and strategies, and profit, however the log is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.executor_tape import LOT, MS, START_NS, SUBJECT, Tape, make
from tickmesh.bus.schema import FUNDING, Kind
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor.positions import funding_shares
from tickmesh.nodes.executor.state import FILLS_SINCE


def fund(tape: Tape, amount: int, transaction_id: int, scale: int = 0, subject: str = SUBJECT, venue_ns: int = 0) -> None:
    row = np.zeros(1, FUNDING)
    row["asset"], row["amount"], row["transaction_id"], row["scale"] = b"USDT", amount, transaction_id, scale
    row["venue_ns"] = venue_ns
    tape.log(encode(Kind.funding, subject, row))


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_a_funding_counts_in_position_and_profit_and_outlives_a_checkpoint(cut):
    tape = Tape()
    tape.run()
    tape.instrument()
    tape.quote()
    tape.fill(b"somebody", 1, LOT)
    fund(tape, -12_345_678, 1)
    fund(tape, 3, 2, scale=2)
    fund(tape, 5, 3, subject="binance.ETHUSDT")  # of an instrument that nobody defined or traded
    step = make()
    for start in range(0, len(tape.events), cut):
        step.step(tape.events[start : start + cut])
    again = make()
    again.load(step.save())
    plain = make()
    plain.step(tape.events[:4])
    for one in (step, again):
        told = one.counters()
        assert told["positions"][SUBJECT]["funding"] == pytest.approx(-0.12345378)
        assert told["profit"] == pytest.approx(plain.counters()["profit"] - 0.12345378)
        position = one.state.instruments[SUBJECT].position
        assert position.fundings == {"USDT": -12_345_678 + 300}
        assert position.fees == plain.state.instruments[SUBJECT].position.fees


@given(st.integers(-(10**12), 10**12), st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.integers(-LOT, LOT)))
def test_the_parts_of_a_funding_add_up_and_go_by_what_each_holds(amount, held):
    shares = funding_shares(amount, held)
    assert sum(shares.values()) == amount
    total = sum(held.values())
    for name, lots in held.items():
        if name and lots and total:
            assert abs(shares[name] * total - amount * lots) < abs(total)
    if not total:
        assert set(shares) == {""}, "what no position explains is nobody's"


def test_a_funding_that_is_read_late_goes_by_what_each_held_at_its_time():
    """a holds 3, b holds 1 when it is due; a has sold all of it, and b has bought more, when it is read."""
    both = [StrategySettings(name=name, models=(name,), order_quantity="0.001", position_max="9") for name in "ab"]
    step, tape = make(strategies=both), Tape()
    tape.opened(step)
    orders = {name: tape.answer(step, tape.signal(1.0, model=name))[0]["client_order_id"] for name in "ab"}

    def fill(name: str, trade_id: int, lots: int, side: int, after_ms: int) -> None:
        tape.now_ns = START_NS + after_ms * MS
        step.step([tape.fill(orders[name], trade_id, lots, side=side)])

    fill("a", 1, 3 * LOT, 1, 1000)
    fill("b", 2, LOT, 1, 2000)
    fill("a", 3, 3 * LOT, -1, 3001)
    fill("b", 4, 4 * LOT, 1, 4000)
    for amount, after_ms in ((4000, 3000), (70, 3001), (900, 999)):
        fund(tape, amount, amount, venue_ns=START_NS + after_ms * MS)
        step.step(tape.events[-1:])
    books = step.state.instruments[SUBJECT].books
    assert {name: book.position.fundings.get("USDT", 0) for name, book in books.items()} == {"a": 3000, "b": 1070, "": 900}, (
        "in shares of 3 and 1; then b alone; before anybody held anything it is nobody's"
    )
    assert step.state.instruments[SUBJECT].position.fundings == {"USDT": 4970}


def test_fills_are_remembered_up_to_a_bound():
    step, tape = make(), Tape()
    tape.opened(step)
    for trade_id in range(1, FILLS_SINCE + 9):
        step.step([tape.fill(b"somebody", trade_id, LOT)])
    assert len(step.state.last_fills) == FILLS_SINCE
    again = make()
    again.load(step.save())
    assert again.state.last_fills == step.state.last_fills
