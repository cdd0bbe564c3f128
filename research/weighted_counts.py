"""Means and quantiles of any number of values in bounded memory: they are counted in bins."""

from collections.abc import Iterable

import numpy as np

FINE = 100  # bins of a power of ten: each is 2.3 % wide


class WeightedCounts:
    """Counts values with weights, in bins of `width`; with 0, only values above 0, in bins that are each 2.3 % wide."""

    def __init__(self, width: float = 0.0):
        self._width = width
        self._bins: dict[int, float] = {}
        self._sum = 0.0
        self.weight, self.count, self.least = 0.0, 0, np.inf

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Takes values (n,) with their weights (n,), else 1 each; a weight of 0 and NaN are left out."""
        weights = np.ones(len(values)) if weights is None else weights
        keep = (weights > 0) & ~np.isnan(values)
        keep &= values > 0 if not self._width else True
        values, weights = values[keep], weights[keep]
        if not len(values):
            return
        self.least = min(self.least, float(values.min()))
        self.count += len(values)
        self.weight += float(weights.sum())
        self._sum += float((values * weights).sum())
        place = values / self._width if self._width else np.log10(values) * FINE
        bins, which = np.unique(np.floor(place).astype("i8"), return_inverse=True)
        for one, weight in zip(bins.tolist(), np.bincount(which, weights).tolist()):
            self._bins[one] = self._bins.get(one, 0.0) + weight

    @property
    def mean(self) -> float:
        """The weighted mean; NaN of nothing."""
        return self._sum / self.weight if self.weight else float("nan")

    def quantiles(self, shares: Iterable[float]) -> tuple[float, ...]:
        """The middle of the bin in which each share of the weight is reached; NaN of nothing."""
        bins = sorted(self._bins)
        if not bins:
            return tuple(float("nan") for _ in shares)
        reached = np.cumsum([self._bins[one] for one in bins])
        middles = [bins[min(int(np.searchsorted(reached, share * reached[-1])), len(bins) - 1)] + 0.5 for share in shares]
        return tuple(float(one * self._width if self._width else 10 ** (one / FINE)) for one in middles)
