"""What the local venue answers about order lists: OCO, OTO, OTOCO. Pure, as order_answers.py."""

from tickmesh.nodes.exchange.api.parameters import Takes, takes
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.orders.list_terms import LEG
from tickmesh.nodes.exchange.orders.orders import OwnList, Placed
from tickmesh.nodes.exchange.orders.reports import canceled_view, list_view, placed_view
from tickmesh.nodes.exchange.protocol import JsonObject, Params, VenueError

DAY_MS = 86_400_000
_ALL = "symbol! listClientOrderId newOrderRespType selfTradePreventionMode "
_OF_PAIR = [name for name in LEG if name not in ("Side", "Quantity")]


def _leg(prefix: str, names: list[str], mandatory: str) -> str:
    return "".join(f"{prefix}{name}{'!' * (name in mandatory.split())} " for name in names)


OCO_TAKES = takes(_ALL + "side! quantity! " + _leg("above", _OF_PAIR, "Type") + _leg("below", _OF_PAIR, "Type"))
_WORKING = _leg("working", [n for n in LEG if n not in ("StopPrice", "TrailingDelta")], "Type Side Price Quantity")
OTO_TAKES = takes(_ALL + _WORKING + _leg("pending", list(LEG), "Type Side Quantity"))
_PENDING_PAIR = _leg("pendingAbove", _OF_PAIR, "Type") + _leg("pendingBelow", _OF_PAIR, "Type")
OTOCO_TAKES = takes(_ALL + _WORKING + "pendingSide! pendingQuantity! " + _PENDING_PAIR)
CANCEL_TAKES = takes("symbol! orderListId listClientOrderId newClientOrderId")
STATUS_TAKES = takes("orderListId origClientOrderId")
ALL_TAKES = takes("fromId startTime endTime limit")
OPEN_TAKES = Takes()


def place_oco(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/orderList/oco`: two orders, of which one ends the other."""
    return _place(venue, "OCO", params, now_ms)


def place_oto(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/orderList/oto`: an order, and one that is placed when it is filled."""
    return _place(venue, "OTO", params, now_ms)


def place_otoco(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`POST /api/v3/orderList/otoco`: an order, and an OCO pair that is placed when it is filled."""
    return _place(venue, "OTOCO", params, now_ms)


def _place(venue: Venue, kind: str, params: Params, now_ms: int) -> JsonObject:
    invalid = "Illegal characters found in parameter 'newOrderRespType'; legal range is 'ACK|RESULT|FULL'."
    answer = params.choice("newOrderRespType", ("ACK", "RESULT", "FULL"), -1100, invalid, "RESULT")
    terms = venue.lists.read(kind, params)
    venue.limits.admit_order(OWNER, now_ms, len(terms))
    made, placed = venue.lists.enter(kind, terms, params, now_ms)
    reports = [placed_answer(venue.desk, one, answer) for one in placed]
    view = {**_view(venue, made), "orderReports": reports}
    venue.desk.settle()  # only now: what waits for an order that was filled at once is PENDING_NEW in the answer, as there
    return view


def placed_answer(desk: Desk, placed: Placed | None, response_type: str) -> JsonObject:
    """The reply to an order that was placed, with the matches that self-trade prevention kept it from."""
    assert placed is not None
    ident = placed.order.id
    prevented = [p for p in desk.prevented[-100:] if p.taker_order == ident] if placed.order.prevented_match >= 0 else []
    return placed_view(placed.order, placed.trades, response_type, prevented)


def cancel(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`DELETE /api/v3/orderList`: cancels what of a list is open."""
    made, orders, cancel_id = venue.lists.cancel(params, now_ms)
    return {**_view(venue, made), "orderReports": [canceled_view(order, cancel_id) for order in orders]}


def status(venue: Venue, params: Params, now_ms: int) -> JsonObject:
    """`GET /api/v3/orderList`: one list."""
    found = venue.lists.find(params, "origClientOrderId")
    if found is None:
        raise VenueError(-2018, "Order list does not exist.")
    return _view(venue, found)


def open_lists(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/openOrderList`: the lists of which an order is open."""
    return [_view(venue, made) for made in venue.desk.lists.values() if venue.lists.executing(made)]


def all_lists(venue: Venue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /api/v3/allOrderList`: the newest lists, or those from an id or a time on."""
    limit = params.integer("limit", 500, low=1, high=1000)
    first = params.integer("fromId") if "fromId" in params else None
    start, end = params.moment("startTime"), params.moment("endTime")
    if first is not None and (start is not None or end is not None):
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    if start is not None and end is not None and end - start > DAY_MS:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
    rows = [
        made for made in venue.desk.lists.values()
        if made.id >= (first or 0) and made.time >= (start or 0) and (end is None or made.time <= end)
    ]  # fmt: skip
    oldest_first = first is not None or start is not None
    return [_view(venue, made) for made in (rows[:limit] if oldest_first else rows[-limit:])]


def _view(venue: Venue, made: OwnList) -> JsonObject:
    return list_view(made, venue.lists.known_orders(made))
