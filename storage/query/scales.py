"""Mantissas as decimal numbers."""

import numpy as np


def scaled(mantissas: np.ndarray, exponent: int | np.ndarray) -> np.ndarray:
    """Computes mantissa × 10^exponent as float64, correctly rounded for mantissas below 2^53 (a division by an exact power)."""
    if isinstance(exponent, np.ndarray):
        out = np.zeros(len(mantissas))
        for one in np.unique(exponent).tolist():
            out[exponent == one] = scaled(mantissas[exponent == one], one)
        return out
    return mantissas / 10.0**-exponent if exponent < 0 else mantissas * 10.0**exponent


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Computes the exact products of two arrays of int64 as int128: shape (n, 2), int64, the low half first."""
    a, b = np.abs(left.astype("i8")).view("u8"), np.abs(right.astype("i8")).view("u8")  # of −2^63 it is 2^63, as it should
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    least, cross, other = (a & low) * (b & low), (a & low) * (b >> half), (a >> half) * (b & low)
    middle = (least >> half) + (cross & low) + (other & low)
    out = np.empty((len(a), 2), "u8")
    out[:, 0] = (least & low) | (middle << half)
    out[:, 1] = (a >> half) * (b >> half) + (cross >> half) + (other >> half) + (middle >> half)
    negative = (left < 0) != (right < 0)
    out[negative] = ~out[negative]
    out[negative, 0] += np.uint64(1)
    out[negative, 1] += out[negative, 0] == 0
    return out.view("i8")
