"""The stationary bootstrap: its blocks, their length beside the formula in loops, and intervals that hold what they say."""

import math

import numpy as np
import pytest

from tickmesh.research.backtest.measures import bootstrap
from tickmesh.research.backtest.measures.measure import Measure


def autoregressive(seed, n, rho):
    rng = np.random.default_rng(seed)
    values = [0.0]
    for noise in rng.normal(size=n):
        values.append(values[-1] * rho + noise)
    return np.array(values[1:])


def naive_length(values):
    """Politis and White 2004 with the correction of 2009, in loops."""
    n = len(values)
    mean = sum(values) / n
    run = max(5, int(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariance = [sum((values[i] - mean) * (values[i + k] - mean) for i in range(n - k)) / n for k in range(most + 1)]
    bound = 2 * math.sqrt(math.log10(n) / n)
    large = [k for k in range(1, most + 1) if abs(covariance[k] / covariance[0]) >= bound]
    last = 0
    while any(k in large for k in range(last + 1, last + run + 1)):
        last += 1
        if last + run > most:
            last = large[-1]
            break
    width = min(2 * max(last, 1), most)
    g = s = 0.0
    for k in range(-width, width + 1):
        weight = 1.0 if abs(k) <= width / 2 else 2 * (1 - abs(k) / width)
        g += weight * abs(k) * covariance[abs(k)]
        s += weight * covariance[abs(k)]
    length = (2 * g * g / (2 * s * s)) ** (1 / 3) * n ** (1 / 3)
    return min(max(length, 1.0), math.ceil(min(3 * math.sqrt(n), n / 3)))


@pytest.mark.parametrize("seed", range(6))
def test_the_length_of_a_block_is_that_of_the_formula(seed):
    values = autoregressive(seed, 60 + 40 * seed, (0.0, 0.9, 0.5, -0.5, 0.97, 0.2)[seed])
    assert bootstrap.block_length(values) == pytest.approx(naive_length(values.tolist()), rel=1e-9)
    assert bootstrap.block_length(autoregressive(1, 500, 0.9)) > 3 * bootstrap.block_length(autoregressive(1, 500, 0.0))
    assert bootstrap.block_length(np.ones(50)) == bootstrap.block_length(values[:3]) == 1.0


def test_a_resample_goes_on_where_it_is_or_begins_anywhere():
    n, length = 50, 8.0
    places = bootstrap.resampled_places(np.random.default_rng(1), n, length, 400)
    assert places.shape == (400, n) and places.min() == 0 and places.max() == n - 1
    goes_on = (places[:, 1:] == (places[:, :-1] + 1) % n).mean()
    assert goes_on == pytest.approx(1 - 1 / length + 1 / length / n, abs=0.01)
    assert np.bincount(places.ravel(), minlength=n) == pytest.approx(np.full(n, 400), rel=0.4), "no place is preferred"
    alone = bootstrap.resampled_places(np.random.default_rng(1), n, 1.0, 400)
    assert (alone[:, 1:] == (alone[:, :-1] + 1) % n).mean() < 0.05


def mean_of(sampled):
    return sampled[:, :, 0].mean(axis=1)


def test_the_interval_of_a_mean_is_as_wide_as_dependence_makes_it():
    """Of an AR(1) the mean's deviation is σ ÷ (1 − ρ) ÷ √n: with ρ 0.7 three times what independent values would have."""
    widths = []
    for seed in range(8):
        values = autoregressive(seed, 400, 0.7)
        found = bootstrap.with_interval(Measure(float(values.mean())), values[:, None], mean_of, seed)
        assert found.low < found.value < found.high
        widths.append((found.high - found.low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(1 / 0.3 / math.sqrt(400), rel=0.25)
    alone = np.random.default_rng(3).normal(size=(400, 1))
    found = bootstrap.with_interval(Measure(float(alone.mean())), alone, mean_of, 3)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(1 / math.sqrt(400), rel=0.25)


def test_a_seed_repeats_an_interval_and_a_longer_block_is_taken_where_it_is_asked_for():
    values = autoregressive(2, 200, 0.0)[:, None]
    measure = Measure(float(values.mean()))
    first, again, other = (bootstrap.with_interval(measure, values, mean_of, seed) for seed in (7, 7, 8))
    assert first == again and first != other
    assert bootstrap.with_interval(measure, values, mean_of, 7, length=40.0) != first


def test_where_there_can_be_no_interval_there_is_none():
    few = np.arange(9.0)[:, None]
    assert bootstrap.with_interval(Measure(4.0), few, mean_of, 1) == Measure(4.0)
    many = np.arange(20.0)[:, None]
    assert bootstrap.with_interval(Measure(None, "why"), many, mean_of, 1) == Measure(None, "why")
    assert bootstrap.with_interval(Measure(9.5), many, mean_of, None) == Measure(9.5)
    assert bootstrap.with_interval(Measure(1.0), many, lambda drawn: np.full(len(drawn), np.nan), 1) == Measure(1.0)


def test_neighbours_are_added_up_and_nothing_is_lost():
    columns = np.random.default_rng(1).normal(size=(2 * bootstrap.POOLED_MAX + 1, 2))
    sums, group = bootstrap.pooled(columns)
    assert group == 3 and len(sums) <= bootstrap.POOLED_MAX and sums.sum(axis=0) == pytest.approx(columns.sum(axis=0))
    assert sums[1] == pytest.approx(columns[3:6].sum(axis=0)) and bootstrap.pooled(columns[:5])[1] == 1
    zero = bootstrap.ratio_of_sums(np.array([[[1.0, 2.0], [3.0, 2.0]], [[1.0, 1.0], [1.0, -1.0]]]))
    assert zero[0] == 1.0 and np.isnan(zero[1])
