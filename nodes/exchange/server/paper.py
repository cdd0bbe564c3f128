"""Mode paper: the markets of the local exchange's orders are what the mesh's feeds have put into the log of real venues.

At the start books are built from checkpoint and log without filling anything: what happened while the exchange was away
fills no order. From then on each event of the log moves the market, as it is read.
"""

import asyncio
import logging
import time

import msgspec

from tickmesh.bus.checkpoint import CheckpointWriter
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import ConfigError
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context, EventSubscription
from tickmesh.bus.settings import LOCAL_VENUES
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event
from tickmesh.nodes.exchange.market.logged_market import READS, LoggedMarkets
from tickmesh.nodes.exchange.market.queue import MODELS as QUEUES
from tickmesh.nodes.exchange.server.running import RunningExchange
from tickmesh.nodes.runner.history import history

LOOK_S = 0.2
BOOKS_S = 2.0  # between two checkpoints of the books
ALL_S = 60.0  # for the definitions and prices of all instruments; then those that are known can be traded
CLOSED_LOOK_S = 0.1
log = logging.getLogger("exchange")


class PaperMarket:
    """Follows the log of real venues for an exchange that fills orders on paper."""

    def __init__(self, ctx: Context):
        self._ctx = ctx
        settings = ctx.config.exchange
        instruments = [one for one in ctx.config.instruments if one.venue in LOCAL_VENUES]
        self.markets = LoggedMarkets(instruments, QUEUES[settings.queue](), settings.trades_kept)
        self._stale_ns = round(settings.stale_s * 1e9)
        self._checkpoints = CheckpointWriter(ctx.checkpoint, BOOKS_S)
        self._seq = 0
        self._subscription: EventSubscription | None = None

    async def rebuild(self) -> bool:
        """Builds the books from what there is, and waits for definitions; False when the node was stopped meanwhile."""
        loaded = self._ctx.checkpoint.load(LogReader(self._ctx.config.log_dir))
        if loaded.seq:
            try:
                self.markets.load(loaded.state)
                self._seq = loaded.seq
            except msgspec.DecodeError as error:
                log.warning("%s is of another version: %s; the log is read", self._ctx.checkpoint.path, error)
        deadline, told = time.monotonic() + ALL_S, False
        while not self._ctx.stop.is_set():
            for events in history(self._ctx.config, self._seq, lanes_of(READS)):
                for event in events:
                    self._take(event, 0)
                self._seq = events[-1].seq
                await asyncio.sleep(0)
            missing = self.markets.missing
            if not missing or (time.monotonic() > deadline and self.markets.ready):
                if missing:
                    log.warning("no definition or price of %s yet: orders for it are refused", ", ".join(missing))
                return True
            if not told:
                log.info("waits for definitions and prices of %s in the log", ", ".join(missing))
                told = True
            await asyncio.sleep(LOOK_S)
        return False

    def _take(self, event: Event, now_ms: int) -> bool:
        """Takes in an event; gives whether it moved a market."""
        try:
            return self.markets.take(event, now_ms) is not None
        except ValueError as error:
            raise ConfigError(f"mode paper: {error}") from None

    async def run(self, running: RunningExchange) -> None:
        """Moves the market by the log until the node is stopped; closes what cannot be known."""
        self._subscription = self._ctx.subscribe(READS, self._seq)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._subscription.follow(lambda events: self._read(running, events)))
            group.create_task(self._watch(running))

    def _read(self, running: RunningExchange, events: list[Event]) -> None:
        now_ms = running.now_ms()
        moved = [self._take(event, now_ms) for event in events]
        self._seq = events[-1].seq
        if any(moved):
            running.publish(running.commit())
        assert self._subscription is not None
        self._checkpoints.offer(self._seq, self.markets.pack)
        subscription = self._subscription
        self._checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, self._ctx.own)

    async def _watch(self, running: RunningExchange) -> None:
        """Closes markets whose book is not known, or whose venue is silent: new orders are refused there, others wait.

        Moves mark prices, too."""
        before: set[str] = set()
        while not self._ctx.stop.is_set():
            closed = self.markets.closed(now_ns(), self._stale_ns)
            running.core.close(closed)
            for name in sorted(closed - before):
                log.warning("%s is closed: its book is not known, or nothing comes from the venue", name)
            for name in sorted(before - closed):
                log.info("%s is open", name)
            before = closed
            running.ctx.counters["closed"] = sorted(closed)
            running.core.follow_marks(running.now_ms())
            running.publish(running.commit())
            await asyncio.sleep(CLOSED_LOOK_S)
