"""The natural logarithm, the same to the last bit on every machine: only +, ×, ÷ and exact scaling.

`math.log` is the platform's, as `math.exp` is (decay.py).
"""

import numpy as np
from numba import njit

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2 in two parts; k × the first is exact
ROOT_HALF = 0.7071067811865476
ATANH = tuple(1.0 / k for k in range(25, 0, -2))  # of atanh(z) ÷ z in z², the highest power first
FRACTION, BIAS, EXPONENT_AT = 0x000FFFFFFFFFFFFF, 1023, 52


@njit(cache=True)
def natural_log(x: float) -> float:
    """Computes ln x of a normal, finite x > 0 within 3 ulp, ln 1 = 0 exactly; NaN for x ≤ 0.

    x = 2^k · m with √½ ≤ m < √2; ln m = 2 atanh((m − 1) ÷ (m + 1)), |z| ≤ 0.1716: the next term of the series is below 3e-22.
    """
    if not x > 0.0:
        return np.nan
    bits = np.float64(x).view(np.int64)
    k = (bits >> EXPONENT_AT) - BIAS
    m = np.int64((bits & FRACTION) | ((BIAS - 1) << EXPONENT_AT)).view(np.float64)  # in ½ … 1
    if m < ROOT_HALF:
        m *= 2.0
    else:
        k += 1
    z = (m - 1.0) / (m + 1.0)
    square = z * z
    series = 0.0
    for coefficient in ATANH:
        series = series * square + coefficient
    return k * LN2_HIGH + (k * LN2_LOW + 2.0 * z * series)
