"""How far volume moves the price: Kyle's lambda and Amihud's illiquidity, over intervals of the log's time that had a trade.

Lambda: slope of the regression of the mid's change in an interval on its signed volume; A. S. Kyle, "Continuous auctions and
insider trading", Econometrica 53:6, 1985. Illiquidity: mean of |relative change| ÷ traded value; Y. Amihud, "Illiquidity and
stock returns", Journal of Financial Markets 5:1, 2002. An interval's weight halves with every `half life` intervals after it.
An interval counts when the first event after it comes.

Left out are an interval in which a gap in trades or quotes is said and the one after it, one with an empty side at its ends,
and the first one.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.decay import decay
from tickmesh.nodes.models.features.moments import MOMENTS, observe
from tickmesh.nodes.models.features.touch import is_whole
from tickmesh.nodes.models.interface import Record

LEAST = 10  # intervals, before there is a value
IMPACT = np.dtype(
    [
        ("whole", "<i8"),  # 1: nothing of the running interval is missing
        ("missing", "<i8"),  # 1: the next one is not whole either
        ("interval", "<i8"),  # the running one: (interval·Δ, (interval + 1)·Δ]
        ("mid", "<i8"),  # bid + ask of the quote that stands, ticks; 0 not known
        ("begin", "<i8"),  # the same when the interval began
        ("trades", "<i8"),  # in it
        ("signed", "<f8"),  # Σ side·quantity in it, lots
        ("value", "<f8"),  # Σ price·quantity in it, ticks·lots
        ("moments", MOMENTS),  # (signed lots, change of bid + ask)
        ("weight", "<f8"),
        ("ratios", "<f8"),  # Σ weight · |relative change| ÷ value
    ]
)


@njit(cache=True)
def impact_time(s: Record, now_ns: int, bar_ns: int, half_life_bars: float) -> None:
    """Ends the running interval of the record `s` of IMPACT if it is over at `now_ns`; to be called before a quote or trade."""
    interval = (now_ns - 1) // bar_ns
    if interval == s.interval:
        return
    if s.whole == 1 and s.trades > 0 and s.mid > 0 and s.begin > 0:
        kept = decay(1, half_life_bars)
        change = float(s.mid - s.begin)
        observe(s.moments, s.signed, change, kept)
        if s.value > 0.0:
            s.weight = s.weight * kept + 1.0
            s.ratios = s.ratios * kept + abs(change) / float(s.begin) / s.value
    s.whole = 1 if s.interval > 0 and s.missing == 0 else 0
    s.missing = 0
    s.interval = interval
    s.begin = s.mid
    s.trades = 0
    s.signed = 0.0
    s.value = 0.0


@njit(cache=True)
def impact_quote(s: Record, bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int) -> None:
    """Takes a quote, after impact_time."""
    s.mid = bid_ticks + ask_ticks if is_whole(bid_ticks, bid_lots, ask_ticks, ask_lots) else 0


@njit(cache=True)
def impact_trade(s: Record, side: int, price_ticks: int, quantity_lots: int) -> None:
    """Takes a trade, after impact_time."""
    s.trades += 1
    s.signed += float(side) * float(quantity_lots)
    s.value += float(price_ticks) * float(quantity_lots)


@njit(cache=True)
def impact_gap(s: Record, quotes: bool) -> None:
    """Leaves the running interval and the next one out: trades are missing, or, with `quotes`, quotes are."""
    s.whole = 0
    s.missing = 1
    if quotes:
        s.mid = 0


@njit(cache=True)
def kyle_lambda(s: Record) -> float:
    """Gives the slope, in ticks of the mid a lot; NaN until LEAST intervals, and where all had the same volume."""
    m = s.moments
    return 0.5 * m.xy / m.xx if m.count >= LEAST and m.xx > 0.0 else np.nan


@njit(cache=True)
def amihud(s: Record) -> float:
    """Gives the mean of |relative change| ÷ value, a (tick·lot)⁻¹; NaN until LEAST intervals."""
    return s.ratios / s.weight if s.moments.count >= LEAST and s.weight > 0.0 else np.nan
