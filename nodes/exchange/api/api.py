"""The local venue's operations: which name, over REST or the WS-API, is which answer, what it weighs, and who may ask. Pure.

An answer takes (venue, params, now_ms) and returns what becomes JSON; text is JSON already. It raises VenueError, or
NotKnownYet when the answer has to wait for the market.
"""

from tickmesh.nodes.exchange.api import list_answers as lists
from tickmesh.nodes.exchange.api import market_answers as market
from tickmesh.nodes.exchange.api import order_answers as orders
from tickmesh.nodes.exchange.api import ticker_answers as tickers
from tickmesh.nodes.exchange.api.operation import Operation
from tickmesh.nodes.exchange.api.parameters import SIGNED, takes
from tickmesh.nodes.exchange.api.usdm_operations import USDM_REST, USDM_WS
from tickmesh.nodes.exchange.api.venue import Venue, VenueDoor
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError


def answer(venue: VenueDoor, operation: Operation, params: Params, payload: str, key: str, now_ms: int) -> object:
    """Answers a REST request with an object that becomes JSON; the signature is checked first, as the venue does."""
    if operation.signed:
        venue.check_signed(params, key, payload, now_ms)
    elif operation.keyed:
        venue.check_key(key)
    (operation.takes.also(SIGNED) if operation.signed else operation.takes).check(params)
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


def _prevented_weight(params: Params) -> int:
    return 2 if "preventedMatchId" in params else 20


