"""What the local venue answers about prices and statistics of its markets. Pure, as market_answers.py."""

from collections.abc import Callable

from tickmesh.nodes.exchange.api.market_answers import zone_ms
from tickmesh.nodes.exchange.api.symbols import chosen
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.market.candles import interval_bounds
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.market.tickers import (
    MINI,
    WINDOW,
    average_price,
    day_statistics,
    latest,
    statistics,
    window_start,
)
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError, decimal_text


def average(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/avgPrice`: the average price of five minutes."""
    return average_price(venue.market(params), now_ms)


def reference_price(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/referencePrice`: null, as at the venue for a symbol that has none."""
    return {"symbol": venue.market(params).spec.symbol, "referencePrice": None, "timestamp": now_ms}


def ticker_day(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/24hr`: statistics of the last 24 hours."""
    keep = _fields(params)
    markets, one = chosen(venue, params)
    return _answer([keep(day_statistics(market, now_ms)) for market in markets], one)


def ticker_window(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker`: statistics of a rolling window."""
    keep = _fields(params)
    window = params.text("windowSize", "1d")
    if not WINDOW.match(window):
        raise VenueError(-1130, "Data sent for parameter 'windowSize' is not valid.")
    markets, one = _named(venue, params)
    rows = []
    for market in markets:
        until = latest(market, now_ms)
        rows.append(keep(statistics(market, window_start(window, until), until)))
    return _answer(rows, one)


def ticker_trading_day(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/tradingDay`: statistics of the day so far, which begins at midnight in `timeZone`."""
    keep, zone = _fields(params), zone_ms(params)
    markets, one = _named(venue, params)
    return _answer([keep(statistics(market, *interval_bounds("1d", latest(market, now_ms), zone))) for market in markets], one)


def ticker_price(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/price`: the price of the newest trade."""
    markets, one = chosen(venue, params)
    return _answer([{"symbol": market.spec.symbol, "price": decimal_text(market.last_price)} for market in markets], one)


def book_ticker(venue: Venue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /api/v3/ticker/bookTicker`: the best bid and ask."""
    markets, one = chosen(venue, params)
    rows: list[JsonObject] = []
    for market in markets:
        (bid, bid_quantity), (ask, ask_quantity) = market.best(1), market.best(-1)
        rows.append({
            "symbol": market.spec.symbol, "bidPrice": decimal_text(bid), "bidQty": decimal_text(bid_quantity),
            "askPrice": decimal_text(ask), "askQty": decimal_text(ask_quantity),
        })  # fmt: skip
    return _answer(rows, one)


def _answer(rows: list[JsonObject], one: bool) -> JsonObject | list[JsonObject]:
    return rows[0] if one else rows


def _named(venue: Venue, params: Params) -> tuple[list[VenueMarket], bool]:
    """As `chosen`, of a request that has to name its symbols."""
    if "symbol" not in params and "symbols" not in params:
        raise VenueError(-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
    return chosen(venue, params)


def _fields(params: Params) -> Callable[[JsonObject], JsonObject]:
    """What keeps the fields of the request's `type`, FULL or MINI. VenueError −1139 for another."""
    if params.choice("type", ("FULL", "MINI"), -1139, "Invalid ticker type.", "FULL") == "FULL":
        return lambda row: row
    return lambda row: {name: row[name] for name in MINI}
