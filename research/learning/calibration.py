"""From scores to chances that come true: isotonic regression, and how good chances are."""

from typing import NamedTuple

import numpy as np

from tickmesh.research.libraries import library

BANDS = 10
SURE = 1e-6  # a chance is not nearer to 0 or 1 when its logarithm is taken


class Judgement(NamedTuple):
    """How good chances were, by what came. `brier`, `log_loss`: lower is better, and `usual_…` are those of always saying
    `usual`, the share of ups before. `reliability`: of each band of chances (mean chance, share of ups, how many)."""

    moments: int
    ups: float
    brier: float
    log_loss: float
    usual_brier: float
    usual_log_loss: float
    reliability: list[tuple[float, float, int]]


def isotonic(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fits rising chances to (n,) scores and labels: (2, m) f8 of scores and their chances, as learned.chance_of reads them.

    B. Zadrozny and C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """
    of = library("sklearn.isotonic", "calibration", extra="learn")
    regression = of.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    regression.fit(scores, labels.astype("f8"))
    rising = np.concatenate([[True], np.diff(regression.X_thresholds_) > 0])
    return np.array([regression.X_thresholds_[rising], np.clip(regression.y_thresholds_[rising], 0.0, 1.0)])


def logistic_curve() -> np.ndarray:
    """The curve before there is anything to calibrate by: a score is the logit of its chance."""
    points = np.linspace(-12.0, 12.0, 193)
    return np.array([points, 1.0 / (1.0 + np.exp(-points))])


def judged(chances: np.ndarray, labels: np.ndarray, usual: np.ndarray) -> Judgement:
    """Judges (n,) chances of an up by what came, beside `usual`: (n,) the share of ups in what each was trained on."""
    order = np.argsort(chances, kind="stable")
    bands = [part for part in np.array_split(order, BANDS) if len(part)]
    table = [(float(chances[part].mean()), float(labels[part].mean()), len(part)) for part in bands]
    return Judgement(
        len(labels), float(labels.mean()), brier(chances, labels), log_loss(chances, labels), brier(usual, labels),
        log_loss(usual, labels), table,
    )  # fmt: skip


def brier(chances: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared difference; G. W. Brier, Monthly Weather Review 78:1, 1950."""
    return float(((chances - labels) ** 2).mean())


def log_loss(chances: np.ndarray, labels: np.ndarray) -> float:
    """Mean −ln of the chance that was given to what came."""
    kept = np.clip(chances, SURE, 1 - SURE)
    return float(-np.where(labels == 1, np.log(kept), np.log(1 - kept)).mean())
