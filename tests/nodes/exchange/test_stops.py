"""Stops at the local venue: STOP_LOSS(_LIMIT), TAKE_PROFIT(_LIMIT), trailing ones, and what refuses them."""

import pytest

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.protocol import UNIT

NEW_WAITING, NEW_WORKING = ("NEW", "NEW", False), ("NEW", "NEW", True)

# type, side, stop price, a price that does not trigger it, one that does
WAYS = [
    ("STOP_LOSS", "SELL", 95.0, 95.01, 95.0), ("STOP_LOSS", "BUY", 105.0, 104.99, 105.0),
    ("TAKE_PROFIT", "SELL", 105.0, 104.99, 105.5), ("TAKE_PROFIT", "BUY", 95.0, 95.01, 94.5),
]  # fmt: skip


@pytest.mark.parametrize("kind, side, stop, near, there", WAYS)
def test_a_stop_at_market_waits_for_the_last_price_then_takes_what_stands_there(kind, side, stop, near, there):
    scene = DeskScene()
    order = scene.place(side, kind, 2.0, stopPrice=stop)
    assert order.waits and scene.went(order) == [NEW_WAITING] and not scene.market.book.orders
    locked = scene.balances()
    assert locked["BTC" if side == "SELL" else "USDT"][1] == (2.0 if side == "SELL" else 2 * stop)
    scene.trade(near)
    assert scene.reports(order) == []
    scene.check()
    taken = there + (1 if side == "BUY" else -1)
    scene.other(-1 if side == "BUY" else 1, taken, 1.5)
    scene.trade(there)
    went = scene.reports(order)
    assert [(r["x"], r["X"]) for r in went] == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED")]
    assert (went[1]["l"], float(went[1]["L"]), went[2]["eR"]) == ("1.50000000", taken, "INSUFFICIENT_LIQUIDITY")
    assert went[0]["W"] == order.working_time > order.time and "W" in went[0]
    scene.check()
    assert [locked for _, locked in scene.balances().values()] == [0, 0]


@pytest.mark.parametrize("kind, side, stop, near, there", WAYS)
def test_a_stop_limit_goes_to_the_book_when_it_is_triggered_and_rests_at_its_price(kind, side, stop, near, there):
    scene = DeskScene()
    price = there + (20 if side == "SELL" else -20)
    order = scene.place(side, f"{kind}_LIMIT", 1.0, stopPrice=stop, price=price)
    scene.trade(near)
    scene.trade(there)
    assert scene.went(order) == [NEW_WAITING, NEW_WORKING] and not order.waits
    assert scene.market.book.best(-1 if side == "SELL" else 1) == (round(price * UNIT), UNIT)
    scene.check()
    scene.cancel(order)
    assert scene.went(order) == [("CANCELED", "CANCELED", False)]
    scene.check()


@pytest.mark.parametrize("kind, side, stop, near, there", WAYS)
def test_a_stop_that_would_be_triggered_at_once_is_refused(kind, side, stop, near, there):
    scene = DeskScene()
    scene.trade(there)
    assert scene.refusal(side, kind, stopPrice=stop) == (-2010, "Order would trigger immediately.")
    limit = {"stopPrice": stop, "price": stop}
    assert scene.refusal(side, f"{kind}_LIMIT", **limit) == (-2010, "Order would trigger immediately.")


def test_every_price_of_a_sweep_counts_not_only_the_last():
    scene = DeskScene()
    for price in (99.0, 90.0, 80.0):
        scene.other(1, price)
    seller = scene.place("SELL", "STOP_LOSS_LIMIT", 1.0, stopPrice=99.5, price=120.0)
    buyer = scene.place("BUY", "TAKE_PROFIT_LIMIT", 1.0, stopPrice=85.0, price=70.0)
    scene.other(-1, 0, 3.0, kind="MARKET")
    assert [scene.desk.orders[o.id].waits for o in (seller, buyer)] == [False, False]


def test_a_stop_that_is_triggered_can_trigger_the_next():
    scene = DeskScene()
    scene.other(1, 90.0, 1.0)
    scene.other(1, 80.0, 1.0)
    first = scene.place("SELL", "STOP_LOSS", 1.0, stopPrice=95.0)
    second = scene.place("SELL", "STOP_LOSS", 1.0, stopPrice=92.0)
    scene.trade(94.0)
    assert [first.status, second.status] == ["FILLED", "FILLED"]
    assert [(t.order_id, t.price) for t in scene.desk.trades] == [(first.id, 90 * UNIT), (second.id, 80 * UNIT)]
    scene.check()


