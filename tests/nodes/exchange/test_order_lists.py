"""Order lists at the local venue: OCO, OTO, OTOCO, and what the fate of one order is for the others."""

import json

import pytest

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.orders.amending import amend
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

BRACKET = {"side": "SELL", "quantity": 2, "aboveType": "LIMIT_MAKER", "abovePrice": 110, "belowType": "STOP_LOSS",
           "belowStopPrice": 90}  # fmt: skip
BUY_BRACKET = {"side": "BUY", "quantity": 2, "aboveType": "STOP_LOSS_LIMIT", "aboveStopPrice": 110, "abovePrice": 112,
               "aboveTimeInForce": "GTC", "belowType": "LIMIT_MAKER", "belowPrice": 90}  # fmt: skip
ENTRY = {"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": 95, "workingQuantity": 2, "workingTimeInForce": "GTC"}
PENDING_PAIR = {"pendingSide": "SELL", "pendingQuantity": 2, "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": 110,
                "pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": 90}  # fmt: skip


def events(scene):
    """What was said since the last call: (x, X) by order id of executionReports, (l, L) of listStatus."""
    found = [json.loads(event) for event in scene.desk.events]
    scene.desk.events.clear()
    return [
        (e["i"], e["x"], e["X"]) if e["e"] == "executionReport" else (e["c"], e["l"], e["L"])
        for e in found if e["e"] != "outboundAccountPosition"
    ]  # fmt: skip


def test_the_fill_of_one_order_of_an_oco_ends_the_other_and_what_both_need_is_locked_once():
    scene = DeskScene()
    made, (above, below) = scene.place_list("OCO", **BRACKET)
    assert scene.balances()["BTC"] == [48.0, 2.0]
    assert events(scene) == [("OCO", "EXEC_STARTED", "EXECUTING"), (above.id, "NEW", "NEW"), (below.id, "NEW", "NEW")]
    scene.check()
    scene.other(1, 110.0, 0.5, tif="IOC")
    assert (above.status, below.status, below.expiry) == ("PARTIALLY_FILLED", "EXPIRED", "OCO_TRIGGER")
    assert events(scene) == [(below.id, "EXPIRED", "EXPIRED"), (above.id, "TRADE", "PARTIALLY_FILLED")]
    scene.check()
    scene.other(1, 110.0, 1.5, tif="IOC")
    assert events(scene) == [(above.id, "TRADE", "FILLED"), ("OCO", "ALL_DONE", "ALL_DONE")]
    assert not scene.lists.executing(made) and scene.balances()["BTC"] == [48.0, 0.0]


def test_the_trigger_of_one_order_of_an_oco_takes_the_other_out_of_the_book_first():
    scene = DeskScene()
    _, (above, below) = scene.place_list("OCO", **BRACKET)
    scene.other(1, 89.0, 5.0)
    events(scene)
    scene.trade(90.0)
    assert events(scene) == [
        (above.id, "EXPIRED", "EXPIRED"), (below.id, "NEW", "NEW"), (below.id, "TRADE", "FILLED"),
        ("OCO", "ALL_DONE", "ALL_DONE"),
    ]  # fmt: skip
    assert scene.market.best(-1) == (0, 0) and scene.desk.trades[-1].price == 89 * UNIT
    scene.check()


@pytest.mark.parametrize("way", ["up", "down"])
def test_an_oco_that_buys_locks_what_the_dearer_order_needs_and_frees_the_rest_when_it_is_decided(way):
    scene = DeskScene()
    _, (above, below) = scene.place_list("OCO", **BUY_BRACKET)
    assert scene.balances()["USDT"] == [50_000 - 224.0, 224.0]
    if way == "up":
        scene.trade(110.0)
        assert (below.status, above.waits) == ("EXPIRED", False) and scene.balances()["USDT"][1] == 224.0
    else:
        scene.other(-1, 90.0, 1.0, tif="IOC")
        assert (above.status, below.filled) == ("EXPIRED", UNIT) and scene.balances()["USDT"][1] == 90.0
    scene.check()


@pytest.mark.parametrize("which", [0, 1])
def test_the_cancel_of_one_order_is_that_of_its_list(which):
    scene = DeskScene()
    made, orders = scene.place_list("OCO", **BRACKET)
    events(scene)
    scene.cancel(orders[which])
    assert [order.status for order in orders] == ["CANCELED", "CANCELED"]
    assert events(scene)[-1] == ("OCO", "ALL_DONE", "ALL_DONE") and scene.balances()["BTC"] == [50.0, 0.0]
    scene.check()


