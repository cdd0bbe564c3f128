"""A backtest's inner part: events a second through book, queue model and a strategy that cancels and quotes once a second.

`python -m bench backtest`; beside hftbacktest, with its hash-map and its vector book, where that is installed (`make peers` has
it in an environment of its own: `run/peers/bin/python -m bench backtest`). The data are a raw USD-M capture (TICKMESH_DATA); an
event is a changed level or a trade. Strategies are compiled for both; ours is also driven from Python, as the executor is.
All take turns on one core; seconds are of the processor, medians.
"""

import importlib
import os
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
from numba import njit

from bench.floor import line, one_core, take_turns
from bench.quoting import ENTRY_NS, GTC, LIMIT_MAKER, LOT, QUANTITY, RESPONSE_NS, TICK, UNIT, capture_rows, ours, their_events
from tickmesh.bus.config import Config
from tickmesh.bus.schema import DEPTH, QUOTE, TRADE, Kind
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.nodes.executor.node import Step
from tickmesh.nodes.executor.waiting import Awaited
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.course import NEVER_NS, BacktestCourse
from tickmesh.research.backtest.tape import TIMES, MarketTape, trigger_rows
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, MarketRows
from tickmesh.research.backtest.venue_arrays import MARKET_ROW, REPORT
from tickmesh.research.backtest.venue_kernel import ASK, BID, book_of, cut, enter, pass_rows
from tickmesh.storage.books.arrays import best
from tickmesh.storage.columns.span import ColumnSpan

CLOCK_NS = 1_000_000_000
QUIET_QUOTES = 100_000
CAPTURE = "hftbacktest/usdm/btcusdt_20240808.gz"


@njit
def quote_ours(venue, rows, times, quotes, trades, levels, reports, clock_ns):
    """The strategy of bench/quoting.py, compiled; gives the lots that were filled."""
    at, number, filled, next_ns = 0, 0, 0, times[0] + clock_ns
    while next_ns < times[-1] - clock_ns:
        prices = (0, 0)
        for moment in (next_ns, next_ns + ENTRY_NS):
            end = np.searchsorted(times, moment, "right")
            while at < end:
                at, count = pass_rows(venue, rows, at, end, quotes, trades, levels, reports)
                if count == 0 and at < end:
                    raise ValueError("a book has no room")
                for i in range(count):
                    filled += reports[i].lots
            if moment == next_ns:
                book = book_of(venue, 0)
                prices = (best(book, BID)[0], best(book, ASK)[0])
        for order, side, price in ((number, 1, prices[0]), (number + 1, -1, prices[1])):
            cut(venue, order - 2, UNIT**2)
            enter(venue, order, 0, side, LIMIT_MAKER, GTC, price, QUANTITY, reports)
        number += 2
        next_ns += clock_ns
    return filled


def our_run(market: MarketRows, terms: VenueTerms) -> Callable[[], int]:
    """A run of ours, all of it compiled."""
    times, reports = np.ascontiguousarray(market.rows["seq_ns"]), np.zeros(4096, REPORT)

    def run() -> int:
        venue = ColumnVenue(1, terms, 1 << 16)
        venue.define(0, LOT, -8)
        sent: int = quote_ours(venue.arrays, market.rows, times, market.quotes, market.trades, market.levels, reports, CLOCK_NS)
        return sent

    return run


def their_run(hft, events: np.ndarray, kind: str) -> Callable[[], int]:
    """A run of hftbacktest's, with its book `kind`; how many orders it sent."""

    @njit
    def quote(test, clock_ns, quantity):
        number = 0
        while test.elapse(clock_ns) == 0:
            depth, orders = test.depth(0), test.orders(0)
            for order in (number - 2, number - 1):
                if order in orders and orders.get(order).cancellable:
                    test.cancel(0, order, False)
            test.submit_buy_order(0, number, depth.best_bid, quantity, hft.GTX, hft.LIMIT, False)
            test.submit_sell_order(0, number + 1, depth.best_ask, quantity, hft.GTX, hft.LIMIT, False)
            number += 2
        return number

    def run() -> int:
        asset = hft.BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(ENTRY_NS, RESPONSE_NS)
        asset = asset.tick_size(TICK / UNIT).lot_size(LOT / UNIT).partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        test = getattr(hft, kind)([asset.power_prob_queue_model(3.0).roi_lb(20_000.0).roi_ub(120_000.0)])
        sent: int = quote(test, CLOCK_NS, QUANTITY / UNIT)
        test.close()
        return sent

    return run


