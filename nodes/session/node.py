"""The only node that speaks to the venue's order side: acts on intents in the log, publishes every reply and user event.

It publishes PendingNew, which is on file, and only then sends: an intent without it was never sent, one without an answer is
Unknown and is asked for, never sent again. When it dies it rebuilds its orders from the log and its own outbox, compares
them with the venue's, and only then sends the next order.
"""

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from tickmesh.bus.checkpoint import CheckpointWriter
from tickmesh.bus.clock import now_ns, wall_ns
from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.process import Context, EventSubscription, NodeFault, Stopped
from tickmesh.bus.schema import Kind, Status
from tickmesh.bus.segments import LogReleased, segments
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.budget import budget_of
from tickmesh.nodes.net.endpoints import ca_of
from tickmesh.nodes.net.rest import RestError, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.orders.accounts import venue_of_session
from tickmesh.nodes.runner.history import history
from tickmesh.nodes.session import confirmation
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.credentials import Credentials, CredentialsUnusable, account_locks, read_credentials
from tickmesh.nodes.session.publishing import SessionPublisher
from tickmesh.nodes.session.reconciliation import Reconciler
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.session.stopping import end_orders
from tickmesh.nodes.session.troubles import Troubles
from tickmesh.nodes.session.venue_connection import VenueConnection
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.table import adapter_of, dialect_of

READS = (Kind.instrument, Kind.intent, Kind.update, Kind.fill, Kind.balance, Kind.funding, Kind.run, Kind.clock)
WRITES = (Kind.update, Kind.fill, Kind.balance, Kind.funding)

_INTENT, _INSTRUMENT = int(Kind.intent), int(Kind.instrument)  # plain numbers: an enumeration is asked by a call
_READS = frozenset(int(kind) for kind in READS)

TICK_S = 0.05  # deadlines of intents and answers are looked at so often
RESOLVE_S = 0.2  # before the first question about an order of unknown outcome; later ones come slower
POLL_S = 1.0  # between two looks at the orders while no user stream tells of them
END_S = 2.0  # for the tasks to end; then the process ends without them


class SessionLocked(NodeFault):
    """Another session works on this account."""


