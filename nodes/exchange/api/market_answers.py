"""What the local venue answers about its market: instruments, book, trades, candles.

Pure: (venue, params, now_ms) → what becomes JSON; text is JSON already.
"""

import re

from tickmesh.nodes.exchange.api.symbols import listed, names, with_status
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.market.candles import candles, check_interval, kline_row
from tickmesh.nodes.exchange.market.instruments import filters
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.market.matching import EXPIRE_MAKER
from tickmesh.nodes.exchange.market.tickers import MINUTE_MS
from tickmesh.nodes.exchange.orders.reports import aggregate_view, print_view
from tickmesh.nodes.exchange.orders.terms import TYPES, allowed_preventions
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError

PERMISSION = re.compile(r"SPOT|MARGIN|LEVERAGED|TRD_GRP_[0-9]{3}")
ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-9]{2}))?")
ZONE_MIN_MS, ZONE_MAX_MS = -12 * 60 * MINUTE_MS, 14 * 60 * MINUTE_MS


def ping(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/ping`: an empty object."""
    return {}


def time(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/time`: the venue's clock."""
    return {"serverTime": now_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/exchangeInfo`: limits, and symbols with their filters."""
    chosen = [venue.market(params).spec.symbol] if "symbol" in params else names(venue, params)
    if params.values.keys() & {"permissions", "symbolStatus"} and params.values.keys() & {"symbol", "symbols"}:
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    if "permissions" in params and "SPOT" not in _permissions(params):
        chosen = []
    sets = params.flag("showPermissionSets", default="true")
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": venue.limits.exchange_info_rows(),
        "exchangeFilters": [],
        "symbols": [
            {name: value for name, value in symbol_view(venue.markets[symbol], symbol in venue.desk.halted).items()
             if sets or name != "permissionSets"}
            for symbol in with_status(venue, params, chosen)
        ],
    }  # fmt: skip


def _permissions(params: Params) -> list[str]:
    given = listed(params, "permissions")
    if not all(PERMISSION.fullmatch(name) for name in given):
        raise VenueError(-1130, "Data sent for parameter 'permissions' is not valid.")
    return given


def symbol_view(market: VenueMarket, halted: bool = False) -> JsonObject:
    """One symbol of exchangeInfo: assets, order types, filters."""
    spec, preventions = market.spec, allowed_preventions(market)
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
        "icebergAllowed": market.hides,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(spec),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": EXPIRE_MAKER,
        "allowedSelfTradePreventionModes": list(preventions),
    }


def depth(venue: Venue, params: Params, now_ms: int) -> str:
    """`GET /api/v3/depth`: a snapshot of the book, as JSON."""
    market = venue.market(params)
    with_status(venue, params, [market.spec.symbol])
    return market.snapshot(min(params.integer("limit", 100, low=1), 5000))


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
    """`GET /api/v3/klines`: candles of an interval, which begin by the clocks of `timeZone`; all times are UTC."""
    tape, limit = venue.market(params).tape, min(params.integer("limit", 500, low=1), 1000)
    interval = check_interval(params.text("interval"))
    zone = zone_ms(params)
    start, end = params.moment("startTime"), params.moment("endTime")
    newest = max(now_ms, tape.prints[-1].time) if tape.prints else now_ms
    start = None if start is None else min(start, newest + 1)
    end = newest if end is None else min(end, newest)
    return [kline_row(row) for row in candles(tape, interval, start, end, limit, zone)]


def zone_ms(params: Params) -> int:
    """A request's `timeZone` ("8", "-1:00", "05:45"; −12:00 to +14:00) as ms ahead of UTC. VenueError −1130 for others."""
    text = params.text("timeZone", "0")
    if match := ZONE.fullmatch(text):
        zone = (int(match[2]) * 60 + int(match[3] or 0)) * MINUTE_MS * (-1 if match[1] == "-" else 1)
        if ZONE_MIN_MS <= zone <= ZONE_MAX_MS and int(match[3] or 0) < 60:
            return zone
    raise VenueError(-1130, "Data sent for parameter 'timeZone' is not valid.")
