"""Orders, trades and events of a futures account in the venue's JSON. Pure.

Sources: USD-M futures, "New Order", "Query Order", "Account Trade List", and the events "Order Update", "Balance and Position
Update", "Account Configuration Update".
"""

import msgspec

from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.orders.margin_records import Income, MarginOrder, MarginPosition, MarginTrade
from tickmesh.nodes.exchange.orders.reports import SIDE
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, decimal_text

ENCODE = msgspec.json.Encoder().encode


def average_price(order: MarginOrder) -> str:
    """The average price of what is filled of an order, rounded down; zero for nothing."""
    return decimal_text(order.filled_quote * UNIT // order.filled if order.filled else 0)


def margin_order_view(order: MarginOrder, write: UsdmFrames) -> JsonObject:
    """An order as every request about orders answers with it."""
    return {
        "orderId": order.id, "symbol": order.symbol, "status": order.status, "clientOrderId": order.client_id,
        "price": write.price(order.price), "avgPrice": average_price(order), "origQty": write.quantity(order.quantity),
        "executedQty": write.quantity(order.filled), "cumQty": write.quantity(order.filled),
        "cumQuote": decimal_text(order.filled_quote), "timeInForce": order.time_in_force, "type": order.type,
        "reduceOnly": order.reduce_only, "closePosition": False, "side": SIDE[order.side], "positionSide": "BOTH",
        "stopPrice": write.price(0), "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": order.type,
        "priceMatch": "NONE", "selfTradePreventionMode": "EXPIRE_MAKER", "goodTillDate": 0,
        "time": order.time, "updateTime": order.update_time,
    }  # fmt: skip


def margin_trade_view(trade: MarginTrade, write: UsdmFrames) -> JsonObject:
    """A trade as a row of `userTrades`."""
    return {
        "buyer": trade.side > 0, "commission": decimal_text(trade.fee), "commissionAsset": trade.fee_asset,
        "id": trade.trade_id, "maker": trade.maker, "orderId": trade.order_id, "price": write.price(trade.price),
        "qty": write.quantity(trade.quantity), "quoteQty": decimal_text(trade.price * trade.quantity // UNIT),
        "realizedPnl": decimal_text(trade.realised), "side": SIDE[trade.side], "positionSide": "BOTH",
        "symbol": trade.symbol, "time": trade.time,
    }  # fmt: skip


def income_view(income: Income) -> JsonObject:
    """A change of a wallet as a row of `income`."""
    return {
        "symbol": income.symbol, "incomeType": income.kind, "income": decimal_text(income.amount), "asset": income.asset,
        "info": income.kind, "time": income.time, "tranId": income.id,
        "tradeId": str(income.trade_id) if income.trade_id else "",
    }  # fmt: skip


def order_update(
    order: MarginOrder, what: str, write: UsdmFrames, notionals: tuple[int, int], asset: str, now_ms: int,
    trade: MarginTrade | None = None,
) -> str:  # fmt: skip
    """Builds one ORDER_TRADE_UPDATE. `what`: NEW, TRADE, CANCELED, EXPIRED, AMENDMENT. `notionals`: of open bids and asks."""
    body: JsonObject = {
        "s": order.symbol, "c": order.client_id, "S": SIDE[order.side], "o": order.type, "f": order.time_in_force,
        "q": write.quantity(order.quantity), "p": write.price(order.price), "ap": average_price(order),
        "sp": write.price(0), "x": what, "X": order.status, "i": order.id,
        "l": write.quantity(trade.quantity if trade else 0), "z": write.quantity(order.filled),
        "L": write.price(trade.price if trade else 0), "n": decimal_text(trade.fee if trade else 0), "N": asset,
        "T": now_ms, "t": trade.trade_id if trade else 0,
        "b": decimal_text(notionals[0]), "a": decimal_text(notionals[1]), "m": trade.maker if trade else False,
        "R": order.reduce_only, "wt": "CONTRACT_PRICE", "ot": order.type, "ps": "BOTH", "cp": False,
        "rp": decimal_text(trade.realised if trade else 0), "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_MAKER",
        "pm": "NONE", "gtd": 0, "er": str(order.expiry),
    }  # fmt: skip
    return ENCODE({"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": now_ms, "o": body}).decode()


def account_update(reason: str, asset: str, wallet: int, change: int, positions: list[JsonObject], now_ms: int) -> str:
    """Builds one ACCOUNT_UPDATE: a wallet, and positions that changed. `change`: of the wallet, but for profit and fees."""
    balance = {"a": asset, "wb": decimal_text(wallet), "cw": decimal_text(wallet), "bc": decimal_text(change)}
    body = {"m": reason, "B": [balance], "P": positions}
    return ENCODE({"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": body}).decode()


def position_row(symbol: str, position: MarginPosition, unrealised: int, asset: str, write: UsdmFrames) -> JsonObject:
    """A position as ACCOUNT_UPDATE has it."""
    entry = decimal_text(position.entry_price)
    return {
        "s": symbol, "pa": write.quantity(position.amount), "ep": entry, "bep": entry,
        "cr": decimal_text(position.realised), "up": decimal_text(unrealised), "mt": "cross", "iw": "0", "ps": "BOTH",
        "ma": asset,
    }  # fmt: skip


def leverage_update(symbol: str, leverage: int, now_ms: int) -> str:
    """Builds the ACCOUNT_CONFIG_UPDATE of a changed leverage."""
    return ENCODE({"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": {"s": symbol, "l": leverage}}).decode()


def listen_key_expired(listen_key: str, now_ms: int) -> str:
    """Builds the last event of a user data stream whose listenKey was not kept alive."""
    return ENCODE({"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key}).decode()
