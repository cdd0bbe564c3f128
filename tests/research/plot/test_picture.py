"""The picture: what is missing of trades and of quotes at the same time is shaded once."""

from unittest.mock import Mock

from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.picture import shade_missing, title_of
from tickmesh.research.plot.shading import CoverageSpan

SECOND = 1_000_000_000


def test_what_overlaps_is_shaded_once_and_what_is_missing_of_the_book_alone_is_not():
    view = PlottedMarket("binance.BTCUSDT", 0, 100 * SECOND)
    missing = [("trade", 40, 50), ("quote", 44, 46), ("quote", 50, 55), ("trade", 70, 70), ("depth", 0, 9), ("trade", 200, 300)]
    view.coverage = [CoverageSpan(kind, "missing", begin * SECOND, end * SECOND, "") for kind, begin, end in missing]
    shade_missing(axis := Mock(), view)
    assert axis.broken_barh.call_args.args[0] == [(40.0, 15.0), (70.0, 0.0)]
    assert title_of(view) == "binance.BTCUSDT: 0 trades, 0 quotes"
