"""Tells the receivers of mesh.toml ([[notify]]) of troubles, and of their ends: each once, by way of what the log has of them.

READS: alerts, the beginnings of processes and the commands that end troubles; run/ready. WRITES: alerts about receivers that
cannot be reached. When it dies it goes on where it was: what was told is in its checkpoint, so at most what was delivered in
the last moment is delivered twice. Nothing depends on it, and a receiver that does not answer holds up no other.
"""

import asyncio
import contextlib
import json
from datetime import datetime

from tickmesh.bus.checkpoint import CheckpointWriter
from tickmesh.bus.clock import now_ns
from tickmesh.bus.log import LogReader
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context, EventSubscription
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.alerts.episodes import SECOND, Episode, episodes
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.notifier.deliver import Undelivered, deliver
from tickmesh.nodes.notifier.plan import KEPT_NS, ReceiverPlan, ReceiverState, pack, unpack
from tickmesh.storage.recent.lately import lately

READS = (Kind.alert, Kind.run, Kind.command)
WRITES = (Kind.alert,)

READ_S = 0.1  # between two reads of the log
KEEP_S = 0.25  # between two looks whether a checkpoint is due
LOOK_S = 2.0  # between two looks for what only time brings: quiet hours, repeats, troubles that nobody says again
BACKOFF_S = (2.0, 60.0)
REPORTS_MAX = 20_000  # events that troubles are known from; the oldest go first
OPERATOR = "operator"
UNREACHABLE = "receiver unreachable"


class Notifier:
    """What the log has of troubles, and a plan for each receiver."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        mesh = ctx.config.root.name
        self.plans = [ReceiverPlan(one, mesh, ReceiverState(now_ns())) for one in ctx.config.notify]
        self.reports: list[Event] = []
        self.news = {plan.settings.name: asyncio.Event() for plan in self.plans}
        self.checkpoints = CheckpointWriter(ctx.checkpoint, ctx.config.checkpoint_s)
        ctx.counters.update({"delivered": 0, "undelivered": 0, "going_on": 0, "last_error": ""})

    def restore(self) -> int:
        """Takes over what was told before, and the troubles of the last hours; gives the seq up to which it knows all."""
        last = LogReader(self.ctx.config.log_dir).last
        names = {path.stem for folder in ("ready", "logs") for path in (self.ctx.config.run_dir / folder).glob("*.*")}
        reports = lately(self.ctx.config, READS, names | {OPERATOR}, now_ns() - KEPT_NS)
        self.reports = [event for event in reports if event.seq <= last]
        loaded = self.ctx.resume()
        try:
            told = unpack(loaded[1]) if loaded is not None else {}
        except ValueError as error:
            self.ctx.report_unused_checkpoint(str(error))
            told = {}
        for plan in self.plans:
            plan.state = told.get(plan.settings.name, plan.state)
        return last

    def take(self, events: list[Event]) -> None:
        """Takes in events of the log."""
        oldest_ns = now_ns() - KEPT_NS
        self.reports = [event for event in (*self.reports, *events) if event.seq_ns > oldest_ns][-REPORTS_MAX:]
        for news in self.news.values():
            news.set()

    def troubles(self) -> list[Episode]:
        """What the alerts of the last day tell of."""
        found = episodes(self.reports, self._ready())
        self.ctx.counters["going_on"] = sum(one.goes_on(now_ns()) for one in found)
        return found

    def _ready(self) -> dict[str, int]:
        """Since when each process that has ever been ready works, in its newest life."""
        out = {}
        for path in (self.ctx.config.run_dir / "ready").glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                out[path.stem] = int(json.loads(path.read_bytes())["ready_ns"])
        return out

    async def serve(self, plan: ReceiverPlan) -> None:
        """For ever: one receiver's messages, one after the other; one that cannot be reached is tried again."""
        name, news, backoff = plan.settings.name, self.news[plan.settings.name], Backoff(BACKOFF_S)
        failing = False
        while True:
            news.clear()
            for key, message in plan.due(self.troubles(), now_ns(), datetime.fromtimestamp(now_ns() // SECOND)):
                if message.what == UNREACHABLE and message.target == name:
                    plan.sent(key, message, now_ns(), counts=False)  # the others are told of it
                    continue
                try:
                    await deliver(plan.settings, self.ctx.config.root, message)
                except Undelivered as error:
                    self.ctx.counters["undelivered"] += 1
                    self.ctx.counters["last_error"] = f"{name}: {error}"
                    if not failing:
                        self.ctx.alert_of(
                            "warning", UNREACHABLE, name, str(error), "it is tried again; try it: `mesh alert test`"
                        )
                    failing = True
                    await asyncio.sleep(backoff.wait_s())
                    break
                plan.sent(key, message, now_ns())
                self.ctx.counters["delivered"] += 1
                log_line(self.ctx.name, "info", f"{name} was told: {message.what} of {message.target} {message.phase}")
                backoff.reset()
                if failing:
                    failing = False
                    self.ctx.alert_of("info", UNREACHABLE, name, "it takes messages again", "none")
            else:
                await self._wait(news)

    async def _wait(self, news: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await news.wait()
        except TimeoutError:
            pass


async def run(ctx: Context) -> None:
    notifier = Notifier(ctx)
    subscription = ctx.read_log(READS, await asyncio.to_thread(notifier.restore), READ_S)
    for plan in notifier.plans:
        ctx.own(notifier.serve(plan), f"receiver {plan.settings.name}")
    ctx.ready(receivers=len(notifier.plans))
    ctx.own(keep(ctx, notifier, subscription), "checkpoints")
    await subscription.follow(notifier.take)


async def keep(ctx: Context, notifier: Notifier, subscription: EventSubscription) -> None:
    """For ever: keeps what was told, which is told after its event, and the next event may be long in coming."""
    while True:
        await asyncio.sleep(KEEP_S)
        notifier.checkpoints.offer(subscription.seq, lambda: pack(notifier.plans))
        notifier.checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, ctx.own)
