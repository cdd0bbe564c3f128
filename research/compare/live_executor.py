"""The executor of a live run: what it published, and the steps that it was, each over the whole recording."""

from bisect import bisect_left
from typing import Any

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.runner.step import K_MAX
from tickmesh.research.compare.numbering import SEQ_BITS
from tickmesh.research.identities import EXECUTOR, StepMaker, present, recorded

Key = tuple[int, int]
BEFORE_ALL: Key = (0, -1)


class LiveExecutor:
    """Its settings may have changed: every step that it was is given every event, and the one that ran then answers.

    `notes`: sentences about what cannot be as it was.
    """

    name = EXECUTOR

    def __init__(self, config: Config):
        self._config = config
        self._now: StepMaker = present(config, EXECUTOR)
        self._published: dict[Key, tuple[int, str, bytes]] = {}
        self._from: list[Key] = []  # after which place each answers
        self._last = BEFORE_ALL
        self._labels: list[bytes] = []
        self._steps: dict[bytes, Any] = {}
        self._live: dict[bytes, Any] = {}
        self._makers: dict[bytes, StepMaker] = {}
        self.notes: list[str] = []
        self.intents = 0

    def note(self, event: Event) -> None:
        """Notes an event of the log, in order; before the first `step`."""
        if event.producer != EXECUTOR:
            return
        key = event.cause_seq, event.k
        if event.kind == Kind.run:
            self._begin(event.map())
        elif event.kind in (Kind.intent, Kind.command) and key not in self._published:
            self._published[key] = event.kind, event.subject, bytes(event.body)
            self.intents += event.kind == Kind.intent
            self._last = max(self._last, key)

    def _begin(self, content: dict[str, Any]) -> None:
        identity = {name: content.get(name) for name in self._now.identity}
        label = msgspec.json.encode(identity)
        if self._labels and label == self._labels[-1]:
            return
        maker: StepMaker | str = self._now if identity == self._now.identity else recorded(self._config, self._now, identity)
        if isinstance(maker, str):
            self.notes.append(f"an executor ran that is not the present one, which decides in its place: {maker}")
            maker = self._now
        if label not in self._steps:
            self._steps[label], self._makers[label] = maker.make(), maker
        after = int(content.get("publishes_after", 0)), K_MAX
        self._from.append(max(after, self._last) if self._from else BEFORE_ALL)
        self._labels.append(label)

    def step(self, event: Event) -> list[Event]:
        """Gives an event to all; the answers are those of the one that ran then: intents and commands."""
        if not self._steps:
            self._begin(dict(self._now.identity))
        found = []
        for label, step in self._steps.items():
            for raw in step.step([event]):
                answer = Event(raw)
                answer.producer = EXECUTOR
                if answer.kind in (Kind.intent, Kind.command):
                    key = answer.cause_seq >> SEQ_BITS, answer.k
                    if self._labels[max(bisect_left(self._from, key) - 1, 0)] == label:
                        found.append(answer)
        return found

    def follow_live(self, event: Event) -> None:
        """Gives an event of the recording to steps beside, which see all that was."""
        if not self._live:
            if not self._steps:
                self._begin(dict(self._now.identity))
            self._live = {label: self._makers[label].make() for label in self._steps}
        for step in self._live.values():
            step.step([event])

    def go_on_as_live(self) -> None:
        """The steps know from here on what those know that see all that was."""
        for label, step in self._live.items():
            self._steps[label].load(step.save())

    def has_published(self, key: Key, answer: Event, body: bytes) -> bool:
        """Whether it published just this live."""
        return self._published.get(key) == (answer.kind, answer.subject, body)

    def published(self, key: Key) -> tuple[int, str, bytes] | None:
        """What it published live at a place: kind, instrument, records; None: nothing."""
        return self._published.get(key)
