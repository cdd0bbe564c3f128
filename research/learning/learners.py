"""Two learners of chances: online logistic regression (own kernel), and gradient-boosted trees (scikit-learn) as flat arrays.

What is learned is what nodes/models/learned.py computes with: a linear part, or trees. A score is the logit of a chance
before it is calibrated.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from tickmesh.nodes.models.learned import LEAF, score_of
from tickmesh.research.libraries import library

Learner = Literal["boosted", "logistic"]
RATE, HALF = 0.05, 2000.0  # of a step of the online regression: it halves its first size after HALF moments
SHRINK = 1e-4
LEAST = 1e-12  # of a scale: a feature that never changes says nothing


class Learned(NamedTuple):
    """The arrays of learned.score_of."""

    linear: np.ndarray
    bias: float
    roots: np.ndarray
    links: np.ndarray
    numbers: np.ndarray

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Computes the score of each row of (n, features) f8."""
        scores: np.ndarray = _scores(np.ascontiguousarray(values), *self)
        return scores


@njit  # not kept: it calls what is in another file, whose change numba's cache would not see
def _scores(
    values: np.ndarray, linear: np.ndarray, bias: float, roots: np.ndarray, links: np.ndarray, numbers: np.ndarray
) -> np.ndarray:  # fmt: skip
    scores = np.empty(len(values))
    for i in range(len(values)):
        scores[i] = score_of(values[i], linear, bias, roots, links, numbers)
    return scores


def fit(learner: Learner, values: np.ndarray, labels: np.ndarray, seed: int, trees: int = 60) -> Learned:
    """Learns from (n, features) f8 and (n,) labels 0 or 1, in order of time. The same input gives the same bits.

    Raises ValueError where only one label is there, ReadError where scikit-learn is wanted and missing.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError(f"all {len(labels)} labels are the same: nothing to tell apart; take more time, or another horizon")
    return _boosted(values, labels, seed, trees) if learner == "boosted" else _online(values, labels)


def _online(values: np.ndarray, labels: np.ndarray) -> Learned:
    """One pass of stochastic gradient steps, each feature measured by its mean and deviation; what is not known is its mean."""
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0.0).sum(0) / count
        scale = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / count)
    usable = scale > LEAST
    scale = np.where(usable, scale, 1.0)
    scaled = np.where(known & usable, (values - mean) / scale, 0.0)
    weight, bias = _descend(scaled, labels.astype("f8"))
    linear = np.column_stack([mean, scale, np.where(usable, weight, 0.0)])
    return Learned(linear, float(bias), np.zeros(0, "i4"), np.zeros((0, 4), "i4"), np.zeros((0, 2)))


@njit(cache=True)
def _descend(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Robbins and Monro's steps on the log loss, with a ridge; the weights are the mean over the second half (Polyak)."""
    weight, bias = np.zeros(values.shape[1]), 0.0
    mean_weight, mean_bias, averaged = np.zeros(values.shape[1]), 0.0, 0
    for i in range(len(values)):
        score = bias
        for j in range(len(weight)):
            score += weight[j] * values[i, j]
        wrong = 1.0 / (1.0 + np.exp(-min(max(score, -30.0), 30.0))) - labels[i]
        step = RATE / (1.0 + i / HALF)
        bias -= step * wrong
        for j in range(len(weight)):
            weight[j] -= step * (wrong * values[i, j] + SHRINK * weight[j])
        if 2 * i >= len(values):
            averaged += 1
            mean_bias += (bias - mean_bias) / averaged
            for j in range(len(weight)):
                mean_weight[j] += (weight[j] - mean_weight[j]) / averaged
    return mean_weight, mean_bias


def _boosted(values: np.ndarray, labels: np.ndarray, seed: int, trees: int) -> Learned:
    """Small trees by scikit-learn's histogram boosting, on one thread: more of them add in an order of their own."""
    ensemble = library("sklearn.ensemble", "learning trees", extra="learn")
    limits = library("threadpoolctl", "learning trees", extra="learn").threadpool_limits
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=trees, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=max(20, len(labels) // 200), max_bins=63,
        l2_regularization=1.0, early_stopping=False, random_state=seed,
    )  # fmt: skip
    with limits(limits=1):
        model.fit(values, labels)
        learned = flattened(model, values.shape[1])
        theirs = model.decision_function(values)
    if learned.scores(values).tobytes() != theirs.tobytes():
        raise ValueError("this version of scikit-learn keeps its trees in another way: take --learner logistic")
    return learned


def flattened(model: Any, features: int) -> Learned:
    """The trees of a fitted HistGradientBoostingClassifier of two classes as flat arrays; its scores are ours to the last bit.

    It has no public form of its trees: `_predictors` and `_baseline_prediction` are its own, and whoever calls this compares.
    """
    roots, links, numbers = [], [np.zeros((0, 4), "i4")], [np.zeros((0, 2))]
    at = 0
    for (tree,) in model._predictors:
        nodes = tree.nodes
        leaf = nodes["is_leaf"].astype(bool)
        link = np.zeros((len(nodes), 4), "i4")
        link[:, 0] = np.where(leaf, LEAF, nodes["feature_idx"])
        link[:, 1], link[:, 2] = nodes["left"] + at, nodes["right"] + at
        link[:, 3] = nodes["missing_go_to_left"]
        link[leaf, 1:] = 0
        roots.append(at)
        links.append(link)
        numbers.append(np.column_stack([np.where(leaf, 0.0, nodes["num_threshold"]), nodes["value"]]))
        at += len(nodes)
    linear = np.tile([0.0, 1.0, 0.0], (features, 1))
    bias = float(np.ravel(model._baseline_prediction)[0])
    return Learned(linear, bias, np.array(roots, "i4"), np.concatenate(links), np.concatenate(numbers))
