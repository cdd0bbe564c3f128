"""The check: fresh steps over what was recorded, and what they publish beside what was published live, stretch by stretch.

Each stretch is replayed with the code and parameters that its `run` event names, as far as the present code can be them; the
last one with those that there are now, since it is what goes on.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner.step import K_MAX, ColumnStep
from tickmesh.research.identities import EXECUTOR, Identity, StepMaker, changed, present, recorded
from tickmesh.storage.columns.span import ColumnSpan
from tickmesh.tools import terminal
from tickmesh.tools.replaying.divergence import Diverged, inputs, readable
from tickmesh.tools.replaying.recording import RecordedEvents, of_kinds, running_s
from tickmesh.tools.replaying.steps import DERIVED, Faults, Published, kinds_of, run_on_columns, run_steps
from tickmesh.tools.replaying.stretches import (
    BEFORE_ALL,
    WHOLE,
    Difference,
    LiveOutput,
    ReplayedPart,
    Stretch,
    StretchComparison,
    compare_stretch,
    earliest,
)

SPOKEN = (Kind.run, *DERIVED)
SILENCE_MAX_S = 60.0  # a restart, with its replay, takes a fraction of it; what hangs is restarted by a sentinel long before


class Checked(NamedTuple):
    """A stretch and what came of it. `now`: compared with the present step; `then`: with the one that its `run` event names.

    One of them is None, or both: `why_not` says why it is compared with none. `silent_s`: how long before its end, in seconds
    of the log, the first event lies to which it had an answer that it did not publish; 0 where there is none.
    """

    stretch: Stretch
    now: StretchComparison | None
    then: StretchComparison | None
    why_not: str
    changes: list[str]
    silent_s: float

    @property
    def judged(self) -> StretchComparison | None:
        """What the verdict rests on."""
        return self.now or self.then


class ReplayCheck:
    """Steps of mesh.toml, and of the `run` events there are, over a recording; and what the same nodes published live.

    `only`: names of models, and `executor`; none for all. `batch`: events are given in lists of so many; None: as columns.
    `silence_max_s`: whoever had something to publish for longer, by the log, and did not, has hung, or was stopped.
    """

    def __init__(
        self, config: Config, recording: RecordedEvents, batch: int | None, part: ReplayedPart = WHOLE,
        only: Sequence[str] = (), silence_max_s: float = SILENCE_MAX_S,
    ):  # fmt: skip
        self.config, self.recording, self.batch, self.part = config, recording, batch, part
        self.silence_max_s = silence_max_s
        self.faults: Faults = {}
        self.lives: dict[str, LiveOutput] = {}
        self.makers: dict[str, StepMaker] = {}  # by label: the node's name for the present step, else `_label`
        self.refused: dict[str, str] = {}  # label → why there is no such step
        self.events = self.last_seq = 0
        nodes = nodes_of(config, only)
        runs = self._runs(nodes)
        for node in nodes:
            self._prepare(node, runs[node])
        self.replayed: dict[str, list[Published]] = {label: [] for label in self.makers}

    def _runs(self, nodes: list[str]) -> dict[str, list[Event]]:
        runs: dict[str, list[Event]] = {node: [] for node in nodes}
        for event in of_kinds(self.recording, (Kind.run,)):
            if event.producer in runs:
                runs[event.producer].append(event)
        return runs

    def _prepare(self, node: str, runs: list[Event]) -> None:
        """Notes how the steps of a node are made: the present one, and one for each other identity that ran."""
        try:
            now = self.makers[node] = present(self.config, node)
        except ModelFault as fault:
            self.faults[node] = str(fault)
            return
        self.lives[node] = LiveOutput(now.identity, self.part)
        for event in runs:
            content = event.map()
            identity = {name: content.get(name) for name in now.identity}
            label = _label(node, identity)
            if identity == now.identity or label in self.makers or label in self.refused:
                continue
            made = recorded(self.config, now, identity)
            if isinstance(made, str):
                self.refused[label] = made
            else:
                self.makers[label] = made

    def run(self) -> terminal.JsonObject:
        """Replays, and compares: {"ok", "events", "last_seq", "batch", "models": {name: …}, "executor": …, "not_compared",
        "first_divergence"}; docs/replay.md has the rest. Raises Failure where the events do not begin with seq 1."""
        steps: dict[str, Any] = {}
        for label, maker in self.makers.items():
            steps[label] = step = maker.make()
            if isinstance(step, ColumnStep):
                step.careful = True
        columns, objects = kinds_of(steps)
        until = self.part.last
        if self.batch is None:
            spans = self.recording.spans(columns, objects | set(SPOKEN), 0, until)
            given = run_on_columns(steps, self._spans_seen(spans), self.faults)
        else:
            given = run_steps(steps, self._events_seen(self.recording.events(0, until)), self.batch, self.faults)
        for one in given:
            if self.part.has(one.cause_seq):
                self.replayed[one.node].append(one)
        self._read_on()
        for live in self.lives.values():
            live.finish()
        return self._result()

    def _events_seen(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            self._note(event.seq, event.seq)
            self._take(event)
            yield event

    def _spans_seen(self, spans: Iterable[ColumnSpan]) -> Iterator[ColumnSpan]:
        for span in spans:
            self._note(span.first, span.last)
            for event in span.events:
                self._take(event)
            yield span

    def _note(self, first: int, last: int) -> None:
        if not self.events and first != 1:
            raise terminal.Failure(f"the first event there is has seq {first}; a replay needs the whole history, from seq 1")
        self.events, self.last_seq = self.events + last - first + 1, last

    def _take(self, event: Event) -> None:
        if (live := self.lives.get(event.producer)) is not None:
            live.take(event)

    def _read_on(self) -> None:
        """What was published after the part of what is in it: until every node has said something of later events."""
        if self.part.last is None:
            return
        beyond = (self.part.last, K_MAX)
        for event in of_kinds(self.recording, SPOKEN, self.last_seq):
            if all(live.last > beyond for live in self.lives.values()):
                return
            self._take(event)

    def _result(self) -> terminal.JsonObject:
        checked = {node: self._checked(node, live) for node, live in self.lives.items()}
        verdicts = {node: self._verdict(node, found) for node, found in checked.items()}
        for label, fault in self.faults.items():
            node = label.partition(" ")[0]
            none = verdicts.get(node, _verdict_of([], True, self.silence_max_s))
            verdicts[node] = none | {"ok": False, "fault": fault, "first_difference": None}
        models = {node.removeprefix("model-"): one for node, one in verdicts.items() if node != EXECUTOR}
        diverged = self._diverged(checked)
        result = {
            "ok": all(one["ok"] for one in verdicts.values()),
            "events": self.events,
            "last_seq": self.last_seq,
            "batch": self.batch,
            "from_seq": self.part.first,
            "to_seq": self.part.last,
            "models": models,
            "not_compared": sum(one["other"] for one in verdicts.values()),
            "first_divergence": diverged and inputs(self.config, self.recording, self.batch, diverged),
        }
        return result | ({EXECUTOR: verdicts[EXECUTOR]} if EXECUTOR in verdicts else {})

    def _checked(self, node: str, live: LiveOutput) -> list[Checked]:
        out = []
        followers: list[Stretch | None] = [*live.stretches[1:], None]
        for stretch, following in zip(live.stretches, followers):
            is_present, label = live.is_present(stretch), _label(node, stretch.identity or {})
            now = compare_stretch(stretch, self.replayed[node], following) if is_present or following is None else None
            then = None
            if not is_present and label in self.makers:
                then = compare_stretch(stretch, self.replayed[label], following)
            changes = [] if is_present or stretch.identity is None else changed(stretch.identity, live.present)
            why_not = self.refused.get(label, "") if not is_present else ""
            silent_s = self._silent_s(now or then, following)
            out.append(Checked(stretch, now, then, why_not, changes, silent_s))
        return out

    def _silent_s(self, judged: StretchComparison | None, following: Stretch | None) -> float:
        """How long a node had something to publish and did not: until its next `run` event, or the end of what is replayed.

        A time in which the mesh was down is not counted."""
        if judged is None or not judged.unpublished:
            return 0.0
        end = following.run_seq if following is not None else self.last_seq
        return running_s(self.recording, judged.unpublished_from, end)

    def _verdict(self, node: str, found: list[Checked]) -> terminal.JsonObject:
        silent = self.lives[node].last == BEFORE_ALL
        has_spoken = not silent or not any(one.judged and one.judged.replayed for one in found)
        return _verdict_of(found, has_spoken, self.silence_max_s)

    def _diverged(self, checked: dict[str, list[Checked]]) -> Diverged | None:
        """The difference that comes first in the log, of whatever node."""
        found: list[tuple[str, Difference]] = []
        for node, stretches in checked.items():
            if node not in self.faults and (difference := _first(stretches)) is not None:
                found.append((node, difference))
        first = earliest(found)
        if first is None:
            return None
        node, difference = first
        one = next(one for one in checked[node] if one.judged is not None and one.judged.difference is difference)
        label = node if one.now is not None else _label(node, one.stretch.identity or {})
        return Diverged(self.makers[label], difference, one.stretch.identity, one.changes, one.then if one.now else None)


def nodes_of(config: Config, only: Sequence[str] = ()) -> list[str]:
    """The nodes that are replayed: models in the order of mesh.toml, then the executor where it is enabled.

    Raises UsageFailure for a name that is neither."""
    known = {one.name: f"model-{one.name}" for one in config.models}
    if config.executor.enabled:
        known.setdefault(EXECUTOR, EXECUTOR)
    for name in only:
        if name not in known:
            raise terminal.UsageFailure(f"{name!r} is no model of mesh.toml; there are {', '.join(known)}")
    return [node for name, node in known.items() if not only or name in only]


def _label(node: str, identity: Identity) -> str:
    return f"{node} {json.dumps(identity, sort_keys=True)}"


def _first(stretches: list[Checked]) -> Difference | None:
    return next((one.judged.difference for one in stretches if one.judged is not None and one.judged.difference), None)


def _verdict_of(found: list[Checked], has_spoken: bool, silence_max_s: float) -> terminal.JsonObject:
    """
    live, replayed     how many there are to compare
    equal              how many are the same in cause_seq, k, instrument and every byte
    unsaid             replayed ones after the last live one: the log ends before the node published them
    silent_s           for how long, by the log, it had published nothing of those; `silent`: longer than is allowed, so it is a
                       difference
    twice              live ones that were published more than once
    other              live ones of other code, or of settings that cannot be made again, which are not compared
    same_code          what ran last was this code with these parameters
    stretches          the same by stretch: what ran, and with what it was compared
    first_difference   null, or cause_seq and k with the records of both sides (null where there is none)
    """
    judged = [one.judged for one in found if one.judged is not None]
    different = _first(found)
    silent_s = max((one.silent_s for one in found), default=0.0)
    return {
        "ok": has_spoken and silent_s <= silence_max_s and all(one.is_equal for one in judged),
        "live": sum(one.live for one in judged),
        "replayed": sum(one.replayed for one in judged),
        "equal": sum(one.equal for one in judged),
        "unsaid": sum(one.unpublished for one in judged),
        "unsaid_from": next((one.unpublished_from for one in judged if one.unpublished), 0),
        "silent_s": silent_s,
        "silent": silent_s > silence_max_s,
        "twice": sum(one.twice for one in judged),
        "other": sum(len(one.stretch.published) for one in found if one.judged is None),
        "same_code": not found or not found[-1].changes,
        "stretches": [_stretch(one) for one in found],
        "first_difference": different
        and {
            "cause_seq": different.key[0],
            "k": different.key[1],
            "live": readable(different.live),
            "replayed": readable(different.replayed),
        },
    }


def _stretch(one: Checked) -> terminal.JsonObject:
    identity = one.stretch.identity or {}
    judged = one.judged
    return {
        "run_seq": one.stretch.run_seq,
        "after_cause": one.stretch.after[0],
        "code": identity.get("code"),
        "parameters": identity.get("parameters"),
        "compared_with": "now" if one.now else "then" if one.then else None,
        "why_not": one.why_not if judged is None else "",
        "changes": one.changes,
        "live": len(one.stretch.published),
        "equal": judged.equal if judged else None,
        "equal_then": one.then.equal if one.then else None,
        "unsaid": judged.unpublished if judged else None,
    }
