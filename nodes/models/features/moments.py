"""Means, variances and covariance of pairs, the past forgotten by a factor for each observation.

Incremental and therefore stable: D. H. D. West, "Updating mean and variance estimates: an improved method", Communications of
the ACM 22:9, 1979, with weights kept^age.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.interface import Record

MOMENTS = np.dtype(
    [
        ("count", "<i8"),  # observations so far
        ("weight", "<f8"),  # Σ kept^age
        ("mean_x", "<f8"),
        ("mean_y", "<f8"),
        ("xx", "<f8"),  # Σ kept^age · (x − mean)²
        ("yy", "<f8"),
        ("xy", "<f8"),
    ]
)


@njit(cache=True)
def observe(m: Record, x: float, y: float, kept: float) -> None:
    """Adds a pair to the record `m` of MOMENTS; what was before counts `kept` times (0 … 1)."""
    before = m.weight * kept
    m.count += 1
    m.weight = before + 1.0
    share = before / m.weight
    dx = x - m.mean_x
    dy = y - m.mean_y
    m.mean_x += dx / m.weight
    m.mean_y += dy / m.weight
    m.xx = m.xx * kept + dx * dx * share
    m.yy = m.yy * kept + dy * dy * share
    m.xy = m.xy * kept + dx * dy * share


@njit(cache=True)
def forget_all(m: Record) -> None:
    """Puts a record of MOMENTS to the start: what comes is in other units."""
    m.count = 0
    m.weight = 0.0
    m.mean_x = 0.0
    m.mean_y = 0.0
    m.xx = 0.0
    m.yy = 0.0
    m.xy = 0.0
