"""Realised volatility of the mid, and the part of it that is no jump: bipower variation.

The mid is sampled at every multiple of an interval Δ (the last quote up to then); r = ln of consecutive samples' ratio.
Realised: √(mean of r² ÷ Δ); bipower: √(π ÷ 2 · mean of |r|·|r before| ÷ Δ), which single jumps leave alone. O. E.
Barndorff-Nielsen and N. Shephard, "Power and bipower variation with stochastic volatility and jumps", Journal of Financial
Econometrics 2:1, 2004. A return's weight halves with every `half life` returns after it. A sample is taken when the first
quote after its time comes.

A gap in the quotes, or an empty side, drops the return that it lies in and the pairs over it; the means stay.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.logarithm import natural_log
from tickmesh.nodes.models.features.touch import is_whole
from tickmesh.nodes.models.interface import Record

LEAST = 10  # returns, before there is a value
HALF_PI = 1.5707963267948966
VOLATILITY = np.dtype(
    [
        ("known", "<i8"),  # 1: `mid` stands
        ("sampled", "<i8"),  # samples since the last gap
        ("interval", "<i8"),  # the running one: (interval·Δ, (interval + 1)·Δ]
        ("mid", "<i8"),  # bid + ask, ticks
        ("sample", "<i8"),  # bid + ask at the last sample
        ("size", "<f8"),  # |r| of the return before
        ("count", "<i8"),  # returns so far
        ("weight", "<f8"),
        ("squares", "<f8"),  # Σ weight · r²
        ("pairs", "<f8"),  # weight of the pairs
        ("products", "<f8"),  # Σ weight · |r|·|r before|
    ]
)


@njit(cache=True)
def volatility_quote(
    s: Record, now_ns: int, sample_ns: int, half_life_returns: float, bid_ticks: int, bid_lots: int, ask_ticks: int,
    ask_lots: int,
) -> None:  # fmt: skip
    """Takes a quote into the record `s` of VOLATILITY."""
    if not is_whole(bid_ticks, bid_lots, ask_ticks, ask_lots):
        volatility_gap(s)
        return
    interval = (now_ns - 1) // sample_ns
    if s.known == 1 and interval > s.interval:
        kept = decay(1, half_life_returns)
        _sample(s, kept)
        silent = interval - s.interval - 1
        if silent > 0:
            _still(s, silent, kept, decay(silent, half_life_returns))
    s.interval = interval
    s.known = 1
    s.mid = bid_ticks + ask_ticks


@njit(cache=True)
def _sample(s: Record, kept: float) -> None:
    """Samples the mid that stands, once."""
    if s.sampled > 0:
        r = natural_log(float(s.mid) / float(s.sample))
        s.weight = s.weight * kept + 1.0
        s.squares = s.squares * kept + r * r
        if s.sampled > 1:
            s.pairs = s.pairs * kept + 1.0
            s.products = s.products * kept + abs(r) * s.size
        s.size = abs(r)
        s.count += 1
    s.sample = s.mid
    s.sampled += 1


@njit(cache=True)
def _still(s: Record, silent: int, kept: float, all_kept: float) -> None:
    """Adds `silent` returns of zero: kept^silent is `all_kept`."""
    returned = (1.0 - all_kept) / (1.0 - kept)
    s.weight = s.weight * all_kept + returned
    s.squares *= all_kept
    paired = silent if s.sampled > 1 else silent - 1  # the first return after a gap has none before it
    if paired == silent:
        s.pairs = s.pairs * all_kept + returned
        s.products *= all_kept
    elif paired > 0:
        s.pairs = s.pairs * (all_kept / kept) + (1.0 - all_kept / kept) / (1.0 - kept)
        s.products *= all_kept / kept
    s.size = 0.0
    s.count += silent
    s.sampled += silent


@njit(cache=True)
def volatility_gap(s: Record) -> None:
    """Drops the return that is running: quotes are missing."""
    s.known = 0
    s.sampled = 0


@njit(cache=True)
def realised_volatility(s: Record, sample_ns: int) -> float:
    """Gives √(mean r² ÷ Δ), per √second; NaN until LEAST returns."""
    return float(np.sqrt(s.squares / s.weight / (float(sample_ns) * 1e-9))) if s.count >= LEAST else np.nan


@njit(cache=True)
def bipower_volatility(s: Record, sample_ns: int) -> float:
    """Gives √(π ÷ 2 · mean |r|·|r before| ÷ Δ), per √second; NaN until LEAST returns, two of them in a row."""
    if s.count < LEAST or s.pairs <= 0.0:
        return np.nan
    return float(np.sqrt(HALF_PI * s.products / s.pairs / (float(sample_ns) * 1e-9)))
