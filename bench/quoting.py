"""A scripted strategy at two backtesters: at each tick of a clock it cancels what rests and quotes both sides of the touch.

The data are those of a raw USD-M capture, from its snapshot of the book on: changes of the book and trades.
"""

import gzip
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from tickmesh.bus.schema import DEPTH, QUOTE, TRADE, Flag, Kind
from tickmesh.nodes.exchange.market.captures import RecordedBook, RecordedDepth, RecordedTrade, lines_of
from tickmesh.nodes.exchange.market.frames import MARKET
from tickmesh.research.backtest import venue_arrays, venue_kernel
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, MarketRows
from tickmesh.tools.simulation.markets import read_frames

UNIT = 10**8
TICK, LOT = 10_000_000, 10_000  # 0.1 and 0.0001 at 10^−8
EVERY_NS, ENTRY_NS, RESPONSE_NS = 500_000_000, 10_000_000, 10_000_000
# The venue's lot is ten of ours, so that no trade takes exactly what is left: hftbacktest 2.4.4 keeps such an order in its book
# and fails at the next event there (InvalidOrderStatus, which `elapse` gives as a code; whoever goes on is aborted).
QUANTITY = 505 * LOT
LIMIT_MAKER, GTC = 3, 1


class OrderOutcome(NamedTuple):
    """What came of one order: price in ticks, filled lots, and when it was filled whole (0: it was not)."""

    price: int
    filled: int
    filled_ns: int


def capture_rows(path: Path) -> MarketRows:
    """Reads a capture's book and trades, from its snapshot on; of the changes those after it."""
    rows: list[tuple[int, ...]] = []
    trades: list[tuple] = []
    levels: list[tuple] = []
    book_id = -1
    with gzip.open(path) as file:
        for frame in read_frames(lines_of(cast(BinaryIO, file)), "binance_usdm.BTCUSDT"):
            row = frame.row
            if isinstance(row, RecordedTrade) and row.type == MARKET and book_id >= 0:
                side = -1 if row.buyer_is_maker else 1
                rows.append((frame.recv_ns, 0, len(trades), 1, 0, int(Kind.trade), venue_kernel.TRADE))
                trades.append((row.id, row.price, row.quantity, 0, 0, side, b""))
            elif isinstance(row, RecordedBook) or (isinstance(row, RecordedDepth) and row.last > book_id >= 0):
                whole = isinstance(row, RecordedBook)
                what = Flag.SNAPSHOT if whole else 0, int(Kind.depth), venue_kernel.BOOK
                rows.append((frame.recv_ns, row.last, len(levels), len(row.levels), *what))
                levels += [(price, quantity, side, b"") for side, price, quantity in row.levels]
                book_id = row.last
    out = np.zeros(len(rows), venue_arrays.MARKET_ROW)
    for name, column in zip(("seq_ns", "last_id", "first", "count", "flags", "kind", "what"), zip(*rows)):
        out[name] = column
    return MarketRows(out, np.zeros(0, QUOTE), np.array(trades, TRADE), np.array(levels, DEPTH))


def ticks(market: MarketRows, every_ns: int = EVERY_NS) -> list[int]:
    """The times of the strategy's clock."""
    times = market.rows["seq_ns"]
    return list(range(int(times[0]) + every_ns, int(times[-1]) - every_ns, every_ns))


