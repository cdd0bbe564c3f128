"""Acting on intents: an order is sent once, and only after its PendingNew is on file."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from tickmesh.bus.clock import now_ns
from tickmesh.bus.layout import record_reader
from tickmesh.bus.schema import DTYPES, Action, Kind, Status
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.net.websocket import Disconnected
from tickmesh.nodes.orders.states import OPEN
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.troubles import Troubles
from tickmesh.nodes.venues.order_venue import IntentError, OrderVenue

_read_intent = record_reader(Kind.intent, "client_order_id", "target_id", "action", "side", "quantity_lots", "expires_ns")
INTENT_BYTES = DTYPES[Kind.intent].itemsize
CANCEL, AMEND = int(Action.CANCEL), int(Action.AMEND)  # plain numbers: an enumeration is asked by a call


class Publishing(Protocol):
    """Where a sender publishes (publishing.py)."""

    @property
    def behind(self) -> bool: ...

    def publish(self, events: list[bytearray], /) -> None: ...

    def publish_or_drop(self, event: bytearray, /) -> bool: ...


class IntentSender:
    """Sends the intents of one venue, refuses them, or leaves them waiting in `account` until the venue can be spoken to.

    `unresolved` is set where the venue has to be asked what became of a request; `count` is the node's counters. While the file
    `kill_file` is there no order is sent: it may be there because the log, and so the executor, cannot be told.
    """

    def __init__(
        self,
        venue: OrderVenue,
        account: Account,
        requests: OrderRequests,
        publisher: Publishing,
        unresolved: asyncio.Event,
        count: dict[str, Any],
        troubles: Troubles,
        kill_file: Path | None = None,
    ):
        self._troubles = troubles
        self._venue = venue
        self._account = account
        self._requests = requests
        self._publisher = publisher
        self._unresolved = unresolved
        self._count = count
        self._kill_file = kill_file

    def act_on_waiting(self) -> None:
        """Acts on every intent that nothing has been published about, in the order of the log."""
        for intent in self._account.waiting_intents():
            self.act_on(intent)

    def act_on(self, intent: Event) -> None:
        """Sends an intent, refuses it, or leaves it waiting; one that something was published about is left alone."""
        raw_id, raw_target, action, side, lots, expires_ns = _read_intent(intent.raw)
        client_order_id = raw_id.rstrip(b"\0").decode()
        if client_order_id not in self._account.state.waiting or not intent.subject.startswith(f"{self._account.venue}."):
            return
        if action == CANCEL:  # however late, and whatever mesh.toml lists now
            self._cancel(intent, raw_target.rstrip(b"\0").decode())
        elif action == AMEND:  # likewise: it takes risk away
            self._amend(intent, raw_target.rstrip(b"\0").decode(), lots)
        elif 0 < expires_ns < now_ns():
            self._refuse(intent, "the intent expired before the session could act on it", Status.Expired)
        elif self._kill_file is not None and os.path.exists(self._kill_file):
            self._refuse(intent, f"the kill switch is on: {self._kill_file.name} is there, in the run folder")
        elif intent.subject not in self._account.configured:
            self._refuse(intent, f"{intent.subject} is not in mesh.toml, or its exponents are not decided")
        elif self._requests.may_place and not self._publisher.behind and not self._troubles.paused(intent.subject, side):
            self.place(intent, client_order_id)

    def place(self, intent: Event, client_order_id: str) -> None:
        """Publishes PendingNew and sends the order; refuses an intent that means nothing at the venue.

        What can be done after it is sent is done then: on file is all that must be before.
        """
        instrument = self._account.instrument(intent.subject)
        if instrument is None:
            self._refuse(intent, f"{intent.subject} is not defined in the log")
            return
        try:
            asked = self._venue.place(intent.body[:INTENT_BYTES], instrument)
        except IntentError as error:
            self._refuse(intent, str(error))
            return
        request = self._requests.build(asked, client_order_id, places=True)
        pending = self._account.build_pending_new(intent, now_ns())
        if not self._publisher.publish_or_drop(pending):  # on file before it is sent
            return
        sent = True
        try:
            self._requests.send(request)
        except Disconnected:
            sent = False
        finally:  # whatever it raised: part of it may have left, and an intent that still waits would be sent again
            self._account.read(decode(pending))
        if sent:
            self._count["orders_sent"] += 1
            self._troubles.take_sent(intent.subject, int(intent.records["side"][0]))
        else:
            self._reject_unsent(client_order_id)

    def _cancel(self, intent: Event, target_id: str) -> None:
        order = self._account.order(target_id)
        if order is None and target_id in self._account.state.waiting:
            self._refuse(decode(self._account.state.waiting[target_id]), "cancelled before it was sent")
        if order is None:
            self._refuse(intent, "no such order")
            return
        if not self._requests.trading:
            return
        request = self._requests.build(self._venue.cancel(_symbol(intent.subject), target_id), target_id)
        self._publisher.publish(self._account.apply_status(order, Status.PendingCancel, "", intent.recv_ns))
        try:
            self._requests.send(request)
            self._count["cancels_sent"] += 1
        except Disconnected:
            self._unresolved.set()

    def _amend(self, intent: Event, target_id: str, lots: int) -> None:
        """Asks the venue to reduce an order to `lots`, once; what came of it is the quantity that the venue states."""
        order, instrument = self._account.order(target_id), self._account.instrument(intent.subject)
        if order is None or instrument is None:
            self._refuse(intent, "no such order")
        elif order.status not in OPEN:
            self._refuse(intent, f"only an order that stands is amended, this one is {Status(order.status).name}")
        elif not order.filled_lots < lots < order.quantity_lots:
            bounds = f"above {order.filled_lots} (filled) and below {order.quantity_lots}"
            self._refuse(intent, f"{lots} lots: it has to be {bounds}")
        elif self._requests.may_place and not self._publisher.behind:
            try:
                asked = self._venue.amend(instrument, target_id, lots)
            except IntentError as error:
                self._refuse(intent, str(error))
                return
            request = self._requests.build(asked, target_id)
            reason = f"to be reduced to {lots} lots"
            self._publisher.publish(self._account.apply_status(order, Status.PendingReplace, reason, intent.recv_ns))
            try:
                self._requests.send(request)
                self._count["amends_sent"] += 1
            except Disconnected:
                self._unresolved.set()

    def cancel_strays(self) -> None:
        """Cancels what is alive at the venue and over for the log, as soon as there is a way to the venue."""
        if self._requests.connection is None and self._requests.rest is None:
            return
        for client_order_id, order in tuple(self._account.strays.items()):
            if self.cancel_order(order):
                del self._account.strays[client_order_id]
                self._count["strays_cancelled"] += 1

    def cancel_order(self, order: SessionOrder) -> bool:
        """Asks the venue to cancel an order that no intent names; False without a connection: nothing was sent."""
        cancel = self._venue.cancel(_symbol(order.subject), order.client_order_id)
        with contextlib.suppress(Disconnected):
            self._requests.send(self._requests.build(cancel, order.client_order_id))
            self._count["cancels_sent"] += 1
            return True
        return False

    def expire_waiting(self, reason: str) -> None:
        """Ends every order intent that nothing has been published about as Expired: it was not sent, and will not be."""
        for intent in self._account.waiting_intents():
            if _read_intent(intent.raw)[2] == Action.NEW:
                self._refuse(intent, reason, Status.Expired)

    def _refuse(self, intent: Event, reason: str, status: Status = Status.Rejected) -> None:
        event = self._account.build_unsent(intent, status, reason, now_ns())
        self._count["refused_intents"] += 1
        self._publisher.publish([event])
        self._account.read(decode(event))

    def _reject_unsent(self, client_order_id: str) -> None:
        order = self._account.order(client_order_id)
        if order is not None:
            self._count["rejects"] += 1
            reason = "the connection was closed; nothing was sent"
            self._publisher.publish(self._account.apply_status(order, Status.Rejected, reason, now_ns()))


def _symbol(subject: str) -> str:
    return subject.partition(".")[2]
