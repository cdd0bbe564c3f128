"""The local venue's operations: which name, over REST or the WS-API, is which answer, what it weighs, and who may ask. Pure.

An answer takes (venue, params, now_ms) and returns what becomes JSON; text is JSON already. It raises VenueError, or
NotKnownYet when the answer has to wait for the market.
"""

from collections.abc import Callable
from typing import NamedTuple

from tickmesh.nodes.exchange.api import market_answers as market
from tickmesh.nodes.exchange.api import order_answers as orders
from tickmesh.nodes.exchange.api import usdm_answers as usdm
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError


class Operation(NamedTuple):
    """One operation of the venue: the function that answers it, its weight, and whether it has to be signed."""

    call: Callable[[Venue, Params, int], object]
    weight: int = 1
    signed: bool = False
    order: bool = False  # makes a new order: its reply has the order counts
    free: bool = False  # weighs nothing when it succeeds (the venue's rule since 2026-04-02)
    weigh: Callable[[Params], int] | None = None  # where the weight depends on the parameters

    def weight_of(self, params: Params) -> int:
        """The request weight of the operation with these parameters."""
        return self.weigh(params) if self.weigh else self.weight


def answer(venue: Venue, operation: Operation, params: Params, payload: str, key: str, now_ms: int) -> object:
    """Answers a REST request with an object that becomes JSON; the signature is checked first, as the venue does."""
    if operation.signed:
        venue.check_signed(params, key, payload, now_ms)
    return operation.call(venue, params, now_ms)


def depth_weight(params: Params) -> int:
    """The request weight of a depth request, by the number of levels that it asks for."""
    limit = str(params.values.get("limit", "100"))
    levels = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 100
    return 5 if levels <= 100 else 25 if levels <= 500 else 50 if levels <= 1000 else 250


def _open_weight(params: Params) -> int:
    return 6 if "symbol" in params else 80


def _trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20


def _ticker_weight(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _day_weight(params: Params) -> int:
    return 2 if "symbol" in params else 80


def _test_weight(params: Params) -> int:
    return 20 if str(params.values.get("computeCommissionRates", "")).lower() == "true" else 1


def order_limits(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/rateLimit/order`: the limits on new orders, each with its count."""
    return venue.limits.order_rows(OWNER, now_ms)


_DEPTH = Operation(market.depth, weigh=depth_weight)
_HISTORY = Operation(market.historical_trades, 25)
_AGGREGATES = Operation(market.aggregate_trades, 4)
_PLACE = Operation(orders.place, 1, True, order=True, free=True)
_TEST = Operation(orders.place_test, 1, True, weigh=_test_weight)
_REPLACE = Operation(orders.cancel_replace, 1, True, order=True, free=True)
_CANCEL = Operation(orders.cancel, 1, True, free=True)
_CANCEL_ALL = Operation(orders.cancel_all, 1, True, free=True)
_OPEN = Operation(orders.open_orders, 6, True, weigh=_open_weight)
_MY_TRADES = Operation(orders.my_trades, 20, True, weigh=_trades_weight)

REST: dict[tuple[str, str], Operation] = {
    ("GET", "/api/v3/ping"): Operation(market.ping),
    ("GET", "/api/v3/time"): Operation(market.time),
    ("GET", "/api/v3/exchangeInfo"): Operation(market.exchange_info, 20),
    ("GET", "/api/v3/depth"): _DEPTH,
    ("GET", "/api/v3/trades"): Operation(market.trades, 25),
    ("GET", "/api/v3/historicalTrades"): _HISTORY,
    ("GET", "/api/v3/aggTrades"): _AGGREGATES,
    ("GET", "/api/v3/klines"): Operation(market.klines, 2),
    ("GET", "/api/v3/uiKlines"): Operation(market.klines, 2),
    ("GET", "/api/v3/avgPrice"): Operation(market.average, 2),
    ("GET", "/api/v3/ticker/24hr"): Operation(market.ticker_day, weigh=_day_weight),
    ("GET", "/api/v3/ticker/price"): Operation(market.ticker_price, weigh=_ticker_weight),
    ("GET", "/api/v3/ticker/bookTicker"): Operation(market.book_ticker, weigh=_ticker_weight),
    ("POST", "/api/v3/order"): _PLACE,
    ("POST", "/api/v3/order/test"): _TEST,
    ("POST", "/api/v3/order/cancelReplace"): _REPLACE,
    ("DELETE", "/api/v3/order"): _CANCEL,
    ("GET", "/api/v3/order"): Operation(orders.order_status, 4, True),
    ("GET", "/api/v3/openOrders"): _OPEN,
    ("DELETE", "/api/v3/openOrders"): _CANCEL_ALL,
    ("GET", "/api/v3/allOrders"): Operation(orders.all_orders, 20, True),
    ("GET", "/api/v3/myTrades"): _MY_TRADES,
    ("GET", "/api/v3/account"): Operation(orders.account, 20, True),
    ("GET", "/api/v3/account/commission"): Operation(orders.commission, 20, True),
    ("GET", "/api/v3/rateLimit/order"): Operation(order_limits, 40, True),
}
WS: dict[str, Operation] = {
    "ping": Operation(market.ping),
    "time": Operation(market.time),
    "exchangeInfo": Operation(market.exchange_info, 20),
    "depth": _DEPTH,
    "trades.recent": Operation(market.trades, 25),
    "trades.historical": _HISTORY,
    "trades.aggregate": _AGGREGATES,
    "klines": Operation(market.klines, 2),
    "avgPrice": Operation(market.average, 2),
    "ticker.24hr": Operation(market.ticker_day, weigh=_day_weight),
    "ticker.price": Operation(market.ticker_price, weigh=_ticker_weight),
    "ticker.book": Operation(market.book_ticker, weigh=_ticker_weight),
    "order.place": _PLACE,
    "order.test": _TEST,
    "order.cancelReplace": _REPLACE,
    "order.cancel": _CANCEL,
    "order.status": Operation(orders.order_status, 4, True),
    "openOrders.status": _OPEN,
    "openOrders.cancelAll": _CANCEL_ALL,
    "allOrders": Operation(orders.all_orders, 20, True),
    "myTrades": _MY_TRADES,
    "account.status": Operation(orders.account, 20, True),
    "account.commission": Operation(orders.commission, 20, True),
    "account.rateLimits.orders": Operation(order_limits, 40, True),
}
USDM_REST: dict[tuple[str, str], Operation] = {
    ("GET", "/fapi/v1/ping"): Operation(market.ping),
    ("GET", "/fapi/v1/time"): Operation(market.time),
    ("GET", "/fapi/v1/exchangeInfo"): Operation(usdm.exchange_info),
    ("GET", "/fapi/v1/depth"): Operation(usdm.depth, weigh=usdm.depth_weight),
    ("GET", "/fapi/v1/trades"): Operation(usdm.trades, 5),
    ("GET", "/fapi/v1/historicalTrades"): Operation(usdm.historical_trades, 200),
    ("GET", "/fapi/v1/aggTrades"): Operation(usdm.aggregate_trades, 20),
}
OPERATIONS = {SPOT: REST, USDM: USDM_REST}


def find_operation(method: str, path: str, venue: str = SPOT) -> Operation:
    """The operation of a method and path of a venue. VenueError 405 for a wrong method, 404 for an unknown path."""
    known = OPERATIONS[venue]
    operation = known.get((method, path))
    if operation is None:
        status = 405 if any(path == other for _, other in known) else 404
        raise VenueError(-1020, f"This operation is not supported: {method} {path[:100]}", status)
    return operation
