"""Exponential decay, the same to the last bit on every machine: only +, ×, ÷ and exact scaling.

`math.exp` is the platform's, and glibc's differs in the last bit between processors with and without FMA.
"""

import math

import numpy as np
from numba import njit

LN2 = 0.6931471805599453
TAYLOR = tuple(1.0 / math.factorial(k) for k in range(13, -1, -1))  # of e^y, the highest power first
BIAS, EXPONENT_AT = 1023, 52  # of the exponent in a double's bits


@njit(cache=True)
def decay(elapsed_ns: int, half_life_ns: float) -> float:
    """Computes 2^(−elapsed ÷ half life), 1.0 for elapsed ≤ 0; within 2 ulp of the true value.

    2^−x = 2^−n · e^y with n = round(x), y = (n − x)·ln 2, |y| ≤ 0.3466; Taylor's series to y^13, whose next term is
    below 4e-18 (Horner's scheme; it multiplies, for a division takes three times as long), then an exact shift of the exponent.
    """
    if elapsed_ns <= 0:
        return 1.0
    x = elapsed_ns / half_life_ns
    if x > 1000.0:
        return 0.0
    n = math.floor(x + 0.5)
    y = (n - x) * LN2
    e = 0.0
    for coefficient in TAYLOR:
        e = e * y + coefficient
    # 2^−n by its bits; the product is above 2^−1002, so it is exact.
    return e * np.int64((BIAS - np.int64(n)) << EXPONENT_AT).view(np.float64)
