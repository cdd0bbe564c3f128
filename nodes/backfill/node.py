"""Repairs gaps of trades: asks the venue's history for the missing ids, publishes them flagged REPAIRED, or why they are lost.

One request at a time within its share of the venue's budget, the oldest gap first, then in turn. When it dies it finds the open
gaps again in the log and asks for what is missing there; what it had published already, the sequencer knows as a duplicate.
"""

import asyncio
import contextlib
import time

from tickmesh.bus.checkpoint import CheckpointWriter
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event
from tickmesh.nodes.backfill.plan import Effort, Plan
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.budget import budget_of
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.rest import Rest, RestError, RestLimited, RestUnreachable
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.runner.history import history
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.parsing.dialect import FrameError, Request, Unwell
from tickmesh.nodes.venues.table import adapter_of

READS = (Kind.trade, Kind.gap, Kind.cursor)
WRITES = (Kind.trade, Kind.gap)

READ_S = 0.1  # between two reads of the log
LOOK_S = 0.5  # between two looks for work that only time brings
FULL_LOOK_S = 0.1
RECENT_NS = 300_000_000_000  # a gap that ended longer ago is not among the newest trades of a market worth trading
FINAL = frozenset((400, 401, 404, 410, 422))  # refusals that mean the request, not the moment


class VenueHistory:
    """One venue's history: its adapter, its addresses, our share of its budget, and how long it is left alone."""

    def __init__(self, config: Config, adapter: Adapter, waits: Waits, name: str):
        self.adapter = adapter
        self.addresses = VenueAddresses(config, adapter, 1, name)
        self.budget = budget_of(config, adapter, config.backfill.weight_share)
        self.backoff = Backoff(config.backfill.backoff_s)
        self.not_before = 0.0  # monotonic seconds
        self.rest = Rest(adapter.REST_RULES, ca=self.addresses.ca, waits=waits)

    def pause(self, wait_s: float) -> None:
        self.not_before = time.monotonic() + wait_s


