"""Reducing an order's quantity without losing its place (venues.md §3.4; "Order Amend Keep Priority" FAQ). Pure."""

from tickmesh.nodes.exchange.market.instruments import AMENDS_MAX
from tickmesh.nodes.exchange.orders.desk import CLOSED, OVERLOADED, Desk
from tickmesh.nodes.exchange.orders.lists import OrderLists
from tickmesh.nodes.exchange.orders.orders import OwnAmendment, OwnOrder
from tickmesh.nodes.exchange.orders.terms import asset_to_lock
from tickmesh.nodes.exchange.protocol import Params, VenueError

AMEND_REJECTED = -2038


def amend(lists: OrderLists, params: Params, now_ms: int) -> tuple[OwnOrder, OwnAmendment]:
    """`PUT /api/v3/order/amend/keepPriority`: gives the order as it is now. Raises VenueError; nothing has happened then.

    The other one of an OCO pair is reduced with it, as only one of them is ever carried out."""
    desk = lists.desk
    quantity = params.positive("newQty")
    client_id = params.client_id("newClientOrderId")
    order = desk.find(params)
    if desk.overloaded:
        raise OVERLOADED
    if order is None or not order.open:
        raise VenueError(AMEND_REJECTED, "Unknown order sent.")
    if order.symbol in desk.halted | desk.without_book:
        raise VenueError(AMEND_REJECTED, CLOSED)
    _check(desk, order, quantity)
    client_id = client_id or f"amend{order.id}-{order.amended + 1}"
    if client_id != order.client_id and (order.symbol, client_id) in desk.open_by_client:
        raise VenueError(AMEND_REJECTED, "Duplicate order sent.")
    sibling, before = lists.sibling(order), order.client_id
    amendment = _reduce(desk, order, quantity, client_id, now_ms, sibling is not None)
    if sibling is not None:
        _reduce(desk, sibling, quantity, sibling.client_id, now_ms, True)
    if client_id != before:
        lists.report_renamed(order, now_ms)
    desk.report_position(now_ms)
    return order, amendment


def _check(desk: Desk, order: OwnOrder, quantity: int) -> None:
    spec = desk.markets[order.symbol].spec
    if quantity == order.quantity:
        raise VenueError(AMEND_REJECTED, "The requested action would change no state; rejecting.")
    if quantity > order.quantity:
        raise VenueError(AMEND_REJECTED, "Order amend (quantity increase) is not supported.")
    if quantity < spec.lot or quantity % spec.lot:
        raise VenueError(-1013, "Filter failure: LOT_SIZE")
    if order.price and order.price * quantity // 10**8 < spec.notional_min:
        raise VenueError(-1013, f"Filter failure: {spec.notional_filter}")
    if quantity <= order.filled + order.prevented:
        raise VenueError(AMEND_REJECTED, "Order amend (quantity not above the executed quantity) is not supported.")
    if order.amended >= AMENDS_MAX:
        raise VenueError(-1013, "Filter failure: MAX_NUM_ORDER_AMENDS")


def _reduce(desk: Desk, order: OwnOrder, quantity: int, client_id: str, now_ms: int, paired: bool) -> OwnAmendment:
    """Reduces a checked order in place, wherever it waits, and reports it as REPLACED."""
    before, by = order.client_id, order.quantity - quantity
    if not order.waits:
        desk.markets[order.symbol].reduce(order.id, by)
    at_market = order.waits and order.book_type == "MARKET"
    if paired or at_market:  # what is locked is no function of this order alone, or of the price that it will pay
        freed = order.locked * by // order.remaining
        desk.lock(asset_to_lock(desk.markets[order.symbol].spec, order.side), -freed)
        order.locked -= freed
    amendment = OwnAmendment(order.symbol, order.id, desk.executions + 1, before, client_id, order.quantity, quantity, now_ms)
    order.quantity, order.update_time = quantity, now_ms
    order.amended += 1
    desk.rename(order, client_id)
    if order.locked and not (paired or at_market):
        desk.release_surplus(order)
    desk.add_amendment(amendment)
    desk.report(order, "REPLACED", now_ms, before)
    return amendment


def amendments_of(desk: Desk, params: Params) -> list[OwnAmendment]:
    """`GET /api/v3/order/amendments`: those of one order, oldest first, from an execution id on."""
    symbol, order_id = desk.market(params).spec.symbol, params.integer("orderId")
    first, limit = params.integer("fromExecutionId", 0), min(params.integer("limit", 500, low=1), 1000)
    rows = [a for a in desk.amendments if a.symbol == symbol and a.order_id == order_id and a.execution >= first]
    return rows[:limit]
