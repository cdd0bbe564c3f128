"""Bars by a plain loop over the ticks."""

import numpy as np

from tickmesh.bus.schema import HEADER
from tickmesh.storage.bars.bar import BAR, SUMS, whole


def headers(count: int) -> np.ndarray:
    """Headers of so many events."""
    out = np.zeros(count, HEADER)
    out["count"], out["seq"] = 1, np.arange(1, count + 1)
    return out


def naive(trades, quotes, every_ns: int) -> dict[int, dict]:
    """Computes bars by their definition, one tick at a time."""
    out: dict[int, dict] = {}
    for number, price, quantity, venue_ns, side in sorted(trades, key=lambda row: row[0]):
        bar = out.setdefault(venue_ns // every_ns * every_ns, {})
        if not bar.get("count"):
            bar |= dict(count=0, first_id=number, open_ticks=price, high_ticks=price, low_ticks=price)
            bar |= dict(volume_lots=0, buy_volume_lots=0, notional=0)
        bar["count"] += 1
        bar["last_id"], bar["close_ticks"] = number, price
        bar["high_ticks"], bar["low_ticks"] = max(bar["high_ticks"], price), min(bar["low_ticks"], price)
        bar["volume_lots"] += quantity
        bar["buy_volume_lots"] += quantity if side > 0 else 0
        bar["notional"] += price * quantity
    for number, bid, bid_lots, ask, ask_lots, venue_ns in sorted(quotes, key=lambda row: row[0]):
        bar = out.setdefault(venue_ns // every_ns * every_ns, {})
        bar["quotes"] = bar.get("quotes", 0) + 1
        bar |= dict(quote_id=number, bid_ticks=bid, bid_lots=bid_lots, ask_ticks=ask, ask_lots=ask_lots)
        if bid_lots and ask_lots:
            spread = ask - bid
            bar["spreads"] = bar.get("spreads", 0) + 1
            bar["spread_sum_ticks"] = bar.get("spread_sum_ticks", 0) + spread
            bar["spread_min_ticks"] = min(bar.get("spread_min_ticks", spread), spread)
            bar["spread_max_ticks"] = max(bar.get("spread_max_ticks", spread), spread)
    return out


def as_dicts(bars: np.ndarray) -> dict[int, dict]:
    """Bars as dicts, without fields that are 0: `naive` does not mention what did not happen."""
    names = [name for name in BAR.names if name != "begin_ns" and not name.endswith("_high")]
    columns = {name: whole(bars, name) if name in SUMS else bars[name] for name in names}
    return {
        int(begin): {name: int(columns[name][i]) for name in names if columns[name][i]}
        for i, begin in enumerate(bars["begin_ns"])
    }


def without_zeros(bars: dict[int, dict]) -> dict[int, dict]:
    """Bars without fields that are 0."""
    return {begin: {name: value for name, value in bar.items() if value} for begin, bar in bars.items()}