def ours(market: MarketRows, terms: VenueTerms, every_ns: int = EVERY_NS) -> dict[int, OrderOutcome]:
    """Runs it at our venue; what came of each order, by number: even ones buy."""
    venue = ColumnVenue(1, terms)
    venue.define(0, LOT, -8)
    times = np.ascontiguousarray(market.rows["seq_ns"])
    outcomes: dict[int, OrderOutcome] = {}
    at = 0

    def pass_to(ns: int) -> None:
        nonlocal at
        end = int(np.searchsorted(times, ns, "right"))
        while at < end:
            at, reports = venue.pass_rows(market, at, end)
            for one in reports:
                before = outcomes[one.order]
                done_ns = 0 if one.left else int(times[at - 1])
                outcomes[one.order] = before._replace(filled=before.filled + one.lots // LOT, filled_ns=done_ns)

    for number, ns in enumerate(ticks(market, every_ns)):
        pass_to(ns)
        prices = venue.touch(0)
        pass_to(ns + ENTRY_NS)
        for order, side, price in zip((2 * number, 2 * number + 1), (1, -1), prices):
            venue.cut(order - 2, UNIT**2)
            outcomes[order] = OrderOutcome(price // TICK, 0, 0)
            reports = venue.enter(order, 0, side, LIMIT_MAKER, GTC, price, QUANTITY)
            assert not any(one.lots for one in reports), "a post-only order takes nothing"
    pass_to(int(times[-1]))
    return outcomes


def their_events(hft, market: MarketRows) -> np.ndarray:
    """The same data as hftbacktest takes them: a row for each level and trade, at one time for venue and strategy."""
    rows = market.rows
    places = np.repeat(np.arange(len(rows)), rows["count"])
    within = np.arange(len(places)) - np.repeat(np.cumsum(rows["count"]) - rows["count"], rows["count"])
    is_trade, place = rows["what"][places] == venue_kernel.TRADE, rows["first"][places] + within
    events = np.zeros(len(places), hft.types.event_dtype)
    events["exch_ts"] = events["local_ts"] = rows["seq_ns"][places]
    for own, records, what in ((is_trade, market.trades, hft.TRADE_EVENT), (~is_trade, market.levels, hft.DEPTH_EVENT)):
        mine = records[place[own]]
        side = np.where(mine["side"] == 1, hft.BUY_EVENT, hft.SELL_EVENT)
        events["ev"][own] = what | side | hft.EXCH_EVENT | hft.LOCAL_EVENT
        events["px"][own], events["qty"][own] = mine["price_ticks"] / UNIT, mine["quantity_lots"] / UNIT
    return events


def theirs(hft, market: MarketRows, queue: str) -> dict[int, OrderOutcome]:
    """Runs it at hftbacktest's venue with partial fills; what came of each order, by number: even ones buy."""
    events = their_events(hft, market)  # it keeps the address of these alone, so they have to live as long as it
    asset = hft.BacktestAsset().data([events]).linear_asset(1.0)
    asset = asset.constant_order_latency(ENTRY_NS, RESPONSE_NS).tick_size(TICK / UNIT).lot_size(LOT / UNIT)
    asset = asset.partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    models = {
        "risk_averse": asset.risk_adverse_queue_model,
        "probability_power": lambda: asset.power_prob_queue_model(3.0),
        "probability_log": asset.log_prob_queue_model,
    }
    test = hft.HashMapMarketDepthBacktest([models[queue]()])
    test.elapse(1)  # it knows no time before
    prices: dict[int, int] = {}
    for number, ns in enumerate(ticks(market)):
        code = test.elapse(ns - test.current_timestamp)
        assert code == 0, f"hftbacktest's elapse gives {code}"
        depth, orders = test.depth(0), test.orders(0)
        bid, ask = depth.best_bid, depth.best_ask
        for order in (2 * number - 2, 2 * number - 1):
            known = orders.get(order) if order >= 0 else None
            if known is not None and known.cancellable:
                test.cancel(0, order, False)
        test.submit_buy_order(0, 2 * number, bid, QUANTITY / UNIT, hft.GTX, hft.LIMIT, False)
        test.submit_sell_order(0, 2 * number + 1, ask, QUANTITY / UNIT, hft.GTX, hft.LIMIT, False)
        prices[2 * number], prices[2 * number + 1] = round(bid / (TICK / UNIT)), round(ask / (TICK / UNIT))
    test.elapse(int(market.rows["seq_ns"][-1]) + 1 - test.current_timestamp)
    outcomes = {}
    for order, price in prices.items():
        one = test.orders(0).get(order)
        filled = round((one.qty - one.leaves_qty) / (LOT / UNIT))
        whole = filled == QUANTITY // LOT
        outcomes[order] = OrderOutcome(price, filled, one.exch_timestamp if whole else 0)
    test.close()
    return outcomes
