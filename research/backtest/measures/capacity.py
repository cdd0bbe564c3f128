"""How much more a strategy could deal before the market would notice: its share of what is traded, and the square-root law.

The law: what an order costs is about the daily volatility × √(its part of the day's volume). R. Almgren, C. Thum, E. Hauptmann,
H. Li: Direct estimation of equity market impact, Risk 18 (2005); B. Tóth et al.: Anomalous price impact and the critical nature
of liquidity, Physical Review X 1 (2011). Its factor is of the order of 1, and taken as 1: the answer is an order of magnitude.
"""

from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.measure import Measure, ratio, undefined
from tickmesh.research.backtest.measures.mids import Mids

DAY_NS = 86_400_000_000_000
SHARE = 0.01  # of what is traded: a cap that is often set, so that the backtest's market would still be the same
BEST = 4.0 / 9.0  # of the break-even multiple: there k · edge − k · cost · √k is highest


@dataclass(frozen=True)
class Capacity:
    """One instrument: worth dealt a day, its share of the market's, and multiples of the size that was tested.

    `at_share`: the multiple at which it deals SHARE of the market's volume; `break_even`: at which impact takes all profit;
    `best`: at which profit less impact is highest. Volatility is a day's, of log mids.
    """

    instrument: str
    dealt_a_day: Measure
    participation: Measure
    volatility: Measure
    at_share: Measure
    break_even: Measure
    best: Measure


def volatility(mids: Mids, start_ns: int, end_ns: int, interval_ns: int) -> Measure:
    """The realised volatility of a day: root of the sum of squared log returns of intervals, scaled to a day."""
    count = (end_ns - start_ns) // interval_ns
    if not len(mids.mid) or count < 1:
        return undefined("there are no quotes" if count else "there is no whole interval")
    moved = np.diff(np.log(mids.valuing(start_ns + np.arange(count + 1) * interval_ns)))
    return Measure(float(np.sqrt(np.sum(moved**2) * DAY_NS / (count * interval_ns))))


def capacity(instrument: str, dealt: float, net: Measure, traded: float | None, a_day: Measure, days: float) -> Capacity:
    """The capacity of what dealt so much (quote currency) for `net` profit, where the market traded `traded` in `days` days.

    `a_day`: the volatility of a day. None of `traded`: the market's volume is not known.
    """
    if traded is None:
        share = undefined("the market's volume is not known")
    else:
        share = ratio(dealt, traded, "the market traded nothing")
    dealt_a_day = ratio(dealt, days, "no time passed")
    if share.value is None or a_day.value is None or net.value is None:
        why = share.why or a_day.why or net.why
        at_share = undefined(why) if share.value is None else ratio(SHARE, share.value, "nothing was dealt")
        return Capacity(instrument, dealt_a_day, share, a_day, at_share, undefined(why), undefined(why))
    at_share = ratio(SHARE, share.value, "nothing was dealt")
    if not dealt or net.value <= 0.0:
        no = undefined("it gains nothing before any impact" if dealt else "nothing was dealt")
        return Capacity(instrument, dealt_a_day, share, a_day, at_share, no, no)
    edge = net.value / dealt
    break_even = ratio(edge * edge, a_day.value**2 * share.value, "the price did not move")
    best = break_even if break_even.value is None else break_even.times(BEST)
    return Capacity(instrument, dealt_a_day, share, a_day, at_share, break_even, best)
