"""Runs a pure step from its checkpoint on: what it published before is not published again.

A step that begins anew on a log with a past (new code, other parameters) brings its state up to date and publishes nothing of
that past, unless it is asked to: its `run` event says from where on it publishes (`publishes_after`).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tickmesh.bus.checkpoint import Checkpoint, CheckpointWriter
from tickmesh.bus.clock import elapsed_ns, now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event, cause_of, stamp_received
from tickmesh.storage.columns.span import ColumnSpan

K_MAX = (1 << 32) - 1


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

    lookback_ns: int  # how much of the past its state depends on; 0: all of it
    publishes_past: bool  # whether what it would have published before it was there is published
    careful: bool  # True while it is given history: it may take some more time for each list, to find the place of a fault

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that it needs columns of."""

    def step_span(self, span: ColumnSpan) -> np.ndarray:
        """What the span causes, in order of the fields `cause_seq` and `k`."""

    def encoded(self, signals: np.ndarray) -> list[bytearray]:
        """Some of what `step_span` gave, as the events that `step` gives."""

    def state_bytes(self) -> bytes:
        """What it remembers: where this is equal for two of the same code and parameters, so is all that they give later."""

    def complaint(self) -> str:
        """What the operator has to know of its outputs since the last call, a sentence; "" for nothing."""


