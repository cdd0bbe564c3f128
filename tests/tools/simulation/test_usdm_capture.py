"""A raw USD-M capture as a market in which orders of ours are matched, with that venue's fees."""

import json

import pytest

from tickmesh.tools.simulation.markets import replayed_usdm
from tickmesh.tools.simulation.scenarios import FEES, SCENARIOS, build_step
from tickmesh.tools.simulation.trial import Trial, TrialTerms
from tickmesh.tools.simulation.usdm_capture import read_usdm_line

SECOND = 1_000_000_000
START_NS = 1_723_161_256 * SECOND


def line(at_s: float, data: dict) -> str:
    body = {"stream": f"btcusdt@{data['e']}", "data": {"s": "BTCUSDT", "T": 1, "E": 1, **data}} if "e" in data else data
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


def frames():
    return [frame for text in capture() if (frame := read_usdm_line(text, "BTCUSDT")) is not None]


def test_changes_follow_on_the_one_before_and_the_book_is_never_lost():
    market = replayed_usdm("BTCUSDT", frames(), FEES)
    while market.due_ns:
        market.act()
    assert market.venue.market.book_id == 3905
    assert market.venue.market.best(1) == (6_000_000_000_000, 500_000_000)


def test_what_met_no_order_of_the_book_is_no_trade():
    liquidation = {"e": "trade", "t": 1, "p": "1.0", "q": "20", "X": "INSURANCE_FUND", "m": True}
    assert read_usdm_line(line(1, liquidation), "BTCUSDT") is None


@pytest.mark.parametrize(("style", "share"), [("market", 0.0005), ("limit_maker", 0.0002)])
def test_orders_pay_the_fees_of_usdm(style, share):
    scenario = next(one for one in SCENARIOS if one.name == "btc-usdm")
    market = replayed_usdm("BTCUSDT", frames(), FEES)
    terms = TrialTerms((5 * SECOND,), 10 * SECOND, scenario.taker_fee)
    (outcome,) = Trial(market, build_step(scenario, style), 10_000_000, terms).run()
    assert outcome.side == 1 and outcome.filled == outcome.wanted == 0.1
    assert outcome.fees == pytest.approx(outcome.filled_value * share)
    assert outcome.filled_value == pytest.approx(6000.0 if style == "limit_maker" else 6000.01)
