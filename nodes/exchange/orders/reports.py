"""Orders, trades and balances in the venue's JSON (venues.md §3). Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tickmesh.nodes.exchange.market.matching import NEW, PreventedMatch
from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.orders.orders import PENDING_NEW, OwnAmendment, OwnList, OwnOrder, OwnPrevented, OwnTrade
from tickmesh.nodes.exchange.protocol import JsonObject, decimal_text

SIDE = {1: "BUY", -1: "SELL"}
ENCODE = msgspec.json.Encoder().encode
NO_GROUP = -1  # the account is in no trade group


class Prevention(NamedTuple):
    """What one order lost by a match that was prevented: the match's id, the quantity, and the order on the other side."""

    id: int
    quantity: int
    counter_order: int
    match: PreventedMatch


def working_time(order: OwnOrder) -> int:
    """Since when an order has been in the market; −1 when it was not yet."""
    return -1 if order.waits else order.working_time or order.time


def conditional(order: OwnOrder) -> JsonObject:
    """The fields of an order that are there only where they mean something (rest-api.md, "Conditional fields")."""
    view: JsonObject = {}
    if order.trailing_delta:
        view["trailingDelta"] = order.trailing_delta
        view["trailingTime"] = order.trailing_time or -1
    if order.strategy_id:
        view["strategyId"] = order.strategy_id
    if order.strategy_type:
        view["strategyType"] = order.strategy_type
    if order.prevented_match >= 0:
        view["preventedMatchId"] = order.prevented_match
        view["preventedQuantity"] = decimal_text(order.prevented)
    return view


def shown_prices(order: OwnOrder) -> JsonObject:
    """Stop price and shown quantity of an order, where it has them."""
    view: JsonObject = {}
    if order.stop_price:
        view["stopPrice"] = decimal_text(order.stop_price)
    if order.iceberg:
        view["icebergQty"] = decimal_text(order.iceberg)
    return view


