"""Orders that may only reduce a position: which of them may stand, and which a position has become too small for. Pure.

Sources: USD-M futures, "Error Codes" (−2022) and "Event: Order Update" (expiry reason 4: knocked out by an order of higher
priority, or a reversed position would be opened). What the venue does in each case is not written there; what is done here
is in docs/exchange.md.
"""

from tickmesh.nodes.exchange.orders.margin_records import MarginOrder
from tickmesh.nodes.exchange.protocol import VenueError

REJECTED = VenueError(-2022, "ReduceOnly Order is rejected.")


def check_reduce_only(order: MarginOrder, amount: int, others: list[MarginOrder]) -> None:
    """Refuses an order that would not reduce a position of `amount`, or would rest with more than `others` leave of it.

    One that takes and never rests (MARKET, IOC) may ask for more: it is filled as far as the position goes."""
    if amount * order.side >= 0:
        raise REJECTED
    if order.type == "MARKET" or order.time_in_force == "IOC":
        return
    if order.time_in_force == "FOK":
        if order.remaining > abs(amount):
            raise REJECTED
    elif any(one is order for one in beyond_position(amount, [*others, order])):
        raise REJECTED


def beyond_position(amount: int, orders: list[MarginOrder]) -> list[MarginOrder]:
    """Gives the reduce-only orders of a symbol that a position of `amount` is too small for.

    Orders that would be matched first go first, whether they only reduce or not: so no sweep of the book can open a
    position by an order that may only reduce one."""
    beyond = []
    for side in (1, -1):
        left = abs(amount) if amount * side < 0 else 0
        for order in sorted((one for one in orders if one.side == side), key=_place):
            if order.reduce_only and order.remaining > left:
                beyond.append(order)
            else:
                left -= order.remaining
    return beyond


def _place(order: MarginOrder) -> tuple[int, int]:
    """What orders of a side are sorted by, as they are matched: price, then time."""
    return -order.side * order.price, order.queued
