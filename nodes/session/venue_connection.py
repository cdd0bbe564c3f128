"""The websockets to the venue's order side: user stream, answers to requests, and what a break of one leaves open."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from tickmesh.bus.clock import now_ns
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Status
from tickmesh.bus.settings import REAL_ORDERS
from tickmesh.nodes.net import endpoints, exchange_address, refusals, websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.rest import RestError, RestLimited, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.session.permissions import KeyCheck
from tickmesh.nodes.session.publishing import SessionPublisher
from tickmesh.nodes.session.reconciliation import Reconciler
from tickmesh.nodes.session.requests import OrderRequests, PendingRequest
from tickmesh.nodes.session.rest_orders import RestOrders
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.session.troubles import OF_ACCOUNT, Notice, Troubles
from tickmesh.nodes.venues.order_venue import Report, Trouble, VenueMessage
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.table import adapter_of

FALLBACK_AFTER = 2  # failed attempts in a row to connect, before orders go over REST
PING_S = 15.0  # our own pings: some venues send theirs less often than silence is allowed


class VenueConnection:
    """Keeps one connection subscribed and reconciled, and publishes what its messages report of orders and balances.

    Where the venue sends user events on a websocket of their own, both are one connection: they begin and end together.
    `unresolved` is set where the venue has to be asked what became of a request.
    """

    def __init__(
        self,
        ctx: Context,
        account: Account,
        rest: VenueAccount,
        venue_time: VenueTime,
        requests: OrderRequests,
        publisher: SessionPublisher,
        reconciler: Reconciler,
        sender: IntentSender,
        unresolved: asyncio.Event,
        troubles: Troubles,
        key: Credentials,
    ):
        self._ctx = ctx
        self._troubles = troubles
        self._refused: VenueMessage | None = None  # the answer that ended the last connection
        self._settings = ctx.config.session
        self._account = account
        self._rest = rest
        self._venue_time = venue_time
        self._requests = requests
        self._publisher = publisher
        self._reconciler = reconciler
        self._sender = sender
        self._unresolved = unresolved
        self._dialect, self._venue = rest.dialect, rest.dialect.orders
        adapter = adapter_of(self._dialect.venue)
        self._addresses = endpoints.VenueAddresses(ctx.config, adapter, 1, ctx.name, orders=True)
        # A websocket of user events alone is served where market data is; by the local exchange, where orders are.
        real = ctx.config.mode in REAL_ORDERS
        self._streams = endpoints.VenueAddresses(ctx.config, adapter, 1, ctx.name) if real else self._addresses
        self._rest_orders = RestOrders(ctx, rest, self._on_rest_answer, self.lose_rest)
        self._connected = False  # subscribed and reconciled, since the last attempt to connect began
        self._stream_path: asyncio.Future[str] | None = None  # where user events come, while that is asked for
        self._unfit = ""  # why the account was when it was last looked at
        self._key_check = KeyCheck(ctx, self._dialect.venue, key)
        self._count = ctx.counters

    async def keep_connected(self) -> None:
        """Connects again whenever the connection is lost, ever more slowly while that fails."""
        backoff, patience = Backoff(self._settings.backoff_s), Backoff(self._settings.refused_pause_s)
        failures = 0
        while True:
            self._refused, self._connected = None, False
            where = self._rest.endpoints = await self._next_endpoints()
            try:
                await self._one_connection(where, backoff)
            except (
                websocket.Disconnected, RestError, RestUnreachable, TimeoutError, DecimalError, msgspec.DecodeError,
            ) as error:  # fmt: skip
                unanswered = f"the user stream was not acknowledged in {self._settings.request_timeout_s:g} s"
                why = unanswered if isinstance(error, TimeoutError) else str(error)[:200]
                self._count["last_error"] = why
                refused = self._account_trouble(error)
                self._hop(error)
            failures = 1 if self._connected else failures + 1
            self._count["reconnects"] += 1
            wait_s = (patience if refused else backoff).wait_s()
            if not refused:
                patience.reset()
            log_line(
                self._ctx.name, "warning", f"has no connection to the order side: {why}; it connects again in {wait_s:.1f} s"
            )
            if failures >= FALLBACK_AFTER and not refused:
                await self._begin_rest(why)
            await asyncio.sleep(wait_s)

    async def _next_endpoints(self) -> exchange_address.Endpoints:
        return exchange_address.Endpoints(await self._addresses.rest(), await self._addresses.ws())

    def _hop(self, error: Exception) -> None:
        """Goes on to the venue's next address after a failure, of that way which failed."""
        if isinstance(error, RestUnreachable) or isinstance(error, RestError) and error.status >= 500:
            self._addresses.hop_rest()
        else:
            self._addresses.hop_ws()
            if self._streams is not self._addresses:
                self._streams.hop_ws()

    async def _begin_rest(self, why: str) -> None:
        """Sends orders over REST from now on, if that answers: reconciled first, and polled while no user stream tells."""
        if self._requests.rest is not None or not self._settings.rest_fallback or not self._venue.REST_ORDERS:
            return
        self._rest.endpoints = await self._next_endpoints()
        try:
            if self._unfit or await self._rest.unfit():
                return
            await self._key_check.check(self._venue_time.now_ms())
            await self._reconciler.reconcile_all()
        except (RestError, RestUnreachable, DecimalError, msgspec.DecodeError) as error:
            self._count["last_error"] = str(error)[:200]
            self._hop(error)
            return
        self._requests.rest, self._requests.trading = self._rest_orders.send, True
        self._alert_socket("warning", f"orders go over REST, and the account is polled: the order socket cannot be had: {why}")
        self._ctx.ready()
        self._sender.act_on_waiting()

    def lose_rest(self, why: str) -> None:
        """Sends nothing over REST any more, because that does not answer either; the next failed connection tries it again."""
        if self._requests.rest is not None:
            self._requests.rest, self._requests.trading = None, False
            log_line(self._ctx.name, "warning", f"sends no orders over REST any more: {why}")

    def _end_rest(self) -> None:
        """Sends nothing over REST any more; what was sent so is answered so."""
        if self._requests.rest is not None:
            self._requests.rest, self._requests.trading = None, False
            self._alert_socket("info", "the order socket is there again: orders go over it, and nothing over REST")

    def _alert_socket(self, level: str, why: str) -> None:
        action = "nothing is to be done; it is tried ever again" if level == "warning" else "nothing is to be done"
        self._ctx.alert_of(level, "order_socket", f"{self._dialect.venue}.orders", why, action)

    def _account_trouble(self, error: Exception) -> bool:
        """Tells of a refusal of the account, over either way; gives whether it is one that a quick try meets again."""
        status, code, words = 0, 0, ""
        if self._refused is not None:
            status, code, words = self._refused.status, self._refused.code, self._refused.words
        elif isinstance(error, RestError) and not isinstance(error, RestLimited):
            status, code, words = error.status, error.code, str(error)
        trouble = self._venue.trouble(status, code, words) if status else None
        if trouble not in OF_ACCOUNT:
            return False
        if trouble is Trouble.PERMISSION:  # not even to look at the account: the words are the same for both
            trouble = Trouble.KEY
        self._alert(self._troubles.take_refusal(trouble, "", 0, words))
        return trouble is not Trouble.MAINTENANCE

    def _alert(self, *notices: Notice | None) -> None:
        for one in notices:
            if one is not None:
                level = "info" if one.over else "critical" if one.target.endswith(".account") else "warning"
                self._ctx.alert_of(level, one.trouble, one.target, one.why, one.action)

    async def _one_connection(self, where: exchange_address.Endpoints, backoff: Backoff) -> None:
        if not self._venue_time.known:
            await self._venue_time.measure(self._rest.time_ns)
        await self._key_check.check(self._venue_time.now_ms())
        connection = await self._connect(f"{where.ws}{self._venue.WS_PATH}", self._on_frames)
        try:
            self._requests.connection = connection
            if path := await self._open_stream():
                self._requests.stream = await self._connect(f"{await self._streams.ws()}{path}", self._on_user_frames)
            if why := await self._rest.unfit():
                self._alert_unfit(why)
                raise websocket.Disconnected(why)
            self._alert_unfit("")
            self._end_rest()
            await self._reconciler.reconcile_all()
            if not all(one.open for one in self._requests.sockets):
                raise websocket.Disconnected("lost during the reconciliation")
            self._requests.trading = self._connected = True
            self._count["reconnected"] += self._count["connections"] > 0
            self._count["connections"] += 1
            self._alert(*self._troubles.take_connection())
            backoff.reset()
            log_line(self._ctx.name, "info", f"is connected to {where.ws} and reconciled with the venue: orders are sent")
            self._ctx.ready()
            self._sender.act_on_waiting()
            why = await self._stay_connected(self._requests.sockets)
        finally:
            self._requests.trading = self._requests.rest is not None
            sockets = self._requests.sockets
            for one in sockets:
                one.abort("this session ends it")
            self._requests.connection = self._requests.stream = None
            self._give_up(self._requests.give_up_all(), "the connection broke before the answer came")
            failure = next((one.failure for one in sockets if one.failure is not None), None)
            if failure is not None:
                self._ctx.fail(failure)
        if failure is not None:
            raise failure
        raise websocket.Disconnected(why)

    async def _connect(self, url: str, on_frames: websocket.OnFrames) -> websocket.Connection:
        ca, waits = endpoints.ca_of(self._ctx.config, self._dialect.venue), self._rest.rest.waits
        return await websocket.connect(url, on_frames, self._settings.stale_s, ca=ca, waits=waits)

    async def _open_stream(self) -> str:
        """Has user events sent; gives the path of their own websocket, "" where they come on this one."""
        self._stream_path = asyncio.get_running_loop().create_future()
        self._requests.send(self._requests.build(self._venue.open_stream()))
        async with asyncio.timeout(self._settings.request_timeout_s):
            return await self._stream_path

    def _alert_unfit(self, why: str) -> None:
        """Raises an alert of an account that is not set as it has to be, once, and of its end."""
        if why and not self._unfit:
            self._ctx.alert("critical", "account_unfit", why, "it is looked at again in time; no order is sent until then")
        elif self._unfit and not why:
            self._ctx.alert("info", "account_unfit", "the account is set as it has to be", "nothing is to be done")
        self._unfit = why

    async def _stay_connected(self, sockets: list[websocket.Connection]) -> str:
        """Keeps the user stream alive until one of the sockets is closed; gives the reason."""
        ends = [one.closed for one in sockets]
        kept_s = time.monotonic()
        while not any(end.done() for end in ends):
            await asyncio.wait(ends, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
            for one in sockets:
                if one.open:
                    one.ping()
            due = time.monotonic() - kept_s >= self._venue.KEEP_STREAM_S
            if due and sockets[0].open and (request := self._venue.keep_stream()) is not None:
                self._requests.send(self._requests.build(request))
                kept_s = time.monotonic()
        return next(end.result() for end in ends if end.done())

    def give_up_overdue(self) -> None:
        """Makes the orders of requests that got no answer in time Unknown, and has the venue asked about them."""
        self._give_up(self._requests.give_up_overdue(), f"no answer in {self._settings.request_timeout_s} s")

    def _give_up(self, requests: list[PendingRequest], reason: str) -> None:
        for request in requests:
            order = self._account.order(request.client_order_id)
            if order is not None and request.places:
                self._publisher.publish(self._unknown(order, reason))
            self._unresolved.set()

    def _on_frames(self, recv_ns: int, frames: list[bytes]) -> None:
        self._take(self._on_message, recv_ns, frames)

    def _on_user_frames(self, recv_ns: int, frames: list[bytes]) -> None:
        self._take(self._on_user_event, recv_ns, frames)

    def _take(self, read: Callable[[bytes, int], list[bytearray]], recv_ns: int, frames: list[bytes]) -> None:
        events: list[bytearray] = []
        for frame in frames:
            try:
                events += read(frame, recv_ns)
            except (msgspec.DecodeError, UnicodeDecodeError, DecimalError) as error:
                self._count["last_error"] = str(error)[:200]
                self._ctx.refuse(self._ctx.name, f"not a message of the order connection: {error}", frame)
                self._unresolved.set()
        self._publisher.publish(events)

    def _on_message(self, frame: bytes, recv_ns: int) -> list[bytearray]:
        message = self._venue.read_message(frame, self._venue_time.now_ms())
        if message.event:
            return self._on_user_event(message.event, recv_ns)
        return self._on_answer(message, recv_ns)

    def _on_rest_answer(self, message: VenueMessage, recv_ns: int) -> None:
        try:
            self._publisher.publish(self._on_answer(message, recv_ns))
        except (msgspec.DecodeError, UnicodeDecodeError, DecimalError) as error:
            self._ctx.refuse(self._ctx.name, f"not an answer to an order over REST: {error}", message.result)
            self._unresolved.set()

    def _on_answer(self, message: VenueMessage, recv_ns: int) -> list[bytearray]:
        if message.orders_pause_ms:
            self._requests.pause_orders(message.orders_pause_ms / 1000)
        self._requests.note_orders_left(message.orders_left)
        request = self._requests.take_answered(message.number)
        if request is None:
            if message.code or message.words:
                said = f"{message.code} {message.words}"
                self._ctx.refuse(self._ctx.name, f"an error without a request: {said}", said.encode())
            return []
        if message.ok:
            return self._on_success(request, message.result, recv_ns)
        return self._on_error(request, message, recv_ns)

    def _on_user_event(self, event: bytes, recv_ns: int) -> list[bytearray]:
        read = self._venue.read_user_event(event, self._account.instrument_of)
        if read.ended and self._requests.connection is not None:
            self._requests.connection.abort("the venue ends the user stream")
        if read.report is not None:
            return self._account.apply_report(read.report, "stream", recv_ns)
        if read.funding:
            self._account.fundings.due = True
            self._unresolved.set()
        return self._account.balances.apply(read.balances, read.venue_ns, recv_ns)

    def _on_success(self, request: PendingRequest, result: bytes, recv_ns: int) -> list[bytearray]:
        if not request.client_order_id:
            if self._stream_path is not None and not self._stream_path.done():
                self._stream_path.set_result(self._venue.stream_path(result))
            return []
        order = self._account.order(request.client_order_id)
        if order is None:
            return []
        instrument = self._account.instrument(order.subject)
        if instrument is None:
            return []
        if request.places:
            self._alert(*self._troubles.take_success(order.subject, order.side))
        report = self._venue.report_of_answer(result, instrument, request.client_order_id)
        return self._account.apply_report(report, "reply", recv_ns)

    def _on_error(self, request: PendingRequest, error: VenueMessage, recv_ns: int) -> list[bytearray]:
        self._count["last_error"] = f"{request.method}: {error.code} {error.words}"[:200]
        if error.asked_pause_ms:
            wait_s = max(0.1, error.asked_pause_ms / 1000)
            self._requests.pause_orders(wait_s)
            if refusals.is_ban(error.status, error.words):  # the address, not the account
                said = f"{request.method} is answered {error.status}: {error.words}"
                self._rest.rest.waits.take(self._rest.endpoints.ws, "", wait_s, said, banned=True)
        if error.code == self._venue.WRONG_TIME:
            self._venue_time.wrong()
        order = self._account.order(request.client_order_id)
        if order is None:
            if self._requests.connection is not None:
                self._refused = error
                self._requests.connection.abort(f"the user stream was refused: {error.code} {error.words}")
            return []
        trouble = self._venue.trouble(error.status, error.code, error.words) if request.places else None
        if trouble is not None:
            self._alert(self._troubles.take_refusal(trouble, order.subject, order.side, error.words))
            if trouble is Trouble.POSITION:
                self._account.positions.doubted = True
                self._unresolved.set()
        proves = self._venue.proves_nothing_done(error.status, error.code, error.words)
        if request.places and proves and not order.order_id:
            self._count["rejects"] += 1
            report = Report(order.subject, request.client_order_id, 0, Status.Rejected, 0, 0, error.words)
            return self._account.apply_report(report, "reply", recv_ns, code=error.code)
        self._unresolved.set()
        return self._unknown(order, f"{error.code} {error.words}") if request.places else []

    def _unknown(self, order: SessionOrder, reason: str) -> list[bytearray]:
        events = self._account.apply_status(order, Status.Unknown, reason, now_ns())
        self._count["unknowns"] += len(events)
        if events:
            self._unresolved.set()
        return events
