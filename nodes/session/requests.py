"""Signed requests on a Binance WS-API connection, and the answers they wait for. "WebSocket API", request format."""

import time
from dataclasses import dataclass

from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.websocket import Connection, Disconnected
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues import binance_signing as signing
from tickmesh.nodes.venues.binance_limits import RateLimit, orders_pause_ms


@dataclass
class PendingRequest:
    """A request that waits for its answer. `client_order_id`: the order it is about; empty for the user stream."""

    number: str
    method: str
    client_order_id: str
    message: bytes
    deadline: float  # monotonic seconds


class OrderRequests:
    """Signs and numbers requests, sends them on the present `connection`, and finds the request of an answer by its number.

    What is not answered after `timeout_s` is given up by `give_up_overdue`, so that no more requests wait than were sent since.
    """

    def __init__(self, credentials: Credentials, recv_window_ms: int, timeout_s: float, venue_time: VenueTime):
        self._credentials = credentials
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._venue_time = venue_time
        self._numbers = 0
        self._pending: dict[str, PendingRequest] = {}
        self._paused_until = 0.0  # monotonic seconds
        self.pauses = 0  # how often orders began to wait
        self.connection: Connection | None = None
        self.trading = False  # connected, subscribed and reconciled
        self.stopping = False  # the session ends: nothing is placed any more

    @property
    def may_place(self) -> bool:
        """Whether an order may be sent now: reconciled with the venue, not asked by it to wait, and not about to end."""
        return self.trading and not self.stopping and time.monotonic() >= self._paused_until

    def pause_orders(self, wait_s: float) -> None:
        """Keeps orders from being sent for `wait_s`, because the venue asked for it; cancels are sent all the same."""
        self.pauses += time.monotonic() >= self._paused_until
        self._paused_until = max(self._paused_until, time.monotonic() + wait_s)

    def observe_limits(self, limits: list[RateLimit]) -> None:
        """Takes in an answer's order counts: where one is used up, orders wait for its next window."""
        if wait_ms := orders_pause_ms(limits, self._venue_time.now_ms()):
            self.pause_orders(wait_ms / 1000)

    def build(self, method: str, params: dict[str, object], client_order_id: str) -> PendingRequest:
        """A signed request with the next number, ready to be sent."""
        self._numbers += 1
        key = self._credentials
        signed = signing.signed_params(params, key.api_key, key.sign, self._venue_time.now_ms(), self._recv_window_ms)
        number = str(self._numbers)
        message = venue.build_request(number, method, signed)
        return PendingRequest(number, method, client_order_id, message, time.monotonic() + self._timeout_s)

    def send(self, request: PendingRequest) -> None:
        """Sends a request, which waits for its answer then. Raises Disconnected without a connection: nothing was sent."""
        if self.connection is None:
            raise Disconnected("there is no connection")
        self.connection.send(request.message)
        self._pending[request.number] = request

    def take_answered(self, number: str | int | None) -> PendingRequest | None:
        """The request of this number, which waits no longer; None where none waits (any more)."""
        return self._pending.pop(str(number), None)

    def in_flight(self, client_order_id: str) -> bool:
        """Whether a request about this order waits for its answer."""
        return any(request.client_order_id == client_order_id for request in self._pending.values())

    def give_up_overdue(self) -> list[PendingRequest]:
        """Stops waiting for answers that are overdue, and gives their requests."""
        now = time.monotonic()
        return self._give_up([request for request in self._pending.values() if request.deadline <= now])

    def give_up_all(self) -> list[PendingRequest]:
        """Stops waiting for any answer, because the connection is over, and gives the requests."""
        return self._give_up(list(self._pending.values()))

    def _give_up(self, requests: list[PendingRequest]) -> list[PendingRequest]:
        for request in requests:
            del self._pending[request.number]
        return requests
