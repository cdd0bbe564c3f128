"""`Context`, which a node's `run` is given: it publishes and subscribes for the node, sends its heartbeat, and owns its tasks.

The same node runs alone, with an outbox and sockets, or hosted by the sequencer's process, where `HostedContext` in
nodes/runner/hosting.py gives it the log itself. `EventProducer` and `EventSubscription` are what both have in common.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from tickmesh.bus import clock
from tickmesh.bus.checkpoint import Checkpoint
from tickmesh.bus.config import Config
from tickmesh.bus.files import write_over
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_follower import LogFollower, UnhurriedSubscription
from tickmesh.bus.names import HOT_PATH, MESH
from tickmesh.bus.operator_log import log_alert, log_line
from tickmesh.bus.schema import SCHEMA_HASH, Kind
from tickmesh.bus.sockets import OutboxFull, Producer, Subscriber
from tickmesh.bus.space import is_full, refusal
from tickmesh.bus.spinning import Spinning, spinning_of
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event, encode

HEALTH_S = 1.0
READY_BYTES = 160  # of a file in run/ready
REFUSAL_BYTES = 4096  # of the raw input that a refusal keeps; the length is kept as well


Result = TypeVar("Result")


class NodeFault(Exception):
    """Why a node cannot work, as a sentence for the operator."""


class Stopped(NodeFault):
    """Why a node ends for good: it would be the same at every start. An alert has been raised."""


def die_with_parent() -> None:
    """Killing supervisord must not leave its children behind: the kernel sends SIGTERM when the parent dies."""
    parent = os.getppid()
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise NodeFault("the parent died before this process was up")


class EventProducer(Protocol):
    """Publishes one node's events: to its outbox (`Producer`) or, hosted, to the log itself (`HostedProducer`)."""

    rings_lost: int

    @property
    def spills(self) -> int:
        """How often the outbox went on on disk, for RAM had no room."""

    @property
    def epoch(self) -> int:
        """Which life of the numbers this is."""

    @property
    def number(self) -> int:
        """That of the last event published in this epoch."""

    def publish(self, batch: list[bytearray], /) -> None:
        """Stamps and appends the events; on file when it returns. Raises OutboxFull, and then nothing was published."""

    def close(self) -> None: ...


class EventSubscription(Protocol):
    """Gives one node the events of some lanes, once and in order: over a socket (`Subscription`), from the log's file
    (`UnhurriedSubscription`), or hosted.

    `backlog()` gives what is in the log now; `async for` goes on from there, until the node is stopped.
    """

    @property
    def seq(self) -> int:
        """All events of these lanes up to this seq have been given out."""

    @property
    def durable_seq(self) -> int:
        """The log is on disk up to this seq."""

    @property
    def log_id(self) -> int: ...

    @property
    def lag(self) -> int:
        """How many events of the log there are up to the newest of these lanes that has not been given out; 0 if none."""

    @property
    def deaf_s(self) -> float:
        """For how long the node has been busy with what it was given."""

    @property
    def catch_ups(self) -> int:
        """How often events were missed on the socket and read from the log."""

    @property
    def caught_up(self) -> int:
        """How many events that were."""

    def backlog(self) -> Iterable[list[Event]]: ...

    def __aiter__(self) -> AsyncIterator[list[Event]]: ...

    async def follow(self, handle: Callable[[list[Event]], None]) -> None:
        """Calls `handle` with each list that `async for` would give, until the node is stopped: hosted at once, in the call
        that logged it, unless that call is the node's own."""


class Subscription:
    """`async for events in subscription`: lists of events of the lanes, once and in order. Ends when the node is stopped."""

    def __init__(self, subscriber: Subscriber, stop: asyncio.Event, spinning: Spinning | None = None):
        self._subscriber = subscriber
        self._spinning = spinning
        self._stop = stop
        self._readable = asyncio.Event()
        self._readable.set()
        self._asked: float | None = None  # when the node last came for more (monotonic seconds); None: it does not read

    @property
    def seq(self) -> int:
        return self._subscriber.seq

    @property
    def durable_seq(self) -> int:
        return self._subscriber.durable_seq

    @property
    def log_id(self) -> int:
        return self._subscriber.log_id

    @property
    def catch_ups(self) -> int:
        return self._subscriber.catch_ups

    @property
    def caught_up(self) -> int:
        return self._subscriber.caught_up

    @property
    def lag(self) -> int:
        """How many events of the log there are up to the newest of these lanes that has not been handed out; 0 if none."""
        return max(self._subscriber.head - self._subscriber.seq, 0)

    @property
    def deaf_s(self) -> float:
        """For how long the node has been busy with what it was given; it comes for more at least every second."""
        return time.monotonic() - self._asked if self._asked is not None else 0.0

    def backlog(self) -> Iterable[list[Event]]:
        """What is in the log now; `async for` goes on from there."""
        return self._subscriber.backlog()

    async def follow(self, handle: Callable[[list[Event]], None]) -> None:
        """Calls `handle` with each list of events as it comes."""
        async for events in self:
            handle(events)

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        loop = asyncio.get_running_loop()
        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(lambda _: self._readable.set())
        loop.add_reader(self._subscriber.fd, self._readable.set)
        try:
            while not self._stop.is_set():
                self._asked = time.monotonic()
                self._readable.clear()
                if events := self._subscriber.drain():
                    more = self._subscriber.may_have_more  # ZeroMQ's descriptor is edge-triggered: drain until nothing comes
                    if self._spinning is not None:
                        self._spinning.go_on()
                    yield events
                    if more:
                        await asyncio.sleep(0)  # while more and more comes, the heartbeat has its turn as well
                        continue
                    self._asked = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):  # wait_for can swallow a cancellation (Python 3.11)
                        await self._readable.wait()
        finally:
            self._asked = None
            loop.remove_reader(self._subscriber.fd)
            stopped.cancel()
            self._subscriber.close()


