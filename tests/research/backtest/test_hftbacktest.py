"""The same scripted strategy on the same capture at hftbacktest's venue and at ours (docs/backtest.md explains what differs).

Needs the extra `bench`, whose numpy is older than the newest one that tickmesh takes: an environment of its own.
"""

import math

import pytest

from bench.quoting import ENTRY_NS, TICK, UNIT, OrderOutcome, capture_rows, ours, theirs, ticks
from tests.support.captures import USDM_BTC, needs
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import MarketRows

hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed; the extra `bench` has it")

pytestmark = [pytest.mark.data, needs(USDM_BTC)]
WEIGHTS = {"probability_power": lambda x: x**3.0, "probability_log": math.log1p}


@pytest.fixture(scope="module")
def market() -> MarketRows:
    """The capture from its snapshot on."""
    return capture_rows(USDM_BTC)


def below_nothing(market: MarketRows, prices: dict[int, int], weight) -> set[int]:
    """Which of these orders (number → price in ticks) have a place that a change of their level puts below 0.

    By the formula that hftbacktest documents, while no trade has reached them.
    """
    clock, found, waiting = ticks(market), set(), {}
    begins = sorted((clock[number // 2] + ENTRY_NS, number, -1 if number % 2 else 1) for number in prices)
    books: dict[int, dict[int, int]] = {1: {}, -1: {}}
    levels, trades = market.levels.tolist(), market.trades.tolist()
    for row in market.rows[["seq_ns", "first", "count", "what"]].tolist():
        seq_ns, first, count, what = row
        while begins and begins[0][0] < seq_ns:
            _, number, side = begins.pop(0)
            waiting[number] = [side, prices[number] * TICK, books[side].get(prices[number] * TICK, 0) / UNIT, 0.0]
        if what == venue_kernel.TRADE:
            _, price, quantity, _, _, aggressor, _ = trades[first]
            for number, one in list(waiting.items()):
                if one[0] == -aggressor and one[1] == price:
                    one[2], one[3] = one[2] - quantity / UNIT, one[3] + quantity / UNIT
                    if one[2] < 0:
                        del waiting[number]
            continue
        for price, quantity, side, _ in levels[first : first + count]:
            before, books[side][price] = books[side].get(price, 0) / UNIT, quantity
            for number, one in list(waiting.items()):
                if one[:2] != [side, price]:
                    continue
                gone, one[3] = before - quantity / UNIT - one[3], 0.0
                if gone >= 0:
                    front, behind = one[2], before - one[2]
                    total = weight(behind) + weight(front)
                    share = weight(behind) / total if total else 1.0
                    one[2] = front - (1 - share) * gone + min(behind - share * gone, 0.0)
                one[2] = min(one[2], quantity / UNIT)
                if one[2] < 0:
                    found.add(number)
                    del waiting[number]
    return found


def rounding(mine: OrderOutcome, other: OrderOutcome) -> bool:
    """Whether they differ by a part of a lot that each rounds in its own way."""
    return abs(mine.filled - other.filled) <= 1 and (mine.filled == other.filled) == bool(mine.filled_ns and other.filled_ns)


def test_every_order_is_filled_as_at_theirs_and_at_the_same_time(market):
    mine = ours(market, VenueTerms("risk_averse", "whole", impact=False))
    assert mine == theirs(hft, market, "risk_averse")
    assert sum(one.filled > 0 for one in mine.values()) > 200


@pytest.mark.parametrize("queue", list(WEIGHTS))
def test_by_probability_only_places_below_nothing_and_parts_of_a_lot_differ(market, queue):
    mine, other = ours(market, VenueTerms(queue, "whole", impact=False)), theirs(hft, market, queue)
    different = {number for number, one in mine.items() if one != other[number]}
    assert sum(one.filled > 0 for one in mine.values()) > 200 and len(different) < 10
    more = {number: mine[number].price for number in different if not rounding(mine[number], other[number])}
    assert more and all(mine[number].filled < other[number].filled or mine[number].filled_ns for number in more)
    assert below_nothing(market, more, WEIGHTS[queue]) == set(more)
