"""The orders of a futures account, found by id and by client order id, open ones and as many closed ones as are kept. Pure."""

from collections import deque

from tickmesh.nodes.exchange.market.matching import NEW, PARTIALLY_FILLED
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder
from tickmesh.nodes.exchange.protocol import Params, VenueError

OPEN = (NEW, PARTIALLY_FILLED)
CLOSED_KEPT = 20_000  # closed orders that can still be queried


class MarginOrders:
    """Every order that is open or kept. `remember` is told of every change of an order's status."""

    def __init__(self) -> None:
        self.by_id: dict[int, MarginOrder] = {}
        self.open: dict[int, MarginOrder] = {}
        self._open_by_client: dict[tuple[str, str], MarginOrder] = {}
        self._by_client: dict[tuple[str, str], MarginOrder] = {}  # the newest, open or closed
        self._closed: deque[MarginOrder] = deque()

    @property
    def all(self) -> list[MarginOrder]:
        """Every order, closed ones first."""
        return [*self._closed, *self.open.values()]

    def is_open(self, symbol: str, client_id: str) -> bool:
        """Whether an order of this client id is open."""
        return (symbol, client_id) in self._open_by_client

    def open_of(self, symbol: str) -> list[MarginOrder]:
        """The open orders of a symbol, in the order in which they came."""
        return [order for order in self.open.values() if order.symbol == symbol]

    def find(self, symbol: str, params: Params) -> MarginOrder | None:
        """Finds an order by orderId, which prevails, or origClientOrderId; None for no such order."""
        if "orderId" in params:
            order = self.by_id.get(params.integer("orderId"))
            return order if order is not None and order.symbol == symbol else None
        client_id = params.text("origClientOrderId", "")
        if not client_id:
            raise VenueError(-1102, "Param 'orderId' or 'origClientOrderId' must be sent, but both were empty/null!")
        return self._open_by_client.get((symbol, client_id)) or self._by_client.get((symbol, client_id))

    def find_open(self, symbol: str, params: Params, code: int, words: str) -> MarginOrder:
        """Finds an order that is open. VenueError with `code` and `words` for none."""
        order = self.find(symbol, params)
        if order is None or order.status not in OPEN:
            raise VenueError(code, words)
        return order

    def remember(self, order: MarginOrder) -> None:
        """Files an order under its present status."""
        key = (order.symbol, order.client_id)
        self.by_id[order.id] = order
        self._by_client[key] = order
        if order.status in OPEN:
            self.open[order.id] = order
            self._open_by_client[key] = order
            return
        self.open.pop(order.id, None)
        if self._open_by_client.get(key) is order:
            del self._open_by_client[key]
        self._closed.append(order)
        while len(self._closed) > CLOSED_KEPT:
            self.forget(self._closed.popleft().id)

    def forget(self, order_id: int) -> None:
        """Drops an order."""
        order = self.by_id.pop(order_id, None)
        if order is None:
            return
        key = (order.symbol, order.client_id)
        self.open.pop(order_id, None)
        for index in (self._open_by_client, self._by_client):
            if index.get(key) is order:
                del index[key]
