"""What a learned model computes: a score by weights and trees, and the chance that it stands for, of frozen arrays."""

import numpy as np
from numba import njit

from tickmesh.nodes.models.interface import Floats, Records

LEAF = -1


@njit(cache=True)
def score_of(
    values: Floats, linear: Floats, bias: float, roots: Records, links: Records, numbers: Floats
) -> float:  # fmt: skip
    """Computes bias + Σ weight·(value − mean) ÷ scale + Σ over trees of the leaf that the values lead to, in this order.

    values: (n,) f8, NaN: not known, which adds nothing to the sum, and in a tree goes where the tree says. linear: (n, 3) f8
    of mean, scale, weight; links: (nodes, 4) i4 of feature (LEAF: none), left, right, whether NaN goes left; numbers:
    (nodes, 2) f8 of threshold (≤ goes left) and value; roots: (trees,) i4, where each tree begins.
    """
    score = bias
    for i in range(len(linear)):
        if linear[i, 2] != 0.0 and not np.isnan(values[i]):
            score += linear[i, 2] * ((values[i] - linear[i, 0]) / linear[i, 1])
    for tree in range(len(roots)):
        node = roots[tree]
        while links[node, 0] != LEAF:
            value = values[links[node, 0]]
            left = links[node, 3] != 0 if np.isnan(value) else value <= numbers[node, 0]
            node = links[node, 1] if left else links[node, 2]
        score += numbers[node, 1]
    return score


@njit(cache=True)
def chance_of(score: float, curve: Floats) -> float:
    """Gives the chance of a score, 0 … 1: linear between the points of `curve`, (2, m) f8 of rising scores and chances."""
    scores, chances = curve[0], curve[1]
    last = len(scores) - 1
    if score <= scores[0]:
        return float(chances[0])
    if score >= scores[last]:
        return float(chances[last])
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if scores[middle] <= score:
            low = middle
        else:
            high = middle
    share = (score - scores[low]) / (scores[high] - scores[low])
    return float(chances[low] + (chances[high] - chances[low]) * share)
