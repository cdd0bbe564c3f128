"""Bars of a busy day, compiled: reduces chunks that storage/hdf5/kernels.py decodes. numpy does the same in bars/runs.py.

Nothing here holds the interpreter's lock or allocates. Nothing calls what is in another file, so numba's own cache, which looks
at this one, never serves stale code.
"""

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.storage.hdf5.kernels import fletcher32, join2, join4, join8

# What who decodes and reduces is given as one:
__all__ = ["fletcher32", "join2", "join4", "join8", "never_falls", "reduce_trades"]

go_on_without_room()
U8 = np.uint64


@njit(nogil=True, cache=True)
def never_falls(values: np.ndarray) -> bool:
    """Whether no value is below the one before it. values: (n,), n ≥ 1, any integers."""
    before, after = values[:-1], values[1:]
    falls = 0
    for i in range(len(after)):
        falls += after[i] < before[i]
    return falls == 0


@njit(nogil=True, cache=True)
def reduce_trades(prices: np.ndarray, quantities: np.ndarray, sides: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
    """Computes extremes and sums of each run of rows, of stored values. The run r is rows starts[r] to starts[r + 1].

    prices, quantities: (n,) u1, u2 or u4, n ≤ 2^16; sides: (n,) i1; starts: (runs + 1,) i8, the last is n.
    out: (8, runs) u8: least price, greatest, Σ price, Σ quantity, Σ of what was bought, trades of it, and
    Σ price × quantity of the quantities' lower 16 bits and of the upper: each below 2^48, so no sum overflows.
    """
    for r in range(len(starts) - 1):
        low = prices[starts[r]]
        high = low
        for i in range(starts[r], starts[r + 1]):
            low = min(low, prices[i])
            high = max(high, prices[i])
        price = total = bought = buys = lower = upper = U8(0)
        for i in range(starts[r], starts[r + 1]):
            p, q = U8(prices[i]), U8(quantities[i])
            buy = U8(sides[i] > 0)
            price += p
            total += q
            bought += q * buy
            buys += buy
            lower += p * (q & U8(0xFFFF))
            upper += p * (q >> U8(16))
        out[0, r], out[1, r], out[2, r], out[3, r] = low, high, price, total
        out[4, r], out[5, r], out[6, r], out[7, r] = bought, buys, lower, upper
