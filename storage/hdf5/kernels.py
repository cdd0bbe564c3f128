"""Chunks of a stored column to values, compiled: checksum, unshuffling, unpacking. chunks.py and packing.py do it by numpy.

Nothing here holds the interpreter's lock or allocates. Nothing calls what is in another file, so numba's own cache, which looks
at this one, never serves stale code. Planes are slices: what is indexed by a sum may be negative for all that the compiler
knows, and is not vectorised then.
"""

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room

go_on_without_room()
U4, U8 = np.uint32, np.uint64
BLOCK = 4096  # words between two reductions of a checksum's sums: 64 bits hold them many times over


@njit(nogil=True, cache=True)
def join2(plain: np.ndarray, out: np.ndarray) -> None:
    """Undoes HDF5's shuffle of two-byte values. plain: (2n,) u1, all low bytes first; out: (n,) u2."""
    n = len(out)
    a, b = plain[:n], plain[n : 2 * n]
    for i in range(n):
        out[i] = np.uint16(a[i]) | np.uint16(b[i]) << np.uint16(8)


@njit(nogil=True, cache=True)
def join4(plain: np.ndarray, out: np.ndarray) -> None:
    """Undoes HDF5's shuffle of four-byte values. plain: (4n,) u1, all lowest bytes first; out: (n,) u4."""
    n = len(out)
    a, b, c, d = plain[:n], plain[n : 2 * n], plain[2 * n : 3 * n], plain[3 * n : 4 * n]
    for i in range(n):
        out[i] = U4(a[i]) | U4(b[i]) << U4(8) | U4(c[i]) << U4(16) | U4(d[i]) << U4(24)


@njit(nogil=True, cache=True)
def join8(plain: np.ndarray, out: np.ndarray) -> None:
    """Undoes HDF5's shuffle of eight-byte values. plain: (8n,) u1, all lowest bytes first; out: (n,) u8."""
    n = len(out)
    a, b, c, d = plain[:n], plain[n : 2 * n], plain[2 * n : 3 * n], plain[3 * n : 4 * n]
    e, f, g, h = plain[4 * n : 5 * n], plain[5 * n : 6 * n], plain[6 * n : 7 * n], plain[7 * n : 8 * n]
    for i in range(n):
        low = U8(a[i]) | U8(b[i]) << U8(8) | U8(c[i]) << U8(16) | U8(d[i]) << U8(24)
        out[i] = low | U8(e[i]) << U8(32) | U8(f[i]) << U8(40) | U8(g[i]) << U8(48) | U8(h[i]) << U8(56)


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
def unpack(stored: np.ndarray, scale: np.uint64, offset: np.uint64, out: np.ndarray) -> None:
    """Writes stored × scale + offset, modulo 2^64 and cut to the width of `out`.

    stored: (n,) unsigned; out: (n,) unsigned, which may be one field of an array of records.
    """
    for i in range(len(stored)):
        out[i] = U8(stored[i]) * scale + offset
