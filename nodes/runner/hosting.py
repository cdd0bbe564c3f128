"""Lines, steps and the session in the sequencer's own process: the same code and the same log, without sockets between them."""

import asyncio
import gc
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.topics import LANE_OF_KIND, Lane, lanes_of
from tickmesh.bus.wire import Event, stamp_sent
from tickmesh.nodes.runner.guests import OpenLog
from tickmesh.nodes.runner.history import history
from tickmesh.nodes.runner.stalls import STALL_S, HostedStalls

HOSTED_SHARE = 0.3  # of the time after which the sentinel restarts the sequencer for a still log: it is over before
QUEUE_EVENTS = 100_000  # a hosted subscriber that is further behind reads the log instead


class Host:
    """Hands every logged batch to the hosted nodes, in order, until the log holds nothing that they have not been given.

    First of all to those that act outside (`first`), in the call that logs it, also in the midst of a step's; then to the
    steps, one after the other. What a node of the first kind has sent may leave its socket only when the loop has its turn: so
    `rest` lets what follows from it in here wait until then. `stalls`: where the steps among them note that they are at work.
    """

    stalls: HostedStalls

    def __init__(self, log: OpenLog):
        self.log = log
        self.first: list[Callable[[list[Event]], None]] = []
        self.handlers: list[Callable[[list[Event]], None]] = []
        self._queue: deque[list[bytearray]] = deque()
        self._given: deque[list[Event]] = deque()  # batches that those who act outside have been given, and the steps not
        self._turns: deque[Callable[[list[Event]], None]] = deque()  # steps that have not been given the first of these yet
        self._acting = self._stepping = False
        self._rests = False
        log.attach(self._queue.append, self.pump)

    def pump(self) -> None:
        """Hands on what is in the log and was not handed on."""
        if self._acting:
            return
        self._act()
        if self._stepping:
            return
        self._stepping = True
        try:
            given, turns = self._given, self._turns
            while given and not self._rests:
                if not turns:
                    turns.extend(self.handlers)
                events = given[0]
                handler = turns.popleft() if turns else None
                if not turns:
                    given.popleft()
                if handler is not None and handler in self.handlers:  # it may have been put out meanwhile
                    handler(events)
        finally:
            self._stepping = False
        if self._rests:
            self._rests = False
            asyncio.get_running_loop().call_soon(self.pump)

    def _act(self) -> None:
        """Hands new batches to those that act outside."""
        self._acting = True
        try:
            while self._queue and not self._rests:
                events = [Event(event) for event in self._queue.popleft()]
                self._given.append(events)
                for handler in tuple(self.first):
                    handler(events)
        finally:
            self._acting = False

    def rest(self) -> None:
        """Leaves what is logged from now on, within this call of `pump`, to the loop's next turn, or to whoever logs before."""
        self._rests = self._acting or self._stepping


class HostedProducer:
    """The `EventProducer` of a hosted node: its events are in the log when `publish` returns; there is no outbox.

    Those of a line are arbitrated first: some wait for other lines, copies go no further.
    """

    rings_lost = spills = 0

    def __init__(self, log: OpenLog, name: str, arbitrated: bool = False):
        self._log = log
        self._name = name
        self._arbitrated = arbitrated
        self._raw = producer_bytes(name)
        self.epoch = now_ns()
        self.number = 0

    def publish(self, batch: list[bytearray]) -> None:
        """Stamps the events and logs them. Raises OutboxFull when the log takes no more, and then nothing was published."""
        before, now = self.number, now_ns()
        for event in batch:
            self.number += 1
            stamp_sent(event, self._raw, self.epoch, self.number, now)
        if self._arbitrated:
            taken = self._log.arbitrate_for(self._name, self.epoch, before + 1, batch)
        else:
            taken = self._log.log_for(self._name, self.epoch, self.number, batch)
        if not taken:
            self.number = before
            raise OutboxFull(f"the log takes no more data; {self._name} publishes it again when there is room")

    def close(self) -> None:
        """Does nothing: this producer has no file or socket of its own to close."""