class Context:
    """What a node in a process of its own is given; docs/nodes.md lists the members."""

    hosted = False

    def __init__(self, config: Config, name: str, instance: str = ""):
        self.config = config
        self.name = name
        self.instance = instance
        clock.follow(config.log_dir)
        self._begun_ns = clock.now_ns()
        self.stop = asyncio.Event()
        self.counters: dict[str, Any] = {}
        self.ask_counters: Callable[[], dict[str, Any]] = dict  # more of them, counted when a `health` event is made
        self.checkpoint = Checkpoint(config.checkpoint_dir, name)
        self._producer: EventProducer | None = None
        self._subscriptions: list[EventSubscription] = []
        self.spinning = spinning_of(config.latency.spin_us if name.partition("-")[0] in HOT_PATH else 0)
        self._ready = False
        self._unwritten = ""  # of run/ready, what a full disk has not taken
        self._ready_refused = False
        self._refusals = 0
        self._caught_up = 0  # what its operator's log has of it
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failure: BaseException | None = None  # what ends this process: the first fault that nobody else saw

    def own(self, work: Coroutine[Any, Any, Result], name: str | None = None) -> asyncio.Task[Result]:
        """Runs `work` beside the node. A fault in it ends the process; at `close` it is cancelled."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Ends the node because of a fault in one of its tasks or callbacks; whoever runs it raises `failure` then."""
        if self.failure is None:
            self.failure = error
        self.stop.set()

    def guard(self, loop: asyncio.AbstractEventLoop) -> None:
        """A fault in a callback of the loop (a timer, a socket's reader) ends the process too; what networks do does not."""

        def on_fault(loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
            loop.default_exception_handler(what)
            error = what.get("exception")
            if error is not None and not isinstance(error, OSError | asyncio.CancelledError):
                self.fail(error)

        loop.set_exception_handler(on_fault)

    @property
    def producer(self) -> EventProducer:
        """What publishes this node's events; its outbox is opened when it is asked for first."""
        if self._producer is None:
            self._producer = Producer(self.config, self.name)
        return self._producer

    def publish(self, events: list[bytearray]) -> None:
        """Appends to the outbox, then rings. On file when it returns. Raises OutboxFull."""
        if events:
            self.producer.publish(events)
            if self.spinning is not None:
                self.spinning.go_on()

    def subscribe(self, kinds: Iterable[Kind], after_seq: int) -> EventSubscription:
        """The events of the kinds' lanes with a seq above `after_seq`, other kinds of the same lanes too."""
        subscription = Subscription(Subscriber(self.config, lanes_of(tuple(kinds)), after_seq), self.stop, self.spinning)
        self._subscriptions.append(subscription)
        return subscription

    def read_log(self, kinds: Iterable[Kind], after_seq: int, every_s: float) -> UnhurriedSubscription:
        """The events of exactly these kinds with a seq above `after_seq`, read from the log's file every `every_s`."""
        subscription = UnhurriedSubscription(LogFollower(self.config, tuple(kinds), after_seq), self.stop, every_s)
        self._subscriptions.append(subscription)
        return subscription

    def refuse(self, subject: str, why: str, raw: bytes) -> None:
        """Counts bad input from outside and publishes it as a `refusal` with its raw bytes. Never raises."""
        self._refusals += 1
        content = {"node": self.name, "why": why, "raw": bytes(raw[:REFUSAL_BYTES]), "raw_bytes": len(raw)}
        with contextlib.suppress(OutboxFull):
            self.publish([encode(Kind.refusal, subject, content)])

    def resume(self) -> tuple[int, bytes] | None:
        """The seq and state of this node's checkpoint. None: it begins at the log's first event; an alert says why."""
        loaded = self.checkpoint.load(LogReader(self.config.log_dir))
        self.report_unused_checkpoint(loaded.unused)
        return (loaded.seq, loaded.state) if loaded.seq else None

    def report_unused_checkpoint(self, why: str) -> None:
        """Raises an alert about a checkpoint that is there and not used; nothing if `why` is empty."""
        if why:
            self.alert("warning", "checkpoint not used", why, "the log is read from its first event on")

    def alert(self, level: str, what: str, why: str, action: str) -> None:
        """Publishes an alert of this node and writes its line to the operator's log. Never raises."""
        self.alert_of(level, what, self.name, why, action)

    def alert_of(self, level: str, what: str, target: str, why: str, action: str) -> None:
        """Publishes an alert of this node about another thing, as `alert` does. Never raises."""
        alert = {"level": level, "what": what, "target": target, "why": why, "action": action}
        log_alert(self.name, alert)
        with contextlib.suppress(OutboxFull):
            self.publish([encode(Kind.alert, self.name, alert)])

    def ready(self, sources: str = "", **more: Any) -> None:
        """Publishes once, with `more`, that the node does its job; writes run/ready/<name>.json, starts the heartbeat.

        `sources`: a hash of the files of a person's own that it has loaded, for who asks whether they have changed since.
        """
        if self._ready:
            return
        self._ready = True
        ready: dict[str, int | str] = {
            "pid": os.getpid(),
            "ready_ns": clock.now_ns(),
            "wall_ns": clock.machine_wall_ns(),
            "hosted": self.hosted,
        }
        if sources:
            ready["sources"] = sources
        self._unwritten = json.dumps(ready).ljust(READY_BYTES)  # one of a longer pid can be written over a shorter one
        self._write_ready()
        mesh = os.environ.get(MESH, "")
        content = {
            "node": self.name, "pid": os.getpid(), "begun_ns": self._begun_ns, "mesh": mesh, "schema": SCHEMA_HASH,
            "mode": self.config.mode, **more,
        }  # fmt: skip
        with contextlib.suppress(OutboxFull):
            self.publish([encode(Kind.run, self.name, content)])
        facts = ", ".join(f"{key} {value}" for key, value in more.items() if isinstance(value, int | str))
        log_line(self.name, "info", f"is ready: {facts}" if facts else "is ready")
        self.own(self._heartbeat(), "heartbeat")

    def _write_ready(self) -> None:
        """Writes run/ready/<name>.json. On a full disk the node does its job all the same: it is tried again with each beat."""
        folder = self.config.run_dir / "ready"
        file, fresh = folder / f"{self.name}.json", folder / f"{self.name}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_text(self._unwritten)
                fresh.rename(file)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                if not is_full(error) or not file.exists():
                    raise
                write_over(file, self._unwritten.encode())  # in the blocks that the predecessor's has
        except OSError as error:
            if not is_full(error):
                raise NodeFault(f"{fresh} cannot be written: {refusal(error, folder)}") from None
            if not self._ready_refused:
                log_line(self.name, "warning", f"{file} cannot be written: {refusal(error, folder)}; it is tried again")
            self._ready_refused = True
            return
        self._unwritten = ""

    def health(self) -> dict[str, Any]:
        """What the next `health` event of this node holds: who it is, its counters, how it keeps up with the log."""
        content = {"node": self.name, "pid": os.getpid(), "refusals": self._refusals, **self.counters, **self.ask_counters()}
        if self._producer is not None:
            content["rings_lost"] = self._producer.rings_lost
            content["outbox_spills"] = self._producer.spills
        if self._subscriptions:
            content["lag"] = max(s.lag for s in self._subscriptions)
            content["deaf_s"] = round(max(s.deaf_s for s in self._subscriptions), 3)
            content["log_catch_ups"] = sum(s.catch_ups for s in self._subscriptions)
            content["log_caught_up"] = sum(s.caught_up for s in self._subscriptions)
        return content

    async def _heartbeat(self) -> None:
        while True:
            self._log_catch_up()
            if self._unwritten:
                self._write_ready()
            with contextlib.suppress(OutboxFull):
                self.publish([encode(Kind.health, self.name, self.health())])
            await asyncio.sleep(HEALTH_S)

    def _log_catch_up(self) -> None:
        """Writes how many events this node has read from the log, since its last heartbeat, for it had missed them."""
        caught_up = sum(subscription.caught_up for subscription in self._subscriptions)
        if caught_up > self._caught_up:
            log_line(
                self.name, "info", f"read {caught_up - self._caught_up} events from the log that it had missed on its socket"
            )
        self._caught_up = caught_up

    async def close(self) -> None:
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._producer is not None:
            self._producer.close()
