"""A backtest's inner part: events a second through book, queue model and a strategy that cancels and quotes once a second.

`python -m bench backtest`; beside hftbacktest, with its hash-map and its vector book, where that is installed (`make peers` has
it in an environment of its own: `run/peers/bin/python -m bench backtest`). An event is a changed level or a trade. Their
strategy is compiled, as they want it; ours is Python, which wakes at each tick of its clock.
"""

import importlib
import time
from collections.abc import Callable
from importlib import util

import numpy as np
from numba import njit

from bench.books import changes
from bench.floor import line, rounds
from bench.quoting import ENTRY_NS, LOT, QUANTITY, RESPONSE_NS, TICK, UNIT, ours, their_events
from tickmesh.bus.schema import QUOTE, TRADE
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import MarketRows

STEP_NS = 500_000  # between two events of the made-up market
CLOCK_NS = 1_000_000_000


def market() -> MarketRows:
    """The changes of bench/books.py at steps of TICK and LOT, and a trade at the touch after every second one."""
    events, levels = changes()
    levels["price_ticks"] *= TICK // 10
    levels["quantity_lots"] *= 10 * LOT
    depth = np.zeros(len(events), venue_kernel.MARKET_ROW)
    for name in ("last_id", "first", "count", "kind", "flags"):
        depth[name] = events[name]
    depth["what"], depth["seq_ns"] = venue_kernel.BOOK, (np.arange(len(events)) + 1) * STEP_NS
    followed = events[2::2]
    trades = np.zeros(len(followed), TRADE)
    rng = np.random.default_rng(2)
    trades["side"], trades["quantity_lots"] = rng.choice((-1, 1), len(trades)), 10 * LOT * rng.integers(1, 100, len(trades))
    trades["price_ticks"] = levels["price_ticks"][followed["first"]]
    rows = np.zeros(len(trades), venue_kernel.MARKET_ROW)
    rows["what"], rows["first"], rows["count"] = venue_kernel.TRADE, np.arange(len(trades)), 1
    rows["seq_ns"] = depth["seq_ns"][2::2] + STEP_NS // 2
    both = np.concatenate([depth, rows])
    return MarketRows(both[np.argsort(both["seq_ns"])], np.zeros(0, QUOTE), trades, levels)


def shortest(work: Callable[[], object]) -> float:
    """The seconds of processor time of the quickest of some runs, after one that compiles."""
    work()
    seconds = []
    for _ in range(rounds()):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def their_run(hft, events: np.ndarray, kind: str) -> Callable[[], None]:
    """A run of hftbacktest's, with its book `kind`."""

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

    def run() -> None:
        asset = hft.BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(ENTRY_NS, RESPONSE_NS)
        asset = asset.tick_size(TICK / UNIT).lot_size(LOT / UNIT).partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        test = getattr(hft, kind)([asset.power_prob_queue_model(3.0).roi_lb(400_000.0).roi_ub(800_000.0)])
        quote(test, CLOCK_NS, QUANTITY / UNIT)
        test.close()

    return run


def main() -> dict[str, float]:
    made = market()
    count = len(made.levels) + len(made.trades)
    terms = VenueTerms("probability_power", "whole", impact=False)
    ours_s = shortest(lambda: ours(made, terms, CLOCK_NS))
    own = f"{count / ours_s / 1e6:.1f} M/s"
    if not util.find_spec("hftbacktest"):
        line("events through book, queue and strategy", own, "hftbacktest is not installed (make peers)")
        return {"backtest_events_per_s": count / ours_s}
    hft = importlib.import_module("hftbacktest")
    events = their_events(hft, made)
    for kind in ("HashMapMarketDepthBacktest", "ROIVectorMarketDepthBacktest"):
        seconds = shortest(their_run(hft, events, kind))
        peer = f"{count / seconds / 1e6:.1f} M/s, {kind.removesuffix('MarketDepthBacktest')}"
        line("events through book, queue and strategy", own, peer, seconds / ours_s)
    return {"backtest_events_per_s": count / ours_s}


if __name__ == "__main__":
    main()