def test_an_oto_places_its_second_order_when_the_first_is_filled_whole_and_not_before():
    scene = DeskScene()
    made, (working, pending) = scene.place_list("OTO", **ENTRY, pendingType="LIMIT", pendingSide="SELL", pendingPrice=120,
                                                pendingQuantity=2, pendingTimeInForce="GTC")  # fmt: skip
    assert events(scene) == [
        ("OTO", "EXEC_STARTED", "EXECUTING"), (working.id, "NEW", "NEW"), (pending.id, "NEW", "PENDING_NEW"),
    ]  # fmt: skip
    scene.other(-1, 95.0, 1.0, tif="IOC")
    assert pending.status == "PENDING_NEW" and scene.market.best(-1) == (0, 0)
    scene.check()
    scene.other(-1, 95.0, 1.0, tif="IOC")
    assert (working.status, pending.status) == ("FILLED", "NEW") and scene.market.best(-1) == (120 * UNIT, 2 * UNIT)
    assert events(scene)[-1] == (pending.id, "NEW", "NEW")
    scene.check()
    scene.other(1, 120.0, 2.0, tif="IOC")
    assert events(scene)[-1] == ("OTO", "ALL_DONE", "ALL_DONE")


def test_an_oto_whose_first_order_is_filled_at_once_says_so_and_then_places_the_second():
    scene = DeskScene()
    scene.other(-1, 95.0, 2.0)
    scene.other(1, 80.0, 2.0)
    _, (working, pending) = scene.place_list("OTO", **ENTRY, pendingType="MARKET", pendingSide="SELL", pendingQuantity=2)
    assert events(scene) == [
        ("OTO", "EXEC_STARTED", "EXECUTING"), (working.id, "NEW", "NEW"), (working.id, "TRADE", "FILLED"),
        (pending.id, "NEW", "PENDING_NEW"), (pending.id, "NEW", "NEW"), (pending.id, "TRADE", "FILLED"),
        ("OTO", "ALL_DONE", "ALL_DONE"),
    ]  # fmt: skip
    scene.check()


def test_the_second_order_expires_with_the_first_and_when_it_cannot_be_placed():
    scene = DeskScene()
    entry = {**ENTRY, "workingTimeInForce": "IOC"}
    _, (working, pending) = scene.place_list("OTO", **entry, pendingType="MARKET", pendingSide="SELL", pendingQuantity=2)
    assert (working.status, pending.status, pending.expiry) == ("EXPIRED", "EXPIRED", "OTO_PHASE_ONE_EXPIRED")
    _, (working, pending) = scene.place_list("OTO", **ENTRY, pendingType="MARKET", pendingSide="SELL", pendingQuantity=400)
    scene.other(-1, 95.0, 2.0, tif="IOC")
    assert (working.status, pending.status, pending.expiry) == ("FILLED", "EXPIRED", "REJECTED")
    assert events(scene)[-1] == ("OTO", "ALL_DONE", "ALL_DONE")
    _, (working, pending) = scene.place_list("OTO", **ENTRY, pendingType="MARKET", pendingSide="SELL", pendingQuantity=1)
    scene.cancel(working)
    assert pending.status == "CANCELED"
    scene.check()


@pytest.mark.parametrize("end", ["profit", "loss"])
def test_an_otoco_is_an_entry_with_a_profit_and_a_loss_of_which_one_comes(end):
    scene = DeskScene()
    made, (working, above, below) = scene.place_list("OTOCO", **ENTRY, **PENDING_PAIR)
    assert made.kind == "OTO" and [above.status, below.status] == ["PENDING_NEW", "PENDING_NEW"]
    scene.trade(97.0)
    scene.other(-1, 95.0, 2.0, tif="IOC")
    assert [working.status, above.status, below.status] == ["FILLED", "NEW", "NEW"]
    assert below.waits and not above.waits and scene.balances()["BTC"] == [50.0, 2.0]
    scene.check()
    if end == "profit":
        scene.other(1, 110.0, 2.0, tif="IOC")
        assert [above.status, below.status] == ["FILLED", "EXPIRED"]
    else:
        scene.other(1, 85.0, 2.0)
        scene.trade(90.0)
        assert [above.status, below.status] == ["EXPIRED", "FILLED"]
    scene.check()
    assert not scene.lists.executing(made) and scene.balances()["BTC"][1] == 0


