"""Orders, trades and balances in the venue's JSON (venues.md §3). Pure."""

from collections.abc import Sequence

import msgspec

from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.orders.orders import OwnOrder, OwnTrade
from tickmesh.nodes.exchange.protocol import JsonObject, decimal_text

SIDE = {1: "BUY", -1: "SELL"}
ENCODE = msgspec.json.Encoder().encode


def order_view(order: OwnOrder) -> JsonObject:
    """An order as in `GET /api/v3/order`, and as a row of `openOrders`."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": decimal_text(order.price),
        "origQty": decimal_text(order.quantity),
        "executedQty": decimal_text(order.filled),
        "cummulativeQuoteQty": decimal_text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": order.time,
        "updateTime": order.update_time,
        "isWorking": True,
        "workingTime": order.time,
        "origQuoteOrderQty": decimal_text(order.quote_quantity),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def placed_view(order: OwnOrder, trades: Sequence[OwnTrade], response_type: str) -> JsonObject:
    """The reply to a new order, as `response_type` asks: ACK, RESULT or FULL."""
    view: JsonObject = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.update_time,
    }
    if response_type == "ACK":
        return view
    view |= {
        "price": decimal_text(order.price),
        "origQty": decimal_text(order.quantity),
        "executedQty": decimal_text(order.filled),
        "origQuoteOrderQty": decimal_text(order.quote_quantity),
        "cummulativeQuoteQty": decimal_text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        "workingTime": order.time,
        "selfTradePreventionMode": "EXPIRE_MAKER",
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
    if order.expiry != "NONE":
        view["expiryReason"] = order.expiry
    return view


def canceled_view(order: OwnOrder, cancel_id: str) -> JsonObject:
    """The reply to a cancel; `cancel_id` is the client id of the cancel itself."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.update_time,
        "price": decimal_text(order.price),
        "origQty": decimal_text(order.quantity),
        "executedQty": decimal_text(order.filled),
        "origQuoteOrderQty": decimal_text(order.quote_quantity),
        "cummulativeQuoteQty": decimal_text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def own_trade_view(trade: OwnTrade) -> JsonObject:
    """A trade of ours as a row of `myTrades`."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
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


def execution_report(order: OwnOrder, what: str, now_ms: int, number: int, trade: OwnTrade | None, client_id: str) -> str:
    """Builds one `executionReport`. After a cancel, `c` is the cancel's id and `C` the order's."""
    status = "NEW" if what == "NEW" else order.status
    filled = 0 if what == "NEW" else order.filled
    report: JsonObject = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": client_id or order.client_id,
        "S": SIDE[order.side],
        "o": order.type,
        "f": order.time_in_force,
        "q": decimal_text(order.quantity),
        "p": decimal_text(order.price),
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": order.client_id if client_id else "",
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
        "w": status in ("NEW", "PARTIALLY_FILLED") and order.type != "MARKET",
        "m": trade.maker if trade else False,
        "M": bool(trade),
        "O": order.time,
        "Z": decimal_text(0 if what == "NEW" else order.filled_quote),
        "Y": decimal_text(trade.price * trade.quantity // 10**8) if trade else "0.00000000",
        "Q": decimal_text(order.quote_quantity),
        "W": order.time,
        "V": "EXPIRE_MAKER",
    }
    if order.expiry != "NONE":
        report["eR"] = order.expiry
    return ENCODE(report).decode()


def account_position(balances: dict[str, list[int]], now_ms: int) -> str:
    """Builds an `outboundAccountPosition`: balances, not their changes, of the assets that changed."""
    rows = [{"a": asset, "f": decimal_text(free), "l": decimal_text(locked)} for asset, (free, locked) in balances.items()]
    return ENCODE({"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}).decode()
