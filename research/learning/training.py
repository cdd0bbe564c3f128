"""From samples to weights: judged by walk-forward, calibrated by what was judged, then learned from all of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tickmesh.nodes.models.features.table import PARAMETERS
from tickmesh.nodes.models.learned import chance_of
from tickmesh.nodes.models.weights import Weights
from tickmesh.research.learning.calibration import Judgement, isotonic, judged, logistic_curve
from tickmesh.research.learning.learners import Learned, Learner, fit
from tickmesh.research.learning.samples import UP, Samples
from tickmesh.research.learning.walk_forward import Fold, folds_of


class LearningTerms(NamedTuple):
    """How to learn: `embargo_ns` beside the horizon between training and test; `seed` of what is drawn."""

    learner: Learner = "boosted"
    folds: int = 5
    embargo_ns: int = 0
    seed: int = 1


class Training(NamedTuple):
    """What was learned, and how good it was on what it had not seen. `purged`: moments left out of each fold's training."""

    weights: Weights
    judgement: Judgement
    purged: list[int]


def train(
    samples: Samples, terms: LearningTerms, parameters: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None, shown: Callable[[int, int], None] = lambda done, of: None,
) -> Training:  # fmt: skip
    """Learns from samples (undecided ones are left out). Raises ValueError where they are too few or all of one kind.

    Each fold's chances are those of a model and a calibration that had only what came before it: the scores of earlier folds
    calibrate the next one, purged as its training is. The weights are learned from all, and calibrated by all scores of the
    folds.
    """
    decided = samples.decided()
    labels = (decided.labels == UP).astype("i8")
    folds = list(folds_of(decided.at_ns, decided.horizon_ns, terms.folds, terms.embargo_ns))
    scores: list[np.ndarray] = []
    chances: list[np.ndarray] = []
    usual: list[np.ndarray] = []
    purged: list[int] = []
    for number, fold in enumerate(folds):
        shown(number, len(folds) + 1)
        learned = _fitted(fold, decided, labels, terms)
        own = learned.scores(decided.values[fold.test])
        curve = logistic_curve()
        if number:
            earlier = np.concatenate([one.test for one in folds[:number]])
            known = earlier <= fold.train[-1]  # their labels, when the test begins
            if known.any():
                curve = isotonic(np.concatenate(scores)[known], labels[earlier[known]])
        chances.append(chances_of(own, curve))
        scores.append(own)
        usual.append(np.full(len(fold.test), labels[fold.train].mean()))
        purged.append(int(fold.test[0]) - len(fold.train))
    tested = np.concatenate([fold.test for fold in folds])
    judgement = judged(np.concatenate(chances), labels[tested], np.concatenate(usual))
    shown(len(folds), len(folds) + 1)
    final = fit(terms.learner, decided.values, labels, terms.seed)
    shown(len(folds) + 1, len(folds) + 1)
    curve = isotonic(np.concatenate(scores), labels[tested])
    given = {name: float((parameters or {}).get(name, one.default)) for name, one in PARAMETERS.items()}
    made = {
        **(facts or {}), **terms._asdict(), "horizon_ns": decided.horizon_ns, "moments": len(samples.labels),
        "decided": len(labels), "begin_ns": int(decided.at_ns[0]), "end_ns": int(decided.at_ns[-1]),
        "brier": judgement.brier, "usual_brier": judgement.usual_brier,
    }  # fmt: skip
    return Training(Weights(decided.names, given, *final, curve, made), judgement, purged)


def _fitted(fold: Fold, samples: Samples, labels: np.ndarray, terms: LearningTerms) -> Learned:
    return fit(terms.learner, samples.values[fold.train], labels[fold.train], terms.seed)


def chances_of(scores: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """The chances of (n,) scores, by the function that a live model calls."""
    return np.array([chance_of(float(score), curve) for score in scores])