@runtime_checkable
class UrgentStep(PureStep, Protocol):
    """A step whose answers come in two parts: what somebody outside waits for, and the rest. Together they are `step`'s."""

    def step_first(self, events: list[Event]) -> list[bytearray]:
        """The first answers to `events`; `step_rest` has to be called before the step is given anything else."""

    def step_rest(self) -> list[bytearray]:
        """What the events of the last `step_first` cause besides."""


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
        self.history_lanes = lanes_of((*module.READS, *module.WRITES, Kind.run))
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
        self.checkpoint_seq = self.seq  # up to where a checkpoint spared it the log; 0: there was none
        if isinstance(self.step, ColumnStep):
            self.step.careful = True
        self._urgent = self.step if isinstance(self.step, UrgentStep) else None
        self._begun_ns = 0  # elapsed time when the list that is worked on was given
        self.published = (0, -1)  # by the outbox or by the log
        self._given = (0, -1)  # by the step itself, published or not
        self._unpublished: deque[bytearray] = deque()
        self.replayed = 0
        self.warm_after = 0  # the first event of its state is beyond this; 0: it is of all events
        # It publishes what events beyond this cause; None: as far as is known it has not run before, and publishes no past.
        anew = isinstance(self.step, ColumnStep) and not self.step.publishes_past and not self.seq
        self._publishes_after: int | None = None if anew else 0
        self._outbox_runs: list[Event] = []

    def note_published(self, event: Event) -> None:
        """One of the step's own events, in its outbox or in the log."""
        if event.cause_seq:
            self.published = max(self.published, (event.cause_seq, event.k))
        elif event.kind == Kind.run:
            self._outbox_runs.append(event)

    def _read_back(self, event: Event) -> None:
        """One of the step's own events, in the log."""
        if event.cause_seq:
            place = event.cause_seq, event.k
            self.published = max(self.published, place)
            self.checkpoints.read_back(place, event.seq)
        elif event.kind == Kind.run:
            self._read_run(event)

    def _read_run(self, event: Event) -> None:
        """An earlier life began here: with this code and these parameters, or others."""
        if not isinstance(self.step, ColumnStep) or self.step.publishes_past:
            return
        content, identity = event.map(), self.step.identity()
        if all(content.get(name) == value for name, value in identity.items() if name != "instruments"):
            self._publishes_after = content.get("publishes_after", self._publishes_after)
        else:
            self._publishes_after = None
            self._unpublished.clear()

    def _step(self, events: list[Event]) -> list[bytearray]:
        return self._note_given(self.step.step(events))

    def _note_given(self, given: list[bytearray]) -> list[bytearray]:
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
        given = self._step(mine) if mine else []
        if self._publishes_after is not None:
            self._unpublished += given
        if events:
            self.seq = events[-1].seq
        self._forget_published()

    @property
    def _last(self) -> tuple[int, int]:
        """The last (cause_seq, k) that is not to be published: it is already, or was before its time."""
        return max(self.published, (self._publishes_after, K_MAX)) if self._publishes_after else self.published

    def _forget_published(self) -> None:
        """Lets go of the events at the front that are published, or that nobody is to be given."""
        waiting, last = self._unpublished, self._last
        while waiting and cause_of(waiting[0]) <= last:
            waiting.popleft()

    def replay_span(self, step: ColumnStep, span: ColumnSpan) -> None:
        """`replay` of a span, with the runner's step: its own events are in `span.events`."""
        for event in span.events:
            if event.producer == self.name:
                self._read_back(event)
        self.replayed += sum(len(columns.rows) for columns in span.subjects)
        given = step.step_span(span)
        if len(given):
            self._given = max(self._given, (int(given["cause_seq"][-1]), int(given["k"][-1])))
            if self._publishes_after is not None:
                cause_seq, k = self._last
                later = (given["cause_seq"] > cause_seq) | ((given["cause_seq"] == cause_seq) & (given["k"].astype("i8") > k))
                self._unpublished += step.encoded(given[later])
        self.seq = span.last
        self._forget_published()

    def unpublished(self) -> list[bytearray]:
        """At the end of history: the step's events that are still to be published. From now on it is live."""
        for event in self._outbox_runs:
            self._read_run(event)
        self._forget_published()
        rest = list(self._unpublished)
        self._unpublished.clear()
        if isinstance(self.step, ColumnStep):
            self.step.careful = False
        return rest

    def begin_warm(self, after: int) -> None:
        """Takes notice that the state is of events beyond `after` alone: at most what those cause is published."""
        self.warm_after = after
        if self._publishes_after is not None:
            self._publishes_after = max(self._publishes_after, after)

    def begun(self) -> dict[str, Any]:
        """What the `run` event has of how it began: read after `unpublished`."""
        begun: dict[str, Any] = {"replayed": self.replayed, "resumed_seq": self.seq, "checkpoint_seq": self.checkpoint_seq}
        if self.warm_after:
            begun |= {"warm_after": self.warm_after, "publishes_after": self._publishes_after}
        return begun | ({"publishes_after": self.seq} if self._publishes_after is None else {})

    def live(self, events: list[Event]) -> list[bytearray]:
        """The step's answers to events that have just been read, with the time at which that was."""
        return self.live_first(events) + self.live_rest()

    def live_first(self, events: list[Event]) -> list[bytearray]:
        """Gives those answers of `live` that somebody outside waits for; `live_rest` gives the others, after it."""
        self._begun_ns = elapsed_ns()
        kinds, name = self.kinds, self.name
        mine = []
        for event in events:
            if event.kind in kinds:
                mine.append(event)
            if event.producer == name:
                self._read_back(event)
        self.seq = events[-1].seq
        if not mine:
            return []
        return self._stamped(self.step.step(mine) if self._urgent is None else self._urgent.step_first(mine))

    def live_rest(self) -> list[bytearray]:
        """The answers that `live_first` has not given."""
        return self._stamped(self._urgent.step_rest()) if self._urgent is not None else []

    def _stamped(self, given: list[bytearray]) -> list[bytearray]:
        if given:  # most lists have no answer, and need no time
            recv_ns = now_ns() - (elapsed_ns() - self._begun_ns)
            for own in given:
                stamp_received(own, recv_ns)
            self._note_given(given)
        return given

    def offer_checkpoint(self) -> None:
        """Offers the present state to the checkpoint writer, which takes a snapshot now and then."""
        self.checkpoints.offer(self.seq, self.step.save, self._given)