def claim(config: Config, names: Iterable[str]) -> None:
    """Ends the time of the guests' own processes: their outboxes, taken to the end before, go.

    Raises LogLocked when such a process runs: one of each.
    """
    for name in names:
        folders = config.outbox(name)
        if any(folder.is_dir() for folder in folders):
            LogWriter(folders, sync_ms=0).close()
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)


class HostedSubscription:
    """The `EventSubscription` of a hosted node: the log's backlog, then what the host hands over.

    `publishing()`: whether the node is in the middle of a call of its own that publishes, which what follows from it must not
    interrupt. `fail`: is given what the node raised about events in the call that logged them; it ends the process.
    """

    catch_ups = caught_up = 0
    deaf_s = 0.0  # a guest is judged by the process that hosts it

    def __init__(
        self,
        host: Host,
        config: Config,
        lanes: frozenset[Lane],
        after: int,
        stop: asyncio.Event,
        publishing: Callable[[], bool],
        fail: Callable[[BaseException], None],
    ):
        self._publishing = publishing
        self._fail = fail
        self._handle: Callable[[list[Event]], None] | None = None  # called at once, where the node follows in that way
        self._host = host
        self._config = config
        self._lanes = lanes
        self._kinds = frozenset(int(kind) for kind, lane in LANE_OF_KIND.items() if lane in lanes)
        self._stop = stop
        self._queue: deque[list[Event]] = deque()
        self._queued = 0
        self._behind = True
        self._wake = asyncio.Event()
        self.seq = after

    @property
    def durable_seq(self) -> int:
        return self._host.log.durable

    @property
    def log_id(self) -> int:
        return self._host.log.log_id

    @property
    def lag(self) -> int:
        return self._host.log.last - self.seq if self._queue else 0

    def backlog(self) -> Iterator[list[Event]]:
        """What is in the log now and has not been given out."""
        last = self._host.log.last
        for events in history(self._config, self.seq, self._lanes, last):
            self.seq = events[-1].seq
            yield events
        self.seq = max(self.seq, last)

    def enqueue(self, events: list[Event]) -> None:
        """Keeps what of a logged batch is of these lanes, for the node to come for; hands it on where the node waits for it."""
        kinds, seq = self._kinds, self.seq
        mine = [event for event in events if event.kind in kinds and event.seq > seq]
        if mine and self._handle is not None and not (self._behind or self._queue or self._publishing()):
            self.seq = mine[-1].seq
            try:
                self._handle(mine)
            except Exception as error:  # noqa: BLE001 - not the fault of whoever logged these events, who might let it pass
                self._fail(error)
            return
        if mine and not self._behind:
            self._queue.append(mine)
            self._queued += len(mine)
            if self._queued > QUEUE_EVENTS:
                self._behind = True
        if mine:
            self._wake.set()

    async def follow(self, handle: Callable[[list[Event]], None]) -> None:
        """Calls `handle` with the backlog, then with each list in the call that logged it."""
        self._handle = handle
        async for events in self:
            handle(events)

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        self._host.first.append(self.enqueue)
        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(lambda _: self._wake.set())
        try:
            while not self._stop.is_set():
                if self._behind:
                    self._queue.clear()
                    self._queued = 0
                    for events in self.backlog():
                        yield events
                        await asyncio.sleep(0)
                    self._behind = self.seq < self._host.log.last
                    continue
                self._wake.clear()
                while self._queue:
                    events = self._queue.popleft()
                    self._queued -= len(events)
                    if events[-1].seq > self.seq:
                        fresh = [event for event in events if event.seq > self.seq]
                        self.seq = events[-1].seq
                        yield fresh
                if not self._behind:
                    await self._wake.wait()
        finally:
            stopped.cancel()
            self._host.first.remove(self.enqueue)