class Backfill:
    """The plan, and the venue's side of it. `ctx`: see bus/process.py."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.config = ctx.config
        self.instruments = DecidedInstruments(ctx.config)  # a gap's is among them: its feed has decided it
        settings = ctx.config.backfill
        self.plan = Plan(settings.patience_s, lambda: Backoff(settings.backoff_s).wait_s)
        self.sources: dict[str, VenueHistory] = {}  # by venue
        self.changed = asyncio.Event()
        self.seq = 0
        self.checkpoints = CheckpointWriter(ctx.checkpoint, ctx.config.checkpoint_s)
        ctx.counters.update(requests=0, repaired=0, unrecoverable=0, refused_rows=0, failures=0, limited=0, last_error="")
        self.count()

    # -- the log

    def restore(self) -> None:
        if (loaded := self.ctx.resume()) is not None:
            self.seq, state = loaded
            self.plan.restore(state)

    def observe(self, events: list[Event]) -> None:
        for event in events:
            if event.kind == Kind.cursor:
                for row in event.records:
                    if row["producer"].decode() == self.ctx.name and int(row["epoch"]) == self.ctx.producer.epoch:
                        self.plan.taken(int(row["number"]))
                        self.changed.set()
            else:
                self.plan.observe(event)
                if event.kind == Kind.gap:
                    self.changed.set()
        if events:
            self.seq = events[-1].seq

    def keep(self, durable_seq: int, log_id: int) -> None:
        """A checkpoint of the plan now and then, never beyond what is durable."""
        self.checkpoints.offer(self.seq, self.plan.state)
        self.checkpoints.write_if_durable(durable_seq, log_id, self.ctx.own)

    # -- the venue

    async def work(self) -> None:
        """For ever: whose turn it is, one request after the other."""
        while True:
            self.count()
            self.changed.clear()
            effort = self.plan.next(time.monotonic(), self.may)
            if effort is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self.changed.wait()
            else:
                await self.repair(effort)

    def may(self, subject: str) -> bool:
        """Whether the subject's venue may be asked now. What is no longer in mesh.toml stays open."""
        try:
            return self.source(self.instruments[subject].venue).not_before <= time.monotonic()
        except KeyError:
            return False

    def source(self, venue: str) -> VenueHistory:
        found = self.sources.get(venue)
        if found is None:
            found = self.sources[venue] = VenueHistory(
                self.config, adapter_of(venue), Waits(self.config, self.ctx.name, self.ctx.alert_of, venue), self.ctx.name
            )
        return found

    async def repair(self, effort: Effort) -> None:
        """One request for a gap, and all that follows from the answer."""
        instrument = self.instruments[effort.subject]
        source = self.source(instrument.venue)
        first = effort.first_missing()
        assert first is not None  # or it would not be its turn
        recent = self.recent_trades(effort, source.adapter, instrument)
        request = recent or source.adapter.history(instrument, first, effort.from_ns, effort.until_id)
        if request is None:
            await self.publish(effort, self.plan.no_history(effort))
            return
        await source.budget.spend(request.weight)
        base = await source.addresses.rest()
        if effort.first_missing() != first:  # another line has brought it meanwhile
            return
        self.plan.ask(effort)
        try:
            body = await source.rest.get(base, request.path, request.query)
        except RestLimited as error:
            self.ctx.counters["limited"] += 1
            self.failed(error)
            self.plan.reset_patience(effort)
            source.pause(error.wait_s)
        except (RestError, RestUnreachable) as error:
            self.failed(error)
            if isinstance(error, RestError) and error.status in FINAL and recent:
                return  # its history may be open all the same
            if isinstance(error, RestError) and error.status in FINAL:
                await self.publish(effort, self.plan.refused(effort, time.monotonic()))
            else:
                self.plan.reset_patience(effort)
                source.pause(source.backoff.wait_s())
            source.addresses.hop_rest()
        else:
            try:
                events, unreadable = self.read(effort, source.adapter, instrument, body)
            except Unwell as error:
                self.failed(error)
                self.plan.reset_patience(effort)
                source.pause(source.backoff.wait_s())
                source.addresses.hop_rest()
                return
            source.backoff.reset()
            if recent and (unreadable or not events or Event(events[0]).first_id > first):
                return  # they do not reach back so far
            log_line(self.ctx.name, "info", f"{effort.subject}: {len(events)} missing events from id {first} on are fetched")
            await self.publish(effort, self.plan.page(effort, events, unreadable, time.monotonic(), source.adapter.HISTORY))
        finally:
            source.budget.observe_used(source.rest.used_weight)

    def recent_trades(self, effort: Effort, adapter: Adapter, instrument: Instrument) -> Request | None:
        """The request for the venue's newest trades, once for a gap that is young; None where its history is to be asked."""
        if not effort.is_recent:
            return None
        effort.is_recent = False
        return adapter.recent_trades(instrument) if now_ns() - effort.gap.after_ns < RECENT_NS else None

    def failed(self, error: Exception) -> None:
        log_line(self.ctx.name, "warning", f"a question to a venue failed: {error}")
        self.ctx.counters["failures"] += 1
        self.ctx.counters["last_error"] = str(error)[:200]

    def read(self, effort: Effort, adapter: Adapter, instrument: Instrument, body: bytes) -> tuple[list[bytearray], bool]:
        """(events of a page, whether some of it could not be read). Raises Unwell."""
        unreadable = False
        try:
            events = adapter.decode_history(body, now_ns(), instrument)
        except Unwell:
            raise
        except FrameError as error:
            unreadable = True
            events = list(error.readable)
            self.ctx.counters["refused_rows"] += 1
            self.ctx.counters["last_error"] = str(error)[:200]
            self.ctx.refuse(effort.subject, str(error), body)
        return events, unreadable

    async def publish(self, effort: Effort, events: list[bytearray]) -> None:
        """Waits while the outbox is full: the gap is in the log and does not run away."""
        while events:
            try:
                self.ctx.publish(events)
                effort.published_number = self.ctx.producer.number
                break
            except OutboxFull:
                await asyncio.sleep(FULL_LOOK_S)

    def count(self) -> None:
        efforts = self.plan.efforts.values()
        opened = [effort.opened_ns for effort in efforts if effort.opened_ns]
        self.ctx.counters.update(
            open_gaps=len(efforts),
            oldest_gap_s=round((now_ns() - min(opened)) / 1e9, 3) if opened else 0.0,
            requests=self.plan.requests,
            repaired=self.plan.repaired,
            unrecoverable=self.plan.unrecoverable,
            used_weight=max((source.rest.used_weight for source in self.sources.values()), default=0),
        )


async def run(ctx: Context) -> None:
    backfill = Backfill(ctx)
    backfill.restore()
    for events in history(ctx.config, backfill.seq, lanes_of(READS)):
        backfill.observe(events)
        if ctx.stop.is_set():
            return
    subscription = ctx.read_log(READS, backfill.seq, READ_S)
    for events in subscription.backlog():
        backfill.observe(events)
    backfill.count()
    ctx.ready(open_gaps=len(backfill.plan.efforts), resumed_seq=backfill.seq)
    work = ctx.own(backfill.work(), "work")
    try:
        async for events in subscription:
            backfill.observe(events)
            backfill.count()  # also while a request waits for its turn
            backfill.keep(subscription.durable_seq, subscription.log_id)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        for source in backfill.sources.values():
            await source.rest.close()