def _ticker_weight(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _day_weight(params: Params) -> int:
    return 2 if "symbol" in params else 80


def _test_weight(params: Params) -> int:
    return 20 if str(params.values.get("computeCommissionRates", "")).lower() == "true" else 1


def order_limits(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/rateLimit/order`: the limits on new orders, each with its count."""
    return venue.limits.order_rows(OWNER, now_ms)


def _window_weight(params: Params) -> int:
    listed = params.values.get("symbols")
    return min(4 * (str(listed).count(",") + 1 if listed else 1), 200)


_TERMS = (
    "symbol! side! type! timeInForce quantity quoteOrderQty price newClientOrderId strategyId strategyType stopPrice "
    "trailingDelta icebergQty newOrderRespType selfTradePreventionMode pegPriceType pegOffsetValue pegOffsetType "
)
_SYMBOLS = takes("symbol symbols symbolStatus")
_INFO = Operation(market.exchange_info, 20, takes("symbol symbols permissions showPermissionSets symbolStatus"))
_DEPTH = Operation(market.depth, takes=takes("symbol! limit symbolStatus"), weigh=depth_weight)
_TRADES = Operation(market.trades, 25, takes("symbol! limit"))
_HISTORY = Operation(market.historical_trades, 25, takes("symbol! limit fromId"))
_AGGREGATES = Operation(market.aggregate_trades, 4, takes("symbol! fromId startTime endTime limit"))
_KLINES = Operation(market.klines, 2, takes("symbol! interval! startTime endTime timeZone limit"))
_AVERAGE = Operation(tickers.average, 2, takes("symbol!"))
_REFERENCE = Operation(tickers.reference_price, 2, takes("symbol!"))
_DAY = Operation(tickers.ticker_day, takes=_SYMBOLS.also(takes("type")), weigh=_day_weight)
_WINDOW = Operation(tickers.ticker_window, takes=_SYMBOLS.also(takes("windowSize type")), weigh=_window_weight)
_TRADING_DAY = Operation(tickers.ticker_trading_day, takes=_SYMBOLS.also(takes("timeZone type")), weigh=_window_weight)
_PRICE = Operation(tickers.ticker_price, takes=_SYMBOLS, weigh=_ticker_weight)
_BOOK = Operation(tickers.book_ticker, takes=_SYMBOLS, weigh=_ticker_weight)
_PLACE = Operation(orders.place, 1, takes(_TERMS), True, order=True, free=True)
_TEST = Operation(orders.place_test, 1, takes(_TERMS + "computeCommissionRates"), True, weigh=_test_weight)
_REPLACE = Operation(
    orders.cancel_replace, 1, takes(_TERMS + "cancelReplaceMode! cancelNewClientOrderId cancelOrigClientOrderId cancelOrderId "
    "cancelRestrictions orderRateLimitExceededMode"), True, order=True, free=True,
)  # fmt: skip
_CANCEL = Operation(
    orders.cancel, 1, takes("symbol! orderId origClientOrderId newClientOrderId cancelRestrictions"), True, free=True
)
_CANCEL_ALL = Operation(orders.cancel_all, 1, takes("symbol!"), True, free=True)
_STATUS = Operation(orders.order_status, 4, takes("symbol! orderId origClientOrderId"), True)
_OPEN = Operation(orders.open_orders, 6, takes("symbol"), True, weigh=_open_weight)
_ALL_ORDERS = Operation(orders.all_orders, 20, takes("symbol! orderId startTime endTime limit"), True)
_MY_TRADES = Operation(
    orders.my_trades, 20, takes("symbol! orderId startTime endTime fromId limit"), True, weigh=_trades_weight
)
_OCO = Operation(lists.place_oco, 1, lists.OCO_TAKES, True, order=True, free=True)
_OTO = Operation(lists.place_oto, 1, lists.OTO_TAKES, True, order=True, free=True)
_OTOCO = Operation(lists.place_otoco, 1, lists.OTOCO_TAKES, True, order=True, free=True)
_CANCEL_LIST = Operation(lists.cancel, 1, lists.CANCEL_TAKES, True, free=True)
_LIST = Operation(lists.status, 4, lists.STATUS_TAKES, True)
_ALL_LISTS = Operation(lists.all_lists, 20, lists.ALL_TAKES, True)
_OPEN_LISTS = Operation(lists.open_lists, 6, lists.OPEN_TAKES, True)
_AMEND = Operation(orders.amend, 4, takes("symbol! orderId origClientOrderId newClientOrderId newQty!"), True)
_AMENDMENTS = Operation(orders.amendments, 4, takes("symbol! orderId! fromExecutionId limit"), True)
_PREVENTED = Operation(
    orders.my_prevented_matches, 20, takes("symbol! preventedMatchId orderId fromPreventedMatchId limit"), True,
    weigh=_prevented_weight,
)  # fmt: skip
_ALLOCATIONS = Operation(orders.my_allocations, 20, takes("symbol! startTime endTime fromAllocationId limit orderId"), True)
_ACCOUNT = Operation(orders.account, 20, takes("omitZeroBalances"), True)
_COMMISSION = Operation(orders.commission, 20, takes("symbol!"), True)
_KEY_RIGHTS = Operation(orders.key_rights, 1, takes(), True)
_ORDER_LIMITS = Operation(order_limits, 40, signed=True)

REST: dict[tuple[str, str], Operation] = {
    ("GET", "/api/v3/ping"): Operation(market.ping),
    ("GET", "/api/v3/time"): Operation(market.time),
    ("GET", "/api/v3/exchangeInfo"): _INFO,
    ("GET", "/api/v3/depth"): _DEPTH,
    ("GET", "/api/v3/trades"): _TRADES,
    ("GET", "/api/v3/historicalTrades"): _HISTORY,
    ("GET", "/api/v3/aggTrades"): _AGGREGATES,
    ("GET", "/api/v3/klines"): _KLINES,
    ("GET", "/api/v3/uiKlines"): _KLINES,
    ("GET", "/api/v3/avgPrice"): _AVERAGE,
    ("GET", "/api/v3/referencePrice"): _REFERENCE,
    ("GET", "/api/v3/ticker"): _WINDOW,
    ("GET", "/api/v3/ticker/24hr"): _DAY,
    ("GET", "/api/v3/ticker/tradingDay"): _TRADING_DAY,
    ("GET", "/api/v3/ticker/price"): _PRICE,
    ("GET", "/api/v3/ticker/bookTicker"): _BOOK,
    ("POST", "/api/v3/order"): _PLACE,
    ("POST", "/api/v3/order/test"): _TEST,
    ("POST", "/api/v3/order/cancelReplace"): _REPLACE,
    ("DELETE", "/api/v3/order"): _CANCEL,
    ("GET", "/api/v3/order"): _STATUS,
    ("GET", "/api/v3/openOrders"): _OPEN,
    ("DELETE", "/api/v3/openOrders"): _CANCEL_ALL,
    ("GET", "/api/v3/allOrders"): _ALL_ORDERS,
    ("GET", "/api/v3/myTrades"): _MY_TRADES,
    ("POST", "/api/v3/orderList/oco"): _OCO,
    ("POST", "/api/v3/orderList/oto"): _OTO,
    ("POST", "/api/v3/orderList/otoco"): _OTOCO,
    ("DELETE", "/api/v3/orderList"): _CANCEL_LIST,
    ("GET", "/api/v3/orderList"): _LIST,
    ("GET", "/api/v3/allOrderList"): _ALL_LISTS,
    ("GET", "/api/v3/openOrderList"): _OPEN_LISTS,
    ("PUT", "/api/v3/order/amend/keepPriority"): _AMEND,
    ("GET", "/api/v3/order/amendments"): _AMENDMENTS,
    ("GET", "/api/v3/myPreventedMatches"): _PREVENTED,
    ("GET", "/api/v3/myAllocations"): _ALLOCATIONS,
    ("GET", "/api/v3/account"): _ACCOUNT,
    ("GET", "/api/v3/account/commission"): _COMMISSION,
    ("GET", "/sapi/v1/account/apiRestrictions"): _KEY_RIGHTS,
    ("GET", "/api/v3/rateLimit/order"): _ORDER_LIMITS,
}
WS: dict[str, Operation] = {
    "ping": Operation(market.ping),
    "time": Operation(market.time),
    "exchangeInfo": _INFO,
    "depth": _DEPTH,
    "trades.recent": _TRADES,
    "trades.historical": _HISTORY,
    "trades.aggregate": _AGGREGATES,
    "klines": _KLINES,
    "uiKlines": _KLINES,
    "avgPrice": _AVERAGE,
    "referencePrice": _REFERENCE,
    "ticker": _WINDOW,
    "ticker.24hr": _DAY,
    "ticker.tradingDay": _TRADING_DAY,
    "ticker.price": _PRICE,
    "ticker.book": _BOOK,
    "order.place": _PLACE,
    "order.test": _TEST,
    "order.cancelReplace": _REPLACE,
    "order.cancel": _CANCEL,
    "order.status": _STATUS,
    "openOrders.status": _OPEN,
    "openOrders.cancelAll": _CANCEL_ALL,
    "allOrders": _ALL_ORDERS,
    "myTrades": _MY_TRADES,
    "orderList.place.oco": _OCO,
    "orderList.place.oto": _OTO,
    "orderList.place.otoco": _OTOCO,
    "orderList.cancel": _CANCEL_LIST,
    "orderList.status": _LIST,
    "allOrderLists": _ALL_LISTS,
    "openOrderLists.status": _OPEN_LISTS,
    "order.amend.keepPriority": _AMEND,
    "order.amendments": _AMENDMENTS,
    "myPreventedMatches": _PREVENTED,
    "myAllocations": _ALLOCATIONS,
    "account.status": _ACCOUNT,
    "account.commission": _COMMISSION,
    "account.rateLimits.orders": _ORDER_LIMITS,
}
OPERATIONS = {SPOT: REST, USDM: USDM_REST}
WS_OPERATIONS = {SPOT: WS, USDM: USDM_WS}


def find_operation(method: str, path: str, venue: str = SPOT) -> Operation:
    """The operation of a method and path of a venue. VenueError 405 for a wrong method, 404 for an unknown path."""
    known = OPERATIONS[venue]
    operation = known.get((method, path))
    if operation is None:
        status = 405 if any(path == other for _, other in known) else 404
        raise VenueError(-1020, f"This operation is not supported: {method} {path[:100]}", status)
    return operation
