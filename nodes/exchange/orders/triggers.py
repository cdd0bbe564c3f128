"""Stops that wait for the last price: when one is triggered, and how one trails (venues.md §3.1; "Spot Trailing Stop order
FAQ"). Pure: changes the orders that it is given, and says which."""

from tickmesh.nodes.exchange.orders.orders import OwnOrder

BASIS = 10_000  # basis points of the whole


class Triggers:
    """The orders that wait for a price, by symbol."""

    def __init__(self) -> None:
        self.waiting: dict[str, dict[int, OwnOrder]] = {}

    def add(self, order: OwnOrder) -> None:
        """Has an order wait for its price."""
        self.waiting.setdefault(order.symbol, {})[order.id] = order

    def remove(self, order: OwnOrder) -> None:
        """Ends an order's waiting, if it waits."""
        orders = self.waiting.get(order.symbol, {})
        orders.pop(order.id, None)
        if not orders:
            self.waiting.pop(order.symbol, None)

    def follow(self, symbol: str, price: int, now_ms: int) -> tuple[list[OwnOrder], list[OwnOrder]]:
        """Takes the price of a trade; gives the orders that it triggers, oldest first, and those that have moved with it."""
        triggered, moved = [], []
        for order in self.waiting.get(symbol, {}).values():
            before = order.extreme, order.trailing_time
            if follow(order, price, now_ms):
                triggered.append(order)
            elif (order.extreme, order.trailing_time) != before:
                moved.append(order)
        return triggered, moved


def reached(order: OwnOrder, price: int) -> bool:
    """Whether a price is at an order's stop price, or beyond it."""
    if (order.side > 0) == order.type.startswith("STOP_LOSS"):
        return price >= order.stop_price
    return price <= order.stop_price


def follow(order: OwnOrder, price: int, now_ms: int) -> bool:
    """Whether a trade at `price` triggers an order; one that trails follows the price meanwhile.

    It trails from the first price on that reaches its stop price, or at once if it has none."""
    if not order.trailing_delta:
        return reached(order, price)
    if not order.trailing_time:
        if not order.stop_price or reached(order, price):
            order.trailing_time, order.extreme = now_ms, price
        return False
    if order.side > 0:
        order.extreme = min(order.extreme, price)
        return price * BASIS >= order.extreme * (BASIS + order.trailing_delta)
    order.extreme = max(order.extreme, price)
    return price * BASIS <= order.extreme * (BASIS - order.trailing_delta)