def order_view(order: OwnOrder) -> JsonObject:
    """An order as in `GET /api/v3/order`, and as a row of `openOrders`."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": decimal_text(order.price),
        "origQty": decimal_text(order.quantity),
        "executedQty": decimal_text(order.filled),
        "cummulativeQuoteQty": decimal_text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        "stopPrice": decimal_text(order.stop_price),
        "icebergQty": decimal_text(order.iceberg),
        "time": order.time,
        "updateTime": order.update_time,
        "isWorking": not order.waits,
        "workingTime": working_time(order),
        "origQuoteOrderQty": decimal_text(order.quote_quantity),
        "selfTradePreventionMode": order.prevention,
        **conditional(order),
    }


def _state(order: OwnOrder) -> JsonObject:
    """What the replies to a new order and to a cancel say alike of the order."""
    return {
        "price": decimal_text(order.price),
        "origQty": decimal_text(order.quantity),
        "executedQty": decimal_text(order.filled),
        "origQuoteOrderQty": decimal_text(order.quote_quantity),
        "cummulativeQuoteQty": decimal_text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        **shown_prices(order),
    }


def placed_view(
    order: OwnOrder, trades: Sequence[OwnTrade], response_type: str, prevented: Sequence[OwnPrevented] = ()
) -> JsonObject:
    """The reply to a new order, as `response_type` asks: ACK, RESULT or FULL. `prevented`: the matches that it did not make."""
    view: JsonObject = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": order.update_time,
    }
    if response_type == "ACK":
        return view
    view |= {
        **_state(order),
        "workingTime": working_time(order),
        "selfTradePreventionMode": order.prevention,
        **conditional(order),
    }
    if response_type == "FULL":
        view["fills"] = [
            {
                "price": decimal_text(t.price),
                "qty": decimal_text(t.quantity),
                "commission": decimal_text(t.fee),
                "commissionAsset": t.fee_asset,
                "tradeId": t.trade_id,
            }
            for t in trades
        ]
        if prevented:
            view["preventedMatches"] = [_short_prevented(match) for match in prevented]
    if order.expiry != "NONE":
        view["expiryReason"] = order.expiry
    return view


def _short_prevented(match: OwnPrevented) -> JsonObject:
    view: JsonObject = {"preventedMatchId": match.id, "makerOrderId": match.maker_order, "price": decimal_text(match.price)}
    if match.taker_quantity:
        view["takerPreventedQuantity"] = decimal_text(match.taker_quantity)
    if match.maker_quantity:
        view["makerPreventedQuantity"] = decimal_text(match.maker_quantity)
    return view


def prevented_view(match: OwnPrevented) -> JsonObject:
    """A match that was prevented as a row of `myPreventedMatches`."""
    return {
        "symbol": match.symbol,
        **_short_prevented(match),
        "takerOrderId": match.taker_order,
        "makerSymbol": match.symbol,
        "tradeGroupId": NO_GROUP,
        "selfTradePreventionMode": match.mode,
        "transactTime": match.time,
    }


def amended_view(order: OwnOrder, amendment: OwnAmendment) -> JsonObject:
    """The reply to an amendment, of an order as it is now."""
    return {
        "transactTime": amendment.time,
        "executionId": amendment.execution,
        "amendedOrder": {
            "symbol": order.symbol,
            "orderId": order.id,
            "orderListId": order.list_id,
            "origClientOrderId": amendment.client_id_before,
            "clientOrderId": order.client_id,
            "price": decimal_text(order.price),
            "qty": decimal_text(order.quantity),
            "executedQty": decimal_text(order.filled),
            "preventedQty": decimal_text(order.prevented),
            "quoteOrderQty": decimal_text(order.quote_quantity),
            "cumulativeQuoteQty": decimal_text(order.filled_quote),
            "status": order.status,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "side": SIDE[order.side],
            **shown_prices(order),
            "workingTime": working_time(order),
            "selfTradePreventionMode": order.prevention,
        },
    }


def amendment_view(amendment: OwnAmendment) -> JsonObject:
    """An amendment as a row of `order/amendments`."""
    return {
        "symbol": amendment.symbol,
        "orderId": amendment.order_id,
        "executionId": amendment.execution,
        "origClientOrderId": amendment.client_id_before,
        "newClientOrderId": amendment.client_id,
        "origQty": decimal_text(amendment.quantity_before),
        "newQty": decimal_text(amendment.quantity),
        "time": amendment.time,
    }


def canceled_view(order: OwnOrder, cancel_id: str) -> JsonObject:
    """The reply to a cancel; `cancel_id` is the client id of the cancel itself."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": cancel_id,
        "transactTime": order.update_time,
        **_state(order),
        "selfTradePreventionMode": order.prevention,
        **conditional(order),
    }


