"""Signed requests on the connection to a venue's order side, and the answers they wait for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.websocket import Connection, Disconnected
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues.order_venue import OrderRequest, OrderVenue


@dataclass
class PendingRequest:
    """A request that waits for its answer. `client_order_id`: the order it is about; empty for the user stream.

    `places`: it is to place that order. `over_rest`: it was sent so, and not on the connection.
    """

    number: str
    method: str
    client_order_id: str
    places: bool
    message: bytes
    deadline: float  # monotonic seconds
    asked: OrderRequest
    over_rest: bool = False


class OrderRequests:
    """Signs and numbers requests, sends them on the present `connection`, and finds the request of an answer by its number.

    What is not answered after `timeout_s` is given up by `give_up_overdue`, so that no more requests wait than were sent since.
    """

    def __init__(
        self, venue: OrderVenue, credentials: Credentials, recv_window_ms: int, timeout_s: float, venue_time: VenueTime
    ):
        self._venue = venue
        self._credentials = credentials
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._venue_time = venue_time
        self._numbers = 0
        self._pending: dict[str, PendingRequest] = {}
        self._paused_until = 0.0  # monotonic seconds
        self._orders_left = -1  # by the last answer that said so
        self.pauses = 0  # how often orders began to wait
        self.connection: Connection | None = None
        self.stream: Connection | None = None  # of user events, where they have a websocket of their own
        self.trading = False  # connected and subscribed, or over REST; and reconciled
        self.stopping = False  # the session ends: nothing is placed any more
        self.rest: Callable[[PendingRequest], None] | None = None  # sends requests about orders while no connection can be had

    @property
    def sockets(self) -> list[Connection]:
        """The open connection, and that of user events."""
        return [one for one in (self.connection, self.stream) if one is not None]

    @property
    def may_place(self) -> bool:
        """Whether an order may be sent now: reconciled with the venue, not asked by it to wait, and not about to end.

        Nor more at once than the venue would take: what is under way may not be in the count that it stated last.
        """
        left, pending = self._orders_left, self._pending
        if 0 < left <= len(pending) and sum(request.places for request in pending.values()) >= left:
            return False
        return self.trading and not self.stopping and time.monotonic() >= self._paused_until

    def note_orders_left(self, orders_left: int) -> None:
        """Takes in how many orders the venue still takes, as an answer states it; −1: it does not."""
        if orders_left >= 0:
            self._orders_left = orders_left

    def pause_orders(self, wait_s: float) -> None:
        """Keeps orders from being sent for `wait_s`, because the venue asked for it; cancels are sent all the same."""
        self.pauses += time.monotonic() >= self._paused_until
        self._paused_until = max(self._paused_until, time.monotonic() + wait_s)

    def build(self, request: OrderRequest, client_order_id: str = "", places: bool = False) -> PendingRequest:
        """A signed request with the next number, ready to be sent."""
        self._numbers += 1
        number = str(self._numbers)
        message = self._venue.encode(request, number, self._credentials, self._venue_time.now_ms(), self._recv_window_ms)
        deadline = time.monotonic() + self._timeout_s
        return PendingRequest(number, request.method, client_order_id, places, message, deadline, request)

    def send(self, request: PendingRequest) -> None:
        """Sends a request, which waits for its answer then. Raises Disconnected without a connection: nothing was sent."""
        if self.rest is not None and request.client_order_id:
            request.over_rest = True
            self.rest(request)
        elif self.connection is None:
            raise Disconnected("there is no connection")
        else:
            self.connection.send(request.message)
        self._pending[request.number] = request

    def take_answered(self, number: str) -> PendingRequest | None:
        """The request of this number, which waits no longer; None where none waits (any more)."""
        return self._pending.pop(number, None)

    def in_flight(self, client_order_id: str) -> bool:
        """Whether a request about this order waits for its answer."""
        return any(request.client_order_id == client_order_id for request in self._pending.values())

    def give_up_overdue(self) -> list[PendingRequest]:
        """Stops waiting for answers that are overdue, and gives their requests."""
        now = time.monotonic()
        return self._give_up([request for request in self._pending.values() if request.deadline <= now])

    def give_up_all(self) -> list[PendingRequest]:
        """Stops waiting for answers on the connection, because it is over, and gives the requests."""
        return self._give_up([request for request in self._pending.values() if not request.over_rest])

    def _give_up(self, requests: list[PendingRequest]) -> list[PendingRequest]:
        for request in requests:
            del self._pending[request.number]
        return requests
