"""The figures of a style, against numbers worked out by hand."""

import pytest

from tickmesh.tools.simulation.figures import measure, shortfalls
from tickmesh.tools.simulation.trial import ParentOutcome

BOUGHT = ParentOutcome(1, 100.0, 2.0, 1.0, 101.0, 101.0, 0.1, 102.0, 1)  # 1 of 2 at 101, the rest at 102 in the end
SOLD = ParentOutcome(-1, 100.0, 2.0, 2.0, 199.0, 0.0, 0.2, 0.0, 1)  # at 99.5


def test_shortfall_is_what_both_halves_cost_beyond_the_arrival_price():
    assert shortfalls([BOUGHT, SOLD]).tolist() == pytest.approx([3.1 / 200 * 1e4, 1.2 / 200 * 1e4])


def test_ratios_are_of_sums():
    figures = measure("limit", [BOUGHT, SOLD], [SOLD, SOLD], 1)
    assert figures.filled.value == pytest.approx(3 / 4)
    assert figures.maker.value == pytest.approx(101 / 300)
    assert figures.slippage_bp.value == pytest.approx((1 + 1) / 300 * 1e4)
    assert figures.fees_bp.value == pytest.approx(0.3 / 300 * 1e4)
    assert figures.shortfall_bp.value == pytest.approx((155 + 60) / 2)
    assert figures.beside_market_bp.value == pytest.approx((155 - 60) / 2)


def test_intervals_hold_the_value_and_narrow_with_more_parents():
    few, many = (measure("limit", [BOUGHT, SOLD] * times, [SOLD] * 2 * times, 1).shortfall_bp for times in (4, 100))
    for figure in (few, many):
        assert figure.low <= figure.value <= figure.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert measure("limit", [BOUGHT, SOLD] * 4, [SOLD] * 8, 1).shortfall_bp == few


def test_what_was_never_filled_has_no_slippage():
    nothing = BOUGHT._replace(filled=0.0, filled_value=0.0, maker_value=0.0, fees=0.0)
    figures = measure("limit", [nothing], [SOLD], 1)
    assert figures.slippage_bp.value is None and figures.fees_bp.value is None and figures.filled.value == 0
