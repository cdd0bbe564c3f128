"""What the local venue answers about orders and trades of futures (`/fapi/v1/order` and its kin).

Pure: (venue, params, now_ms) → what becomes JSON. Sources: USD-M futures, "Trade".
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from tickmesh.nodes.exchange.api.venue import UsdmVenue
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder
from tickmesh.nodes.exchange.orders.margin_reports import margin_order_view, margin_trade_view
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError

WEEK_MS = 7 * 86_400_000
NOT_THERE = "Order does not exist."


def place(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`POST /fapi/v1/order`: places an order; ACK answers with it as it was accepted, RESULT as it is when that is done."""
    terms = venue.desk.check(params)
    venue.limits.admit_order(OWNER, now_ms)
    placed = venue.desk.enter(terms, now_ms)
    return _view(venue, placed.accepted if terms.response == "ACK" else placed.order)


def modify(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`PUT /fapi/v1/order`: changes price and quantity of an open limit order."""
    venue.limits.admit_order(OWNER, now_ms)
    return _view(venue, venue.desk.amend(params, now_ms))


def cancel(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`DELETE /fapi/v1/order`: cancels one order."""
    return _view(venue, venue.desk.cancel(params, now_ms))


def cancel_all(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`DELETE /fapi/v1/allOpenOrders`: cancels all open orders of a symbol, also if there are none."""
    venue.desk.cancel_all(venue.market(params).spec.symbol, now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def order_status(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/order`: one order, open or closed."""
    order = venue.desk.orders.find(venue.market(params).spec.symbol, params)
    if order is None:
        raise VenueError(-2013, NOT_THERE)
    return _view(venue, order)


def open_order(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/openOrder`: one order that is open."""
    return _view(venue, venue.desk.orders.find_open(venue.market(params).spec.symbol, params, -2013, NOT_THERE))


def open_orders(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/openOrders`: open orders, of one symbol or of all."""
    symbol = venue.market(params).spec.symbol if "symbol" in params else None
    return [
        _view(venue, o) for o in venue.desk.orders.open.values() if symbol in (None, o.symbol) and o.symbol in venue.markets
    ]


def all_orders(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/allOrders`: open and closed orders of a symbol, from an id or a time on, else the newest."""
    symbol = venue.market(params).spec.symbol
    mine = sorted((o for o in venue.desk.orders.by_id.values() if o.symbol == symbol), key=lambda o: o.id)
    return [_view(venue, o) for o in _page(params, mine, "orderId", lambda o: o.id)]


def user_trades(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/userTrades`: our trades of a symbol, from an id (inclusive) or a time on, else the newest."""
    market = venue.market(params)
    order = params.integer("orderId") if "orderId" in params else None
    mine = [t for t in venue.desk.state.trades if t.symbol == market.spec.symbol and order in (None, t.order_id)]
    write = UsdmFrames(market.spec)
    return [margin_trade_view(t, write) for t in _page(params, mine, "fromId", lambda t: t.trade_id)]


class _Timed(Protocol):
    time: int


_Row = TypeVar("_Row", bound=_Timed)


def _page(params: Params, rows: list[_Row], first_name: str, id_of: Callable[[_Row], int]) -> list[_Row]:
    """The page of `rows`, which are in order of id, that a request asks for: `limit` of them, 500 by default, 1000 at most."""
    limit = min(params.integer("limit", 500, low=1), 1000)
    start, end = times(params)
    first = params.integer(first_name) if first_name in params else None
    if first is not None and first_name == "fromId" and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    found = [
        row for row in rows
        if (first is None or id_of(row) >= first) and (start is None or row.time >= start) and (end is None or row.time <= end)
    ]  # fmt: skip
    return found[:limit] if first is not None or start is not None else found[-limit:]


def times(params: Params, longest_ms: int = WEEK_MS) -> tuple[int | None, int | None]:
    """startTime and endTime in ms, at most so far apart."""
    start, end = params.moment("startTime"), params.moment("endTime")
    if start is not None and end is not None and start > end:
        raise VenueError(-1023, "Start time is greater than end time.")
    if start is not None and end is not None and end - start > longest_ms:
        raise VenueError(-4165, f"Maximum time interval is {longest_ms // 86_400_000} days")
    return start, end


def _view(venue: UsdmVenue, order: MarginOrder) -> JsonObject:
    return margin_order_view(order, UsdmFrames(venue.markets[order.symbol].spec))
