"""What one quote says: spread, mid, weighted mid, queue imbalance; and for how long it has stood.

Queue imbalance I = (B − A) ÷ (B + A), B and A the quantities at the best bid and ask: M. D. Gould and J. Bonart, "Queue
imbalance as a one-tick-ahead price predictor in a limit order book", Market Microstructure and Liquidity 2:2, 2016.
The weighted mid (bid·A + ask·B) ÷ (A + B) leans towards the side that is about to be eaten; S. Stoikov, "The micro-price",
Quantitative Finance 18:12, 2018, begins from it.

A quote with an empty side, and a gap in the quotes, leave nothing known until the next whole quote.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.interface import Record

TOUCH = np.dtype(
    [
        ("known", "<i8"),  # 1: the quote below stands
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("changed_ns", "<i8"),  # when one of the four last changed
    ]
)


@njit(cache=True)
def is_whole(bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int) -> bool:
    """Whether a quote has both sides."""
    return bid_lots > 0 and ask_lots > 0 and bid_ticks > 0 and ask_ticks > 0


@njit(cache=True)
def touch_quote(s: Record, now_ns: int, bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int) -> None:
    """Takes a quote into the record `s` of TOUCH."""
    if not is_whole(bid_ticks, bid_lots, ask_ticks, ask_lots):
        s.known = 0
        return
    same = s.bid_ticks == bid_ticks and s.bid_lots == bid_lots and s.ask_ticks == ask_ticks and s.ask_lots == ask_lots
    if s.known == 0 or not same:
        s.changed_ns = now_ns
    s.known = 1
    s.bid_ticks = bid_ticks
    s.bid_lots = bid_lots
    s.ask_ticks = ask_ticks
    s.ask_lots = ask_lots


@njit(cache=True)
def touch_gap(s: Record) -> None:
    """Forgets the quote: others are missing."""
    s.known = 0


@njit(cache=True)
def quoted_spread(s: Record) -> float:
    """Gives ask − bid, in ticks; NaN while not known."""
    return float(s.ask_ticks - s.bid_ticks) if s.known == 1 else np.nan


@njit(cache=True)
def mid(s: Record) -> float:
    """Gives (bid + ask) ÷ 2, in ticks; NaN while not known."""
    return 0.5 * float(s.bid_ticks + s.ask_ticks) if s.known == 1 else np.nan


@njit(cache=True)
def weighted_mid(s: Record) -> float:
    """Gives the mid weighted by the other side's quantity, in ticks; NaN while not known."""
    if s.known == 0:
        return np.nan
    weight = float(s.bid_lots) / (float(s.bid_lots) + float(s.ask_lots))
    return float(s.bid_ticks) + float(s.ask_ticks - s.bid_ticks) * weight


@njit(cache=True)
def queue_imbalance(s: Record) -> float:
    """Gives (B − A) ÷ (B + A), −1 … +1; NaN while not known."""
    if s.known == 0:
        return np.nan
    bid_lots = float(s.bid_lots)
    ask_lots = float(s.ask_lots)
    return (bid_lots - ask_lots) / (bid_lots + ask_lots)


@njit(cache=True)
def since_quote_s(s: Record, now_ns: int) -> float:
    """Gives the seconds since a price or quantity of the touch changed; NaN while not known."""
    return float(now_ns - s.changed_ns) * 1e-9 if s.known == 1 else np.nan