def quiet_market() -> MarketRows:
    """A market of one instrument in which nothing happens but quotes, 20 ms apart."""
    rows, quotes = np.zeros(QUIET_QUOTES, MARKET_ROW), np.zeros(QUIET_QUOTES, QUOTE)
    number = np.arange(QUIET_QUOTES)
    rows["seq"], rows["seq_ns"], rows["first"], rows["count"] = number + 1, 10**18 + number * 20_000_000, number, 1
    rows["kind"], rows["what"] = int(Kind.quote), venue_kernel.QUOTE
    quotes["bid_ticks"], quotes["ask_ticks"], quotes["bid_lots"], quotes["ask_lots"] = 1000, 1001, 5, 5
    return MarketRows(rows, quotes, np.zeros(0, TRADE), np.zeros(0, DEPTH))


def quiet_run(config: Config, market: MarketRows, step: type[Step]) -> Callable[[], int]:
    """A backtest of a strategy that no model gives a signal: books, quotes and the executor; how many events it passed."""

    def run() -> int:
        executor = step(config, "")
        triggers, none = trigger_rows(market, executor.reads), np.zeros(0, "i8")
        last = int(market.rows["seq"][-1])
        tape = MarketTape(ColumnSpan(1, last, [], []), market, triggers, none, {}, np.zeros(0, TIMES))
        course = BacktestCourse(executor, (), ("binance.BTCUSDT",), ("main",), VenueTerms(), (0, NEVER_NS))
        course.run([tape])
        return course.events

    return run


class EveryMark(Step):
    """An executor that is woken at every mark, sixteen times in `stale_ms`, whether something may follow from it or not."""

    def waiting(self) -> Awaited:
        """What it waits for."""
        return super().waiting()._replace(marks_only=False)


def quiet_strategy() -> dict[str, float]:
    """What a strategy costs that does nothing: woken by what fires alone, beside woken at every mark."""
    config, market = Config(Mesh(instruments=(Instrument("BTCUSDT"),)), Path()), quiet_market()
    with one_core():
        turns = take_turns({one.__name__: quiet_run(config, market, one) for one in (Step, EveryMark)})
    ours_s, every_s = (turns[one.__name__].cpu_s for one in (Step, EveryMark))
    own, other = (f"{QUIET_QUOTES / seconds / 1e6:.1f} M/s" for seconds in (ours_s, every_s))
    line("quotes of a backtest whose strategy is quiet", own, f"{other}, woken at every mark", every_s / ours_s)
    return {"backtest_quiet_events_per_s": QUIET_QUOTES / ours_s}


def main() -> dict[str, float]:
    quiet = quiet_strategy()
    path = Path(os.environ.get("TICKMESH_DATA") or "../shared/data") / CAPTURE
    if not path.is_file():
        print(f"{path} is not there (TICKMESH_DATA)")
        return quiet
    market = capture_rows(path)
    count = len(market.levels) + len(market.trades)
    terms = VenueTerms("probability_power", "whole", impact=False)
    contestants: dict[str, Callable[[], int]] = {
        "compiled strategy": our_run(market, terms),
        "strategy in Python": lambda: len(ours(market, terms, CLOCK_NS)),
    }
    own_names, peer_names = tuple(contestants), []
    if util.find_spec("hftbacktest"):
        hft = importlib.import_module("hftbacktest")
        events = their_events(hft, market)
        for kind in ("HashMapMarketDepthBacktest", "ROIVectorMarketDepthBacktest"):
            peer_names.append(f"hftbacktest, {kind.removesuffix('MarketDepthBacktest')}")
            contestants[peer_names[-1]] = their_run(hft, events, kind)
    with one_core():
        turns = take_turns(contestants)
    assert all(one.given > 0 for one in turns.values()), "each of them does something"
    for what in own_names:
        seconds = turns[what].cpu_s
        own = f"{count / seconds / 1e6:.1f} M/s"
        if not peer_names:
            line(f"events through book and queue, {what}", own, "hftbacktest is not installed (make peers)")
        for peer in peer_names:
            theirs = turns[peer].cpu_s
            line(f"events through book and queue, {what}", own, f"{count / theirs / 1e6:.1f} M/s, {peer}", theirs / seconds)
    return (
        quiet
        | {"backtest_events_per_s": count / turns["compiled strategy"].cpu_s}
        | {f"backtest_to_{peer}": turns[peer].cpu_s / turns["compiled strategy"].cpu_s for peer in peer_names}
    )


if __name__ == "__main__":
    main()
