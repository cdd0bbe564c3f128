"""Runs a pure step from its checkpoint on: what it published before is not published again."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tickmesh.bus.checkpoint import Checkpoint, CheckpointWriter
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogReleased
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.topics import LANE_OF_KIND, Lane, lanes_of
from tickmesh.bus.wire import Event, cause_of, stamp_received
from tickmesh.storage.columns.span import ColumnSpan

COLUMNS_FROM = 100_000  # events of history: fewer are read as events before the columns' code is loaded


class PureStep(Protocol):
    """Signals or intents as a pure function of the log: the state and what is published follow from the events alone."""

    def step(self, events: list[Event]) -> list[bytearray]:
        """The events that `events` cause, in order of (cause_seq, k)."""

    def save(self) -> bytes:
        """The state after the last event."""

    def load(self, state: bytes) -> None:
        """Goes on where `save` was called. Raises ValueError for a state of other code or parameters."""

    def counters(self) -> dict[str, Any]:
        """Returns the counters by name that the node publishes in its `health` events; asked for when one is made."""

    def identity(self) -> dict[str, Any]:
        """What runs, code and parameters, for the node's `run` event."""


@runtime_checkable
class ColumnStep(PureStep, Protocol):
    """A step that takes columns too, with the same answers: what is long past is read in a fraction of the time."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that it needs columns of."""

    def step_span(self, span: ColumnSpan) -> np.ndarray:
        """What the span causes, in order of the fields `cause_seq` and `k`."""

    def encoded(self, signals: np.ndarray) -> list[bytearray]:
        """Some of what `step_span` gave, as the events that `step` gives."""


class StepModule(Protocol):
    """The module of a node that is a step (nodes/model/node.py, nodes/executor/node.py)."""

    @property
    def READS(self) -> tuple[Kind, ...]: ...  # noqa: N802 - the names of a node's table

    @property
    def WRITES(self) -> tuple[Kind, ...]: ...  # noqa: N802

    @property
    def Step(self) -> Callable[[Config, str], PureStep]: ...  # noqa: N802


class StepRunner:
    """Feeds one step with exactly the kinds that it reads, and knows which of its events are published.

    A derived producer publishes its events in order of (cause_seq, k). So the last one published, by the outbox or by the
    log, tells which of the regenerated ones are new.
    """

    def __init__(self, module: StepModule, config: Config, name: str, instance: str):
        self.name = name
        self.writes = module.WRITES
        self.kinds = frozenset(int(kind) for kind in module.READS)
        self.lanes = lanes_of(module.READS + module.WRITES)  # its own events too: they tell what it has said
        self.checkpoints = CheckpointWriter(Checkpoint(config.checkpoint_dir, name), config.checkpoint_s)
        self.step = module.Step(config, instance)
        self.seq = 0
        loaded = self.checkpoints.checkpoint.load(LogReader(config.log_dir))
        self.unused = loaded.unused  # why there is a checkpoint and it is none, for `Context.report_unused_checkpoint`
        if loaded.seq:
            try:
                self.step.load(loaded.state)
                self.seq = loaded.seq
            except ValueError as error:  # other code, parameters, or instruments: from the beginning
                self.step = module.Step(config, instance)
                self.unused = f"{self.checkpoints.checkpoint.path} is not used: {error}"
        self.published = (0, -1)  # by the outbox or by the log
        self._given = (0, -1)  # by the step itself, published or not
        self._unpublished: list[bytearray] = []
        self.replayed = 0

    def note_published(self, event: Event) -> None:
        """One of the step's own events, in its outbox or in the log."""
        if event.cause_seq:
            self.published = max(self.published, (event.cause_seq, event.k))

    def _read_back(self, event: Event) -> None:
        """One of the step's own events, in the log."""
        if event.cause_seq:
            place = event.cause_seq, event.k
            self.published = max(self.published, place)
            self.checkpoints.read_back(place, event.seq)

    def _step(self, events: list[Event]) -> list[bytearray]:
        given = self.step.step(events)
        if given:
            self._given = max(self._given, cause_of(given[-1]))
        return given

    def replay(self, events: list[Event]) -> None:
        """History: the step's state follows; its events are kept until it is known which of them were published."""
        mine = []
        for event in events:
            if event.kind in self.kinds:
                mine.append(event)
            if event.producer == self.name:
                self._read_back(event)
        self.replayed += len(mine)
        if mine:
            self._unpublished += self._step(mine)
        if events:
            self.seq = events[-1].seq
        if len(self._unpublished) > 10_000:
            self._unpublished = [event for event in self._unpublished if cause_of(event) > self.published]

    def replay_span(self, step: ColumnStep, span: ColumnSpan) -> None:
        """`replay` of a span, with the runner's step: its own events are in `span.events`."""
        for event in span.events:
            if event.producer == self.name:
                self._read_back(event)
        self.replayed += sum(len(columns.rows) for columns in span.subjects)
        given = step.step_span(span)
        if len(given):
            self._given = max(self._given, (int(given["cause_seq"][-1]), int(given["k"][-1])))
            cause_seq, k = self.published
            later = (given["cause_seq"] > cause_seq) | ((given["cause_seq"] == cause_seq) & (given["k"].astype("i8") > k))
            self._unpublished += step.encoded(given[later])
        self.seq = span.last

    def unpublished(self) -> list[bytearray]:
        """At the end of history: the step's events that are still to be published."""
        rest = [event for event in self._unpublished if cause_of(event) > self.published]
        self._unpublished = []
        return rest

    def live(self, events: list[Event]) -> list[bytearray]:
        mine = []
        for event in events:
            if event.kind in self.kinds:
                mine.append(event)
            if event.producer == self.name:
                self._read_back(event)
        self.seq = events[-1].seq
        if not mine:
            return []
        recv_ns = now_ns()
        fresh = self._step(mine)
        for own in fresh:
            stamp_received(own, recv_ns)
        return fresh

    def offer_checkpoint(self) -> None:
        """Offers the present state to the checkpoint writer, which takes a snapshot now and then."""
        self.checkpoints.offer(self.seq, self.step.save, self._given)