class Session:
    """The session of one account at one venue: builds its parts, rebuilds their state, and follows the log."""

    def __init__(self, ctx: Context, key: Credentials):
        self.ctx = ctx
        config = ctx.config
        self.settings = config.session
        dialect = dialect_of(venue_of_session(ctx.instance))
        venue = dialect.venue
        # an order's is among them: its quotes were in the log before it
        configured = DecidedInstruments(config, venue)
        self.account = Account(configured, self.settings.foreign == "adopt", venue)  # what has been published
        self.logged = Account(venue=venue)  # what is in the log: the only thing a checkpoint may hold
        self.subscription: EventSubscription | None = None
        self.log_seq = self.log_ns = 0  # seq and seq_ns of the last event of the log that was read
        self.checkpoints = CheckpointWriter(ctx.checkpoint, config.checkpoint_s)
        self.count = ctx.counters
        self.count.update(
            {
                name: 0
                for name in ("orders_sent", "cancels_sent", "amends_sent", "rejects", "refused_intents", "unknowns", "resolved",
                             "fills", "connections", "reconnects", "reconnected", "reconciles", "outbox_full", "foreign",
                             "contradictions", "adopted", "strays_cancelled", "outbox_tail", "resumed_seq")
            }
        )  # fmt: skip
        self.count["last_error"] = ""
        ctx.ask_counters = self.requests_counted
        self.alerted_unheld: set[str] = set()  # assets
        self.alerted_differing: dict[str, str] = {}  # instrument → the sentence
        self.alerted_skew = False
        self.unresolved = asyncio.Event()  # there is a reason to ask the venue before the next round
        limits = self.settings.recv_window_ms, self.settings.request_timeout_s
        self.venue_time = VenueTime()
        budget = budget_of(config, adapter_of(venue), self.settings.weight_share)
        waits = Waits(config, ctx.name, ctx.alert_of, venue)
        self.venue = VenueAccount(dialect, key, *limits, self.venue_time, budget, ca_of(config, venue), waits)
        self.requests = OrderRequests(dialect.orders, key, *limits, self.venue_time)
        self.publisher = SessionPublisher(ctx, self.requests)
        self.reconciler = Reconciler(
            self.account, self.venue, self.publisher.publish, self.in_flight,
            int(self.settings.recv_window_ms * 1e6 + self.settings.absence_margin_s * 1e9), self.age_ns, self.count,
        )  # fmt: skip
        self.troubles = Troubles(dialect.venue, self.settings.refused_pause_s, time.monotonic)
        cancels = config.risk.on_kill == "cancel"  # to flatten, orders are sent while the kill switch is on
        kill_file = config.run_dir / KILL_SWITCH_FILE if cancels else None
        self.sender = IntentSender(
            dialect.orders, self.account, self.requests, self.publisher, self.unresolved, self.count, self.troubles, kill_file
        )
        self.connection = VenueConnection(
            ctx, self.account, self.venue, self.venue_time, self.requests, self.publisher, self.reconciler,
            self.sender, self.unresolved, self.troubles, key,
        )  # fmt: skip

    def requests_counted(self) -> dict[str, Any]:
        """What is on the account beside our own, which positions the venue has otherwise, how far its clock is ahead of the
        mesh's, what it counts of our requests, how long they have waited."""
        budget = self.venue.budget
        account = self.account
        seen: dict[str, Any] = {
            "foreign": account.foreign,
            "adopted": account.adopted,
            "contradictions": account.contradictions,
        }
        if elsewhere := account.positions.elsewhere:
            seen["venue_positions"] = dict(elsewhere)
        if self.venue_time.offset_ns is not None:
            seen["clock_skew_ms"], seen["wall_skew_ms"] = (round(one, 1) for one in self.skews_ms())
        return {
            **seen,
            "repeated": account.repeated,
            "order_pauses": self.requests.pauses,
            "paused": self.troubles.sentences(),
            "used_weight": int(budget.used_weight),
            "budget_waited_s": round(budget.waited_s, 3),
        }

    def skews_ms(self) -> tuple[float, float]:
        """How far the venue's clock is ahead of the mesh's time, and of this machine's clock."""
        venue_ns = self.venue_time.now_ns()
        return (venue_ns - now_ns()) / 1e6, (venue_ns - wall_ns()) / 1e6

    def age_ns(self, order: SessionOrder) -> int:
        """How long ago an order was sent, at least: by the log's time, whose steps make nothing older."""
        return self.log_ns - max(order.sent_ns, self.logged.state.stepped_ns)

    def in_flight(self, order: SessionOrder) -> bool:
        """Whether a request about this order waits for its answer."""
        return self.requests.in_flight(order.client_order_id)

    # The log

    async def rebuild(self) -> Coroutine[Any, Any, None]:
        """Rebuilds the account from checkpoint, log and own outbox; gives the coroutine that follows the log from there.

        The outbox holds what the sequencer has not taken. It is read first, for what it releases meanwhile is in the log, and
        taken in last, without what the log turned out to have: an older copy would take back what came after it.
        """
        loaded = self.ctx.checkpoint.load(LogReader(self.ctx.config.log_dir))
        unused, after = loaded.unused, 0
        if loaded.seq:
            try:
                self.account.load(loaded.state)
                self.logged.load(loaded.state)
                self.count["resumed_seq"] = after = loaded.seq
            except msgspec.DecodeError as error:
                unused = f"{self.ctx.checkpoint.path} is of another version: {error}"
        if unused:
            action = "all of the log is read; orders that this log does not know are not this session's: look at the venue"
            self.ctx.alert("critical", "checkpoint not used", unused, action)
        tail = self.outbox_tail()
        for events in history(self.ctx.config, after, lanes_of(READS)):
            for event in events:
                self.account.read(event)
                self.read_logged(event)
            after = events[-1].seq
            await asyncio.sleep(0)
        epoch, number = self.logged.state.producer
        for event in tail:
            if event.epoch != epoch or event.number > number:
                self.account.read(event)
                self.count["outbox_tail"] += event.kind in WRITES
        subscription = self.ctx.subscribe(READS, after)
        for order in self.account.unsettled_orders():
            self.publisher.publish(
                self.account.apply_status(order, Status.Unknown, "restarted before the answer came", now_ns())
            )
        return self.follow(subscription)

    def outbox_tail(self) -> list[Event]:
        """The events at the end of the own outbox that the log may not have yet."""
        epoch, number = self.logged.state.producer
        folder = self.ctx.config.outbox(self.ctx.name)
        if not segments(folder):
            return []  # hosted, or the first start
        reader = LogReader(folder)
        number = number if reader.log_id == epoch else 0
        while True:
            try:
                return list(reader.events(after=max(number, reader.first - 1)))  # what is released is in the log
            except LogReleased:
                continue  # between two looks

    def read_logged(self, event: Event) -> None:
        """Takes an event of the log into what a checkpoint may hold."""
        self.log_seq, self.log_ns = event.seq, event.seq_ns
        if event.kind in _READS:
            self.logged.read(event)
        if event.producer == self.ctx.name:
            self.logged.state.producer = (event.epoch, event.number)

    async def follow(self, subscription: EventSubscription) -> None:
        """Reads the log as it grows, and acts on its intents."""
        self.subscription = subscription
        await subscription.follow(self.act_on)

    def act_on(self, events: list[Event]) -> None:
        """Takes the log's next events, and acts on the intents among them."""
        for event in events:
            kind = event.kind
            if kind == _INTENT:
                self.account.read(event)
                self.sender.act_on(event)
            elif kind == _INSTRUMENT:
                self.account.read(event)
            self.read_logged(event)

    def keep(self) -> None:
        """A checkpoint holds only what is in the log, and is written when that is on disk. No order waits for its packing."""
        subscription = self.subscription
        if subscription is not None and self.log_seq:
            self.checkpoints.offer(self.log_seq, self.logged.pack)
            self.checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, self.ctx.own)

    # Beside the connection

    async def keep_time(self) -> None:
        """Keeps measuring the venue's clock, by which it judges our timestamps."""
        await self.venue_time.keep(self.venue.time_ns)

    async def keep_reconciled(self) -> None:
        """Asks the venue for unsettled orders every `reconcile_s`, and soon after a request was left open; in time for all."""
        patience = Backoff((RESOLVE_S, self.settings.reconcile_s))
        all_due = time.monotonic() + self.settings.reconcile_all_s
        while True:
            unsure = any(order.status == Status.Unknown or order.fills_missing for order in self.account.unsettled_orders())
            if not unsure:
                patience.reset()
            with contextlib.suppress(TimeoutError):
                regular_s = (
                    min(self.settings.reconcile_s, POLL_S) if self.requests.rest is not None else self.settings.reconcile_s
                )
                wait_s = patience.wait_s() if unsure else min(regular_s, max(all_due - time.monotonic(), 0.0))
                async with asyncio.timeout(wait_s):
                    await self.unresolved.wait()
            self.unresolved.clear()
            if not self.requests.trading:
                await asyncio.sleep(TICK_S)
                continue
            try:
                if time.monotonic() >= all_due:
                    all_due = time.monotonic() + self.settings.reconcile_s  # where it fails: with the next round
                    await self.reconciler.reconcile_all()
                    all_due = time.monotonic() + self.settings.reconcile_all_s
                else:
                    await self.reconciler.reconcile_unsettled()
            except (RestError, RestUnreachable, DecimalError, msgspec.DecodeError) as error:
                self.count["last_error"] = str(error)[:200]
                if isinstance(error, RestUnreachable):
                    self.connection.lose_rest(str(error))
                await asyncio.sleep(RESOLVE_S)

    async def watch_deadlines(self) -> None:
        """Every TICK_S: publishes what was kept, gives up what is overdue, acts on intents that wait; keeps checkpoints."""
        while True:
            await asyncio.sleep(TICK_S)
            self.keep()
            self.publisher.publish([])
            self.connection.give_up_overdue()
            self.sender.cancel_strays()
            self.alert_oddities()
            if self.account.state.waiting:
                self.sender.act_on_waiting()

    def alert_oddities(self) -> None:
        """Raises an alert of everything that the log cannot show as it is: of an asset once, until it can be held again."""
        impossible, self.account.impossible = self.account.impossible, []
        for sentence in impossible:
            action = (
                "an order that is alive at the venue is cancelled there; look at the venue, and at who else uses the account"
            )
            self.ctx.alert("critical", "impossible_transition", sentence, action)
        oddities, self.account.oddities = self.account.oddities, []
        for sentence in oddities:
            self.ctx.alert("warning", "not_held", sentence, "add it by hand where it matters; orders and positions are exact")
        fundings, self.account.fundings.unheld = self.account.fundings.unheld, []
        for sentence in fundings:
            self.ctx.alert("warning", "not_held", sentence, "add it by hand where it matters; the wallet has it")
        self.alert_differing(self.account.positions.differing)
        self.alert_skew()
        unheld = self.account.balances.unheld
        for asset in sorted(unheld.keys() ^ self.alerted_unheld):
            held = asset not in unheld
            why = f"the balance of {asset} is {'held again' if held else f'in no event: {unheld[asset]}'}"
            action = "nothing is to be done" if held else "other assets and all orders go on; look at the venue for this one"
            self.ctx.alert_of("info" if held else "warning", "balance_not_held", asset, why, action)
        self.alerted_unheld = set(unheld)

    def alert_differing(self, differing: dict[str, str]) -> None:
        """Raises an alert of every position that the venue has otherwise, once for each difference, and of its end."""
        for subject in sorted(differing.keys() | self.alerted_differing.keys()):
            why = differing.get(subject, "")
            if why == self.alerted_differing.get(subject, ""):
                continue
            action = (
                "find out who else trades on the account; only what the log's fills say is counted and closed here"
                if why
                else "nothing is to be done"
            )
            said = why or f"the venue's position in {subject} is that of the fills in the log again"
            self.ctx.alert_of("critical" if why else "info", "position_differs", subject, said, action)
        self.alerted_differing = dict(differing)

    def alert_skew(self) -> None:
        """Raises an alert while the venue's clock is further from the mesh's time, and from this machine's clock, than the
        executor trades with, and of its end."""
        venue, most_ms = self.account.venue, self.ctx.config.risk.clock_skew_max_ms
        skew_ms = min(self.skews_ms(), key=abs)
        differs = 0 < most_ms < abs(skew_ms)
        if differs == self.alerted_skew:
            return
        self.alerted_skew = differs
        why = f"the clock of {venue} is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} this machine's"
        if differs:
            why += f"; nothing is ordered beyond risk.clock_skew_max_ms = {most_ms:g}: what is stale cannot be told"
            action = (
                "set this machine's clock (NTP): when it is right orders go on, though the mesh's time never goes back and is "
                "ahead for days. risk.clock_skew_max_ms allows more (0: whatever it is; `mesh reload`)"
            )
        else:
            why, action = f"{why}: orders go on", "nothing is to be done"
        self.ctx.alert_of("critical" if differs else "info", "clock_skew", venue, why, action)


