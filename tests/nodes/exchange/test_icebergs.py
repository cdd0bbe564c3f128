"""Iceberg orders at the local venue: what is shown, what waits behind it, and whose turn it is."""

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, OrderBook
from tickmesh.nodes.exchange.protocol import UNIT


def test_only_the_tip_is_shown_and_every_new_tip_stands_at_the_end_of_the_queue():
    book = OrderBook()
    book.submit(ExchangeOrder(1, 1, -1, 100, 10, iceberg=4))
    book.submit(ExchangeOrder(2, 0, -1, 100, 5))
    assert book.best(-1) == (100, 9)
    assert [(f.maker.id, f.quantity) for f in book.submit(ExchangeOrder(3, 0, 1, 100, 3)).fills] == [(1, 3)]
    assert book.best(-1) == (100, 6), "the tip is used up before another is shown"
    assert [(f.maker.id, f.quantity) for f in book.submit(ExchangeOrder(4, 0, 1, 100, 4)).fills] == [(1, 1), (2, 3)]
    assert book.best(-1) == (100, 6)
    fills = book.submit(ExchangeOrder(5, 0, 1, 100, 8)).fills
    assert [(f.maker.id, f.quantity) for f in fills] == [(2, 2), (1, 4), (1, 2)], "the last tip is what is left"
    assert book.best(-1) == (0, 0) and not book.orders


def test_a_taker_gets_what_is_hidden_before_a_worse_price_and_fok_counts_it():
    scene = DeskScene()
    order = scene.place("SELL", "LIMIT", 10.0, price=101.0, icebergQty=1.0)
    scene.other(-1, 102.0, 5.0)
    assert scene.market.best(-1) == (101 * UNIT, UNIT)
    assert dict(scene.market.levels(-1)) == {101 * UNIT: 10 * UNIT, 102 * UNIT: 5 * UNIT}
    scene.other(1, 101.0, 6.0, tif="FOK")
    assert (order.filled, order.status) == (6 * UNIT, "PARTIALLY_FILLED")
    scene.check()
    scene.other(1, 102.0, 7.0, tif="FOK")
    assert order.status == "FILLED" and scene.market.last_price == 102 * UNIT
    assert scene.balances()["BTC"] == [40.0, 0.0]
    scene.check()


def test_an_iceberg_takes_with_all_of_it_then_shows_its_tip():
    scene = DeskScene()
    scene.other(-1, 100.0, 3.0)
    order = scene.place("BUY", "LIMIT", 5.0, price=100.0, icebergQty=0.5)
    assert order.filled == 3 * UNIT and scene.market.best(1) == (100 * UNIT, UNIT // 2)
    report = scene.reports(order)[0]
    assert report["F"] == "0.50000000"
    scene.cancel(order)
    assert scene.market.best(1) == (0, 0)
    scene.check()


def test_a_market_order_can_pay_for_what_is_hidden_in_an_order_of_its_own_account():
    scene = DeskScene()
    scene.place("SELL", "LIMIT", 10.0, price=101.0, icebergQty=1.0)
    taker = scene.place("BUY", "MARKET", 10.0, selfTradePreventionMode="NONE")
    assert taker.status == "FILLED" and taker.filled_quote == 1010 * UNIT
    scene.check()


def test_what_an_iceberg_may_be_is_checked_in_the_venues_words():
    scene = DeskScene()
    for kind, more, found in (
        ("LIMIT", {"icebergQty": 1.5}, (-2010, "IcebergQty exceeds QTY.")),
        ("LIMIT", {"icebergQty": "0.005"}, (-1013, "Filter failure: ICEBERG_PARTS")),
        ("LIMIT", {"icebergQty": "0.100005"}, (-1013, "Filter failure: LOT_SIZE")),
        ("LIMIT", {"icebergQty": 0.5, "timeInForce": "IOC"}, (-2010, "Unsupported order combination")),
        ("MARKET", {"icebergQty": 0.5}, (-1106, "Parameter 'icebergQty' sent when not required.")),
    ):
        more = more if kind == "MARKET" else {"price": 90.0, **more}
        assert scene.refusal("BUY", kind, 1.0, **more) == found
    assert scene.place("BUY", "LIMIT_MAKER", 1.0, price=90.0, icebergQty=0.01).iceberg == UNIT // 100
