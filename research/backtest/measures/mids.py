"""The mid price of an instrument at any time, from its best quotes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mids:
    """Mid prices in order of time: `time_ns` int64 (n,), `mid` float64 (n,), `spread` float64 (n,), ask − bid.

    Of quotes with both sides only: an empty or crossed one leaves the mid before it standing. `dropped` counts those.
    """

    time_ns: np.ndarray
    mid: np.ndarray
    spread: np.ndarray
    dropped: int

    def at(self, time_ns: np.ndarray) -> np.ndarray:
        """Mids of the last quotes at or before these times, float64; NaN before the first."""
        return self._of(np.searchsorted(self.time_ns, time_ns, "right") - 1)

    def before(self, time_ns: np.ndarray) -> np.ndarray:
        """Mids of the last quotes strictly before these times, float64: what something met; NaN before the first."""
        return self._of(np.searchsorted(self.time_ns, time_ns, "left") - 1)

    def valuing(self, time_ns: np.ndarray) -> np.ndarray:
        """As `at`; before the first quote its mid, so that what is held gains nothing until there is a price. Needs a quote."""
        return self.mid[np.maximum(np.searchsorted(self.time_ns, time_ns, "right") - 1, 0)]

    def _of(self, places: np.ndarray) -> np.ndarray:
        found = np.full(len(places), np.nan)
        known = places >= 0
        found[known] = self.mid[places[known]]
        return found


def mids_of(marks: np.ndarray | None) -> Mids:
    """Mid prices of best quotes (dtype QUOTE_MARK, in order of time); of None: no price at any time."""
    if marks is None:
        return Mids(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0)
    bid, ask = marks["bid"], marks["ask"]
    whole = (bid > 0.0) & (ask >= bid) & np.isfinite(ask)
    if not whole.all():
        marks = marks[whole]
        bid, ask = marks["bid"], marks["ask"]
    return Mids(np.ascontiguousarray(marks["time_ns"]), (bid + ask) / 2.0, ask - bid, int(len(whole) - whole.sum()))