def own_trade_view(trade: OwnTrade) -> JsonObject:
    """A trade of ours as a row of `myTrades`."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": trade.list_id,
        "price": decimal_text(trade.price),
        "qty": decimal_text(trade.quantity),
        "quoteQty": decimal_text(trade.price * trade.quantity // 10**8),
        "commission": decimal_text(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.time,
        "isBuyer": trade.side > 0,
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def print_view(trade: Print) -> JsonObject:
    """A public trade as a row of `trades` and `historicalTrades`."""
    return {
        "id": trade.id,
        "price": decimal_text(trade.price),
        "qty": decimal_text(trade.quantity),
        "quoteQty": decimal_text(trade.price * trade.quantity // 10**8),
        "time": trade.time,
        "isBuyerMaker": bool(trade.buyer_is_maker),
        "isBestMatch": True,
    }


def aggregate_view(row: Aggregate) -> JsonObject:
    """An aggregate of trades as a row of `aggTrades`."""
    return {
        "a": row.id,
        "p": decimal_text(row.price),
        "q": decimal_text(row.quantity),
        "f": row.first,
        "l": row.last,
        "T": row.time,
        "m": bool(row.buyer_is_maker),
        "M": True,
    }


def execution_report(
    order: OwnOrder, what: str, now_ms: int, number: int, trade: OwnTrade | None, client_id: str, prevention: Prevention | None
) -> str:
    """Builds one `executionReport`. After a cancel, `c` is the cancel's id and `C` the order's; so after an amendment."""
    status = NEW if what == "NEW" and order.status != PENDING_NEW else order.status
    filled = 0 if what == "NEW" else order.filled
    report: JsonObject = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": order.client_id if what == "REPLACED" else client_id or order.client_id,
        "S": SIDE[order.side],
        "o": order.type,
        "f": order.time_in_force,
        "q": decimal_text(order.quantity),
        "p": decimal_text(order.price),
        "P": decimal_text(order.stop_price),
        "F": decimal_text(order.iceberg),
        "g": order.list_id,
        "C": client_id if what == "REPLACED" else order.client_id if client_id else "",
        "x": what,
        "X": status,
        "r": "NONE",
        "i": order.id,
        "l": decimal_text(trade.quantity) if trade else "0.00000000",
        "z": decimal_text(filled),
        "L": decimal_text(trade.price) if trade else "0.00000000",
        "n": decimal_text(trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": now_ms,
        "t": trade.trade_id if trade else -1,
        "I": number,
        "w": status in ("NEW", "PARTIALLY_FILLED") and not order.waits and order.book_type != "MARKET",
        "m": trade.maker if trade else False,
        "M": bool(trade),
        "O": order.time,
        "Z": decimal_text(0 if what == "NEW" else order.filled_quote),
        "Y": decimal_text(trade.price * trade.quantity // 10**8) if trade else "0.00000000",
        "Q": decimal_text(order.quote_quantity),
        "V": order.prevention,
        **_conditional_keys(order, prevention),
    }
    if order.expiry != "NONE":
        report["eR"] = order.expiry
    return ENCODE(report).decode()


def _conditional_keys(order: OwnOrder, prevention: Prevention | None) -> JsonObject:
    """The keys of an executionReport that are there only where they mean something (user-data-stream.md)."""
    keys: JsonObject = {} if order.waits else {"W": working_time(order)}
    if order.trailing_delta:
        keys["d"], keys["D"] = order.trailing_delta, order.trailing_time or -1
    if order.strategy_id:
        keys["j"] = order.strategy_id
    if order.strategy_type:
        keys["J"] = order.strategy_type
    if order.prevented_match >= 0:
        keys["v"], keys["A"] = order.prevented_match, decimal_text(order.prevented)
    if prevention:
        price, quantity = prevention.match.price, prevention.match.quantity
        keys |= {
            "B": decimal_text(prevention.quantity), "u": NO_GROUP, "U": prevention.counter_order, "Cs": order.symbol,
            "pl": decimal_text(quantity), "pL": decimal_text(price), "pY": decimal_text(price * quantity // 10**8),
        }  # fmt: skip
    return keys


def list_view(made: OwnList, orders: Sequence[OwnOrder]) -> JsonObject:
    """An order list as in `GET /api/v3/orderList`; `orders`: those of its orders that are still known."""
    done = not any(order.open for order in orders)
    return {
        "orderListId": made.id,
        "contingencyType": made.kind,
        "listStatusType": "ALL_DONE" if done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if done else "EXECUTING",
        "listClientOrderId": made.client_id,
        "transactionTime": made.time,
        "symbol": made.symbol,
        "orders": [{"symbol": o.symbol, "orderId": o.id, "clientOrderId": o.client_id} for o in orders],
    }


def list_status(made: OwnList, orders: Sequence[OwnOrder], now_ms: int, kind: str = "") -> str:
    """Builds one `listStatus`; `kind`: its list status type, where that is not what the orders say."""
    view = list_view(made, orders)
    return ENCODE({
        "e": "listStatus", "E": now_ms, "s": made.symbol, "g": made.id, "c": made.kind, "l": kind or view["listStatusType"],
        "L": view["listOrderStatus"], "r": "NONE", "C": made.client_id, "T": now_ms,
        "O": [{"s": o.symbol, "i": o.id, "c": o.client_id} for o in orders],
    }).decode()  # fmt: skip


def account_position(balances: dict[str, list[int]], now_ms: int) -> str:
    """Builds an `outboundAccountPosition`: balances, not their changes, of the assets that changed."""
    rows = [{"a": asset, "f": decimal_text(free), "l": decimal_text(locked)} for asset, (free, locked) in balances.items()]
    return ENCODE({"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}).decode()
