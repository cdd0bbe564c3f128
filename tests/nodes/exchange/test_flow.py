"""The synthetic population: seeded, bounded, at its rates, consistent, and a little predictable."""

import json
from statistics import correlation, mean

import pytest

from tickmesh.bus.settings import PopulationSettings
from tickmesh.nodes.exchange.market.flow import FAR, NEAR, Flow
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import UpdateIds
from tickmesh.nodes.exchange.market.population import leaders_first, shape
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.protocol import UNIT

START = 1_700_000_000_000


def tape_of(seconds: int, seed: int = 1, symbol: str = "BTCUSDT", trades: float = 20, quotes: float = 60):
    """Runs the market; (market, frames, [(mid, imbalance) every 100 ms])."""
    market = Market(spec(symbol), UpdateIds(), Tape())
    flow = Flow(market, shape(PopulationSettings(), trades, quotes), seed, START)
    frames, samples = [], []
    for step in range(1, seconds * 10 + 1):
        flow.run(START + step * 100)
        market.flush_depth(START + step * 100)
        frames += market.drain()[1]
        (bid, bids), (ask, asks) = market.best(1), market.best(-1)
        samples.append(((bid + ask) / 2, (bids - asks) / (bids + asks)))
        assert len(market.book.orders) <= 2 * (NEAR + FAR)
        assert 0 < bid < ask
    return market, frames, samples


@pytest.mark.parametrize("symbol", ["BTCUSDT", "NEXOUSDT", "ABCUSDT"])
def test_rates_are_about_what_was_asked_for(symbol):
    _, frames, _ = tape_of(120, symbol=symbol)
    for stream, rate in (("@trade", 20), ("@bookTicker", 60)):
        seen = sum(name.endswith(stream) for name, _ in frames) / 120
        assert 0.6 * rate < seen < 1.7 * rate, (stream, seen)


def test_the_same_seed_makes_the_same_market_and_another_seed_another():
    _, one, _ = tape_of(20)
    _, two, _ = tape_of(20)
    _, other, _ = tape_of(20, seed=2)
    assert one == two
    assert one != other


def test_diffs_rebuild_the_book_that_the_book_ticker_shows():
    _, frames, _ = tape_of(30)
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    tickers = {}
    last, equal = 0, 0
    for stream, data in frames:
        row = json.loads(data)
        if stream.endswith("bookTicker"):
            tickers[row["u"]] = row
        elif stream.endswith("@depth@100ms"):
            assert row["U"] == last + 1
            last = row["u"]
            for side in ("b", "a"):
                for price, quantity in row[side]:
                    if quantity == "0.00000000":
                        sides[side].pop(price, None)
                    else:
                        sides[side][price] = quantity
            if last in tickers:
                ticker = tickers[last]
                bid, ask = max(sides["b"], key=float), min(sides["a"], key=float)
                assert (bid, sides["b"][bid], ask, sides["a"][ask]) == tuple(ticker[k] for k in "bBaA")
                equal += 1
    assert equal > 50


def test_the_slow_depth_stream_has_its_own_chain():
    _, frames, _ = tape_of(10)
    last = 0
    rows = [json.loads(data) for stream, data in frames if stream == "btcusdt@depth"]
    assert len(rows) == 10
    for row in rows:
        assert row["U"] == last + 1
        last = row["u"]


def test_trades_come_in_clusters_with_persistent_signs():
    market, _, _ = tape_of(300)
    counts: dict[int, int] = {}
    for trade in market.tape.prints:
        counts[trade.time // 250] = counts.get(trade.time // 250, 0) + 1
    values = [counts.get(n, 0) for n in range(min(counts), max(counts) + 1)]
    average = mean(values)
    assert mean((v - average) ** 2 for v in values) > 2 * average, "a Poisson process has a variance equal to its mean"
    signs = [1 - 2 * t.buyer_is_maker for t in market.tape.prints]
    assert correlation(signs[:-5], signs[5:]) > 0.1
    assert all(t.quantity % market.spec.lot == 0 and t.price % market.spec.tick == 0 for t in market.tape.prints)


def test_the_imbalance_of_the_best_levels_predicts_the_next_second_and_the_price_stays_sane():
    _, _, samples = tape_of(300)
    mids = [m for m, _ in samples]
    imbalances = [i for _, i in samples]
    moves = [b - a for a, b in zip(mids, mids[10:])]
    assert correlation(imbalances[: len(moves)], moves) > 0.15
    assert min(mids) > 55_000 * UNIT and max(mids) < 65_000 * UNIT


def test_a_market_goes_on_from_its_last_price():
    market, _, _ = tape_of(5)
    tape = market.tape
    again = Market(spec("BTCUSDT"), UpdateIds(market.book.update_id), tape)
    Flow(again, shape(PopulationSettings(), 20, 60), 9, START + 10_000)
    assert abs(again.best(1)[0] - tape.last_price) < 20 * UNIT
    assert again.book.update_id > market.book.update_id


def pair(rho: float, seconds: int = 150, chunk_ms: int = 100) -> tuple[list[float], list[float]]:
    """Mids every five seconds of an instrument, and of a quiet one that follows it."""
    leader = Market(spec("BTCUSDT"), UpdateIds(), Tape())
    follower = Market(spec("ETHUSDT"), UpdateIds(), Tape())
    first = Flow(leader, shape(PopulationSettings(), 20, 60), 1, START)
    terms = PopulationSettings(preset="quiet", quotes_per_s=30, spread_ppm=5, follows="BTCUSDT", correlation=rho)
    second = Flow(follower, shape(terms, 20, 60), 1, START, first)
    mids: tuple[list[float], list[float]] = ([], [])
    for step in range(chunk_ms, seconds * 1000 + 1, chunk_ms):
        first.run(START + step)
        second.run(START + step)
        if step % 5000 == 0:
            for seen, market in zip(mids, (leader, follower)):
                seen.append((market.best(1)[0] + market.best(-1)[0]) / 2)
    return mids


def moves_of(mids: list[float]) -> list[float]:
    return [b / a - 1 for a, b in zip(mids, mids[1:])]


def test_one_instrument_follows_another():
    for rho in (0.9, -0.9):
        one, two = map(moves_of, pair(rho))
        assert correlation(one, two) * rho > 0.3
    alone, other = map(moves_of, pair(0.0))
    assert abs(correlation(alone, other)) < 0.3


def test_a_flow_does_not_depend_on_how_its_time_is_cut_into_calls():
    assert pair(0.8, 60) == pair(0.8, 60, chunk_ms=1000)


def test_a_quiet_market_trades_seldom_with_a_wide_spread():
    quiet, liquid = Market(spec("BTCUSDT"), UpdateIds(), Tape()), Market(spec("BTCUSDT"), UpdateIds(), Tape())
    for market, preset in ((quiet, "quiet"), (liquid, "liquid")):
        Flow(market, shape(PopulationSettings(preset=preset), 20, 60), 1, START).run(START + 300_000)
    assert 20 < len(quiet.tape.prints) < 400 < len(liquid.tape.prints)
    spreads = [market.best(-1)[0] - market.best(1)[0] for market in (quiet, liquid)]
    assert spreads[0] > 20 * spreads[1]


def test_whoever_is_followed_acts_first_and_a_circle_is_broken():
    assert leaders_first({"C": "B", "B": "A", "A": ""}) == ["A", "B", "C"]
    assert sorted(leaders_first({"A": "B", "B": "A"})) == ["A", "B"]
    assert leaders_first({"A": "elsewhere"}) == ["A"]
