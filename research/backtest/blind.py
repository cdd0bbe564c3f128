"""A kernel that cannot see what comes: it is given one event at a time, with the records of that event and no others."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from tickmesh.nodes.models.interface import DEPTH, QUOTE, SIGNALS_PER_ROW, TRADE

COMPILED_MAX = 32  # kernels whose loops are kept
Kernel = Callable[..., int]


@lru_cache(COMPILED_MAX)
def one_event_at_a_time(kernel: Kernel) -> Kernel:
    """Builds a kernel of the same arguments and answers that hands `kernel` each row alone, in arrays that end with it.

    What looks beyond its row finds nothing, where over columns it would find the future. Gives −1 for answers that break the
    rules (nodes/models/interface.py).
    """

    @njit(nogil=True)
    def run(
        state: Any, parameters: Any, units: Any, rows: np.ndarray, count: Any, quotes: np.ndarray, trades: np.ndarray,
        levels: np.ndarray, out: np.ndarray,
    ) -> Any:  # fmt: skip
        n = 0
        one = rows[:1].copy()
        for r in range(count):
            one[0] = rows[r]
            first, last = one[0].first, one[0].first + one[0].count
            one[0].first = 0
            q, t, d = (one[0].kind == QUOTE, one[0].kind == TRADE, one[0].kind == DEPTH)
            got = kernel(
                state, parameters, units, one, 1, quotes[first * q : last * q], trades[first * t : last * t],
                levels[first * d : last * d], out[n : n + SIGNALS_PER_ROW],
            )  # fmt: skip
            if got < 0 or got > SIGNALS_PER_ROW:
                return -1
            for i in range(n, n + got):
                if out[i].row != 0:
                    return -1
                out[i].row = r
            n += got
        return n

    return run
