"""What the local venue answers about mark prices and funding. Pure.

Sources: USD-M futures, "Mark Price", "Get Funding Rate History", "Get Funding Rate Info".
"""

from tickmesh.nodes.exchange.api.venue import UsdmVenue
from tickmesh.nodes.exchange.market.mark_price import INTEREST, RATE_MAX
from tickmesh.nodes.exchange.protocol import JsonObject, Params, decimal_text


def premium_index(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject | list[JsonObject]:
    """`GET /fapi/v1/premiumIndex`: mark price, index and funding of one symbol, or of all."""
    if "symbol" in params:
        return _premium_index(venue, venue.market(params).spec.symbol, now_ms)
    return [_premium_index(venue, symbol, now_ms) for symbol in venue.markets]


def premium_index_weight(params: Params) -> int:
    """The request weight of premiumIndex."""
    return 1 if "symbol" in params else 10


def funding_rates(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/fundingRate`: past fundings, oldest first; from startTime on, else the newest."""
    symbol = venue.market(params).spec.symbol if "symbol" in params else None
    limit = min(params.integer("limit", 100, low=1), 1000)
    start, end = params.moment("startTime"), params.moment("endTime")
    rows = [
        one for one in venue.desk.state.fundings
        if symbol in (None, one.symbol) and (start is None or one.time >= start) and (end is None or one.time <= end)
    ]  # fmt: skip
    return [
        {
            "symbol": one.symbol, "fundingRate": decimal_text(one.rate), "fundingTime": one.time,
            "markPrice": decimal_text(one.mark),
        }
        for one in (rows[:limit] if start is not None else rows[-limit:])
    ]  # fmt: skip


def funding_info(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/fundingInfo`: how often there is a funding, in hours (a fraction for seconds), and its bounds."""
    cap = decimal_text(RATE_MAX)
    return [
        {
            "symbol": symbol, "adjustedFundingRateCap": cap, "adjustedFundingRateFloor": f"-{cap}",
            "fundingIntervalHours": _hours(mark.interval_ms), "disclaimer": False,
        }
        for symbol, mark in venue.marks.items()
        if symbol in venue.markets
    ]  # fmt: skip


def _hours(interval_ms: int) -> int | float:
    hours = interval_ms / 3_600_000
    return int(hours) if hours.is_integer() else hours


def _premium_index(venue: UsdmVenue, symbol: str, now_ms: int) -> JsonObject:
    state = venue.marks[symbol].state
    return {
        "symbol": symbol, "markPrice": decimal_text(state.mark), "indexPrice": decimal_text(state.index),
        "estimatedSettlePrice": decimal_text(state.index), "lastFundingRate": decimal_text(state.rate),
        "interestRate": decimal_text(INTEREST), "nextFundingTime": state.next_ms, "time": now_ms,
    }  # fmt: skip
