"""The websocket to the venue's order side: user stream, answers to requests, and what a break of it leaves open."""

import asyncio

import msgspec

from tickmesh.bus.clock import now_ns
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Status
from tickmesh.bus.settings import ORDER_VENUE
from tickmesh.nodes.net import endpoints, exchange_address, refusals, websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.rest import RestError, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account, SessionOrder
from tickmesh.nodes.session.binance_rest import BinanceAccount
from tickmesh.nodes.session.publishing import SessionPublisher
from tickmesh.nodes.session.reconciliation import Reconciler
from tickmesh.nodes.session.requests import OrderRequests, PendingRequest
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues.binance_limits import asked_pause_ms
from tickmesh.nodes.venues.binance_orders import Report
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.private import read_user_event


class VenueConnection:
    """Keeps one connection subscribed and reconciled, and publishes what its messages report of orders and balances.

    `unresolved` is set where the venue has to be asked what became of a request.
    """

    def __init__(
        self,
        ctx: Context,
        account: Account,
        rest: BinanceAccount,
        venue_time: VenueTime,
        requests: OrderRequests,
        publisher: SessionPublisher,
        reconciler: Reconciler,
        sender: IntentSender,
        unresolved: asyncio.Event,
    ):
        self._ctx = ctx
        self._settings = ctx.config.session
        self._account = account
        self._rest = rest
        self._venue_time = venue_time
        self._requests = requests
        self._publisher = publisher
        self._reconciler = reconciler
        self._sender = sender
        self._unresolved = unresolved
        self._subscribed = asyncio.Event()
        self._count = ctx.counters

    async def keep_connected(self) -> None:
        """Connects again whenever the connection is lost, ever more slowly while that fails."""
        backoff = Backoff(self._settings.backoff_s)
        while True:
            where = self._rest.endpoints = await exchange_address.wait(self._ctx.config, name=self._ctx.name)
            try:
                await self._one_connection(where, backoff)
            except (
                websocket.Disconnected, RestError, RestUnreachable, TimeoutError, DecimalError, msgspec.DecodeError,
            ) as error:  # fmt: skip
                unanswered = f"the user stream was not acknowledged in {self._settings.request_timeout_s:g} s"
                why = unanswered if isinstance(error, TimeoutError) else str(error)[:200]
                self._count["last_error"] = why
            self._count["reconnects"] += 1
            wait_s = backoff.wait_s()
            log_line(
                self._ctx.name, "warning", f"has no connection to the order side: {why}; it connects again in {wait_s:.1f} s"
            )
            await asyncio.sleep(wait_s)

    async def _one_connection(self, where: exchange_address.Endpoints, backoff: Backoff) -> None:
        if not self._venue_time.known:
            await self._venue_time.measure(self._rest.time_ns)
        ca, waits = endpoints.ca_of(self._ctx.config, ORDER_VENUE), self._rest.rest.waits
        connection = await websocket.connect(
            f"{where.ws}{venue.WS_PATH}", self._on_frames, self._settings.stale_s, ca=ca, waits=waits
        )
        try:
            self._requests.connection = connection
            self._subscribed.clear()
            self._requests.send(self._requests.build("userDataStream.subscribe.signature", {}, ""))
            async with asyncio.timeout(self._settings.request_timeout_s):
                await self._subscribed.wait()
            await self._reconciler.reconcile_all()
            if not connection.open:
                raise websocket.Disconnected("lost during the reconciliation")
            self._requests.trading = True
            backoff.reset()
            log_line(self._ctx.name, "info", f"is connected to {where.ws} and reconciled with the venue: orders are sent")
            self._ctx.ready()
            self._sender.act_on_waiting()
            await asyncio.shield(connection.closed)
        finally:
            self._requests.trading = False
            connection.abort("this session ends it")
            self._requests.connection = None
            self._give_up(self._requests.give_up_all(), "the connection broke before the answer came")
            if connection.failure is not None:
                self._ctx.fail(connection.failure)
        if connection.failure is not None:
            raise connection.failure
        raise websocket.Disconnected(connection.closed.result())

    def give_up_overdue(self) -> None:
        """Makes the orders of requests that got no answer in time Unknown, and has the venue asked about them."""
        self._give_up(self._requests.give_up_overdue(), f"no answer in {self._settings.request_timeout_s} s")

    def _give_up(self, requests: list[PendingRequest], reason: str) -> None:
        for request in requests:
            order = self._account.order(request.client_order_id)
            if order is not None and request.method == "order.place":
                self._publisher.publish(self._unknown(order, reason))
            self._unresolved.set()

    def _on_frames(self, recv_ns: int, frames: list[bytes]) -> None:
        events: list[bytearray] = []
        for frame in frames:
            try:
                events += self._on_message(recv_ns, frame)
            except (msgspec.DecodeError, UnicodeDecodeError, DecimalError) as error:
                self._count["last_error"] = str(error)[:200]
                self._ctx.refuse(self._ctx.name, f"not a message of the order connection: {error}", frame)
                self._unresolved.set()
        self._publisher.publish(events)

    def _on_message(self, recv_ns: int, frame: bytes) -> list[bytearray]:
        message = venue.decode_message(frame)
        if bytes(message.event):
            return self._on_user_event(bytes(message.event), recv_ns)
        self._requests.observe_limits(message.rateLimits)
        request = self._requests.take_answered(message.id)
        if request is None:
            if message.error is not None:
                self._ctx.refuse(self._ctx.name, f"an error without a request: {message.error.msg}", frame)
            return []
        if message.status == 200 and message.error is None:
            return self._on_success(request, bytes(message.result), recv_ns)
        return self._on_error(request, message.status, message.error or venue.Error(), recv_ns)

    def _on_user_event(self, event: bytes, recv_ns: int) -> list[bytearray]:
        read = read_user_event(event, self._account.instrument_of)
        if read.ended and self._requests.connection is not None:
            self._requests.connection.abort("the venue ends the user stream")
        if read.report is not None:
            return self._account.apply_report(read.report, "stream", recv_ns)
        return self._account.balances.apply(read.balances, read.venue_ns, recv_ns)

    def _on_success(self, request: PendingRequest, result: bytes, recv_ns: int) -> list[bytearray]:
        if not request.client_order_id:
            self._subscribed.set()
            return []
        order = self._account.order(request.client_order_id)
        if order is None:
            return []
        instrument = self._account.instrument(order.subject)
        if instrument is None:
            return []
        report = venue.report_of_order(venue.decode_order(result), instrument, request.client_order_id)
        return self._account.apply_report(report, "reply", recv_ns)

    def _on_error(self, request: PendingRequest, status: int, error: venue.Error, recv_ns: int) -> list[bytearray]:
        self._count["last_error"] = f"{request.method}: {error.code} {error.msg}"[:200]
        if status in (418, 429):
            retry_ms = venue.decode_retry(error.data).retryAfter if bytes(error.data) else 0
            wait_ms = asked_pause_ms(error.code, retry_ms, self._venue_time.now_ms())
            self._requests.pause_orders(max(0.1, wait_ms / 1000))
            if refusals.is_ban(status, error.msg):  # the address, not the account
                said = f"{request.method} is answered {status}: {error.msg}"
                self._rest.rest.waits.take(self._rest.endpoints.ws, "", max(0.1, wait_ms / 1000), said, banned=True)
        if error.code == venue.WRONG_TIME:
            self._venue_time.wrong()
        order = self._account.order(request.client_order_id)
        if order is None:
            if self._requests.connection is not None:
                self._requests.connection.abort(f"the user stream was refused: {error.code} {error.msg}")
            return []
        if request.method == "order.place" and venue.proves_nothing_done(status, error.code, error.msg) and not order.order_id:
            self._count["rejects"] += 1
            report = Report(order.subject, request.client_order_id, 0, Status.Rejected, 0, 0, error.msg)
            return self._account.apply_report(report, "reply", recv_ns, code=error.code)
        self._unresolved.set()
        return self._unknown(order, f"{error.code} {error.msg}") if request.method == "order.place" else []

    def _unknown(self, order: SessionOrder, reason: str) -> list[bytearray]:
        events = self._account.apply_status(order, Status.Unknown, reason, now_ns())
        self._count["unknowns"] += len(events)
        if events:
            self._unresolved.set()
        return events
