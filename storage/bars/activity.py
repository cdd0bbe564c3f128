"""Bars closed by what happens rather than by the clock, reduced in one pass by a compiled function: ours, or yours.

A rule measures every trade and ends the bar with the one that brings the measure to its size: 1 a trade, its quantity, its
price × quantity, or one of these signed by the aggressor's side (an imbalance, by its size). M. López de Prado, Advances in
Financial Machine Learning (2018), 2.3; the size is constant here. The rule "time" ends a bar where `seq_ns` enters the next
bucket.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.bus.schema import Flag, Kind

go_on_without_room()
RULES = ("time", "ticks", "volume", "notional", "tick_imbalance", "volume_imbalance", "notional_imbalance")
TIME, TICKS, VOLUME, NOTIONAL, TICK_IMBALANCE = range(5)
TRADE, QUOTE, GAP, OFF_BOOK = int(Kind.trade), int(Kind.quote), int(Kind.gap), int(Flag.OFF_BOOK)
U8, I8 = np.uint64, np.int64
COMPILED_MAX = 32  # reducers whose compiled loops are kept
WORD_MASK = U8((1 << 63) - 1)
HALF = U8(0xFFFFFFFF)

BOUNDS = np.dtype(
    [
        ("begin_ns", "<i8"),
        ("end_ns", "<i8"),
        ("first_seq", "<i8"),
        ("last_seq", "<i8"),
        ("complete", "<i8"),
        ("gaps", "<i8"),
    ]
)  # of a bar: its first and its last event; whether the rule has ended it; gaps of its trades or quotes in it or just before
PROGRESS = np.dtype(
    [("open", "<i8"), ("record", "<i8"), ("bucket", "<i8"), ("high", "<i8"), ("low", "<i8")]
)  # of a run: whether a bar is open, which record of the row is next, and what the rule has measured

STANDARD = np.dtype(
    [
        ("count", "<i8"),
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("open_ticks", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("close_ticks", "<i8"),
        ("volume_lots", "<i8"),
        ("volume_lots_high", "<i8"),
        ("buy_volume_lots", "<i8"),
        ("buy_volume_lots_high", "<i8"),
        ("notional", "<i8"),
        ("notional_high", "<i8"),
        ("quotes", "<i8"),
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("spreads", "<i8"),
        ("spread_sum_ticks", "<i8"),
        ("spread_sum_ticks_high", "<i8"),
        ("spread_min_ticks", "<i8"),
        ("spread_max_ticks", "<i8"),
        ("mid_variance", "<f8"),
    ]
)  # as in bars/bar.py; bid and ask also where the bar had no quote. mid_variance: Σ of squared log returns of the mid price


@njit(nogil=True, cache=True)
def plus_product(high: Any, low: Any, a: Any, b: Any) -> Any:
    """Adds a × b, exactly, to the number high × 2^63 + low (0 ≤ low < 2^63); gives its new (high, low). All int64."""
    x, y = U8(abs(a)), U8(abs(b))
    x0, x1, y0, y1 = x & HALF, x >> U8(32), y & HALF, y >> U8(32)
    least, cross, other = x0 * y0, x0 * y1, x1 * y0
    middle = (least >> U8(32)) + (cross & HALF) + (other & HALF)
    lower = (least & HALF) | (middle << U8(32))
    upper = x1 * y1 + (cross >> U8(32)) + (other >> U8(32)) + (middle >> U8(32))
    word, more = lower & WORD_MASK, I8((upper << U8(1)) | (lower >> U8(63)))
    if (a < 0) == (b < 0):
        total = U8(low) + word
        return high + more + I8(total >> U8(63)), I8(total & WORD_MASK)
    borrow = I8(1) if U8(low) < word else I8(0)
    return high - more - borrow, I8((U8(low) - word) & WORD_MASK)


@njit(nogil=True, cache=True)
def reached(high: Any, low: Any, bounds: np.ndarray) -> Any:
    """Whether the number high × 2^63 + low is at least the first of `bounds` or at most the second: (2, 2) i8."""
    over = high > bounds[0, 0] or (high == bounds[0, 0] and low >= bounds[0, 1])
    return over or high < bounds[1, 0] or (high == bounds[1, 0] and low <= bounds[1, 1])


@njit(nogil=True, cache=True)
def standard(bar: Any, before: Any, row: Any, record: Any, quotes: np.ndarray, trades: np.ndarray) -> None:
    """Reduces trades and quotes to STANDARD."""
    if bar.count + bar.quotes == 0:
        bar.bid_ticks, bar.bid_lots, bar.ask_ticks, bar.ask_lots = (
            before.bid_ticks, before.bid_lots, before.ask_ticks, before.ask_lots,
        )  # fmt: skip
    if row.kind == TRADE:
        trade = trades[record]
        price, lots = trade.price_ticks, trade.quantity_lots
        if bar.count == 0:
            bar.first_id, bar.open_ticks, bar.high_ticks, bar.low_ticks = trade.trade_id, price, price, price
        bar.count += 1
        bar.last_id, bar.close_ticks = trade.trade_id, price
        bar.high_ticks, bar.low_ticks = max(bar.high_ticks, price), min(bar.low_ticks, price)
        bar.volume_lots_high, bar.volume_lots = plus_product(bar.volume_lots_high, bar.volume_lots, lots, 1)
        if trade.side > 0:
            bar.buy_volume_lots_high, bar.buy_volume_lots = plus_product(bar.buy_volume_lots_high, bar.buy_volume_lots, lots, 1)
        bar.notional_high, bar.notional = plus_product(bar.notional_high, bar.notional, price, lots)
        return
    quote = quotes[record]
    bar.quotes += 1
    if quote.bid_lots > 0 and quote.ask_lots > 0:
        spread = quote.ask_ticks - quote.bid_ticks
        bar.spread_min_ticks = spread if bar.spreads == 0 else min(bar.spread_min_ticks, spread)
        bar.spread_max_ticks = spread if bar.spreads == 0 else max(bar.spread_max_ticks, spread)
        bar.spreads += 1
        bar.spread_sum_ticks_high, bar.spread_sum_ticks = plus_product(
            bar.spread_sum_ticks_high, bar.spread_sum_ticks, spread, 1
        )
        now, then = float(quote.bid_ticks) + float(quote.ask_ticks), float(bar.bid_ticks) + float(bar.ask_ticks)
        if bar.bid_lots > 0 and bar.ask_lots > 0 and now > 0.0 and then > 0.0:
            change = np.log(now / then)
            bar.mid_variance += change * change
    bar.bid_ticks, bar.bid_lots, bar.ask_ticks, bar.ask_lots = (
        quote.bid_ticks, quote.bid_lots, quote.ask_ticks, quote.ask_lots,
    )  # fmt: skip


Reducer = Callable[..., None]


@lru_cache(COMPILED_MAX)
def compiled(reducer: Reducer) -> Callable[..., tuple[int, int]]:
    """Builds the loop around a reducer. It is compiled at its first call, once a reducer and process.

    The loop goes over rows (ROW) and seqs from `row` on, as long as there is a row of `bounds` (BOUNDS) and `bars` (the
    reducer's dtype) for the next bar; row 0 is the bar before, `n` the one that is open or next. It gives (row, n).
    """
    called = reducer if hasattr(reducer, "py_func") else njit(nogil=True)(reducer)

    @njit(nogil=True)
    def run(
        rows: np.ndarray, seqs: np.ndarray, quotes: np.ndarray, trades: np.ndarray, row: Any, within: np.ndarray,
        rule: Any, size: Any, limits: np.ndarray, progress: np.ndarray, bounds: np.ndarray, bars: np.ndarray, n: Any,
    ) -> Any:  # fmt: skip
        p = progress[0]
        while row < len(rows):
            event = rows[row]
            kind = event.stream if event.kind == GAP else event.kind
            if (kind != TRADE and kind != QUOTE) or event.flags & OFF_BOOK or not within[0] <= event.seq_ns < within[1]:
                row += 1
                continue
            if event.kind == GAP:
                if n == len(bars):
                    return row, n
                bounds[n].gaps += 1
                row += 1
                continue
            if rule == TIME and p.open and event.seq_ns // size != p.bucket:
                bounds[n].complete, p.open = 1, 0
                n += 1
            while p.record < event.count:
                if n == len(bars):
                    return row, n
                if not p.open:
                    p.open, p.bucket, p.high, p.low = 1, event.seq_ns // size if rule == TIME else 0, 0, 0
                    bounds[n].begin_ns, bounds[n].first_seq, bounds[n].complete = event.seq_ns, seqs[row], 0
                record = event.first + p.record
                called(bars[n], bars[n - 1], event, record, quotes, trades)
                bounds[n].end_ns, bounds[n].last_seq = event.seq_ns, seqs[row]
                p.record += 1
                if rule != TIME and event.kind == TRADE:
                    weigh(p, trades[record], rule)
                    if reached(p.high, p.low, limits):
                        bounds[n].complete, p.open = 1, 0
                        n += 1
            p.record = 0
            row += 1
        return row, n

    return run


@njit(nogil=True)
def weigh(progress: Any, trade: Any, rule: Any) -> None:
    """Adds a trade to what a rule has measured in the open bar."""
    signed = rule >= TICK_IMBALANCE
    sign = trade.side if signed else 1
    plain = rule - (TICK_IMBALANCE - TICKS) if signed else rule
    first = trade.price_ticks if plain == NOTIONAL else 1
    second = 1 if plain == TICKS else trade.quantity_lots
    progress.high, progress.low = plus_product(progress.high, progress.low, first, second * sign)
