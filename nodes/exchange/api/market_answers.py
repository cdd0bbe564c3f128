"""What the local venue answers about its market: instruments, book, trades, candles.

Pure: (venue, params, now_ms) → what becomes JSON; text is JSON already.
"""

from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.market.candles import candles, check_interval, kline_row
from tickmesh.nodes.exchange.market.derived import average_price, day_statistics
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec, filters
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.orders.reports import aggregate_view, print_view
from tickmesh.nodes.exchange.orders.terms import ALLOWED_PREVENTIONS, TYPES
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError, decimal_text


def ping(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/ping`: an empty object."""
    return {}


def time(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/time`: the venue's clock."""
    return {"serverTime": now_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/exchangeInfo`: limits, and symbols with their filters."""
    chosen = [venue.market(params).spec.symbol] if "symbol" in params else _names(venue, params)
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": venue.limits.exchange_info_rows(),
        "exchangeFilters": [],
        "symbols": [symbol_view(venue.markets[name].spec, name in venue.desk.halted) for name in chosen],
    }


def symbol_view(spec: InstrumentSpec, halted: bool = False) -> JsonObject:
    """One symbol of exchangeInfo: assets, order types, filters."""
    return {
        "symbol": spec.symbol,
        "status": "BREAK" if halted else "TRADING",
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
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(spec),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": ALLOWED_PREVENTIONS[0],
        "allowedSelfTradePreventionModes": list(ALLOWED_PREVENTIONS),
    }


def depth(venue: Venue, params: Params, now_ms: int) -> str:
    """`GET /api/v3/depth`: a snapshot of the book, as JSON."""
    return venue.market(params).snapshot(min(params.integer("limit", 100, low=1), 5000))


def trades(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/trades`: the newest trades."""
    limit = min(params.integer("limit", 500, low=1), 1000)
    return [print_view(p) for p in venue.market(params).tape.latest(limit)]


def historical_trades(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/historicalTrades`: trades from an id on."""
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    rows = tape.since(params.integer("fromId"), limit) if "fromId" in params else tape.latest(limit)
    return [print_view(p) for p in rows]


def aggregate_trades(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/aggTrades`: aggregates of trades from an id or a time on."""
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    first = params.integer("fromId") if "fromId" in params else None
    start, end = params.moment("startTime"), params.moment("endTime")
    if first is not None and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    return [aggregate_view(row) for row in tape.aggregates(limit, first, start, end)]


def klines(venue: Venue, params: Params, now_ms: int) -> list[list[int | str]]:
    """`GET /api/v3/klines`: candles of an interval."""
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    interval = check_interval(params.text("interval"))
    start, end = params.moment("startTime"), params.moment("endTime")
    newest = max(now_ms, tape.prints[-1].time) if tape.prints else now_ms
    start = None if start is None else min(start, newest + 1)
    end = newest if end is None else min(end, newest)
    return [kline_row(row) for row in candles(tape, interval, start, end, limit)]


def average(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/avgPrice`: the average price of five minutes."""
    return average_price(venue.market(params), now_ms)


def _chosen(venue: Venue, params: Params) -> tuple[list[VenueMarket], bool]:
    """The markets that a ticker is asked for, and whether the answer is one object."""
    if "symbol" in params:
        return [venue.market(params)], True
    return [venue.markets[name] for name in _names(venue, params)], False


def _names(venue: Venue, params: Params) -> list[str]:
    if "symbols" not in params:
        return list(venue.markets)
    listed = params.values["symbols"]
    names = listed if isinstance(listed, list) else params.text("symbols").strip("[]").replace('"', "").split(",")
    if not all(isinstance(name, str) and name in venue.markets for name in names):
        raise VenueError(-1121, "Invalid symbol.")
    if len(set(names)) < len(names):
        raise VenueError(-1151, "Symbol is present multiple times in the list.")
    return names


def ticker_day(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/24hr`: statistics of the last 24 hours."""
    markets, one = _chosen(venue, params)
    rows = [day_statistics(market, now_ms) for market in markets]
    return rows[0] if one else rows


def ticker_price(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/price`: the price of the newest trade."""
    markets, one = _chosen(venue, params)
    rows: list[JsonObject] = [{"symbol": market.spec.symbol, "price": decimal_text(market.last_price)} for market in markets]
    return rows[0] if one else rows


def book_ticker(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/bookTicker`: the best bid and ask."""
    markets, one = _chosen(venue, params)
    rows: list[JsonObject] = []
    for market in markets:
        (bid, bid_quantity), (ask, ask_quantity) = market.best(1), market.best(-1)
        rows.append({
            "symbol": market.spec.symbol, "bidPrice": decimal_text(bid), "bidQty": decimal_text(bid_quantity),
            "askPrice": decimal_text(ask), "askQty": decimal_text(ask_quantity),
        })  # fmt: skip
    return rows[0] if one else rows
