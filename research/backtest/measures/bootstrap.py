"""Confidence intervals by the stationary bootstrap: blocks of random length keep what near observations have in common.

D. N. Politis, J. P. Romano: The stationary bootstrap, Journal of the American Statistical Association 89 (1994). The mean
length of a block: D. N. Politis, H. White: Automatic block-length selection for the dependent bootstrap, Econometric Reviews 23
(2004), with the correction of A. Patton, D. N. Politis, H. White, Econometric Reviews 28 (2009).
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tickmesh.research.backtest.measures.measure import Measure

RESAMPLES = 1000
LEVEL = 0.95
OBSERVATIONS_MIN = 10  # with fewer an interval would be a guess
POOLED_MAX = 2000  # observations are added up in groups of neighbours until there are no more than this
PART = 2_000_000  # draws at a time: 16 MB an array


def block_length(values: np.ndarray) -> float:
    """The mean block length that suits a series (float64, (n,)), between 1 and min(3 √n, n ÷ 3)."""
    n = len(values)
    x = values - values.mean()
    if n < OBSERVATIONS_MIN or not x.any():
        return 1.0
    run = max(5, int(math.log10(n)))  # so many autocorrelations in a row that are as good as 0 end the dependence
    lags = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariance = np.array([x[: n - k] @ x[k:] for k in range(lags + 1)]) / n
    small = np.abs(covariance[1:] / covariance[0]) < 2.0 * math.sqrt(math.log10(n) / n)
    last = next((m for m in range(lags - run + 1) if small[m : m + run].all()), None)
    if last is None:  # no such run: up to the last autocorrelation that is not small
        last = int(np.flatnonzero(~small)[-1]) + 1
    k = np.arange(-(width := min(2 * max(last, 1), lags)), width + 1)
    weight = np.clip(2.0 * (1.0 - np.abs(k / width)), 0.0, 1.0)
    curve = float(np.sum(weight * np.abs(k) * covariance[np.abs(k)]))
    level = float(np.sum(weight * covariance[np.abs(k)]))
    if level == 0.0:
        return 1.0
    length = (curve * curve / (level * level)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)  # 2 g² ÷ (2 s²)
    return float(min(max(length, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def resampled_places(rng: np.random.Generator, n: int, length: float, resamples: int) -> np.ndarray:
    """Places in a series of n that make up its resamples, int64 (resamples, n).

    A block begins anywhere and goes on, round the end of the series, with probability 1 − 1 ÷ length.
    """
    fresh = rng.random((resamples, n)) < 1.0 / length
    fresh[:, 0] = True
    begun = np.maximum.accumulate(np.where(fresh, np.arange(n), 0), axis=1)
    starts = rng.integers(0, n, (resamples, n))
    found: np.ndarray = (np.take_along_axis(starts, begun, axis=1) + np.arange(n) - begun) % n
    return found


def with_interval(
    measure: Measure, columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int | None, length: float = 0.0
) -> Measure:
    """The measure with the percentile interval of LEVEL; without one where it is not defined or observations are too few.

    `columns`: float64 (n, k), observations in order of time; `statistic`: (resamples, n, k) → (resamples,), NaN where it is not
    defined. `length`: mean block length at the least; the series' own where that is longer. `seed` None: no interval is wanted.
    """
    n = len(columns)
    if seed is None or measure.value is None or n < OBSERVATIONS_MIN:
        return measure
    longest = max(length, *(block_length(column) for column in columns.T))
    rng = np.random.default_rng(seed)
    each = max(1, PART // n)
    parts = [
        statistic(columns[resampled_places(rng, n, min(longest, float(n)), min(each, RESAMPLES - done))])
        for done in range(0, RESAMPLES, each)
    ]
    found = np.concatenate(parts)
    found = found[np.isfinite(found)]
    if len(found) < RESAMPLES // 2:  # of most resamples it is not defined
        return measure
    low, high = np.quantile(found, ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0))
    return replace(measure, low=float(low), high=float(high))


def pooled(columns: np.ndarray) -> tuple[np.ndarray, int]:
    """(sums of neighbours, at most POOLED_MAX of them; how many neighbours are in one) of observations float64 (n, k)."""
    group = -(-len(columns) // POOLED_MAX)
    if group <= 1:
        return columns, 1
    return np.add.reduceat(columns, np.arange(0, len(columns), group), axis=0), group


def ratio_of_sums(sampled: np.ndarray) -> np.ndarray:
    """Sum of column 0 ÷ sum of column 1, of each resample: (resamples, n, 2) → (resamples,); NaN where that is 0."""
    above, below = sampled.sum(axis=1).T
    found: np.ndarray = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0.0)
    return found
