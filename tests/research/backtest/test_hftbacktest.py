"""The same scripted strategy on the same capture at hftbacktest's venue and at ours (docs/backtest.md explains what differs).

Needs the extra `bench`, whose numpy is older than the newest one that tickmesh takes: an environment of its own.
"""

import pytest

from bench.quoting import capture_rows, ours, theirs
from tests.support.captures import USDM_BTC, needs
from tickmesh.research.backtest.terms import VenueTerms

pytest.importorskip("numpy")
hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed; the extra `bench` has it")

pytestmark = [pytest.mark.data, needs(USDM_BTC)]


@pytest.fixture(scope="module")
def market():
    return capture_rows(USDM_BTC)


@pytest.mark.parametrize("queue", ["risk_averse", "probability_power"])
def test_every_order_is_filled_as_at_theirs(market, queue):
    mine, other = ours(market, VenueTerms(queue, "whole", impact=False)), theirs(hft, market, queue)
    assert mine == other
    assert sum(one.filled > 0 for one in mine.values()) > 50
