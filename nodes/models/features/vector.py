"""All features of one instrument at once: a record takes rows as a kernel is given them, and gives the values at a moment."""

import numpy as np
from numba import njit

from tickmesh.nodes.models.features.depth import book_clear, book_set, depth_imbalance, depth_slope
from tickmesh.nodes.models.features.impact import amihud, impact_gap, impact_quote, impact_time, impact_trade, kyle_lambda
from tickmesh.nodes.models.features.microprice import microprice, microprice_gap, microprice_quote
from tickmesh.nodes.models.features.moments import forget_all
from tickmesh.nodes.models.features.order_flow import ofi, ofi_gap, ofi_quote
from tickmesh.nodes.models.features.table import (
    AMIHUD,
    BIPOWER,
    DEPTH_IMBALANCE,
    DEPTH_SLOPE,
    EFFECTIVE_SPREAD,
    INTENSITY,
    KYLE,
    MICRO,
    MID,
    OFI,
    QUEUE_IMBALANCE,
    QUOTED_SPREAD,
    REALISED,
    ROLL_SPREAD,
    SIGN_AUTOCORRELATION,
    SINCE_QUOTE,
    SINCE_TRADE,
    VPIN_VALUE,
    WEIGHTED_MID,
)  # fmt: skip
from tickmesh.nodes.models.features.touch import (
    mid,
    queue_imbalance,
    quoted_spread,
    since_quote_s,
    touch_gap,
    touch_quote,
    weighted_mid,
)  # fmt: skip
from tickmesh.nodes.models.features.trade_costs import (
    costs_gap,
    costs_trade,
    effective_spread,
    roll_spread,
    sign_autocorrelation,
)  # fmt: skip
from tickmesh.nodes.models.features.trading import since_trade_s, trade_intensity, trading_gap, trading_trade
from tickmesh.nodes.models.features.volatility import (
    bipower_volatility,
    realised_volatility,
    volatility_gap,
    volatility_quote,
)  # fmt: skip
from tickmesh.nodes.models.features.vpin import vpin, vpin_gap, vpin_trade
from tickmesh.nodes.models.interface import (
    DEPTH,
    GAP,
    IS_OFF_BOOK,
    QUOTE,
    REPAIRED,
    SNAPSHOT,
    TRADE,
    UNSYNCED,
    Floats,
    Record,
    Records,
)  # fmt: skip

MS = 1_000_000
LOTS_MAX = 1 << 61


@njit(cache=True)
def take_row(
    s: Record, p: Record, units: Floats, row: Record, quotes: Records, trades: Records, levels: Records, wanted: Records
) -> None:  # fmt: skip
    """Takes a row (interface.py) into the record `s` of table.state_dtype; `p`: of table.PARAMETERS; `wanted`: by feature.

    Nothing is taken before the instrument's definition. With another one all begins anew. Repaired records come too late to be
    news; depth without a book, and trades off the book, are left out.
    """
    if not (units[0] > 0.0 and units[1] > 0.0):
        return
    if units[0] != s.tick or units[1] != s.lot:
        _begin(s)
        s.tick = units[0]
        s.lot = units[1]
    if row.kind == GAP:
        _gap(s, row.stream)
    elif row.flags & (REPAIRED | UNSYNCED | IS_OFF_BOOK) == 0:
        if row.kind == QUOTE:
            for i in range(row.first, row.first + row.count):
                _quote(s, p, row.seq_ns, quotes[i], wanted)
        elif row.kind == TRADE:
            for i in range(row.first, row.first + row.count):
                _trade(s, p, row.seq_ns, trades[i], wanted)
        elif row.kind == DEPTH and (wanted[DEPTH_IMBALANCE] or wanted[DEPTH_SLOPE]):
            if row.flags & SNAPSHOT:
                book_clear(s.book, 1)
            if s.book.valid == 1:
                for i in range(row.first, row.first + row.count):
                    book_set(s.book, levels[i].side, levels[i].price_ticks, levels[i].quantity_lots)


@njit(cache=True)
def _quote(s: Record, p: Record, now_ns: int, q: Record, wanted: Records) -> None:
    bid, bid_lots, ask, ask_lots = q.bid_ticks, q.bid_lots, q.ask_ticks, q.ask_lots
    touch_quote(s.touch, now_ns, bid, bid_lots, ask, ask_lots)
    if wanted[OFI]:
        ofi_quote(s.order_flow, now_ns, p.half_life_ms * MS, bid, bid_lots, ask, ask_lots)
    if wanted[REALISED] or wanted[BIPOWER]:
        volatility_quote(
            s.volatility, now_ns, int(p.sample_ms * MS), p.half_life_returns, bid, bid_lots, ask, ask_lots
        )  # fmt: skip
    if wanted[KYLE] or wanted[AMIHUD]:
        impact_time(s.impact, now_ns, int(p.bar_ms * MS), p.half_life_bars)
        impact_quote(s.impact, bid, bid_lots, ask, ask_lots)
    if wanted[MICRO]:
        microprice_quote(s.microprice, int(p.refit_quotes), bid, bid_lots, ask, ask_lots)


