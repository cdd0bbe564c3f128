"""A raw USD-M capture as a market in which orders of ours are matched, with that venue's fees."""

import json

import pytest

from tickmesh.tools.simulation.markets import ReplayedMarket, read_frames, replayed
from tickmesh.tools.simulation.scenarios import FEES, SCENARIOS, build_step
from tickmesh.tools.simulation.trial import Trial, TrialTerms

SECOND = 1_000_000_000
MARKET = "binance_usdm.BTCUSDT"
STREAMS = {"depthUpdate": "depth@0ms"}
START_NS = 1_723_161_256 * SECOND


def line(at_s: float, data: dict) -> str:
    body = {**data, "E": 1, "T": 1}
    if "e" in data:
        stream = f"btcusdt@{STREAMS.get(data['e'], data['e'])}"
        body = {"stream": stream, "data": {"s": "BTCUSDT", "T": 1, "E": 1, **data}}
    return f"{START_NS + int(at_s * SECOND)} {json.dumps(body)}"


def quote(at_s: float, number: int, bid: str, ask: str) -> str:
    return line(at_s, {"e": "bookTicker", "u": number, "b": bid, "B": "5", "a": ask, "A": "5"})


def capture() -> list[str]:
    """A still book with a seller in it every second, then a change whose own ids skip."""
    book = {"lastUpdateId": 10, "bids": [["60000.0", "5"]], "asks": [["60000.1", "5"]]}
    lines = [line(0, book), quote(0.1, 11, "60000.0", "60000.1")]
    for second in range(1, 40):
        trade = {"e": "trade", "t": second, "p": "60000.0", "q": "20", "X": "MARKET", "m": True}
        change = {"e": "depthUpdate", "U": second * 100, "u": second * 100 + 5, "pu": 10 if second == 1 else second * 100 - 95,
                  "b": [["60000.0", "5"]], "a": []}  # fmt: skip
        lines += [line(second, trade), line(second + 0.2, change), quote(second + 0.4, 20 + second, "60000.0", "60000.1")]
    return lines


def market_of(lines: list[str]) -> ReplayedMarket:
    return replayed("BTCUSDT", "binance_usdm", read_frames(lines, MARKET), FEES)


def test_changes_follow_on_the_one_before_and_the_book_is_never_lost():
    market = market_of(capture())
    while market.due_ns:
        market.act()
    assert market.venue.market.book_id == 3905
    assert market.venue.market.best(1) == (6_000_000_000_000, 500_000_000)


def test_what_met_no_order_of_the_book_is_no_trade():
    liquidation = {"e": "trade", "t": 1, "p": "1.0", "q": "20", "X": "INSURANCE_FUND", "m": True}
    met = {**liquidation, "t": 2, "X": "MARKET"}
    market = market_of([line(1, liquidation), line(2, met)])
    assert market.act() == [] and [one.trade_id for one in market.act()] == [2]


def test_of_a_capture_of_both_venues_one_market_is_read():
    spot = {"stream": "btcusdt@bookTicker", "data": {"s": "BTCUSDT", "u": 1, "b": "1", "B": "1", "a": "2", "A": "1"}}
    lines = [f"{START_NS} {json.dumps(spot)}", *capture()]
    assert {frame.market for frame in read_frames(lines, "BTCUSDT")} == {"BTCUSDT"} and len(read_frames(lines, "BTCUSDT")) == 1
    assert len(read_frames(lines, MARKET)) == len(capture())


@pytest.mark.parametrize(("style", "share"), [("market", 0.0005), ("limit_maker", 0.0002)])
def test_orders_pay_the_fees_of_usdm(style, share):
    scenario = next(one for one in SCENARIOS if one.name == "btc-usdm")
    market = market_of(capture())
    terms = TrialTerms((5 * SECOND,), 10 * SECOND, scenario.taker_fee)
    (outcome,) = Trial(market, build_step(scenario, style), 10_000_000, terms).run()
    assert outcome.side == 1 and outcome.filled == outcome.wanted == 0.1
    assert outcome.fees == pytest.approx(outcome.filled_value * share)
    assert outcome.filled_value == pytest.approx(6000.0 if style == "limit_maker" else 6000.01)


def test_in_a_silent_market_the_order_of_one_parent_is_gone_when_the_next_begins():
    """What is due in a silence happens then: the second parent is of the other side, and would meet what the first left."""
    silent = [line(0, {"lastUpdateId": 10, "bids": [["60000.0", "5"]], "asks": [["60000.1", "5"]]})]
    silent += [quote(at_s, 11 + at_s, "60000.0", ask) for at_s, ask in ((1, "60000.1"), (6, "60000.2"), (60, "60000.1"))]
    market = market_of(silent)
    scenario = next(one for one in SCENARIOS if one.name == "btc-usdm")
    terms = TrialTerms((2 * SECOND, 13 * SECOND), 10 * SECOND, scenario.taker_fee)
    step = build_step(scenario, "limit_maker")
    outcomes = Trial(market, step, 10_000_000, terms).run()
    assert step.counters()["refused"] == {}
    assert [one.orders for one in outcomes] == [1, 1]