def catch_up(config: Config, runner: StepRunner, stop: Callable[[], bool] = lambda: False) -> None:
    """Brings the runner to the log's present end, or until `stop()`: a long way by columns if its step takes them."""
    step = runner.step
    if isinstance(step, ColumnStep) and LogReader(config.log_dir).last - runner.seq >= COLUMNS_FROM:
        for span in column_history(config, runner.seq, step.kinds, runner.writes):
            runner.replay_span(step, span)
            if stop():
                return
    for events in history(config, runner.seq, runner.lanes):
        runner.replay(events)
        if stop():
            return


def column_history(config: Config, after: int, kinds: tuple[Kind, ...], objects: tuple[Kind, ...]) -> Iterator[ColumnSpan]:
    """`history` as spans of columns of `kinds`, with the events of `objects`."""
    from tickmesh.storage.columns import log, reading  # compiled, and rarely needed

    try:
        for span in log.LogColumns(config.log_dir, kinds, objects).spans(after):
            yield span
            after = span.last
    except LogReleased:
        yield from reading.spans(config, kinds, objects, after)


def history(config: Config, after: int, lanes: Iterable[Lane], until: int | None = None) -> Iterator[list[Event]]:
    """The log after `after`, as lists; from the archive on where the log has been released."""
    wanted = frozenset(lanes)
    try:
        for chunk in _chunks(LogReader(config.log_dir).events(after, until), wanted):
            yield chunk
            after = chunk[-1].seq
    except LogReleased:  # also in the middle, when the recorder releases what is being read
        from tickmesh.storage.query import reader  # heavy, and rarely needed

        yield from _chunks(reader.events(config, after, until), wanted)


def _chunks(events: Iterable[Event], lanes: frozenset[Lane]) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    for event in events:
        if LANE_OF_KIND[event.kind] in lanes:
            chunk.append(event)
        if len(chunk) >= 4096:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def run_step(ctx: Context, module: StepModule) -> None:
    """A step as a process of its own."""
    runner = StepRunner(module, ctx.config, ctx.name, ctx.instance)
    ctx.producer.publish([])  # opens the outbox, which cuts off a torn tail
    outbox = LogReader(ctx.config.outbox(ctx.name))  # all of it: its end alone may be a heartbeat
    for event in outbox.events(outbox.first - 1):
        runner.note_published(event)
    catch_up(ctx.config, runner, ctx.stop.is_set)
    if ctx.stop.is_set():
        return
    subscription = ctx.subscribe(module.READS + module.WRITES, runner.seq)
    for events in subscription.backlog():
        runner.replay(events)
    unpublished = runner.unpublished()
    ctx.publish(unpublished)
    ctx.report_unused_checkpoint(runner.unused)
    ctx.ask_counters = runner.step.counters
    ctx.ready(**runner.step.identity(), replayed=runner.replayed, resumed_seq=runner.seq)
    async for events in subscription:
        fresh = runner.live(events)
        while fresh and not ctx.stop.is_set():
            try:
                ctx.publish(fresh)
                break
            except OutboxFull:  # a derived producer may wait: the log does not run away
                await asyncio.sleep(0.1)
        runner.offer_checkpoint()
        runner.checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, ctx.own)
