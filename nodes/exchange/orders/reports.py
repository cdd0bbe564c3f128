"""Orders, trades and balances in the venue's JSON (venues.md §3). Pure."""

from collections.abc import Sequence

import msgspec

from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.orders.orders import OwnOrder, OwnTrade
from tickmesh.nodes.exchange.protocol import JsonObject, text

SIDE = {1: "BUY", -1: "SELL"}
ENCODE = msgspec.json.Encoder().encode


def order_view(order: OwnOrder) -> JsonObject:
    """`GET /api/v3/order`, and one row of `openOrders`."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.filled),
        "cummulativeQuoteQty": text(order.filled_quote),
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
        "origQuoteOrderQty": text(order.quote_quantity),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def placed_view(order: OwnOrder, trades: Sequence[OwnTrade], response_type: str) -> JsonObject:
    """The reply to a new order: ACK, RESULT or FULL."""
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
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.filled),
        "origQuoteOrderQty": text(order.quote_quantity),
        "cummulativeQuoteQty": text(order.filled_quote),
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
                "price": text(t.price),
                "qty": text(t.quantity),
                "commission": text(t.fee),
                "commissionAsset": t.fee_asset,
                "tradeId": t.trade_id,
            }
            for t in trades
        ]
    if order.expiry != "NONE":
        view["expiryReason"] = order.expiry
    return view


def canceled_view(order: OwnOrder, cancel_id: str) -> JsonObject:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.update_time,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.filled),
        "origQuoteOrderQty": text(order.quote_quantity),
        "cummulativeQuoteQty": text(order.filled_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": SIDE[order.side],
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def own_trade_view(trade: OwnTrade) -> JsonObject:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity // 10**8),
        "commission": text(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.time,
        "isBuyer": trade.side > 0,
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def print_view(trade: Print) -> JsonObject:
    """A row of `trades` and `historicalTrades`."""
    return {
        "id": trade.id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity // 10**8),
        "time": trade.time,
        "isBuyerMaker": bool(trade.buyer_is_maker),
        "isBestMatch": True,
    }


def aggregate_view(row: Aggregate) -> JsonObject:
    """A row of `aggTrades`."""
    return {
        "a": row.id,
        "p": text(row.price),
        "q": text(row.quantity),
        "f": row.first,
        "l": row.last,
        "T": row.time,
        "m": bool(row.buyer_is_maker),
        "M": True,
    }


def execution_report(order: OwnOrder, what: str, now_ms: int, number: int, trade: OwnTrade | None, client_id: str) -> str:
    """One `executionReport`. After a cancel, `c` is the cancel's id and `C` the order's."""
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
        "q": text(order.quantity),
        "p": text(order.price),
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": order.client_id if client_id else "",
        "x": what,
        "X": status,
        "r": "NONE",
        "i": order.id,
        "l": text(trade.quantity) if trade else "0.00000000",
        "z": text(filled),
        "L": text(trade.price) if trade else "0.00000000",
        "n": text(trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": now_ms,
        "t": trade.trade_id if trade else -1,
        "I": number,
        "w": status in ("NEW", "PARTIALLY_FILLED") and order.type != "MARKET",
        "m": trade.maker if trade else False,
        "M": bool(trade),
        "O": order.time,
        "Z": text(0 if what == "NEW" else order.filled_quote),
        "Y": text(trade.price * trade.quantity // 10**8) if trade else "0.00000000",
        "Q": text(order.quote_quantity),
        "W": order.time,
        "V": "EXPIRE_MAKER",
    }
    if order.expiry != "NONE":
        report["eR"] = order.expiry
    return ENCODE(report).decode()


def account_position(balances: dict[str, list[int]], now_ms: int) -> str:
    """`outboundAccountPosition`: absolute balances of the assets that changed."""
    rows = [{"a": asset, "f": text(free), "l": text(locked)} for asset, (free, locked) in balances.items()]
    return ENCODE({"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}).decode()
