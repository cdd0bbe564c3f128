"""Our queue models beside those of hftbacktest, on the same random sequences at one level (docs/exchange.md has the table).

Needs the extra `bench`, whose numpy is older than the newest one that tickmesh takes: an environment of its own.
"""

import math
import random

import pytest

from tests.support.replay_lines import depth, line, market_of, snapshot, trade
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.queue import MODELS
from tickmesh.nodes.exchange.protocol import UNIT

np = pytest.importorskip("numpy")
hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed; the extra `bench` has it")

SEQUENCES, ORDER = 40, 10
STEP_NS = 10_000_000
LOT = 0.00001  # BTCUSDT's; a fill is rounded to it, by each in its own way
THEIRS = {
    "risk_averse": lambda asset: asset.risk_adverse_queue_model(),
    "probability_power": lambda asset: asset.power_prob_queue_model(3.0),
    "probability_log": lambda asset: asset.log_prob_queue_model(),
}


def sequence(seed: int) -> tuple[int, list[tuple[str, int]]]:
    """(quantity of the level at first, [("trade", quantity sold into it) or ("level", its quantity after a change)])."""
    rng = random.Random(seed)
    level = first = rng.randint(5, 40)
    steps = []
    for _ in range(30):
        if rng.random() < 0.4:
            sold = rng.randint(1, 6)
            steps.append(("trade", sold))
            level -= sold
        level = max(level + rng.randint(-5, 5), 1)
        steps.append(("level", level))
    return first, steps


def ours(model: str, first: int, steps: list[tuple[str, int]]) -> list[float]:
    """What was filled after each step, by a recorded market."""
    market, replay, fills = market_of(snapshot(10, [(100, first)], [(101, 50)]))
    market.queue = MODELS[model]()
    market.submit(ExchangeOrder(1, 1, 1, 100 * UNIT, ORDER * UNIT), "LIMIT", "GTC", 0)
    done = []
    for n, (what, quantity) in enumerate(steps):
        message = trade(n + 1, 100, quantity, True) if what == "trade" else depth(11 + n, 11 + n, [(100, quantity)])
        if what == "trade":
            replay.pass_line(line(depth(11 + n, 11 + n)), 0)  # so that the ids go on
        replay.pass_line(line(message), 0)
        done.append(sum(execution.quantity for _, execution in fills) / UNIT)
    return done


def theirs(model: str, first: int, steps: list[tuple[str, int]]) -> list[float]:
    """What was filled after each step, by hftbacktest's exchange with partial fills."""
    events = np.zeros(len(steps) + 2, hft.types.event_dtype)
    both = hft.EXCH_EVENT | hft.LOCAL_EVENT
    rows = [(hft.DEPTH_EVENT | hft.BUY_EVENT, 100, first), (hft.DEPTH_EVENT | hft.SELL_EVENT, 101, 50)]
    for what, quantity in steps:
        rows.append(((hft.TRADE_EVENT | hft.SELL_EVENT if what == "trade" else hft.DEPTH_EVENT | hft.BUY_EVENT), 100, quantity))
    for n, (kind, price, quantity) in enumerate(rows):
        at = STEP_NS if n < 2 else STEP_NS * (n + 1)
        events[n]["ev"], events[n]["exch_ts"], events[n]["local_ts"] = kind | both, at, at
        events[n]["px"], events[n]["qty"] = price, quantity
    asset = (
        hft.BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(0, 0).tick_size(1.0).lot_size(LOT)
        .partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    )  # fmt: skip
    backtest = hft.HashMapMarketDepthBacktest([THEIRS[model](asset)])
    backtest.elapse(STEP_NS + STEP_NS // 2)
    backtest.submit_buy_order(0, 1, 100.0, float(ORDER), hft.GTC, hft.LIMIT, False)
    backtest.elapse(STEP_NS // 4)
    done = []
    for n in range(len(steps)):
        backtest.elapse(STEP_NS * (n + 3) + STEP_NS // 2 - backtest.current_timestamp)
        order = backtest.orders(0).get(1)
        done.append(ORDER - order.leaves_qty)
    backtest.close()
    return done


def below_nothing(first: int, steps: list[tuple[str, int]]) -> bool:
    """Whether hftbacktest's place by the logarithm goes below 0 at a change of the level, before any trade reaches the order.

    By its documented formula: a level that loses more than stands behind takes the rest from ahead, however little is there."""
    front, before, traded = float(first), first, 0.0
    for what, quantity in steps:
        if what == "trade":
            front, traded = front - quantity, traded + quantity
            if front < 0:
                return False
            continue
        gone, traded, behind = before - quantity - traded, 0.0, before - front
        if gone >= 0:
            weights = math.log1p(behind), math.log1p(front)
            share = weights[0] / sum(weights) if sum(weights) else 1.0
            front = front - (1 - share) * gone + min(behind - share * gone, 0.0)
        front, before = min(front, quantity), quantity
        if front < 0:
            return True
    return False


def different(model: str) -> list[int]:
    """The sequences whose fills differ by more than the lot that each rounds in its own way."""
    return [
        seed for seed in range(SEQUENCES)
        if any(abs(a - b) > 2 * LOT for a, b in zip(ours(model, *sequence(seed)), theirs(model, *sequence(seed)), strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["risk_averse", "probability_power"])
def test_our_model_fills_as_theirs_step_by_step(model):
    assert different(model) == []
    assert sum(ours(model, *sequence(seed))[-1] > 0 for seed in range(SEQUENCES)) > 20


def test_the_logarithm_differs_only_where_their_place_goes_below_nothing():
    found = different("probability_log")
    assert len(found) == 5 and all(below_nothing(*sequence(seed)) for seed in found)
    for seed in range(SEQUENCES):
        first, steps = sequence(seed)
        before = 0.0
        for (what, quantity), after in zip(steps, ours("probability_log", first, steps)):
            assert after - before <= (quantity if what == "trade" else 0) + LOT / 2, "never more than was traded"
            before = after


def test_theirs_fills_more_than_was_traded_there():
    first, steps = sequence(7)
    done = theirs("probability_log", first, steps)
    n = next(n for n, filled in enumerate(done) if filled)
    assert steps[n] == ("trade", 2) and done[n] > 2.03
