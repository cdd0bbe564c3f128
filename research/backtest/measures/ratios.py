"""Ratios of reward to risk from what was gained in equal intervals of time, and how far they can be trusted.

Gains are money: with a fixed capital every ratio is the same as of returns. Markets are open all day: a year has 365 days.
"""

import math
from statistics import NormalDist

import numpy as np

from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined

YEAR_NS = 365 * 86_400_000_000_000
EULER = 0.5772156649015329  # Euler–Mascheroni
NO_VARIANCE = "the equity gained the same in all intervals"
FEW = "there are fewer than two whole intervals"
_NORMAL = NormalDist()


def deviation(gains: np.ndarray) -> float:
    """The sample's standard deviation (n − 1) of gains (float64, (n,)); 0 where it is but rounding."""
    found = float(gains.std(ddof=1))
    return found if found > 1e-12 * float(np.abs(gains).max()) else 0.0


def sharpe(gains: np.ndarray) -> Measure:
    """Mean ÷ standard deviation of gains, of one interval, not annualised. W. F. Sharpe, Journal of Business 39 (1966)."""
    if len(gains) < 2:
        return undefined(FEW)
    return ratio(float(gains.mean()), deviation(gains), NO_VARIANCE)


def sortino(gains: np.ndarray) -> Measure:
    """Mean ÷ root of the mean square of losses (gains above 0 count as 0), of one interval. F. Sortino, L. Price (1994)."""
    if len(gains) < 2:
        return undefined(FEW)
    return ratio(float(gains.mean()), math.sqrt(float(np.mean(np.minimum(gains, 0.0) ** 2))), "no interval lost")


def annualised(measure: Measure, interval_ns: int) -> Measure:
    """A ratio of one interval as that of a year, as if intervals had nothing in common (A. W. Lo, FAJ 58, 2002)."""
    return measure.times(math.sqrt(YEAR_NS / interval_ns))


def calmar(gained: float, span_ns: int, depth: Measure) -> Measure:
    """What a year gains at this pace ÷ the deepest drawdown."""
    if depth.value is None:
        return depth
    return ratio(gained * YEAR_NS, depth.value * span_ns, "there was no drawdown")


def shape(gains: np.ndarray) -> tuple[float, float]:
    """(skewness, kurtosis: 3 of a normal distribution) of gains that vary."""
    x = gains - gains.mean()
    second = float(np.mean(x**2))
    return float(np.mean(x**3)) / second**1.5, float(np.mean(x**4)) / second**2


def probability_above(sharpe_ratio: float, benchmark: float, count: int, skewness: float, kurtosis: float) -> Measure:
    """The probability that the true Sharpe ratio is above `benchmark`, where `count` gains have this one; all of one interval.

    D. H. Bailey, M. López de Prado: The Sharpe ratio efficient frontier, Journal of Risk 15 (2012). Gains are taken to be
    independent.
    """
    variance = 1.0 - skewness * sharpe_ratio + (kurtosis - 1.0) / 4.0 * sharpe_ratio**2
    if variance <= 0.0:
        return undefined("the gains are too skewed for the formula")
    return Measure(_NORMAL.cdf((sharpe_ratio - benchmark) * math.sqrt((count - 1) / variance)))


def probabilistic_sharpe(gains: np.ndarray, benchmark: float = 0.0) -> Measure:
    """The probability that the true Sharpe ratio of gains (float64, (n,)) is above that of one interval, `benchmark`."""
    found = sharpe(gains)
    return found if found.value is None else probability_above(found.value, benchmark, len(gains), *shape(gains))


def expected_highest(deviation: float, trials: int) -> float:
    """The highest Sharpe ratio to be expected of so many trials (2 or more) without skill, whose ratios vary by `deviation`.

    D. H. Bailey, M. López de Prado: The deflated Sharpe ratio, Journal of Portfolio Management 40 (2014), equation 1.
    """
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return deviation * ((1.0 - EULER) * first + EULER * second)


def highest_by_luck(sharpes: list[float], trials: int) -> Measure:
    """As `expected_highest`, where the ratios of one interval of those trials that are known are `sharpes`."""
    if trials < 2 or len(sharpes) < 2:
        return undefined("it takes the Sharpe ratios of two trials or more")
    return Measure(expected_highest(float(np.std(sharpes, ddof=1)), trials))


def deflated_sharpe(gains: np.ndarray, sharpes: list[float], trials: int) -> Measure:
    """The probability that the true Sharpe ratio is above what the best of so many trials has by luck (2014, equation 2)."""
    benchmark = highest_by_luck(sharpes, trials)
    return benchmark if benchmark.value is None else probabilistic_sharpe(gains, benchmark.value)


def autocorrelation(gains: np.ndarray) -> Measure:
    """The correlation of each gain with the one before it, which vary: far from 0 annualised ratios mislead (Lo, 2002)."""
    x = gains - gains.mean()
    return ratio(float(x[1:] @ x[:-1]), float(x @ x), NO_VARIANCE)
