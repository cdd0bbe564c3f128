"""What the local venue answers about its USD-M markets (`/fapi/v1/…`): instruments, book, trades. Pure, as market_answers.py.

Source: USD-M futures API, "Market Data Endpoints". Unlike the venue, `historicalTrades` asks for no API key.
"""

from tickmesh.nodes.exchange.api.venue import UsdmVenue
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.orders.margin_terms import PRICE_DOWN_PPM, PRICE_UP_PPM, TIMES_IN_FORCE, TYPES
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, Params, VenueError, decimal_text

DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # by the levels asked for; no other number is taken
DEPTH_LIMIT = "500"


def depth_weight(params: Params) -> int:
    """The request weight of a depth request, by the number of levels that it asks for."""
    limit = str(params.values.get("limit", DEPTH_LIMIT))
    return DEPTH_WEIGHTS.get(int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0, 20)


def exchange_info(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/exchangeInfo`: limits, and every symbol with its filters."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": venue.limits.exchange_info_rows()[:-1],  # raw requests are spot's
        "exchangeFilters": [],
        "symbols": [symbol_view(m.spec, name in venue.desk.halted) for name, m in venue.markets.items()],
    }


def symbol_view(spec: InstrumentSpec, halted: bool = False) -> JsonObject:
    """One symbol of exchangeInfo: a perpetual contract, its steps and filters."""
    write = UsdmFrames(spec)
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "status": "SETTLING" if halted else "TRADING",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.quote,
        "pricePrecision": spec.price_decimals,
        "quantityPrecision": spec.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": list(TYPES),
        "timeInForce": list(TIMES_IN_FORCE),
        "filters": [
            {
                "filterType": "PRICE_FILTER", "minPrice": write.price(spec.tick), "maxPrice": write.price(spec.price_max),
                "tickSize": write.price(spec.tick),
            },
            {
                "filterType": "LOT_SIZE", "minQty": write.quantity(spec.lot), "maxQty": write.quantity(spec.quantity_max),
                "stepSize": write.quantity(spec.lot),
            },
            {
                "filterType": "MARKET_LOT_SIZE", "minQty": write.quantity(spec.lot),
                "maxQty": write.quantity(min(spec.market_quantity_max, spec.quantity_max)),
                "stepSize": write.quantity(spec.lot),
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": spec.orders_max},
            {"filterType": "MIN_NOTIONAL", "notional": str(spec.notional_min // UNIT)},
            {
                "filterType": "PERCENT_PRICE", "multiplierUp": decimal_text(PRICE_UP_PPM * 100)[:-4],
                "multiplierDown": decimal_text(PRICE_DOWN_PPM * 100)[:-4], "multiplierDecimal": "4",
            },
        ],
    }  # fmt: skip


def depth(venue: UsdmVenue, params: Params, now_ms: int) -> str:
    """`GET /fapi/v1/depth`: a snapshot of the book, as JSON."""
    market = venue.market(params)
    limit = params.integer("limit", int(DEPTH_LIMIT))
    if limit not in DEPTH_WEIGHTS:
        raise VenueError(-4021, f"{limit} is not valid depth limit.")
    return market.snapshot(limit)


def trades(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/trades`: the newest trades."""
    market = venue.market(params)
    write = UsdmFrames(market.spec)
    return [_print_view(p, write) for p in market.tape.latest(min(params.integer("limit", 500, low=1), 1000))]


def historical_trades(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/historicalTrades`: trades from an id on, 500 at most."""
    market, limit = venue.market(params), min(params.integer("limit", 100, low=1), 500)
    write = UsdmFrames(market.spec)
    rows = market.tape.since(params.integer("fromId"), limit) if "fromId" in params else market.tape.latest(limit)
    return [_print_view(p, write) for p in rows]


def aggregate_trades(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/aggTrades`: aggregates of trades from an id or a time on."""
    market, limit = venue.market(params), min(params.integer("limit", 500, low=1), 1000)
    first = params.integer("fromId") if "fromId" in params else None
    start, end = params.moment("startTime"), params.moment("endTime")
    if first is not None and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    write = UsdmFrames(market.spec)
    return [_aggregate_view(row, write) for row in market.tape.aggregates(limit, first, start, end)]


def _print_view(trade: Print, write: UsdmFrames) -> JsonObject:
    return {
        "id": trade.id, "price": write.price(trade.price), "qty": write.quantity(trade.quantity),
        "quoteQty": decimal_text(trade.price * trade.quantity // UNIT), "time": trade.time,
        "isBuyerMaker": bool(trade.buyer_is_maker),
    }  # fmt: skip


def _aggregate_view(row: Aggregate, write: UsdmFrames) -> JsonObject:
    return {
        "a": row.id, "p": write.price(row.price), "q": write.quantity(row.quantity), "f": row.first, "l": row.last,
        "T": row.time, "m": bool(row.buyer_is_maker),
    }  # fmt: skip
