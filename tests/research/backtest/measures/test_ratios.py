"""Ratios beside the standard library's statistics, and beside the figures that their papers print."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickmesh.research.backtest.measures import ratios
from tickmesh.research.backtest.measures.measure import Measure

DAY_NS = 86_400_000_000_000
GAINS = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=50)


@settings(max_examples=80)
@given(GAINS)
def test_ratios_are_those_of_the_standard_library(values):
    gains, mean = np.array(values), statistics.fmean(values)
    losses = math.sqrt(statistics.fmean(min(value, 0.0) ** 2 for value in values))
    sortino = ratios.sortino(gains)
    assert sortino.value == (pytest.approx(mean / losses) if losses else None) and bool(sortino.why) == (not losses)
    found = ratios.sharpe(gains)
    spread = statistics.stdev(values)
    if not spread:
        assert found.value is None and found.why == "the equity gained the same in all intervals"
        assert ratios.probabilistic_sharpe(gains) == found
        return
    assert found.value == pytest.approx(mean / spread, abs=1e-12)
    moments = [statistics.fmean((value - mean) ** power for value in values) for power in (2, 3, 4)]
    skewness, kurtosis = ratios.shape(gains)
    assert skewness == pytest.approx(moments[1] / moments[0] ** 1.5, abs=1e-9) and kurtosis == pytest.approx(
        moments[2] / moments[0] ** 2
    )
    after = sum((a - mean) * (b - mean) for a, b in zip(values, values[1:])) / (moments[0] * len(values))
    assert ratios.autocorrelation(gains).value == pytest.approx(after, abs=1e-9)
    variance = 1 - skewness * found.value + (kurtosis - 1) / 4 * found.value**2
    score = found.value * math.sqrt((len(values) - 1) / variance)
    assert ratios.probabilistic_sharpe(gains).value == pytest.approx(0.5 * math.erfc(-score / math.sqrt(2)), abs=1e-9)


def test_the_deflated_sharpe_ratio_of_the_paper():
    """Bailey and López de Prado 2014, their example: 100 trials of variance ½ a year, 1250 days, 2.5 a year: 0.1132, 0.9004."""
    highest = ratios.expected_highest(math.sqrt(0.5 / 250), 100)
    assert highest == pytest.approx(0.1132, abs=5e-5)
    assert ratios.probability_above(2.5 / math.sqrt(250), highest, 1250, -3.0, 10.0).value == pytest.approx(0.9004, abs=5e-4)


def test_the_highest_of_many_without_skill_is_what_luck_gives():
    rng = np.random.default_rng(5)
    drawn = rng.normal(0.0, 0.3, (4000, 50)).max(axis=1).mean()
    assert ratios.expected_highest(0.3, 50) == pytest.approx(drawn, rel=0.02)
    sharpes = [0.1, 0.3, -0.1, 0.2]
    assert ratios.highest_by_luck(sharpes, 50).value == pytest.approx(ratios.expected_highest(statistics.stdev(sharpes), 50))
    gains = rng.normal(0.1, 1.0, 300)
    deflated = [ratios.deflated_sharpe(gains, sharpes, trials).value for trials in (4, 40, 400)]
    assert deflated == sorted(deflated, reverse=True) and deflated[0] < ratios.probabilistic_sharpe(gains).value
    for few in (ratios.highest_by_luck([0.1], 9), ratios.highest_by_luck(sharpes, 1), ratios.deflated_sharpe(gains, [], 2)):
        assert few.value is None and "two trials" in few.why


def test_a_year_has_365_days():
    assert ratios.annualised(Measure(0.1, low=-0.1, high=0.2), DAY_NS) == Measure(
        0.1 * math.sqrt(365), "", -0.1 * math.sqrt(365), 0.2 * math.sqrt(365)
    )
    assert ratios.calmar(10.0, 73 * DAY_NS, Measure(25.0)).value == pytest.approx(2.0)
    assert ratios.calmar(10.0, 0, Measure(0.0)).why == "there was no drawdown"
    assert ratios.calmar(10.0, DAY_NS, Measure(None, "no quotes")).why == "no quotes"


@pytest.mark.parametrize("gains", [[], [1.0]])
def test_one_interval_has_no_ratio(gains):
    for ratio in (ratios.sharpe, ratios.sortino, ratios.probabilistic_sharpe):
        assert ratio(np.array(gains)) == Measure(None, "there are fewer than two whole intervals")


def test_rounding_is_no_variance():
    gains = np.diff(np.arange(1000) * 0.1)
    assert gains.std() > 0.0 and ratios.sharpe(gains).value is None


def test_gains_that_no_formula_takes_are_named():
    assert ratios.probability_above(2.0, 0.0, 10, 5.0, 1.0).why == "the gains are too skewed for the formula"
