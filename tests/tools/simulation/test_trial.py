"""Parent orders in simulated time: the same every time, counted as the executor counts them, charged as the schedule says."""

from functools import cache

import pytest

from tickmesh.bus.schema import Kind, ParentState
from tickmesh.bus.wide import joined
from tickmesh.tools.simulation import simulated_log
from tickmesh.tools.simulation.figures import BP, measure, shortfalls
from tickmesh.tools.simulation.scenarios import SCENARIOS, plan, run
from tickmesh.tools.styles import MARKET, STYLES

PARENTS = 6
BY_NAME = {one.name: one for one in SCENARIOS}
POST_ONLY = ("limit_maker", "post_only")


@cache
def outcomes(style: str, name: str = "made-up", seed: int = 1):
    scenario = BY_NAME[name]
    (begins,) = plan(scenario, PARENTS, [])
    return run(scenario, style, begins, [], seed)


def test_the_same_seed_gives_the_same_outcomes_and_another_one_others():
    (begins,) = plan(BY_NAME["made-up"], PARENTS, [])
    again = run(BY_NAME["made-up"], "post_only", begins, [], 1)
    assert again == outcomes("post_only")
    assert outcomes(MARKET, seed=2) != outcomes(MARKET)


@pytest.mark.parametrize("style", STYLES)
def test_a_parent_never_gets_more_than_it_wants(style):
    assert len(outcomes(style)) == PARENTS
    assert all(0 <= one.filled <= one.wanted and one.maker_value <= one.filled_value for one in outcomes(style))
    assert [one.side for one in outcomes(style)] == [1, -1] * (PARENTS // 2)


@pytest.mark.parametrize("style", STYLES)
def test_commission_is_what_the_schedule_says_of_what_was_made_and_taken(style):
    scenario = BY_NAME["made-up"]
    figures = measure(style, outcomes(style), outcomes(MARKET), 1)
    made = figures.maker.value
    expected = (made * scenario.maker_fee + (1 - made) * scenario.taker_fee) * BP
    assert figures.filled.value > 0 and figures.fees_bp.value == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("style", POST_ONLY)
def test_post_only_saves_the_commission_that_the_schedule_promises(style):
    scenario = BY_NAME["made-up"]
    made = measure(style, outcomes(style), outcomes(MARKET), 1)
    taken = measure(MARKET, outcomes(MARKET), outcomes(MARKET), 1)
    assert scenario.maker_fee < scenario.taker_fee
    assert made.filled.value > 0.2 and made.maker.value == 1.0 and taken.maker.value == 0.0
    rounding = 2e-3  # the venue rounds the fee of every fill down, to 10^−8 BTC
    assert made.fees_bp.value == pytest.approx(scenario.maker_fee * BP, rel=rounding)
    assert taken.fees_bp.value == pytest.approx(scenario.taker_fee * BP, rel=rounding)


def test_market_orders_pay_half_the_spread_and_the_fee_and_leave_nothing():
    for one in outcomes(MARKET):
        assert one.filled == one.wanted and one.rest_value == 0 and one.orders == 1
        assert one.side * (one.filled_value - one.arrival * one.filled) > 0
    assert min(shortfalls(outcomes(MARKET))) > BY_NAME["made-up"].taker_fee * BP


def test_in_an_outage_only_market_orders_get_through():
    assert all(one.filled == one.wanted for one in outcomes(MARKET, "outage"))
    assert sum(one.filled for one in outcomes("limit_maker", "outage")) == 0
    calm, ailing = (measure(MARKET, outcomes(MARKET, name), outcomes(MARKET, name), 1) for name in ("made-up", "outage"))
    assert ailing.slippage_bp.value > 5 * calm.slippage_bp.value


@pytest.mark.parametrize("style", STYLES)
def test_the_executors_own_records_of_parents_say_the_same(style, monkeypatch):
    """Quantity, value and fees of every parent: counted by the executor from fills, and here at the venue."""
    ended = {}

    class Kept(simulated_log.SimulatedLog):
        def stamped(self, event, producer):
            logged = super().stamped(event, producer)
            if logged.kind == Kind.parent:
                for row in logged.records:
                    if row["state"] == ParentState.ended:
                        ended[int(row["parent_seq"])] = row
            return logged

    monkeypatch.setattr("tickmesh.tools.simulation.trial.SimulatedLog", Kept)
    (begins,) = plan(BY_NAME["made-up"], PARENTS, [])
    counted = run(BY_NAME["made-up"], style, begins, [], 1)
    assert len(ended) in (PARENTS, PARENTS - 1), "the last may still wait for a report"
    for one, row in zip(counted, (ended[seq] for seq in sorted(ended)), strict=False):
        assert row["side"] == one.side and row["filled_lots"] == round(one.filled * 1e8)
        value, fee = (joined(row[f"{name}_high"], row[f"{name}_low"]) / 1e16 for name in ("value", "fee_cost"))
        assert value == pytest.approx(one.filled_value, rel=1e-9)
        assert fee == pytest.approx(one.fees, rel=1e-4, abs=1e-6)
