"""Mantissas as decimal numbers, and what their columns are called then."""

import numpy as np


def decimal_name(name: str) -> str:
    """The name of a field once scaled: `price_ticks` → `price`, `bid_ticks` → `bid_price`, `bid_lots` → `bid_quantity`."""
    for suffix, noun in (("_ticks", "price"), ("_lots", "quantity")):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            return noun if stem == noun else f"{stem}_{noun}"
    return name


def scaled(mantissas: np.ndarray, exponent: int | np.ndarray) -> np.ndarray:
    """Computes mantissa × 10^exponent as float64, correctly rounded for mantissas below 2^53 (a division by an exact power)."""
    if isinstance(exponent, np.ndarray):
        out = np.zeros(len(mantissas))
        for one in np.unique(exponent).tolist():
            out[exponent == one] = scaled(mantissas[exponent == one], one)
        return out
    return mantissas / 10.0**-exponent if exponent < 0 else mantissas * 10.0**exponent