def lock(path: Path) -> FileLock:
    """Held until the process ends. Raises SessionLocked: two sessions on one account would both act on an intent."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return FileLock.acquired(path)
    except FileLocked:
        raise SessionLocked(f"{path} is locked: another session works on this account; stop it first") from None


async def run(ctx: Context) -> None:
    """Runs a session until the context stops. Raises what a bug raises; what venues and networks do is survived."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would have the key in it
    if confirmation.is_needed(ctx.config) and not confirmation.is_confirmed(ctx.config):
        why = f"mode is {ctx.config.mode}, and nobody has confirmed that orders go to the venue by these settings"
        ctx.alert("critical", "not_confirmed", why, "no order is sent; `mesh up --live` confirms, and starts it")
        raise Stopped(why)
    venue = venue_of_session(ctx.instance)
    try:
        credentials = read_credentials(ctx.config, venue)
    except CredentialsUnusable as error:
        action = f"it stays stopped, and sends nothing; all else goes on. Correct it, then `supervisorctl start {ctx.name}`"
        ctx.alert("critical", "stopped", str(error), action)
        raise Stopped(str(error)) from error
    held = [lock(path) for path in account_locks(ctx.config, credentials, venue)]
    session = Session(ctx, credentials)
    tasks: list[asyncio.Task[Any]] = []
    try:
        following = await session.rebuild()
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [
            session.connection.keep_connected, session.keep_reconciled, session.watch_deadlines, session.keep_time,
        ]  # fmt: skip
        tasks = [ctx.own(following), *(ctx.own(job()) for job in work), ctx.own(ctx.stop.wait())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if ctx.stop.is_set() and ctx.failure is None:
            await end_orders(ctx, session.account, session.requests, session.sender)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        await session.venue.rest.close()
        for one in held:
            one.close()
