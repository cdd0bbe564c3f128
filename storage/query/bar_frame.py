"""Bars for people: decimal columns of a DataFrame, by the instrument's exponents."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tickmesh.storage.bars.bar import as_float
from tickmesh.storage.query.coverage import described
from tickmesh.storage.query.gaps import coverage_of
from tickmesh.storage.query.scales import scaled

if TYPE_CHECKING:
    import pandas

PRICES = ("open", "high", "low", "close")


def frame_of(bars: np.ndarray, price_exponent: int, quantity_exponent: int) -> "pandas.DataFrame":
    """Builds a DataFrame with a row for each bar, index `time` (its beginning, UTC). `bars`: BAR, also with coverage.

    Columns: open high low close volume buy_volume notional vwap count first_id last_id (of trades), bid_price bid_quantity
    ask_price ask_quantity quotes (the last quote, how many there were), spread_mean spread_min spread_max, changes (of depth);
    `covered` (the share of the bar's time in which nothing was lost, 0…1) and `missing` where they were asked for. What is not
    known is NaN: prices before the first trade, vwap of a bar without one, spreads without a two-sided quote.
    attrs["coverage"] is the ledger, as `tickmesh.storage.query.coverage.described` gives it.
    """
    import pandas as pd

    def known(values: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.where(where, values, np.nan)

    price, quantity = _unit(price_exponent), _unit(quantity_exponent)
    traded, quoted, two_sided = bars["count"] > 0, bars["quotes"] > 0, bars["spreads"] > 0
    has_price = traded | (bars["close_ticks"] != 0)
    out: dict[str, np.ndarray] = {}
    for name in PRICES:
        out[name] = known(scaled(bars[f"{name}_ticks"], price_exponent), has_price)
    out["volume"] = quantity(as_float(bars, "volume_lots"))
    out["buy_volume"] = quantity(as_float(bars, "buy_volume_lots"))
    out["notional"] = _unit(price_exponent + quantity_exponent)(as_float(bars, "notional"))
    with np.errstate(invalid="ignore", divide="ignore"):
        lots = as_float(bars, "volume_lots")
        out["vwap"] = known(price(as_float(bars, "notional") / lots), traded & (lots > 0))
        spread = price(as_float(bars, "spread_sum_ticks") / bars["spreads"])
    out |= {name: bars[name] for name in ("count", "first_id", "last_id")}
    has_quote = quoted | (bars["quote_id"] != 0) | (bars["bid_lots"] != 0) | (bars["ask_lots"] != 0)
    for side in ("bid", "ask"):
        present = has_quote & (bars[f"{side}_lots"] > 0)
        out[f"{side}_price"] = known(scaled(bars[f"{side}_ticks"], price_exponent), present)
        out[f"{side}_quantity"] = known(scaled(bars[f"{side}_lots"], quantity_exponent), has_quote)
    out["quotes"] = bars["quotes"]
    out["spread_mean"] = known(spread, two_sided)
    out["spread_min"] = known(scaled(bars["spread_min_ticks"], price_exponent), two_sided)
    out["spread_max"] = known(scaled(bars["spread_max_ticks"], price_exponent), two_sided)
    out["changes"] = bars["changes"]
    for name in ("covered", "missing"):
        if name in (bars.dtype.names or ()):
            out[name] = bars[name]
    index = pd.DatetimeIndex(pd.to_datetime(bars["begin_ns"], unit="ns", utc=True), name="time")
    frame = pd.DataFrame(out, index=index)
    frame.attrs["coverage"] = described(coverage_of(bars))
    return frame


def _unit(exponent: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: scaled(values, exponent)