@njit(cache=True)
def _trade(s: Record, p: Record, now_ns: int, t: Record, wanted: Records) -> None:
    if wanted[INTENSITY] or wanted[SINCE_TRADE]:
        trading_trade(s.trading, now_ns, p.half_life_ms * MS)
    if wanted[EFFECTIVE_SPREAD] or wanted[ROLL_SPREAD] or wanted[SIGN_AUTOCORRELATION]:
        costs_trade(
            s.costs, p.half_life_trades, int(p.sign_lag), t.side, t.price_ticks, s.touch.known, s.touch.bid_ticks,
            s.touch.ask_ticks,
        )  # fmt: skip
    if wanted[KYLE] or wanted[AMIHUD]:
        impact_time(s.impact, now_ns, int(p.bar_ms * MS), p.half_life_bars)
        impact_trade(s.impact, t.side, t.price_ticks, t.quantity_lots)
    if wanted[VPIN_VALUE]:
        vpin_trade(s.vpin, bucket_lots(p.vpin_bucket, s.lot), t.side, t.quantity_lots)


@njit(cache=True)
def bucket_lots(quantity: float, lot: float) -> int:
    """The volume of a bucket in lots: the nearest whole number, at least 1."""
    return int(min(max(np.floor(quantity / lot + 0.5), 1.0), float(LOTS_MAX)))


@njit(cache=True)
def _gap(s: Record, stream: int) -> None:
    """What is missing is forgotten with all that hangs on it."""
    if stream == QUOTE:
        touch_gap(s.touch)
        ofi_gap(s.order_flow)
        volatility_gap(s.volatility)
        microprice_gap(s.microprice)
        impact_gap(s.impact, True)
    elif stream == TRADE:
        trading_gap(s.trading)
        costs_gap(s.costs)
        vpin_gap(s.vpin)
        impact_gap(s.impact, False)
    elif stream == DEPTH:
        book_clear(s.book, 0)


@njit(cache=True)
def _begin(s: Record) -> None:
    """Puts all to the start: prices and quantities are counted in other units from here on."""
    touch_gap(s.touch)
    ofi_gap(s.order_flow)
    trading_gap(s.trading)
    vpin_gap(s.vpin)
    book_clear(s.book, 0)
    costs_gap(s.costs)
    s.costs.weight = 0.0
    s.costs.paid = 0.0
    forget_all(s.costs.changes)
    forget_all(s.costs.pairs)
    volatility_gap(s.volatility)
    impact_gap(s.impact, True)
    s.impact.missing = 0
    s.impact.interval = 0
    s.impact.weight = 0.0
    s.impact.ratios = 0.0
    forget_all(s.impact.moments)
    microprice_gap(s.microprice)
    s.microprice.price_step = 0
    s.microprice.fits = 0


@njit(cache=True)
def give_values(s: Record, p: Record, now_ns: int, wanted: Records, out: Floats) -> None:
    """Writes the wanted features as of `now_ns`, in the order of table.FEATURES and one after the other, into `out`.

    Prices and quantities in decimals; NaN: not known."""
    tick, lot = s.tick, s.lot
    n = 0
    for feature in range(len(wanted)):
        if not wanted[feature]:
            continue
        value = np.nan
        if feature == MID:
            value = mid(s.touch) * tick
        elif feature == QUOTED_SPREAD:
            value = quoted_spread(s.touch) * tick
        elif feature == WEIGHTED_MID:
            value = weighted_mid(s.touch) * tick
        elif feature == MICRO:
            value = microprice(s.microprice) * tick
        elif feature == QUEUE_IMBALANCE:
            value = queue_imbalance(s.touch)
        elif feature == SINCE_QUOTE:
            value = since_quote_s(s.touch, now_ns)
        elif feature == OFI:
            value = ofi(s.order_flow, now_ns, p.half_life_ms * MS) * lot
        elif feature == REALISED:
            value = realised_volatility(s.volatility, int(p.sample_ms * MS))
        elif feature == BIPOWER:
            value = bipower_volatility(s.volatility, int(p.sample_ms * MS))
        elif feature == EFFECTIVE_SPREAD:
            value = effective_spread(s.costs) * tick
        elif feature == ROLL_SPREAD:
            value = roll_spread(s.costs) * tick
        elif feature == SIGN_AUTOCORRELATION:
            value = sign_autocorrelation(s.costs)
        elif feature == INTENSITY:
            value = trade_intensity(s.trading, now_ns, p.half_life_ms * MS)
        elif feature == SINCE_TRADE:
            value = since_trade_s(s.trading, now_ns)
        elif feature == VPIN_VALUE:
            value = vpin(s.vpin, bucket_lots(p.vpin_bucket, lot)) if lot > 0.0 else np.nan
        elif feature == KYLE:
            value = kyle_lambda(s.impact) * tick / lot if lot > 0.0 else np.nan
        elif feature == AMIHUD:
            value = amihud(s.impact) / (tick * lot) if lot > 0.0 else np.nan
        elif feature == DEPTH_IMBALANCE:
            value = depth_imbalance(s.book, int(p.depth_levels))
        elif feature == DEPTH_SLOPE:
            value = depth_slope(s.book, int(p.depth_levels))
        out[n] = value
        n += 1
