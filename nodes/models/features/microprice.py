"""The micro-price: the mid plus the move that is expected of it, by imbalance and spread, estimated from the quotes so far.

S. Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18:12, 2018. A state is one of
IMBALANCES bands of B ÷ (B + A) and one of SPREADS widths in price steps (the last: that and wider). From quote to quote the
mid stays (Q: by states) or moves (T: by states; r: the mean move). G₁ = (1 − Q)⁻¹ r, B = (1 − Q)⁻¹ T, and the adjustment is
G₁ + B G₁ + … + B⁵ G₁. Each step is counted twice, mirrored too, so the adjustment of a balanced book is zero. Each state has
one step more that leads nowhere and is worth nothing: then 1 − Q can always be solved, and what is not seen is not adjusted.

The price step is the greatest that all prices so far are multiples of; counts begin anew when it becomes smaller. Adjustments
are those of the last fit, one every `refit` steps. A gap in the quotes, or an empty side, drops the step over it; counts stay.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.features.touch import is_whole
from tickmesh.nodes.models.interface import Record

IMBALANCES, SPREADS = 10, 3
STATES = IMBALANCES * SPREADS
TERMS = 6
MICROPRICE = np.dtype(
    [
        ("known", "<i8"),  # 1: the quote below stands
        ("place", "<i8"),  # its state
        ("mid", "<i8"),  # bid + ask, ticks
        ("price_step", "<i8"),  # ticks; 0 before the first quote
        ("steps", "<i8"),  # counted so far
        ("fits", "<i8"),
        ("stays", "<f8", (STATES, STATES)),
        ("moves", "<f8", (STATES, STATES)),
        ("change", "<f8", (STATES,)),  # Σ of the changes of bid + ask, ticks
        ("adjustment", "<f8", (STATES,)),  # of bid + ask, ticks
    ]
)


@njit(cache=True)
def microprice_quote(s: Record, refit_steps: int, bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int) -> None:
    """Takes a quote into the record `s` of MICROPRICE."""
    if not is_whole(bid_ticks, bid_lots, ask_ticks, ask_lots):
        s.known = 0
        return
    _measure_step(s, bid_ticks, ask_ticks)
    share = float(bid_lots) / (float(bid_lots) + float(ask_lots))
    band = min(int(share * IMBALANCES), IMBALANCES - 1)
    width = min(max((ask_ticks - bid_ticks) // s.price_step, 1), SPREADS) - 1
    place = width * IMBALANCES + band
    mid = bid_ticks + ask_ticks
    if s.known == 1:
        mirrored, before = _mirrored(place), _mirrored(s.place)
        change = float(mid - s.mid)
        if mid == s.mid:
            s.stays[s.place, place] += 1.0
            s.stays[before, mirrored] += 1.0
        else:
            s.moves[s.place, place] += 1.0
            s.moves[before, mirrored] += 1.0
            s.change[s.place] += change
            s.change[before] -= change
        s.steps += 1
        if s.steps % refit_steps == 0:
            _fit(s)
    s.known = 1
    s.place = place
    s.mid = mid


@njit(cache=True)
def _mirrored(place: int) -> int:
    """The state with bid and ask exchanged."""
    return place - place % IMBALANCES + IMBALANCES - 1 - place % IMBALANCES


@njit(cache=True)
def _measure_step(s: Record, bid_ticks: int, ask_ticks: int) -> None:
    """Finds the greatest common divisor of all prices so far; forgets the counts when it changes."""
    step = s.price_step
    if step > 0 and bid_ticks % step == 0 and ask_ticks % step == 0:
        return
    for price in (bid_ticks, ask_ticks):
        rest = price
        while rest > 0:
            step, rest = rest, step % rest
    s.price_step = step
    s.known = 0
    s.steps = 0
    s.fits = 0
    s.stays[:] = 0.0
    s.moves[:] = 0.0
    s.change[:] = 0.0


@njit(cache=True)
def _fit(s: Record) -> None:
    """Solves (1 − Q) X = (T, r) by elimination, which needs no exchange of rows: the diagonal outweighs each row."""
    a = np.zeros((STATES, 2 * STATES + 1))
    for i in range(STATES):
        count = 1.0
        for j in range(STATES):
            count += s.stays[i, j] + s.moves[i, j]
        for j in range(STATES):
            a[i, j] = -s.stays[i, j] / count
            a[i, STATES + j] = s.moves[i, j] / count
        a[i, i] += 1.0
        a[i, 2 * STATES] = s.change[i] / count
    for i in range(STATES):
        for k in range(STATES):
            if k != i and a[k, i] != 0.0:
                factor = a[k, i] / a[i, i]
                for j in range(i, 2 * STATES + 1):
                    a[k, j] -= factor * a[i, j]
    term = np.empty(STATES)
    for i in range(STATES):
        term[i] = a[i, 2 * STATES] / a[i, i]
        s.adjustment[i] = term[i]
    for _ in range(TERMS - 1):
        following = np.zeros(STATES)
        for i in range(STATES):
            for j in range(STATES):
                following[i] += a[i, STATES + j] / a[i, i] * term[j]
            s.adjustment[i] += following[i]
        term = following
    s.fits += 1


@njit(cache=True)
def microprice_gap(s: Record) -> None:
    """Drops the step that is running: quotes are missing."""
    s.known = 0


@njit(cache=True)
def microprice(s: Record) -> float:
    """Gives the micro-price, in ticks; NaN until the first fit, and while the quote is not known."""
    if s.known == 0 or s.fits == 0:
        return np.nan
    return 0.5 * (float(s.mid) + float(s.adjustment[s.place]))
