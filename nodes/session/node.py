"""The only one that talks to the venue's order side: acts on intents in the log, says every reply and private event.

It says PendingNew, which is on file, and only then sends: an intent without it was never sent, one without an answer is
Unknown and is asked for, never sent again. When it dies it rebuilds its orders from the log and its own outbox, compares
them with the venue's, and only then sends the next order.
"""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from tickmesh.bus.clock import now_ns
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context, NodeFault
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.bus.segments import LogReleased, segments
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.feed.venue_clock import VenueTime
from tickmesh.nodes.net import endpoints, websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.rest import RestError, RestUnreachable
from tickmesh.nodes.runner.step import history
from tickmesh.nodes.session.account import Account, SessionOrder
from tickmesh.nodes.session.binance_rest import BinanceAccount
from tickmesh.nodes.session.reconciliation import Reconciler
from tickmesh.nodes.session.requests import OrderRequests, PendingRequest
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues.binance_orders import Report
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.private import read_private

READS = (Kind.intent, Kind.update, Kind.fill, Kind.run, Kind.clock)
WRITES = (Kind.update, Kind.fill, Kind.balance)

TICK_S = 0.05  # deadlines of intents and answers are looked at so often
RESOLVE_S = 0.2  # before the first question about an order of unknown outcome; later ones come slower
END_S = 2.0  # for the tasks to end; then the process ends without them
VENUE = "binance"


class SessionLocked(NodeFault):
    """Another session works on this account."""


