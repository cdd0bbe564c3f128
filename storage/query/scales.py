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
