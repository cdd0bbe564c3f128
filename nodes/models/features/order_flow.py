"""Order-flow imbalance: what was added to the bid and taken from the ask, less the opposite, the past decayed.

A quote n adds e = [Pb ≥ Pb′]·qb − [Pb ≤ Pb′]·qb′ − [Pa ≤ Pa′]·qa + [Pa ≥ Pa′]·qa′, primes the quote before. R. Cont, A. Kukanov
and S. Stoikov, "The price impact of order book events", Journal of Financial Econometrics 12:1, 2014, sum e over fixed
intervals; here each e weighs 2^(−age ÷ half life), so that there is a value at any moment.

A quote with an empty side ends the comparison: the next one begins anew. A gap in the quotes empties the sum.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.touch import is_whole
from tickmesh.nodes.models.interface import Record

ORDER_FLOW = np.dtype(
    [
        ("known", "<i8"),  # 1: there is a quote to compare with
        ("changes", "<i8"),  # quotes that were compared since the sum was empty
        ("time_ns", "<i8"),  # the sum is as of here
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("flow", "<f8"),  # lots
    ]
)


@njit(cache=True)
def ofi_quote(
    s: Record, now_ns: int, half_life_ns: float, bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int
) -> None:
    """Takes a quote into the record `s` of ORDER_FLOW."""
    if not is_whole(bid_ticks, bid_lots, ask_ticks, ask_lots):
        s.known = 0
        return
    if s.known == 1:
        e = 0.0
        if bid_ticks >= s.bid_ticks:
            e += float(bid_lots)
        if bid_ticks <= s.bid_ticks:
            e -= float(s.bid_lots)
        if ask_ticks <= s.ask_ticks:
            e -= float(ask_lots)
        if ask_ticks >= s.ask_ticks:
            e += float(s.ask_lots)
        s.flow = s.flow * decay(now_ns - s.time_ns, half_life_ns) + e
        s.time_ns = now_ns
        s.changes += 1
    s.known = 1
    s.bid_ticks = bid_ticks
    s.bid_lots = bid_lots
    s.ask_ticks = ask_ticks
    s.ask_lots = ask_lots


@njit(cache=True)
def ofi_gap(s: Record) -> None:
    """Empties the sum: quotes are missing."""
    s.known = 0
    s.changes = 0
    s.flow = 0.0


@njit(cache=True)
def ofi(s: Record, now_ns: int, half_life_ns: float) -> float:
    """Gives the imbalance as of `now_ns`, in lots; NaN until two quotes were compared."""
    return s.flow * decay(now_ns - s.time_ns, half_life_ns) if s.changes > 0 else np.nan