def test_a_market_order_of_ours_triggers_our_stop_only_after_it_is_booked():
    scene = DeskScene()
    scene.other(-1, 110.0, 1.0)
    stop = scene.place("BUY", "STOP_LOSS_LIMIT", 1.0, stopPrice=105.0, price=105.0)
    scene.reports()
    order = scene.place("BUY", "MARKET", 1.0)
    assert [(r["i"], r["x"], r["X"]) for r in scene.reports()] == [
        (order.id, "NEW", "NEW"), (order.id, "TRADE", "FILLED"), (stop.id, "NEW", "NEW"),
    ]  # fmt: skip
    assert scene.market.book.best(1)[0] == 105 * UNIT


def test_a_stop_that_buys_at_market_and_cannot_pay_any_more_expires():
    scene = DeskScene()
    order = scene.place("BUY", "STOP_LOSS", 400.0, stopPrice=110.0)
    scene.other(-1, 130.0, 400.0)
    scene.trade(111.0)
    assert (order.status, order.expiry) == ("EXPIRED", "REJECTED")
    assert scene.balances() == {"BTC": [50.0, 0.0], "USDT": [50_000.0, 0.0]}
    scene.check()


# the venue's own examples of its FAQ: side, type, stop price, basis points, price path, the last of which triggers
TRAILS = [
    ("BUY", "STOP_LOSS_LIMIT", 44_000, 500, [37_000, 44_000, 45_000, 46_000, 42_000, 44_100]),
    ("SELL", "STOP_LOSS_LIMIT", 39_000, 1000, [41_500, 39_000, 37_000, 41_000, 36_900]),
    ("BUY", "TAKE_PROFIT_LIMIT", 38_000, 850, [42_000, 38_000, 37_000, 39_000, 38_000, 40_145]),
    ("SELL", "TAKE_PROFIT_LIMIT", 42_000, 750, [41_500, 39_000, 42_000, 45_000, 44_000, 46_500, 43_012.5]),
    ("SELL", "STOP_LOSS_LIMIT", None, 700, [42_000, 39_500, 45_500, 42_315]),
]


@pytest.mark.parametrize("side, kind, stop, delta, path", TRAILS)
def test_a_trailing_stop_follows_the_price_as_in_the_venues_examples(side, kind, stop, delta, path):
    scene = DeskScene(last=40_000)
    more = {} if stop is None else {"stopPrice": str(stop)}
    price = 9_000 if side == "BUY" else 90_000
    order = scene.place(side, kind, 0.01, trailingDelta=delta, price=str(price), **more)
    assert bool(order.trailing_time) == (stop is None), "without a stop price it trails at once"
    for step in path[:-1]:
        scene.trade(step)
        assert order.waits, step
    near = path[-1] + (-0.01 if side == "BUY" else 0.01)
    scene.trade(near)
    assert order.waits
    report = scene.reports(order)[0]
    assert report["d"] == delta and report["w"] is False and "W" not in report
    scene.trade(path[-1])
    assert not order.waits and scene.reports(order)[0]["D"] == order.trailing_time > 0


def test_what_a_stop_may_ask_is_checked_in_the_venues_words():
    scene = DeskScene()
    for side, kind, more, code, words in (
        ("SELL", "STOP_LOSS", {}, -1102, "'stopPrice' or 'trailingDelta'"),
        ("SELL", "STOP_LOSS", {"stopPrice": 95.0, "price": 95.0}, -1106, "'price'"),
        ("SELL", "STOP_LOSS", {"stopPrice": 95.0, "timeInForce": "GTC"}, -1106, "'timeInForce'"),
        ("SELL", "STOP_LOSS_LIMIT", {"stopPrice": 95.0}, -1102, "'price'"),
        ("SELL", "LIMIT", {"stopPrice": 95.0, "price": 100.0}, -1106, "'stopPrice'"),
        ("SELL", "LIMIT", {"trailingDelta": 100, "price": 100.0}, -1106, "'trailingDelta'"),
        ("SELL", "STOP_LOSS", {"stopPrice": "95.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ("SELL", "STOP_LOSS", {"trailingDelta": 9}, -1013, "Filter failure: TRAILING_DELTA"),
        ("BUY", "TAKE_PROFIT", {"trailingDelta": 2001}, -1013, "Filter failure: TRAILING_DELTA"),
        ("SELL", "STOP_LOSS", {"stopPrice": "0.04"}, -1013, "Filter failure: NOTIONAL"),
        ("BUY", "STOP_LOSS", {"stopPrice": "60000.00"}, -2010, "insufficient balance"),
    ):  # fmt: skip
        found = scene.refusal(side, kind, **more)
        assert found[0] == code and words in found[1], (kind, more, found)
    for _ in range(5):
        scene.place("SELL", "STOP_LOSS", 1.0, stopPrice=95.0)
    assert scene.refusal("SELL", "STOP_LOSS", stopPrice=95.0) == (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