class HostedContext(Context):
    """The `Context` of a node in the sequencer's process: it publishes to the log itself and subscribes to its host."""

    hosted = True

    def __init__(self, config: Config, guest: "Guest", host: Host, stop: asyncio.Event, owner: Context):
        super().__init__(config, guest.name, guest.instance)
        self.stop = stop
        self._owner = owner
        self.host = host
        self._producer: HostedProducer = HostedProducer(host.log, guest.name, guest.arbitrated)
        self._publishing = False

    def publish(self, events: list[bytearray]) -> None:
        """Logs the events; what follows from them in this process has happened when it returns. Raises OutboxFull."""
        before, self._publishing = self._publishing, True
        try:
            if events:
                self._producer.publish(events)
        finally:
            self._publishing = before
        if self._subscriptions:  # it acts outside, and has perhaps sent what it says
            self.host.rest()

    def ready(self, sources: str = "", **more: Any) -> None:
        """As every node's. What a guest has loaded stays for good: the garbage collector need not look at it again."""
        if not self._ready:
            super().ready(sources, **more)
            gc.collect()
            gc.freeze()

    def fail(self, error: BaseException) -> None:
        """What ends a guest ends its host."""
        self._owner.fail(error)

    def subscribe(self, kinds: Iterable[Kind], after_seq: int) -> HostedSubscription:
        """The events of the kinds' lanes with a seq above `after_seq`, other kinds of the same lanes too."""
        lanes = lanes_of(tuple(kinds))
        subscription = HostedSubscription(
            self.host, self.config, lanes, after_seq, self.stop, lambda: self._publishing, self.fail
        )
        self._subscriptions.append(subscription)
        return subscription


class Guest(NamedTuple):
    """A node to be hosted: `run` imports it, which takes its time and is done when it begins, and gives its work.

    `outboxes`: names under which its own process may have left one. `arbitrated`: what it publishes are a line's copies.
    `trades`: it orders, or has orders at a venue, and may be ended before its host.
    """

    name: str
    instance: str
    run: Callable[[HostedContext], Coroutine[Any, Any, None]]
    outboxes: tuple[str, ...]
    arbitrated: bool = False
    trades: bool = False


class HostedNodes:
    """The nodes that the sequencer's process hosts (`Guests`). `owner`: the sequencer's context.

    A step that fails is put out (hosted_steps.py). Another guest's bug ends the process: supervisord brings all of it back.
    """

    def __init__(self, owner: Context, guests: list[Guest]):
        self._owner = owner
        self._guests = guests
        self._stop, self._trading_stop = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._contexts: list[HostedContext] = []
        self._stalls: HostedStalls | None = None
        self._arming: asyncio.Task[None] | None = None

    @property
    def outboxes(self) -> frozenset[str]:
        """The names under which the guests' own processes may have left an outbox."""
        return frozenset(name for guest in self._guests for name in guest.outboxes)

    def start(self, log: OpenLog) -> None:
        """Takes over from the guests' own processes. Raises LogLocked when such a process runs."""
        owner = self._owner
        claim(owner.config, self.outboxes)
        host = Host(log)
        names = [guest.name for guest in self._guests]
        self._stalls = host.stalls = HostedStalls(owner.config.run_dir, names, hosted_bound_s(owner.config))
        self._stalls.begin()
        self._arming = owner.own(self._stalls.stay_armed(), "stall watch")
        for guest in self._guests:
            stop = self._trading_stop if guest.trades else self._stop
            ctx = HostedContext(owner.config, guest, host, stop, owner)
            self._contexts.append(ctx)
            self._tasks.append(owner.own(guest.run(ctx), guest.name))

    def cancel(self) -> None:
        """Where the sequencer failed they are still there, and have no log."""
        for task in self._tasks:
            task.cancel()

    def end_trading(self) -> None:
        """Asks sessions and executor among them to end; the others go on."""
        self._trading_stop.set()

    async def end(self) -> None:
        self._trading_stop.set()
        self._stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stalls is not None and self._arming is not None:
            self._arming.cancel()
            self._stalls.end()
        for ctx in self._contexts:
            await ctx.close()


def hosted_bound_s(config: Config) -> float:
    """The processor time that a hosted step has for one list of events, s."""
    return min(STALL_S, HOSTED_SHARE * config.sentinel.heartbeat_s)
