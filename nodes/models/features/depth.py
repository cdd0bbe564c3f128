"""A bounded level-2 book in a record, and what its levels say: imbalance over several of them, and the slope of the book.

Imbalance of the best n levels: (ΣB − ΣA) ÷ (ΣB + ΣA). Slope: of each side (1 ÷ n)·{v₁ ÷ |p₁ ÷ p₀ − 1| + Σ (v_{k+1} ÷ v_k − 1) ÷
|p_{k+1} ÷ p_k − 1|}, v the logarithm of the quantity up to a level (in lots), p₀ the mid; then the mean of both sides.
R. Næs and J. A. Skjeltorp, "Order book characteristics and the volume–volatility relation", Journal of Financial Markets 9:4,
2006.

Each side holds the best levels that the record has room for. A level that finds none is dropped, and what is not better than
it is unknown from then on: a value that would need it is NaN. A snapshot begins anew; a gap in the depth leaves no book until
the next one.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models.features.logarithm import natural_log
from tickmesh.nodes.models.interface import Record

LEVELS_MAX = 4096  # of a side; an option for who needs less: `book_dtype`


def book_dtype(levels: int = LEVELS_MAX) -> np.dtype:
    """The dtype of a book with room for so many levels a side. Prices of asks are held negative: the best is the greatest."""
    side = np.dtype(
        [
            ("count", "<i8"),
            ("dropped", "<i8"),  # the best price that was dropped, with its sign; 0: none was
            ("price", "<i8", (levels,)),  # ticks with the sign of the side, rising: the best comes last
            ("lots", "<i8", (levels,)),
        ]
    )
    return np.dtype([("valid", "<i8"), ("bids", side), ("asks", side)])


@njit(cache=True)
def book_clear(book: Record, valid: int) -> None:
    """Empties the book: before the levels of a snapshot (valid 1), or at a gap (0)."""
    book.valid = valid
    book.bids.count = 0
    book.bids.dropped = 0
    book.asks.count = 0
    book.asks.dropped = 0


@njit(cache=True)
def book_set(book: Record, side: int, price_ticks: int, quantity_lots: int) -> None:
    """Sets a level, quantity 0 takes it away. `side`: +1 bid, −1 ask."""
    if price_ticks <= 0:
        return
    if side > 0:
        _set(book.bids, price_ticks, quantity_lots)
    else:
        _set(book.asks, -price_ticks, quantity_lots)


@njit(cache=True)
def _set(levels: Record, price: int, lots: int) -> None:
    low, high = 0, levels.count
    while low < high:
        middle = (low + high) // 2
        if levels.price[middle] < price:
            low = middle + 1
        else:
            high = middle
    there = low < levels.count and levels.price[low] == price
    if lots <= 0:
        if there:
            for i in range(low, levels.count - 1):
                levels.price[i] = levels.price[i + 1]
                levels.lots[i] = levels.lots[i + 1]
            levels.count -= 1
        return
    if there:
        levels.lots[low] = lots
        return
    if levels.count == len(levels.price):
        dropped = price if low == 0 else levels.price[0]
        if levels.dropped == 0 or dropped > levels.dropped:
            levels.dropped = dropped
        if low == 0:
            return
        for i in range(low - 1):
            levels.price[i] = levels.price[i + 1]
            levels.lots[i] = levels.lots[i + 1]
        low -= 1
    else:
        for i in range(levels.count, low, -1):
            levels.price[i] = levels.price[i - 1]
            levels.lots[i] = levels.lots[i - 1]
        levels.count += 1
    levels.price[low] = price
    levels.lots[low] = lots


@njit(cache=True)
def known_levels(levels: Record, wanted: int) -> int:
    """How many of the best `wanted` levels there are; −1 where one of them may have been dropped."""
    n = min(wanted, int(levels.count))
    if levels.dropped != 0 and (n < wanted or levels.price[levels.count - n] <= levels.dropped):
        return -1
    return n


@njit(cache=True)
def depth_imbalance(book: Record, wanted: int) -> float:
    """Gives (ΣB − ΣA) ÷ (ΣB + ΣA) over the best `wanted` levels of each side, or as many as there are; NaN while not known."""
    bids, asks = known_levels(book.bids, wanted), known_levels(book.asks, wanted)
    if book.valid == 0 or bids <= 0 or asks <= 0:
        return np.nan
    bid_lots = ask_lots = 0.0
    for i in range(bids):
        bid_lots += float(book.bids.lots[book.bids.count - 1 - i])
    for i in range(asks):
        ask_lots += float(book.asks.lots[book.asks.count - 1 - i])
    return (bid_lots - ask_lots) / (bid_lots + ask_lots)


@njit(cache=True)
def depth_slope(book: Record, wanted: int) -> float:
    """Gives the slope over the best `wanted` levels, ln of lots for each part of the price.

    NaN while not known, and where a best level has one lot only or stands at the mid."""
    bids, asks = known_levels(book.bids, wanted), known_levels(book.asks, wanted)
    if book.valid == 0 or bids <= 0 or asks <= 0:
        return np.nan
    best = book.bids.price[book.bids.count - 1] - book.asks.price[book.asks.count - 1]  # bid + ask: asks are negative
    middle = 0.5 * float(best)
    return 0.5 * (_slope(book.bids, bids, middle) + _slope(book.asks, asks, -middle))


@njit(cache=True)
def _slope(levels: Record, n: int, middle: float) -> float:
    at = levels.count - 1
    price, lots = float(levels.price[at]), float(levels.lots[at])
    volume, away = natural_log(lots), abs(price / middle - 1.0)
    if volume <= 0.0 or away == 0.0:
        return np.nan
    total = volume / away
    for k in range(1, n):
        worse = float(levels.price[at - k])
        lots += float(levels.lots[at - k])
        more = natural_log(lots)
        total += (more / volume - 1.0) / abs(worse / price - 1.0)
        price, volume = worse, more
    return total / n
