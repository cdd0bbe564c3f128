"""Which signals mean anything: those in the range that their model declares."""

from math import isfinite
from typing import Any

RANGE = (-1.0, 1.0)  # of a model whose `run` event states none: what a kernel without RANGE gives


def declared_range(run: dict[str, Any]) -> tuple[float, float]:
    """(least, most) of a model's values by its `run` event; RANGE where that has none, or no such two finite numbers."""
    match run.get("range"):
        case [int() | float() as least, int() | float() as most] if least < most and isfinite(least) and isfinite(most):
            return float(least), float(most)
    return RANGE
