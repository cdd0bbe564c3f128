"""How often it trades, and since when it has not.

Intensity λ(t) = Σ over trades of (ln 2 ÷ h)·2^(−age ÷ h): the exponential kernel of A. G. Hawkes, "Spectra of some
self-exciting and mutually exciting point processes", Biometrika 58:1, 1971, alone, without a base rate: a trade adds one trade
in all.

A gap in the trades empties the sum, and until the next trade nothing is known of the last one.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.decay import LN2, decay
from tickmesh.nodes.models.interface import Record

TRADING = np.dtype(
    [
        ("known", "<i8"),  # 1: there was a trade
        ("time_ns", "<i8"),  # of it
        ("trades", "<f8"),  # Σ 2^(−age ÷ half life), as of time_ns
    ]
)


@njit(cache=True)
def trading_trade(s: Record, now_ns: int, half_life_ns: float) -> None:
    """Takes a trade into the record `s` of TRADING."""
    before = s.trades * decay(now_ns - s.time_ns, half_life_ns) if s.known == 1 else 0.0
    s.trades = before + 1.0
    s.time_ns = now_ns
    s.known = 1


@njit(cache=True)
def trading_gap(s: Record) -> None:
    """Empties the sum: trades are missing."""
    s.known = 0
    s.trades = 0.0


@njit(cache=True)
def trade_intensity(s: Record, now_ns: int, half_life_ns: float) -> float:
    """Gives the decayed rate as of `now_ns`, in trades a second; NaN until the first trade."""
    if s.known == 0:
        return np.nan
    return float(s.trades) * decay(now_ns - s.time_ns, half_life_ns) * (LN2 / half_life_ns * 1e9)


@njit(cache=True)
def since_trade_s(s: Record, now_ns: int) -> float:
    """Gives the seconds since the last trade; NaN until the first."""
    return float(now_ns - s.time_ns) * 1e-9 if s.known == 1 else np.nan
