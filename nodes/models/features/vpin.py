"""VPIN: how one-sided the volume has been, in buckets of equal volume.

Σ |bought − sold| over the last BUCKETS full buckets ÷ their volume. D. Easley, M. López de Prado and M. O'Hara, "Flow toxicity
and liquidity in a high-frequency world", Review of Financial Studies 25:5, 2012. They classify volume in bulk; venues here say
who was the aggressor, so a trade counts as bought or sold as it is. A trade that is larger than what is left of a bucket goes
on in the next one. Integers all the way: the same whatever was before the oldest bucket.

A gap in the trades empties all buckets.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.interface import Record

BUCKETS = 50
VPIN = np.dtype(
    [
        ("bought", "<i8"),  # lots in the open bucket
        ("sold", "<i8"),
        ("filled", "<i8"),  # buckets filled since all were empty
        ("sizes", "<i8", (BUCKETS,)),  # |bought − sold| of the last ones, bucket n at n % BUCKETS
    ]
)


@njit(cache=True)
def vpin_trade(s: Record, bucket_lots: int, side: int, quantity_lots: int) -> None:
    """Takes a trade into the record `s` of VPIN. `bucket_lots`: the volume of a bucket, at least 1."""
    left = quantity_lots
    room = bucket_lots - s.bought - s.sold
    while left >= room:
        more = side * room
        s.sizes[s.filled % BUCKETS] = abs(s.bought - s.sold + more)
        s.filled += 1
        s.bought = 0
        s.sold = 0
        left -= room
        room = bucket_lots
        if left // bucket_lots > BUCKETS:  # all that is remembered will be of this trade alone
            skipped = left // bucket_lots - BUCKETS
            s.filled += skipped
            left -= skipped * bucket_lots
    if side > 0:
        s.bought += left
    else:
        s.sold += left


@njit(cache=True)
def vpin_gap(s: Record) -> None:
    """Empties all buckets: trades are missing."""
    s.bought = 0
    s.sold = 0
    s.filled = 0


@njit(cache=True)
def vpin(s: Record, bucket_lots: int) -> float:
    """Gives VPIN, 0 … 1; NaN until BUCKETS buckets are full."""
    if s.filled < BUCKETS:
        return np.nan
    total = np.int64(0)
    for i in range(BUCKETS):
        total += s.sizes[i]
    return float(total) / (float(BUCKETS) * float(bucket_lots))
