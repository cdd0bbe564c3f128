"""The features by name: unit, what they are made of, when known; their parameters; the record that holds all of them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.features.depth import book_dtype
from tickmesh.nodes.models.features.impact import IMPACT
from tickmesh.nodes.models.features.microprice import MICROPRICE
from tickmesh.nodes.models.features.order_flow import ORDER_FLOW
from tickmesh.nodes.models.features.touch import TOUCH
from tickmesh.nodes.models.features.trade_costs import LAG_MAX, TRADE_COSTS
from tickmesh.nodes.models.features.trading import TRADING
from tickmesh.nodes.models.features.volatility import VOLATILITY
from tickmesh.nodes.models.features.vpin import VPIN
from tickmesh.nodes.models.interface import Parameter


class Feature(NamedTuple):
    """One column. `kinds`: what it is made of; `warm_up`: when it is first known, a sentence for people."""

    name: str
    unit: str
    kinds: tuple[Kind, ...]
    warm_up: str


_QUOTE, _TRADE, _DEPTH, _BOTH = (Kind.quote,), (Kind.trade,), (Kind.depth,), (Kind.quote, Kind.trade)
FEATURES = (
    Feature("mid", "price", _QUOTE, "a quote"),
    Feature("quoted_spread", "price", _QUOTE, "a quote"),
    Feature("weighted_mid", "price", _QUOTE, "a quote"),
    Feature("microprice", "price", _QUOTE, "refit_quotes quotes"),
    Feature("queue_imbalance", "−1 … +1", _QUOTE, "a quote"),
    Feature("since_quote_s", "s", _QUOTE, "a quote"),
    Feature("ofi", "quantity", _QUOTE, "two quotes"),
    Feature("realised_volatility", "1/√s", _QUOTE, "10 returns of sample_ms"),
    Feature("bipower_volatility", "1/√s", _QUOTE, "10 returns of sample_ms"),
    Feature("effective_spread", "price", _BOTH, "a trade after a quote"),
    Feature("roll_spread", "price", _TRADE, "30 pairs of price changes"),
    Feature("sign_autocorrelation", "−1 … +1", _TRADE, "30 pairs of trades sign_lag apart"),
    Feature("trade_intensity", "trades/s", _TRADE, "a trade"),
    Feature("since_trade_s", "s", _TRADE, "a trade"),
    Feature("vpin", "0 … 1", _TRADE, "50 buckets of vpin_bucket"),
    Feature("kyle_lambda", "price/quantity", _BOTH, "10 intervals of bar_ms with trades"),
    Feature("amihud", "1/(price·quantity)", _BOTH, "10 intervals of bar_ms with trades"),
    Feature("depth_imbalance", "−1 … +1", _DEPTH, "a snapshot"),
    Feature("depth_slope", "ln lots", _DEPTH, "a snapshot"),
)
NAMES = tuple(feature.name for feature in FEATURES)
(
    MID, QUOTED_SPREAD, WEIGHTED_MID, MICRO, QUEUE_IMBALANCE, SINCE_QUOTE, OFI, REALISED, BIPOWER, EFFECTIVE_SPREAD,
    ROLL_SPREAD, SIGN_AUTOCORRELATION, INTENSITY, SINCE_TRADE, VPIN_VALUE, KYLE, AMIHUD, DEPTH_IMBALANCE, DEPTH_SLOPE,
) = range(len(FEATURES))  # fmt: skip

PARAMETERS = {
    "half_life_ms": Parameter(1000.0, 1.0, 8.64e7, "of ofi and trade_intensity"),
    "half_life_trades": Parameter(1000.0, 1.0, 1e9, "of effective_spread, roll_spread, sign_autocorrelation"),
    "sign_lag": Parameter(1.0, 1.0, LAG_MAX - 1.0, "trades between the signs of sign_autocorrelation"),
    "sample_ms": Parameter(1000.0, 1.0, 8.64e7, "between the samples of the volatilities"),
    "half_life_returns": Parameter(300.0, 1.0, 1e9, "of the volatilities, in samples"),
    "bar_ms": Parameter(1000.0, 1.0, 8.64e7, "of an interval of kyle_lambda and amihud"),
    "half_life_bars": Parameter(300.0, 1.0, 1e9, "of kyle_lambda and amihud, in intervals with trades"),
    "vpin_bucket": Parameter(1.0, 1e-18, 1e18, "quantity of a bucket of vpin; a fiftieth of a day's volume is usual"),
    "depth_levels": Parameter(10.0, 1.0, 1000.0, "of each side, of depth_imbalance and depth_slope"),
    "refit_quotes": Parameter(1000.0, 100.0, 1e9, "between two fits of the microprice"),
}


def state_dtype(names: Iterable[str]) -> np.dtype:
    """The dtype of the record that features/vector.py keeps for these features: with room for a book only if one needs it."""
    needs_book = any(Kind.depth in FEATURES[NAMES.index(name)].kinds for name in names)
    return np.dtype(
        [
            ("tick", "<f8"),  # what the state is measured in: another definition begins anew
            ("lot", "<f8"),
            ("touch", TOUCH),
            ("order_flow", ORDER_FLOW),
            ("trading", TRADING),
            ("costs", TRADE_COSTS),
            ("volatility", VOLATILITY),
            ("impact", IMPACT),
            ("vpin", VPIN),
            ("microprice", MICROPRICE),
            ("book", book_dtype() if needs_book else book_dtype(1)),
        ]
    )


def kinds_of(names: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds that these features are made of, in order of their numbers."""
    return tuple(sorted({kind for name in names for kind in FEATURES[NAMES.index(name)].kinds}))


def wanted_of(names: Iterable[str]) -> np.ndarray:
    """(len(FEATURES),) bool: which features are asked for. Raises ValueError for a name that is none."""
    wanted = np.zeros(len(FEATURES), "?")
    for name in names:
        if name not in NAMES:
            raise ValueError(f"{name!r} is no feature; there are {', '.join(NAMES)}")
        wanted[NAMES.index(name)] = True
    return wanted