class Session:
    """One account at one venue."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        config = ctx.config
        self.settings = config.session
        self.instruments = {i.subject: i for i in config.instruments if i.venue == VENUE}
        self.by_symbol = {i.symbol: i for i in self.instruments.values()}
        self.account = Account()  # what has been said
        self.logged = Account()  # what is in the log: the only thing a checkpoint may hold
        self.log_ns = 0  # seq_ns of the last event heard
        account = config.exchange.api_key, config.exchange.api_secret
        self.venue_time = VenueTime()
        limits = self.settings.recv_window_ms, self.settings.request_timeout_s
        self.venue = BinanceAccount(*account, *limits, self.venue_time)
        self.requests = OrderRequests(*account, *limits, self.venue_time)
        self.reconciler = self.new_reconciler()
        self.trading = False  # connected, subscribed and reconciled
        self.limited_until = 0.0  # monotonic seconds: the venue asked us to wait
        self.subscribed = asyncio.Event()
        self.unresolved = asyncio.Event()  # there is a reason to ask the venue before the next round
        self.unsaid: list[bytearray] = []
        self.kept: tuple[int, bytes] | None = None  # a checkpoint that waits to be durable
        self.kept_at = 0.0
        self.saving: asyncio.Task | None = None
        self.count = ctx.counters
        self.count.update(
            {
                name: 0
                for name in ("orders_sent", "cancels_sent", "rejects", "refused_intents", "unknowns", "resolved", "fills",
                             "reconnects", "reconciles", "outbox_full", "foreign", "contradictions")
            }
        )  # fmt: skip
        self.count["last_error"] = ""

    def new_reconciler(self) -> Reconciler:
        patience_ns = int(self.settings.recv_window_ms * 1e6 + self.settings.absence_margin_s * 1e9)
        return Reconciler(
            self.account,
            self.venue,
            self.instruments,
            self.publish,
            self.in_flight,
            patience_ns,
            self.age_ns,
            self.ctx.counters,
        )

    def age_ns(self, order: SessionOrder) -> int:
        """How long ago an order was sent, by the log; a step of its time makes nothing older."""
        return self.log_ns - max(order.sent_ns, self.logged.state.stepped_ns)

    def in_flight(self, order: SessionOrder) -> bool:
        return self.requests.in_flight(order.client_order_id)

    # Saying

    def publish(self, events: list[bytearray]) -> None:
        """Facts of the venue are kept until the outbox takes them; until then no order is sent and the socket waits."""
        if not events and not self.unsaid:
            return
        events = self.unsaid + events
        self.unsaid = []
        try:
            self.ctx.publish(events)
        except OutboxFull:
            self.count["outbox_full"] += 1
            self.unsaid = events
            if self.requests.connection is not None:
                self.requests.connection.pause()
            return
        self.count["fills"] += sum(event[8] == Kind.fill for event in events)
        if self.requests.connection is not None:
            self.requests.connection.resume()

    # The log

    async def rebuild(self) -> Coroutine[Any, Any, None]:
        """From the checkpoint, the own outbox and the log to the present; gives what follows the log from there.

        The outbox holds what the sequencer has not taken. It is read first, for what it releases meanwhile is in the log, and
        taken in last, without what the log turned out to have: an older copy would take back what came after it.
        """
        loaded = self.ctx.checkpoint.load(LogReader(self.ctx.config.log_dir))
        unused, after = loaded.unused, 0
        if loaded.seq:
            try:
                self.account, self.logged = Account(loaded.state), Account(loaded.state)
                after = loaded.seq
            except msgspec.DecodeError as error:
                unused = f"{self.ctx.checkpoint.path} is of another version: {error}"
        if unused:
            action = "all of the log is read; orders that this log does not know are not this session's: look at the venue"
            self.ctx.alert("critical", "checkpoint not used", unused, action)
        tail = self.outbox_tail()
        self.reconciler = self.new_reconciler()
        for events in history(self.ctx.config, after, lanes_of(READS)):
            for event in events:
                self.account.read(event)
                self.take_logged(event)
            after = events[-1].seq
            await asyncio.sleep(0)
        epoch, number = self.logged.state.producer
        for event in tail:
            if event.epoch != epoch or event.number > number:
                self.account.read(event)
        subscription = self.ctx.subscribe(READS, after)
        for order in self.account.open():
            self.publish(self.account.tell(order, Status.Unknown, "restarted before the answer came", now_ns()))
        return self.follow(subscription)

    def outbox_tail(self) -> list[Event]:
        """What this session said before and may not be in the log yet."""
        epoch, number = self.logged.state.producer
        folder = self.ctx.config.outbox_dir / self.ctx.name
        if not segments(folder):
            return []  # hosted, or the first start
        reader = LogReader(folder)
        number = number if reader.log_id == epoch else 0
        while True:
            try:
                return list(reader.events(after=max(number, reader.first - 1)))  # what is released is in the log
            except LogReleased:
                continue  # between two looks

    def take_logged(self, event: Event) -> None:
        self.log_ns = event.seq_ns
        self.logged.read(event)
        if event.producer == self.ctx.name:
            self.logged.state.producer = (event.epoch, event.number)

    async def follow(self, subscription) -> None:
        self.subscription = subscription
        async for events in subscription:
            for event in events:
                self.take_logged(event)
                if event.kind == Kind.intent:
                    self.account.read(event)
                    self.act(event)
            self.keep(events[-1].seq)

    def keep(self, seq: int) -> None:
        """A checkpoint holds only what is in the log, and is written when that is on disk."""
        now = time.monotonic()
        kept, saved = self.kept, self.saving is None or self.saving.done()
        if kept is not None and saved and self.subscription.durable_seq >= kept[0]:
            # In a thread: it is synced to disk, and a hosted session shares its loop with the sequencer.
            self.saving = self.ctx.own(asyncio.to_thread(self.save, *kept, self.subscription.log_id))
            self.kept = None
        if self.kept is None and now - self.kept_at >= self.ctx.config.checkpoint_s:
            self.kept_at = now
            self.kept = (seq, self.logged.pack())

    def save(self, seq: int, state: bytes, log_id: int) -> None:
        with contextlib.suppress(OSError):  # a full disk: the next one
            self.ctx.checkpoint.save(seq, state, log_id)

    # Intents

    def act(self, intent: Event) -> None:
        """Sends it, refuses it, or leaves it waiting until the venue can be spoken to."""
        record = intent.records[0]
        client_order_id = record["client_order_id"].decode()
        if client_order_id not in self.account.state.waiting or not intent.subject.startswith(f"{VENUE}."):
            return
        if 0 < record["expires_ns"] < now_ns():
            self.refuse(intent, "the intent expired before the session could act on it")
        elif intent.subject not in self.instruments:
            self.refuse(intent, f"{intent.subject} is not in mesh.toml")
        elif record["action"] == Action.CANCEL:
            self.cancel(intent, record["target_id"].decode())
        elif self.trading and not self.unsaid and time.monotonic() >= self.limited_until:
            self.place(intent, client_order_id)

    def refuse(self, intent: Event, reason: str) -> None:
        event = self.account.refuse(intent, reason, now_ns())
        self.count["refused_intents"] += 1
        self.publish([event])
        self.account.read(decode(event))

    def place(self, intent: Event, client_order_id: str) -> None:
        try:
            method, params = venue.order_request(intent.records[0], self.instruments[intent.subject])
        except venue.IntentError as error:
            self.refuse(intent, str(error))
            return
        asked = self.requests.prepare(method, params, client_order_id)
        pending = self.account.begin(intent, now_ns())
        try:
            self.ctx.publish([pending])  # on file before it is sent
        except OutboxFull:
            self.count["outbox_full"] += 1
            return
        self.account.read(decode(pending))
        try:
            self.requests.send(asked)
            self.count["orders_sent"] += 1
        except websocket.Disconnected:
            self.conclude(client_order_id, Status.Rejected, "the connection was closed; nothing was sent")

    def cancel(self, intent: Event, target_id: str) -> None:
        order = self.account.order(target_id)
        if order is None and target_id in self.account.state.waiting:
            self.refuse(decode(self.account.state.waiting[target_id]), "cancelled before it was sent")
        if order is None:
            self.refuse(intent, "no such order")
            return
        if not self.trading:
            return
        _, params = venue.order_request(intent.records[0], self.instruments[intent.subject])
        asked = self.requests.prepare("order.cancel", params, target_id)
        self.publish(self.account.tell(order, Status.PendingCancel, "", intent.recv_ns))
        try:
            self.requests.send(asked)
            self.count["cancels_sent"] += 1
        except websocket.Disconnected:
            self.unresolved.set()

    def conclude(self, client_order_id: str, status: Status, reason: str, origin: str = "session") -> None:
        order = self.account.order(client_order_id)
        if order is not None:
            self.count["rejects"] += status == Status.Rejected
            self.publish(self.account.tell(order, status, reason, now_ns(), origin))

    def act_on_waiting(self) -> None:
        for intent in self.account.waiting():
            self.act(intent)

    # The venue's messages

    def on_frames(self, recv_ns: int, frames: list[bytes]) -> None:
        said: list[bytearray] = []
        for frame in frames:
            try:
                said += self.on_message(recv_ns, frame)
            except (msgspec.DecodeError, UnicodeDecodeError, DecimalError) as error:
                self.count["last_error"] = str(error)[:200]
                self.ctx.refuse(self.ctx.name, f"not a message of the order connection: {error}", frame)
                self.unresolved.set()
        self.publish(said)
        self.count["foreign"], self.count["contradictions"] = self.account.foreign, self.account.contradictions

    def on_message(self, recv_ns: int, frame: bytes) -> list[bytearray]:
        message = venue.decode_message(frame)
        if bytes(message.event):
            return self.on_event(bytes(message.event), recv_ns)
        asked = self.requests.answered(message.id)
        if asked is None:
            if message.error is not None:
                self.ctx.refuse(self.ctx.name, f"an error without a request: {message.error.msg}", frame)
            return []
        if message.status == 200 and message.error is None:
            return self.on_success(asked, bytes(message.result), recv_ns)
        return self.on_error(asked, message.status, message.error or venue.Error(), recv_ns)

    def on_event(self, event: bytes, recv_ns: int) -> list[bytearray]:
        report, balances, ended = read_private(event, self.by_symbol, recv_ns)
        if ended and self.requests.connection is not None:
            self.requests.connection.abort("the venue ends the user stream")
        return balances + (self.account.report(report, "stream", recv_ns) if report is not None else [])

    def on_success(self, asked: PendingRequest, result: bytes, recv_ns: int) -> list[bytearray]:
        if not asked.client_order_id:
            self.subscribed.set()
            return []
        order = self.account.order(asked.client_order_id)
        if order is None:
            return []
        instrument = self.instruments[order.subject]
        report = venue.report_of_order(venue.decode_order(result), instrument, asked.client_order_id)
        return self.account.report(report, "reply", recv_ns)

    def on_error(self, asked: PendingRequest, status: int, error: venue.Error, recv_ns: int) -> list[bytearray]:
        self.count["last_error"] = f"{asked.method}: {error.code} {error.msg}"[:200]
        if status in (418, 429):
            wait_ms = venue.decode_retry(error.data).retryAfter - self.venue_time.now_ms() if bytes(error.data) else 1000
            self.limited_until = time.monotonic() + max(0.1, wait_ms / 1000)
        if error.code == venue.WRONG_TIME:
            self.venue_time.wrong()
        order = self.account.order(asked.client_order_id)
        if order is None:
            if self.requests.connection is not None:
                self.requests.connection.abort(f"the user stream was refused: {error.code} {error.msg}")
            return []
        if asked.method == "order.place" and venue.definite(status, error.code, error.msg) and not order.order_id:
            self.count["rejects"] += 1
            report = Report(asked.client_order_id, 0, Status.Rejected, 0, 0, error.msg)
            return self.account.report(report, "reply", recv_ns, code=error.code)
        self.unresolved.set()
        return self.unknown(order, f"{error.code} {error.msg}") if asked.method == "order.place" else []

    def unknown(self, order: SessionOrder, reason: str) -> list[bytearray]:
        said = self.account.tell(order, Status.Unknown, reason, now_ns())
        self.count["unknowns"] += len(said)
        if said:
            self.unresolved.set()
        return said

    def unanswered(self, given_up: list[PendingRequest], reason: str) -> None:
        for asked in given_up:
            order = self.account.order(asked.client_order_id)
            if order is not None and asked.method == "order.place":
                self.publish(self.unknown(order, reason))
            self.unresolved.set()

    # The connection

    async def keep_connected(self) -> None:
        backoff = Backoff(self.settings.backoff_s)
        while True:
            where = self.venue.where = await endpoints.wait(self.ctx.config)
            try:
                await self.one_connection(where, backoff)
            except (
                websocket.Disconnected, RestError, RestUnreachable, TimeoutError, DecimalError, msgspec.DecodeError,
            ) as error:  # fmt: skip
                self.count["last_error"] = str(error)[:200]
            self.count["reconnects"] += 1
            await asyncio.sleep(backoff.wait_s())

    async def one_connection(self, where: endpoints.Endpoints, backoff: Backoff) -> None:
        if not self.venue_time.known:
            await self.venue_time.measure(self.venue.time_ns)
        connection = await websocket.connect(f"{where.ws}{venue.WS_PATH}", self.on_frames, self.settings.stale_s)
        try:
            self.requests.connection = connection
            self.subscribed.clear()
            self.requests.send(self.requests.prepare("userDataStream.subscribe.signature", {}, ""))
            async with asyncio.timeout(self.settings.request_timeout_s):
                await self.subscribed.wait()
            await self.reconciler.everything()
            if not connection.open:
                raise websocket.Disconnected("lost during the reconciliation")
            self.trading = True
            backoff.reset()
            self.ctx.ready()
            self.act_on_waiting()
            await asyncio.shield(connection.closed)
        finally:
            self.trading = False
            connection.abort("this session ends it")
            self.requests.connection = None
            self.unanswered(self.requests.lost(), "the connection broke before the answer came")
            if connection.failure is not None:
                self.ctx.fail(connection.failure)
        if connection.failure is not None:
            raise connection.failure
        raise websocket.Disconnected(connection.closed.result())

    async def keep_time(self) -> None:
        """Follows the venue's clock, which judges our timestamps."""
        await self.venue_time.keep(self.venue.time_ns)

    async def keep_reconciled(self) -> None:
        """Every `reconcile_s`, and soon after something was left open."""
        patience = Backoff((RESOLVE_S, self.settings.reconcile_s))
        while True:
            unsure = any(order.status == Status.Unknown or order.fills_missing for order in self.account.open())
            if not unsure:
                patience.reset()
            with contextlib.suppress(TimeoutError):
                wait_s = patience.wait_s() if unsure else self.settings.reconcile_s
                async with asyncio.timeout(wait_s):
                    await self.unresolved.wait()
            self.unresolved.clear()
            if not self.trading:
                await asyncio.sleep(TICK_S)
                continue
            try:
                await self.reconciler.what_is_open()
            except (RestError, RestUnreachable, DecimalError, msgspec.DecodeError) as error:
                self.count["last_error"] = str(error)[:200]
                await asyncio.sleep(RESOLVE_S)

    async def watch_deadlines(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.publish([])
            self.unanswered(self.requests.overdue(), f"no answer in {self.settings.request_timeout_s} s")
            if self.account.state.waiting:
                self.act_on_waiting()


def lock(path: Path) -> int:
    """Held until the process ends. Raises SessionLocked: two sessions on one account would both act on an intent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SessionLocked(f"{path} is locked: another session works on this account; stop it first") from None
    return descriptor


async def run(ctx: Context) -> None:
    """Until the context stops. Raises what a bug raises; what venues and networks do is survived."""
    descriptor = lock(ctx.config.run_dir / "session.lock")
    session = Session(ctx)
    tasks: list[asyncio.Task] = []
    try:
        following = await session.rebuild()
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [
            session.keep_connected, session.keep_reconciled, session.watch_deadlines, session.keep_time,
        ]  # fmt: skip
        tasks = [ctx.own(following), *(ctx.own(job()) for job in work), ctx.own(ctx.stop.wait())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        await session.venue.rest.close()
        os.close(descriptor)
