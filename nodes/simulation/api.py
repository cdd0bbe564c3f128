"""What the local venue answers: one function per operation, shared by REST and the WS-API. Pure; `now_ms` is given.

A function takes (venue, params, now_ms) and returns what becomes JSON; text is JSON already. It raises VenueError, or
NotYet when the answer has to wait for the market.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from nodes.simulation.desk import OWNER, TYPES, Desk, Placed
from nodes.simulation.instruments import ORDERS_MAX, Spec
from nodes.simulation.protocol import UNIT, Params, VenueError, check_signed, missing, text
from nodes.simulation.reports import (
    aggregate_view,
    canceled_view,
    order_view,
    own_trade_view,
    placed_view,
    print_view,
)

WEIGHT_PER_MINUTE = 6000
ORDERS_PER_10S = 100
ORDERS_PER_DAY = 200_000


class Venue:
    """The state behind all answers."""

    def __init__(self, markets: dict[str, Any], desk: Desk, api_key: str, api_secret: str):
        self.markets = markets
        self.desk = desk
        self.api_key = api_key
        self.api_secret = api_secret

    def market(self, params: Params) -> Any:
        market = self.markets.get(params.text("symbol"))
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def check_key(self, key: str) -> None:
        if not key:
            raise VenueError(-2014, "API-key format invalid.", 401)
        if key != self.api_key:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def check_signed(self, params: Params, key: str, payload: str, now_ms: int) -> None:
        self.check_key(key)
        check_signed(params, payload, self.api_secret, now_ms)


class Counted:
    """Request weight and order counts in the venue's fixed windows; all clients share one address."""

    def __init__(self) -> None:
        self.windows: dict[str, tuple[int, int]] = {}

    def _count(self, name: str, seconds: int, amount: int, now_s: int) -> int:
        window, count = self.windows.get(name, (0, 0))
        count = count + amount if window == now_s // seconds else amount
        self.windows[name] = (now_s // seconds, count)
        return count

    def add(self, weight: int, now_s: int) -> int:
        """The weight used in this minute, with this request."""
        return self._count("1M", 60, weight, now_s)

    def headers(self, operation: "Operation", params: Params, now_s: int) -> dict[str, str]:
        weight = operation.weight
        if operation.call is depth:
            weight = depth_weight(str(params.values.get("limit", "100")))
        used = str(self.add(weight, now_s))
        headers = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
        if operation.order:
            for name, seconds in (("10S", 10), ("1D", 86400)):
                headers[f"X-MBX-ORDER-COUNT-{name}"] = str(self._count(name, seconds, 1, now_s))
        return headers


class Operation(NamedTuple):
    call: Callable[[Venue, Params, int], Any]
    weight: int = 1
    signed: bool = False
    order: bool = False  # counts as a new order


def rate_limits() -> list[dict]:
    rows = (
        ("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE),
        ("ORDERS", "SECOND", 10, ORDERS_PER_10S),
        ("ORDERS", "DAY", 1, ORDERS_PER_DAY),
        ("RAW_REQUESTS", "MINUTE", 5, 300_000),
    )
    return [{"rateLimitType": t, "interval": i, "intervalNum": n, "limit": m} for t, i, n, m in rows]


def ping(venue: Venue, params: Params, now_ms: int) -> dict:
    return {}


def time(venue: Venue, params: Params, now_ms: int) -> dict:
    return {"serverTime": now_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> dict:
    chosen = list(venue.markets)
    if "symbol" in params:
        chosen = [venue.market(params).spec.symbol]
    elif "symbols" in params:
        listed = params.values["symbols"]
        names = listed if isinstance(listed, list) else params.text("symbols").strip("[]").replace('"', "").split(",")
        if not all(isinstance(name, str) and name in venue.markets for name in names):
            raise VenueError(-1121, "Invalid symbol.")
        chosen = names
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": rate_limits(),
        "exchangeFilters": [],
        "symbols": [symbol_view(venue.markets[name].spec) for name in chosen],
    }


def symbol_view(spec: Spec) -> dict:
    most, least, step = text(spec.quantity_max), text(spec.lot), text(spec.lot)
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text(spec.tick),
            "maxPrice": text(spec.price_max),
            "tickSize": text(spec.tick),
        },
        {"filterType": "LOT_SIZE", "minQty": least, "maxQty": most, "stepSize": step},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": most, "stepSize": "0.00000000"},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": text(spec.notional_min),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": ORDERS_MAX},
    ]
    return {
        "symbol": spec.symbol,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def depth(venue: Venue, params: Params, now_ms: int) -> str:
    return venue.market(params).snapshot(min(params.integer("limit", 100, low=1), 5000))


def depth_weight(limit: str) -> int:
    levels = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 100
    return 5 if levels <= 100 else 25 if levels <= 500 else 50 if levels <= 1000 else 250


def trades(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    limit = min(params.integer("limit", 500, low=1), 1000)
    return [print_view(p) for p in venue.market(params).tape.latest(limit)]


def historical_trades(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    rows = tape.since(params.integer("fromId"), limit) if "fromId" in params else tape.latest(limit)
    return [print_view(p) for p in rows]


def aggregate_trades(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    if "fromId" in params:
        rows = tape.since(params.integer("fromId"), limit)
    else:
        start, end = (params.integer(n) if n in params else None for n in ("startTime", "endTime"))
        rows = tape.between(start, end, limit) if start is not None or end is not None else tape.latest(limit)
    return [aggregate_view(p) for p in rows]


def ticker(venue: Venue, params: Params, now_ms: int) -> Any:
    """`ticker/bookTicker`."""
    markets = [venue.market(params)] if "symbol" in params else list(venue.markets.values())
    rows = []
    for market in markets:
        (bid, bid_quantity), (ask, ask_quantity) = market.best(1), market.best(-1)
        rows.append({
            "symbol": market.spec.symbol, "bidPrice": text(bid), "bidQty": text(bid_quantity),
            "askPrice": text(ask), "askQty": text(ask_quantity),
        })  # fmt: skip
    return rows[0] if "symbol" in params else rows


def place(venue: Venue, params: Params, now_ms: int) -> dict:
    answer = params.choice(
        "newOrderRespType", ("ACK", "RESULT", "FULL"), -1100, "Illegal value for 'newOrderRespType'.", "FULL"
    )
    placed: Placed | None = venue.desk.place(params, now_ms)
    assert placed is not None
    if "newOrderRespType" not in params and placed.order.type == "LIMIT_MAKER":
        answer = "ACK"
    return placed_view(placed.order, placed.trades, answer)


def place_test(venue: Venue, params: Params, now_ms: int) -> dict:
    venue.desk.place(params, now_ms, test=True)
    return {}


def cancel(venue: Venue, params: Params, now_ms: int) -> dict:
    return canceled_view(*venue.desk.cancel(params, now_ms))


def cancel_all(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    symbol = venue.market(params).spec.symbol
    found = [order for order in venue.desk.open.values() if order.symbol == symbol]
    if not found:
        raise VenueError(-2011, "Unknown order sent.")
    asked = ({"symbol": symbol, "orderId": order.id} for order in found)
    return [canceled_view(*venue.desk.cancel(Params(one), now_ms)) for one in asked]


def order_status(venue: Venue, params: Params, now_ms: int) -> dict:
    order = venue.desk.find(params)
    if order is None:
        raise VenueError(-2013, "Order does not exist.")
    return order_view(order)


def open_orders(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    symbol = venue.market(params).spec.symbol if "symbol" in params else None
    return [order_view(o) for o in list(venue.desk.open.values()) if symbol in (None, o.symbol)]


def all_orders(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    symbol, limit = venue.market(params).spec.symbol, min(params.integer("limit", 500, low=1), 1000)
    rows = sorted((o for o in venue.desk.orders.values() if o.symbol == symbol), key=lambda o: o.id)
    if "orderId" in params:
        first = params.integer("orderId")
        return [order_view(o) for o in rows if o.id >= first][:limit]
    return [order_view(o) for o in rows[-limit:]]


def my_trades(venue: Venue, params: Params, now_ms: int) -> list[dict]:
    symbol, limit = venue.market(params).spec.symbol, min(params.integer("limit", 500, low=1), 1000)
    order = params.integer("orderId") if "orderId" in params else None
    first = params.integer("fromId") if "fromId" in params else None
    start, end = (params.integer(n) if n in params else None for n in ("startTime", "endTime"))
    oldest_first = first is not None or start is not None
    rows = []
    for trade in reversed(venue.desk.trades):  # from the newest back: a client that polls asks for the last few
        if trade.symbol != symbol:
            continue
        if (first is not None and trade.trade_id < first) or (start is not None and trade.time < start):
            break
        if (order is None or trade.order_id == order) and (end is None or trade.time <= end):
            rows.append(trade)
            if len(rows) == limit and not oldest_first:
                break
    rows.reverse()
    return [own_trade_view(t) for t in rows[:limit]]


def account(venue: Venue, params: Params, now_ms: int) -> dict:
    maker, taker = (text(ppm * UNIT // 10**6) for ppm in (venue.desk.maker_ppm, venue.desk.taker_ppm))
    zero = "0.00000000"
    omit = params.text("omitZeroBalances", "false") == "true"
    balances = venue.desk.accounts.balances.get(OWNER, {})
    return {
        "makerCommission": venue.desk.maker_ppm // 100,
        "takerCommission": venue.desk.taker_ppm // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": maker, "taker": taker, "buyer": zero, "seller": zero},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(free), "locked": text(locked)}
            for asset, (free, locked) in sorted(balances.items())
            if free or locked or not omit
        ],
        "permissions": ["SPOT"],
        "uid": OWNER,
    }


_PLACE = Operation(place, 1, True, True)
REST: dict[tuple[str, str], Operation] = {
    ("GET", "/api/v3/ping"): Operation(ping),
    ("GET", "/api/v3/time"): Operation(time),
    ("GET", "/api/v3/exchangeInfo"): Operation(exchange_info, 20),
    ("GET", "/api/v3/depth"): Operation(depth, 5),
    ("GET", "/api/v3/trades"): Operation(trades, 25),
    ("GET", "/api/v3/historicalTrades"): Operation(historical_trades, 25),
    ("GET", "/api/v3/aggTrades"): Operation(aggregate_trades, 4),
    ("GET", "/api/v3/ticker/bookTicker"): Operation(ticker, 2),
    ("POST", "/api/v3/order"): _PLACE,
    ("POST", "/api/v3/order/test"): Operation(place_test, 1, True),
    ("DELETE", "/api/v3/order"): Operation(cancel, 1, True),
    ("GET", "/api/v3/order"): Operation(order_status, 4, True),
    ("GET", "/api/v3/openOrders"): Operation(open_orders, 6, True),
    ("DELETE", "/api/v3/openOrders"): Operation(cancel_all, 1, True),
    ("GET", "/api/v3/allOrders"): Operation(all_orders, 20, True),
    ("GET", "/api/v3/myTrades"): Operation(my_trades, 20, True),
    ("GET", "/api/v3/account"): Operation(account, 20, True),
}
WS: dict[str, Operation] = {
    "ping": Operation(ping),
    "time": Operation(time),
    "exchangeInfo": Operation(exchange_info, 20),
    "depth": Operation(depth, 5),
    "trades.recent": Operation(trades, 25),
    "trades.historical": Operation(historical_trades, 25),
    "trades.aggregate": Operation(aggregate_trades, 4),
    "order.place": _PLACE,
    "order.test": Operation(place_test, 1, True),
    "order.cancel": Operation(cancel, 1, True),
    "order.status": Operation(order_status, 4, True),
    "openOrders.status": Operation(open_orders, 6, True),
    "openOrders.cancelAll": Operation(cancel_all, 1, True),
    "allOrders": Operation(all_orders, 20, True),
    "myTrades": Operation(my_trades, 20, True),
    "account.status": Operation(account, 20, True),
}
PATHS = {path for _, path in REST}


def find(method: str, path: str) -> Operation:
    operation = REST.get((method, path))
    if operation is None:
        status = 405 if path in PATHS else 404
        raise VenueError(-1020, f"This operation is not supported: {method} {path[:100]}", status)
    return operation


def need_api_key(params: Params) -> str:
    if "apiKey" not in params:
        raise missing("apiKey")
    return params.text("apiKey")
