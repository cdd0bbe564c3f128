"""Bars of a busy day, compiled: decodes chunks and reduces them. numpy does the same in hdf5/chunks.py and bars/runs.py.

Nothing here holds the interpreter's lock or allocates. Nothing calls what is in another file, so numba's own cache, which looks
at this one, never serves stale code.
"""

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room

go_on_without_room()
U8 = np.uint64
BLOCK = 4096  # words between two reductions of a checksum's sums: 64 bits hold them many times over


@njit(nogil=True, cache=True)
def join2(plain: np.ndarray, out: np.ndarray) -> None:
    """Undoes HDF5's shuffle of two-byte values. plain: (2n,) u1, all low bytes first; out: (n,) u2."""
    n = len(out)
    for i in range(n):
        out[i] = np.uint16(plain[i]) | np.uint16(plain[n + i]) << 8


@njit(nogil=True, cache=True)
def join4(plain: np.ndarray, out: np.ndarray) -> None:
    """Undoes HDF5's shuffle of four-byte values. plain: (4n,) u1, all lowest bytes first; out: (n,) u4."""
    n = len(out)
    for i in range(n):
        low = np.uint32(plain[i]) | np.uint32(plain[n + i]) << 8
        out[i] = low | np.uint32(plain[2 * n + i]) << 16 | np.uint32(plain[3 * n + i]) << 24


@njit(nogil=True, cache=True)
def fletcher32(words: np.ndarray) -> tuple[np.uint64, np.uint64]:
    """Computes the two sums of Fletcher-32 over (n,) u2 words as they lie, modulo 65,535."""
    first, second = U8(0), U8(0)
    for start in range(0, len(words), BLOCK):
        for i in range(start, min(start + BLOCK, len(words))):
            first += U8(words[i])
            second += first
        first %= U8(65535)
        second %= U8(65535)
    return first, second


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
