"""What trades cost: the effective spread against the mid, Roll's from prices alone; and how aggressors follow one another.

Effective spread: mean of 2·side·(price − mid); R. D. Huang and H. R. Stoll, "Dealer versus auction markets", Journal of
Financial Economics 41:3, 1996. Roll's: 2·√(−cov(Δp, Δp′)) of consecutive price changes, 0 where the covariance is not negative;
R. Roll, "A simple implicit measure of the effective bid-ask spread", Journal of Finance 39:4, 1984. Autocorrelation of signs at
a lag: F. Lillo and J. D. Farmer, "The long memory of the efficient market", Studies in Nonlinear Dynamics & Econometrics 8:3,
2004. A trade's weight halves with every `half life` trades after it.

A gap in the trades ends the comparison with earlier ones; the means stay. A trade whose mid is not known has no effective
spread.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.moments import MOMENTS, observe
from tickmesh.nodes.models.interface import Record

LAG_MAX = 32
LEAST = 30  # pairs, before there is a value
TRADE_COSTS = np.dtype(
    [
        ("weight", "<f8"),  # of the effective spread's mean
        ("paid", "<f8"),  # Σ weight · 2·side·(price − mid), ticks
        ("run", "<i8"),  # trades since the last gap
        ("price_ticks", "<i8"),  # of the last one
        ("change_ticks", "<f8"),  # from the one before it
        ("signs", "i1", (LAG_MAX,)),  # of the last trades, trade n at n % LAG_MAX
        ("changes", MOMENTS),  # (Δp, Δp before)
        ("pairs", MOMENTS),  # (sign, sign `lag` trades before)
    ]
)


@njit(cache=True)
def costs_trade(
    s: Record, half_life_trades: float, lag: int, side: int, price_ticks: int, mid_known: int, bid_ticks: int, ask_ticks: int
) -> None:
    """Takes a trade into the record `s` of TRADE_COSTS. `side`: +1 a buyer was the aggressor, −1 a seller; lag < LAG_MAX."""
    kept = decay(1, half_life_trades)
    if mid_known == 1:
        s.weight = s.weight * kept + 1.0
        s.paid = s.paid * kept + float(side * (2 * price_ticks - bid_ticks - ask_ticks))
    if s.run >= 1:
        change = float(price_ticks - s.price_ticks)
        if s.run >= 2:
            observe(s.changes, change, s.change_ticks, kept)
        s.change_ticks = change
    if s.run >= lag:
        observe(s.pairs, float(side), float(s.signs[(s.run - lag) % LAG_MAX]), kept)
    s.signs[s.run % LAG_MAX] = side
    s.price_ticks = price_ticks
    s.run += 1


@njit(cache=True)
def costs_gap(s: Record) -> None:
    """Ends the comparison with earlier trades: others are missing."""
    s.run = 0


@njit(cache=True)
def effective_spread(s: Record) -> float:
    """Gives the mean of 2·side·(price − mid), in ticks; NaN until a trade with a known mid."""
    return s.paid / s.weight if s.weight > 0.0 else np.nan


@njit(cache=True)
def roll_spread(s: Record) -> float:
    """Gives Roll's spread, in ticks; NaN until LEAST pairs of price changes."""
    if s.changes.count < LEAST:
        return np.nan
    covariance = s.changes.xy / s.changes.weight
    return 2.0 * np.sqrt(-covariance) if covariance < 0.0 else 0.0


@njit(cache=True)
def sign_autocorrelation(s: Record) -> float:
    """Gives the correlation of signs a lag apart, −1 … +1; NaN until LEAST pairs, and where one sign is all that there was."""
    pairs = s.pairs
    if pairs.count < LEAST or not (pairs.xx > 0.0 and pairs.yy > 0.0):
        return np.nan
    return float(pairs.xy / (np.sqrt(pairs.xx) * np.sqrt(pairs.yy)))
