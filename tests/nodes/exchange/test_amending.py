"""Amending an order at the local venue: it becomes smaller and keeps its place (PUT order/amend/keepPriority)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.orders.amending import amend, amendments_of
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError


def reduce(scene, order, quantity, **more):
    """Amends an order to a quantity."""
    scene.now += 1
    given = {"symbol": "BTCUSDT", "orderId": order.id, "newQty": f"{quantity:.5f}", **more}
    return amend(scene.lists, Params(given), scene.now)


def test_an_amended_order_keeps_its_place_frees_what_it_need_not_lock_and_is_reported_as_replaced():
    scene = DeskScene()
    order = scene.place("BUY", "LIMIT", 5.0, price=90.0, newClientOrderId="mine")
    scene.other(1, 90.0, 4.0)
    scene.reports()
    _, amendment = reduce(scene, order, 2.0, newClientOrderId="less")
    said = scene.reports(order)
    assert [(r["x"], r["X"], r["c"], r["C"], r["q"], r["I"]) for r in said] == [
        ("REPLACED", "NEW", "less", "mine", "2.00000000", amendment.execution)
    ]
    assert scene.market.best(1) == (90 * UNIT, 6 * UNIT) and scene.balances()["USDT"][1] == 180.0
    scene.check()
    scene.other(-1, 90.0, 1.0)
    assert order.filled == UNIT, "it was first before, and still is"
    assert scene.desk.find(Params({"symbol": "BTCUSDT", "origClientOrderId": "less"})) is order
    assert scene.desk.find(Params({"symbol": "BTCUSDT", "origClientOrderId": "mine"})) is None
    reduce(scene, order, 1.5)
    rows = amendments_of(scene.desk, Params({"symbol": "BTCUSDT", "orderId": order.id}))
    assert [(a.quantity_before / UNIT, a.quantity / UNIT, a.client_id_before) for a in rows] == [
        (5.0, 2.0, "mine"), (2.0, 1.5, "less"),
    ]  # fmt: skip
    scene.other(-1, 90.0, 4.5)
    assert (order.status, order.filled) == ("FILLED", 3 * UNIT // 2)
    scene.check()


def test_an_iceberg_loses_hidden_quantity_first():
    scene = DeskScene()
    order = scene.place("SELL", "LIMIT", 10.0, price=110.0, icebergQty=2.0)
    reduce(scene, order, 4.0)
    assert scene.market.best(-1) == (110 * UNIT, 2 * UNIT)
    reduce(scene, order, 1.0)
    assert scene.market.best(-1) == (110 * UNIT, UNIT)
    scene.check()


@pytest.mark.parametrize("side, kind, stop", [("SELL", "STOP_LOSS", 95.0), ("BUY", "STOP_LOSS", 105.0)])
def test_a_stop_that_waits_can_be_amended(side, kind, stop):
    scene = DeskScene()
    order = scene.place(side, kind, 4.0, stopPrice=stop)
    reduce(scene, order, 1.0)
    scene.check()
    assert scene.balances()["BTC" if side == "SELL" else "USDT"][1] == (1.0 if side == "SELL" else 105.0)
    scene.other(1 if side == "SELL" else -1, stop, 5.0)
    scene.other(-1 if side == "SELL" else 1, stop, 0.1, tif="IOC")
    assert (order.status, order.filled) == ("FILLED", UNIT)
    scene.check()


def test_what_cannot_be_amended_is_refused_and_stays_as_it_was():
    scene = DeskScene()
    scene.place("BUY", "LIMIT", 1.0, price=80.0, newClientOrderId="taken")
    order = scene.place("BUY", "LIMIT", 5.0, price=90.0)
    scene.other(-1, 90.0, 2.0)
    for quantity, more, code, words in (
        (5.0, {}, -2038, "The requested action would change no state; rejecting."),
        (6.0, {}, -2038, "Order amend (quantity increase) is not supported."),
        (2.0, {}, -2038, "not above the executed quantity"), (0.0, {}, -1013, "newQty"),
        (0.01, {}, -1013, "Filter failure: NOTIONAL"), (4.0, {"newClientOrderId": "taken"}, -2038, "Duplicate order sent."),
        (4.0, {"orderId": 99}, -2038, "Unknown order sent."), (4.0, {"newQty": "4.000001"}, -1013, "Filter failure: LOT_SIZE"),
    ):  # fmt: skip
        with pytest.raises(VenueError) as refused:
            reduce(scene, order, quantity, **more)
        assert refused.value.code == code and words in refused.value.message, (quantity, refused.value.message)
        assert order.quantity == 5 * UNIT and scene.market.best(1) == (90 * UNIT, 3 * UNIT)
    for n in range(10):
        reduce(scene, order, 4.9 - n / 100)
    with pytest.raises(VenueError, match="MAX_NUM_ORDER_AMENDS"):
        reduce(scene, order, 3.0)
    scene.check()


orders = st.lists(st.tuples(st.booleans(), st.integers(2, 9)), min_size=2, max_size=6)


@settings(max_examples=150, deadline=None)
@given(orders=orders, which=st.integers(0, 5), by=st.integers(1, 8), taken=st.integers(1, 40))
def test_the_queue_is_served_in_its_old_order_whatever_is_amended(orders, which, by, taken):
    """Fills after an amendment are those of the same queue with the smaller order from the start."""

    def served(amended_at_once):
        scene = DeskScene()
        ours = {}
        for number, (own, quantity) in enumerate(orders):
            smaller = number == which and own and by < quantity
            first = quantity - by if smaller and amended_at_once else quantity
            if own:
                ours[number] = scene.place("SELL", "LIMIT", first, price=100.0)
            else:
                scene.other(-1, 100.0, first)
        if which in ours and by < orders[which][1] and not amended_at_once:
            reduce(scene, ours[which], orders[which][1] - by)
        scene.other(1, 100.0, taken, tif="IOC")
        scene.check()
        return {number: order.filled for number, order in ours.items()}, scene.market.best(-1)

    assert served(True) == served(False)
