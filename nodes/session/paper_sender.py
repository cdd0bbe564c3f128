"""A session's sender that sends nothing, for nodes/runner/rehearsal.py: it has no connection, and no account's key."""

import asyncio
import time
from collections.abc import Mapping

from tickmesh.bus.settings import Instrument, SessionSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.session.requests import OrderRequests, PendingRequest
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.session.troubles import Troubles
from tickmesh.nodes.venues.binance_signing import hmac_signer
from tickmesh.nodes.venues.order_venue import OrderVenue


class NoPublisher:
    """Takes what a session would publish, and drops it."""

    behind = False

    def publish(self, events: list[bytearray]) -> None:
        """Does nothing."""

    def publish_or_drop(self, event: bytearray) -> bool:
        """Does nothing, and gives True, as if it were on file."""
        return True


class PaperSender:
    """Makes, signs and numbers requests of one venue as its session does; where that would send them, they are dropped."""

    def __init__(self, name: str, venue: OrderVenue, instruments: Mapping[str, Instrument], settings: SessionSettings):
        self.account = Account(instruments, venue=name)
        self.count = {"orders_sent": 0, "cancels_sent": 0, "amends_sent": 0, "refused_intents": 0, "rejects": 0}
        key = Credentials("nobody's", hmac_signer("nobody's"))
        self._requests = OrderRequests(venue, key, settings.recv_window_ms, settings.request_timeout_s, VenueTime())
        self._dropped: list[PendingRequest] = []
        self._requests.rest, self._requests.trading = self._dropped.append, True  # as over REST: no connection is asked for
        troubles = Troubles(name, settings.refused_pause_s, time.monotonic)
        self._sender = IntentSender(venue, self.account, self._requests, NoPublisher(), asyncio.Event(), self.count, troubles)

    def act_on(self, intent: Event) -> None:
        """Takes in an intent of a made-up log and acts on it; no answer is waited for, and nothing of it is remembered."""
        self.account.read(intent)
        self._sender.act_on(intent)
        for request in self._dropped:
            self._requests.take_answered(request.number)
        self._dropped.clear()
        self.account.state.waiting.clear()
        self.account.state.orders.clear()
