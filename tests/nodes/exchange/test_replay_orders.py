"""Order types in a replayed capture: recorded trades trigger stops and lists; what its book cannot know is refused."""

import pytest

from tests.support.replay_lines import line, market_of, snapshot, trade
from tickmesh.nodes.exchange.orders.amending import amend
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.lists import OrderLists
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError


def replayed():
    """(desk, lists, replay) of a capture whose book is 100 to 101 and whose last trade was at 100.5."""
    market, replay, _ = market_of(snapshot(10, [(100, 3), (99, 50)], [(101, 5), (102, 9)]))
    desk = Desk({"BTCUSDT": market}, 0, 0)
    lists = OrderLists(desk)
    desk.deposit("BTC", 50 * UNIT)
    desk.deposit("USDT", 50_000 * UNIT)
    replay.pass_line(line(trade(1, 100.5, 0.1, True)), 0)
    return desk, lists, replay


def place(desk, side, kind, **more):
    """Places an order; gives it."""
    return desk.place(Params({"symbol": "BTCUSDT", "side": side, "type": kind, **more}), 1).order


def test_a_recorded_trade_triggers_a_stop_which_takes_what_is_shown():
    desk, _, replay = replayed()
    stop = place(desk, "BUY", "STOP_LOSS", quantity="2", stopPrice="101")
    replay.pass_line(line(trade(2, 100.9, 0.1, False)), 2)
    assert stop.waits
    replay.pass_line(line(trade(3, 101, 0.1, False)), 3)
    assert (stop.status, stop.filled_quote) == ("FILLED", 202 * UNIT)
    desk.accounts.check_conserved()


@pytest.mark.parametrize("price, ended", [(103, ["FILLED", "EXPIRED"]), (99.5, ["EXPIRED", "FILLED"])])
def test_a_bracket_goes_from_its_entry_to_one_of_its_ends_by_recorded_trades(price, ended):
    desk, lists, replay = replayed()
    params = Params({
        "symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "101", "workingQuantity": "1",
        "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingQuantity": "1", "pendingAboveType": "LIMIT_MAKER",
        "pendingAbovePrice": "102.5", "pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "99.5",
    })  # fmt: skip
    made, _ = lists.enter("OTOCO", lists.read("OTOCO", params), params, 1)
    desk.settle()
    pair = [desk.orders[ident] for ident in made.pair]
    assert [order.status for order in pair] == ["NEW", "NEW"]
    replay.pass_line(line(trade(2, price, 5, price < 100)), 2)
    assert [order.status for order in pair] == ended and made.done
    desk.accounts.check_conserved()


def test_an_order_that_fills_as_maker_brings_what_waited_for_it():
    desk, lists, replay = replayed()
    params = Params({
        "symbol": "BTCUSDT", "workingType": "LIMIT_MAKER", "workingSide": "BUY", "workingPrice": "100.7",
        "workingQuantity": "1", "pendingType": "MARKET", "pendingSide": "SELL", "pendingQuantity": "1",
    })  # fmt: skip
    _, placed = lists.enter("OTO", lists.read("OTO", params), params, 1)
    replay.pass_line(line(trade(2, 100.6, 1, True)), 2)
    assert [one.order.status for one in placed] == ["FILLED", "FILLED"]
    desk.accounts.check_conserved()


def test_an_amended_order_keeps_its_place_in_the_recorded_queue():
    desk, lists, replay = replayed()
    order = place(desk, "BUY", "LIMIT", quantity="5", price="100", timeInForce="GTC")
    amend(lists, Params({"symbol": "BTCUSDT", "orderId": order.id, "newQty": "2"}), 2)
    replay.pass_line(line(trade(2, 100, 4, True)), 3)
    assert order.filled == UNIT, "3 stood ahead"
    replay.pass_line(line(trade(3, 100, 4, True)), 4)
    assert (order.status, order.filled) == ("FILLED", 2 * UNIT)
    desk.accounts.check_conserved()


def test_what_a_recorded_book_cannot_know_is_refused_in_the_venues_words():
    desk, _, _ = replayed()
    terms = {"quantity": "5", "price": "90", "timeInForce": "GTC"}
    with pytest.raises(VenueError, match="Iceberg orders are not supported for this symbol."):
        place(desk, "BUY", "LIMIT", **terms, icebergQty="1")
    with pytest.raises(VenueError, match="does not allow the specified self-trade prevention mode"):
        place(desk, "BUY", "LIMIT", **terms, selfTradePreventionMode="NONE")
