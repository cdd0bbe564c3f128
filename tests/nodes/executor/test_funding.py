"""Fundings in the executor: they move positions of instrument and strategies, and profit, however the log is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.executor_tape import LOT, SUBJECT, Tape, make
from tickmesh.bus.schema import FUNDING, Kind
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor.positions import funding_shares


def fund(tape: Tape, amount: int, transaction_id: int, scale: int = 0, subject: str = SUBJECT) -> None:
    row = np.zeros(1, FUNDING)
    row["asset"], row["amount"], row["transaction_id"], row["scale"] = b"USDT", amount, transaction_id, scale
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
