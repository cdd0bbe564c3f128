"""Signed requests on a Binance WS-API connection, and the answers they wait for. "WebSocket API", request format."""

import time
from dataclasses import dataclass

from tickmesh.nodes.feed.venue_clock import VenueTime
from tickmesh.nodes.net.websocket import Connection, Disconnected
from tickmesh.nodes.venues import binance_orders as venue


@dataclass
class PendingRequest:
    """A request whose answer has not come. `client_order_id`: the order it is about; empty for the user stream."""

    number: str
    method: str
    client_order_id: str
    message: bytes
    deadline: float  # monotonic seconds


class OrderRequests:
    """Numbers requests, sends them on the present `connection`, and matches answers by id: nothing else is promised.

    Bounded by the deadline: what is not answered after `timeout_s` is given up by `overdue`.
    """

    def __init__(self, api_key: str, secret: str, recv_window_ms: int, timeout_s: float, venue_time: VenueTime):
        self._api_key, self._secret = api_key, secret
        self._recv_window_ms = recv_window_ms
        self._timeout_s = timeout_s
        self._venue_time = venue_time
        self._numbers = 0
        self._asked: dict[str, PendingRequest] = {}
        self._paused_until = 0.0  # monotonic seconds
        self.connection: Connection | None = None
        self.trading = False  # connected, subscribed and reconciled

    @property
    def may_place(self) -> bool:
        """Whether an order may be sent now: reconciled with the venue, and not asked by it to wait."""
        return self.trading and time.monotonic() >= self._paused_until

    def pause(self, wait_s: float) -> None:
        """No order for so long, because the venue asked for it; cancels are sent all the same."""
        self._paused_until = time.monotonic() + wait_s

    def prepare(self, method: str, params: dict[str, object], client_order_id: str) -> PendingRequest:
        """Signed and ready to be sent."""
        self._numbers += 1
        signed = venue.signed_params(params, self._api_key, self._secret, self._venue_time.now_ms(), self._recv_window_ms)
        number = str(self._numbers)
        message = venue.request(number, method, signed)
        return PendingRequest(number, method, client_order_id, message, time.monotonic() + self._timeout_s)

    def send(self, asked: PendingRequest) -> None:
        """Raises Disconnected when there is no connection: then certainly nothing was sent."""
        if self.connection is None:
            raise Disconnected("there is no connection")
        self.connection.send(asked.message)
        self._asked[asked.number] = asked

    def answered(self, number: str | int | None) -> PendingRequest | None:
        """The request that this answer belongs to; None for an answer to nothing (any more)."""
        return self._asked.pop(str(number), None)

    def in_flight(self, client_order_id: str) -> bool:
        return any(asked.client_order_id == client_order_id for asked in self._asked.values())

    def overdue(self) -> list[PendingRequest]:
        """Requests given up now."""
        now = time.monotonic()
        return self._give_up([asked for asked in self._asked.values() if asked.deadline <= now])

    def lost(self) -> list[PendingRequest]:
        """All that is open, given up because the connection is over."""
        return self._give_up(list(self._asked.values()))

    def _give_up(self, them: list[PendingRequest]) -> list[PendingRequest]:
        for asked in them:
            del self._asked[asked.number]
        return them
