"""What the local venue answers about orders and the account.

Pure: (venue, params, now_ms) → what becomes JSON; text is JSON already.
"""

from collections.abc import Callable

from tickmesh.nodes.exchange.api import list_answers
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.orders import amending
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.reports import (
    amended_view,
    amendment_view,
    canceled_view,
    order_view,
    own_trade_view,
    prevented_view,
)
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, Params, VenueError, decimal_text

DAY_MS = 86_400_000
ZERO = decimal_text(0)
NO_EXTRA_COMMISSION = {
    "taxCommissionForOrder": {"maker": ZERO, "taker": ZERO},
    "discount": {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": ZERO},
}


def response_type(params: Params) -> str:
    invalid = "Illegal characters found in parameter 'newOrderRespType'; legal range is 'ACK|RESULT|FULL'."
    default = "FULL" if str(params.values.get("type")) in ("MARKET", "LIMIT") else "ACK"
    return params.choice("newOrderRespType", ("ACK", "RESULT", "FULL"), -1100, invalid, default)


def place(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/order`: places an order and answers with its state and fills."""
    answer = response_type(params)
    terms = venue.desk.check(params)
    venue.limits.admit_order(OWNER, now_ms)
    return list_answers.placed_answer(venue.desk, venue.desk.enter(terms, now_ms), answer)


def place_test(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/order/test`: checks an order without placing it."""
    rates = params.flag("computeCommissionRates")
    response_type(params)
    venue.desk.place(params, now_ms, test=True)
    if not rates:
        return {}
    maker, taker = (decimal_text(ppm * UNIT // 10**6) for ppm in (venue.desk.maker_ppm, venue.desk.taker_ppm))
    return {"standardCommissionForOrder": {"maker": maker, "taker": taker}, **NO_EXTRA_COMMISSION}


def cancel(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`DELETE /api/v3/order`: cancels one order."""
    return canceled_view(*venue.desk.cancel(params, now_ms))


def cancel_replace(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/order/cancelReplace` (venues.md §3.5): cancels one order and places another.

    Parameters and filters of the new order are checked before anything happens."""
    invalid = "Mandatory parameter 'cancelReplaceMode' was not sent, was empty/null, or malformed."
    mode = params.choice("cancelReplaceMode", ("STOP_ON_FAILURE", "ALLOW_FAILURE"), -1102, invalid)
    invalid = "Data sent for parameter 'orderRateLimitExceededMode' is not valid."
    over = params.choice("orderRateLimitExceededMode", ("DO_NOTHING", "CANCEL_ONLY"), -1130, invalid, "DO_NOTHING")
    answer = response_type(params)
    terms = venue.desk.check(params)
    limited: VenueError | None = None
    try:
        venue.limits.admit_order(OWNER, now_ms)
    except VenueError as error:
        if over == "DO_NOTHING":
            raise
        limited = error
    canceled, cancel_response = _leg(lambda: cancel(venue, _cancel_part(params), now_ms))
    if not canceled and mode == "STOP_ON_FAILURE":
        data: JsonObject = {
            "cancelResult": "FAILURE",
            "newOrderResult": "NOT_ATTEMPTED",
            "cancelResponse": cancel_response,
            "newOrderResponse": None,
        }
        raise VenueError(-2022, "Order cancel-replace failed.", 400, data=data)

    def enter() -> JsonObject:
        if limited is not None:
            raise limited
        return list_answers.placed_answer(venue.desk, venue.desk.enter(terms, now_ms), answer)

    entered, order_response = _leg(enter)
    data = {
        "cancelResult": "SUCCESS" if canceled else "FAILURE",
        "newOrderResult": "SUCCESS" if entered else "FAILURE",
        "cancelResponse": cancel_response,
        "newOrderResponse": order_response,
    }
    if canceled and entered:
        return data
    if canceled or entered:
        raise VenueError(-2021, "Order cancel-replace partially failed.", 409, data=data)
    raise VenueError(-2022, "Order cancel-replace failed.", 400, data=data)


def _leg(act: Callable[[], JsonObject]) -> tuple[bool, JsonObject]:
    try:
        return True, act()
    except VenueError as error:
        return False, error.body()


def _cancel_part(params: Params) -> Params:
    names = {"symbol": "symbol", "cancelOrderId": "orderId", "cancelOrigClientOrderId": "origClientOrderId",
             "cancelNewClientOrderId": "newClientOrderId", "cancelRestrictions": "cancelRestrictions"}  # fmt: skip
    return Params({ours: params.values[theirs] for theirs, ours in names.items() if theirs in params})


def amend(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`PUT /api/v3/order/amend/keepPriority`: reduces an order's quantity; it keeps its place."""
    return amended_view(*amending.amend(venue.lists, params, now_ms))


def amendments(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/order/amendments`: the amendments of one order."""
    return [amendment_view(row) for row in amending.amendments_of(venue.desk, params)]


def my_prevented_matches(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/myPreventedMatches`: matches of ours with one another that were prevented, by their id or by order."""
    symbol, limit = venue.market(params).spec.symbol, min(params.integer("limit", 500, low=1), 1000)
    given = params.values.keys() & {"preventedMatchId", "orderId", "fromPreventedMatchId", "limit"}
    alone, first = "preventedMatchId" in given, params.integer("fromPreventedMatchId", 0)
    if alone == ("orderId" in given) or alone and len(given) > 1 or "limit" in given and "fromPreventedMatchId" not in given:
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    ident = params.integer("preventedMatchId" if alone else "orderId")
    rows = [p for p in venue.desk.prevented if p.symbol == symbol and p.id >= first]
    rows = [p for p in rows if (p.id == ident if alone else ident in (p.taker_order, p.maker_order))]
    return [prevented_view(p) for p in rows[:limit]]


def my_allocations(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/myAllocations`: none, as no order here is routed over several books (SOR)."""
    venue.market(params)
    start, end = _day(params)
    if "fromAllocationId" in params and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    for name in ("fromAllocationId", "orderId"):
        params.integer(name, 0)
    params.integer("limit", 500, low=1, high=1000)
    return []


def cancel_all(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`DELETE /api/v3/openOrders`: cancels all open orders of a symbol."""
    symbol = venue.market(params).spec.symbol
    found = [order for order in venue.desk.open.values() if order.symbol == symbol]
    if not found:
        raise VenueError(-2011, "Unknown order sent.")
    rows: list[JsonObject] = []
    for order in found:
        if not order.open:
            continue  # it went with another one of its list
        made = venue.desk.lists.get(order.list_id)
        if made is None:
            rows.append(canceled_view(*venue.desk.cancel(Params({"symbol": symbol, "orderId": order.id}), now_ms)))
        else:
            rows.append(list_answers.cancel(venue, Params({"symbol": symbol, "orderListId": made.id}), now_ms))
    return rows


def order_status(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/order`: one order."""
    order = venue.desk.find(params)
    if order is None:
        raise VenueError(-2013, "Order does not exist.")
    return order_view(order)


def open_orders(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/openOrders`: open orders, of one symbol or of all."""
    symbol = venue.market(params).spec.symbol if "symbol" in params else None
    return [order_view(o) for o in list(venue.desk.open.values()) if symbol in (None, o.symbol)]


def all_orders(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/allOrders`: open and closed orders of a symbol."""
    symbol, limit = venue.market(params).spec.symbol, min(params.integer("limit", 500, low=1), 1000)
    start, end = _day(params)
    rows = sorted((o for o in venue.desk.orders.values() if o.symbol == symbol), key=lambda o: o.id)
    first = params.integer("orderId") if "orderId" in params else None
    rows = [
        o for o in rows
        if (first is None or o.id >= first) and (start is None or o.time >= start) and (end is None or o.time <= end)
    ]  # fmt: skip
    return [order_view(o) for o in (rows[:limit] if first is not None or start is not None else rows[-limit:])]


def _day(params: Params) -> tuple[int | None, int | None]:
    """startTime and endTime, at most a day apart."""
    start, end = params.moment("startTime"), params.moment("endTime")
    if start is not None and end is not None and end - start > DAY_MS:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
    return start, end


def my_trades(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/myTrades`: our trades of a symbol."""
    symbol, limit = venue.market(params).spec.symbol, min(params.integer("limit", 500, low=1), 1000)
    order = params.integer("orderId") if "orderId" in params else None
    first = params.integer("fromId") if "fromId" in params else None
    start, end = _day(params)
    if first is not None and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
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


def commission(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/account/commission`: the fee rates of a symbol."""
    maker, taker = (decimal_text(ppm * UNIT // 10**6) for ppm in (venue.desk.maker_ppm, venue.desk.taker_ppm))
    none = {"maker": ZERO, "taker": ZERO, "buyer": ZERO, "seller": ZERO}
    return {
        "symbol": venue.market(params).spec.symbol,
        "standardCommission": none | {"maker": maker, "taker": taker},
        "specialCommission": none,
        "taxCommission": none,
        "discount": NO_EXTRA_COMMISSION["discount"],
    }


def key_rights(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /sapi/v1/account/apiRestrictions`: what the account's key may do."""
    return {
        "ipRestrict": False, "createTime": now_ms, "enableReading": True, "enableSpotAndMarginTrading": True,
        "enableWithdrawals": venue.key_withdraws, "enableInternalTransfer": False, "permitsUniversalTransfer": False,
        "enableVanillaOptions": False, "enableMargin": False, "enableFutures": True,
    }  # fmt: skip


def account(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/account`: balances and fee rates."""
    maker, taker = (decimal_text(ppm * UNIT // 10**6) for ppm in (venue.desk.maker_ppm, venue.desk.taker_ppm))
    zero = "0.00000000"
    omit = params.flag("omitZeroBalances")
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
            {"asset": asset, "free": decimal_text(free), "locked": decimal_text(locked)}
            for asset, (free, locked) in sorted(balances.items())
            if free or locked or not omit
        ],
        "permissions": ["SPOT"],
        "uid": OWNER,
    }
