"""Walk-forward validation with purging and an embargo: a model is judged only on what comes after all that it was trained on.

M. López de Prado, "Advances in Financial Machine Learning", 2018, chapter 7: a label reaches into the future, so moments whose
labels end after the test begins are purged from the training; the embargo keeps a further distance.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

LEAST = 10


class Fold(NamedTuple):
    """Places of the moments to train on, and of those to judge by, which come later."""

    train: np.ndarray
    test: np.ndarray


def folds_of(at_ns: np.ndarray, horizon_ns: int, folds: int, embargo_ns: int) -> Iterator[Fold]:
    """Cuts moments, in order, into folds + 1 stretches; each but the first is judged once, by what came before it.

    at_ns: (n,) i8, rising. A moment is trained on if its label is known (at + horizon_ns) more than embargo_ns before the
    test's first moment. Raises ValueError where there are less than LEAST moments a stretch, or to train on.
    """
    if folds < 2 or len(at_ns) < LEAST * (folds + 1):
        raise ValueError(f"{len(at_ns)} moments with a label are too few for {folds} folds: ten a fold and ten before, 2 folds")
    stretches = np.array_split(np.arange(len(at_ns)), folds + 1)
    for test in stretches[1:]:
        known_ns = at_ns[: test[0]] + horizon_ns
        train = np.flatnonzero(known_ns + embargo_ns < at_ns[test[0]])
        if len(train) < LEAST:
            raise ValueError(
                f"horizon and embargo leave {len(train)} moments to train on before a stretch; {LEAST} are needed: take more "
                "time, fewer folds, or a shorter horizon"
            )
        yield Fold(train, test)