def test_a_pending_pair_that_the_market_has_passed_expires_whole():
    scene = DeskScene()
    _, (working, above, below) = scene.place_list("OTOCO", **ENTRY, **{**PENDING_PAIR, "pendingBelowStopPrice": 96})
    scene.other(-1, 95.0, 2.0, tif="IOC")
    assert [(o.status, o.expiry) for o in (above, below)] == [("EXPIRED", "REJECTED")] * 2
    scene.check()


def test_amending_one_of_a_pair_is_amending_both():
    scene = DeskScene()
    _, (above, below) = scene.place_list("OCO", **BUY_BRACKET)
    events(scene)
    amend(scene.lists, Params({"symbol": "BTCUSDT", "orderId": below.id, "newQty": "1", "newClientOrderId": "less"}), scene.now)
    assert [above.quantity, below.quantity] == [UNIT, UNIT] and scene.balances()["USDT"][1] == 112.0
    assert events(scene) == [
        (below.id, "REPLACED", "NEW"), (above.id, "REPLACED", "NEW"), ("OCO", "UPDATED", "EXECUTING"),
    ]  # fmt: skip
    scene.other(-1, 90.0, 1.0, tif="IOC")
    assert below.status == "FILLED" and scene.balances()["USDT"] == [50_000 - 90.0, 0.0]
    scene.check()


REFUSED = [
    ({**BRACKET, "belowStopPrice": 101}, -2010, "The relationship of the prices for the orders is not correct."),
    ({**BRACKET, "abovePrice": 99}, -2010, "The relationship of the prices for the orders is not correct."),
    ({**BRACKET, "abovePrice": 80}, -2010, "The relationship of the prices for the orders is not correct."),
    ({**BRACKET, "side": "BUY"}, -2010, "relationship"),
    ({**BUY_BRACKET, "side": "SELL"}, -1197, "A stop loss order in a sell OCO must be below."),
    ({**BRACKET, "aboveType": "TAKE_PROFIT", "abovePrice": None, "aboveStopPrice": 110, "side": "BUY"}, -1198,
     "A take profit order in a buy OCO must be below."),
    ({**BRACKET, "belowType": "LIMIT_MAKER", "belowPrice": 90, "belowStopPrice": None}, -2010, "relationship"),
    ({**BRACKET, "abovePrice": None}, -1102, "'abovePrice'"), ({**BRACKET, "aboveType": "MARKET"}, -1116, "orderType"),
    ({**BRACKET, "quantity": 60}, -2010, "insufficient balance"), ({**BRACKET, "quantity": None}, -1102, "'quantity'"),
    ({**BRACKET, "aboveClientOrderId": "a", "belowClientOrderId": "a"}, -2010, "Duplicate order sent."),
    ({**BRACKET, "aboveIcebergQty": "0.001"}, -1013, "Filter failure: ICEBERG_PARTS"),
]  # fmt: skip


@pytest.mark.parametrize("params, code, words", REFUSED)
def test_a_list_that_cannot_be_is_refused_whole_in_the_venues_words(params, code, words):
    scene = DeskScene()
    with pytest.raises(VenueError) as refused:
        scene.place_list("OCO", **{name: value for name, value in params.items() if value is not None})
    assert refused.value.code == code and words in refused.value.message, refused.value.message
    assert not scene.desk.open and not scene.desk.lists and scene.balances()["BTC"] == [50.0, 0.0]


def test_there_is_a_bound_on_lists_and_their_client_ids_are_unique_while_they_last():
    scene = DeskScene()
    bracket = {**BRACKET, "belowType": "STOP_LOSS_LIMIT", "belowPrice": 80, "belowTimeInForce": "GTC", "quantity": 1}
    scene.place_list("OCO", **bracket, listClientOrderId="mine")
    with pytest.raises(VenueError, match="Duplicate order sent"):
        scene.place_list("OCO", **bracket, listClientOrderId="mine")
    for _ in range(19):
        scene.place_list("OTO", **{**ENTRY, "workingQuantity": 1}, pendingType="MARKET", pendingSide="SELL", pendingQuantity=1)
    with pytest.raises(VenueError, match="Filter failure: MAX_NUM_ORDER_LISTS"):
        scene.place_list("OTO", **ENTRY, pendingType="MARKET", pendingSide="SELL", pendingQuantity=1)
    scene.check()
