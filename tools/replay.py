"""`mesh replay`: the recorded events through the same steps again; they must publish what they published live, to the bit.

Models take columns, without an object for an event; with --batch they take events in lists, as a live process does.

Compared are cause_seq, k and the record's bytes; not the times of the hops, which differ by nature. A step that was
started with other code or parameters is compared from the start of the present ones on; its state follows from the whole
history all the same, so the events have to begin with seq 1.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, SIGNAL, Kind
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner.step import K_MAX, ColumnStep
from tickmesh.storage.columns.span import ColumnSpan
from tickmesh.tools import terminal

if TYPE_CHECKING:
    import pandas

SOURCES = ("all", "log", "archive")
DERIVED = (*model.WRITES, *executor.WRITES)  # what is compared


class Published(NamedTuple):
    """One event that a step published. Sorted by (cause_seq, k), then by node."""

    cause_seq: int
    k: int
    node: str
    payload: bytes  # the record, without the header
    kind: Kind


def steps(config: Config, with_executor: bool = True) -> dict[str, Any]:
    """Builds the steps that mesh.toml names, fresh: node name → step."""
    out: dict[str, Any] = {f"model-{one.name}": model.Step(config, one.name) for one in config.models}
    if with_executor and config.executor.enabled:
        out["executor"] = executor.Step(config, "")
    return out


Faults = dict[str, str]  # node → why it cannot go on


def put_out(nodes: dict[str, Any], node: str, fault: ModelFault, faults: Faults | None) -> None:
    """Takes a step that has failed out of `nodes` and notes why in `faults`; raises `fault` where there are none."""
    if faults is None:
        raise fault
    faults[node] = str(fault)
    del nodes[node]


def run_steps(nodes: dict[str, Any], events: Iterable[Event], batch: int, faults: Faults | None = None) -> Iterator[Published]:
    """Hands events to the steps in lists of `batch`; gives everything that they publish. `faults`: as `put_out` takes them."""
    iterator = iter(events)
    while chunk := list(islice(iterator, batch)):
        for node, step in tuple(nodes.items()):
            try:
                given = step.step(chunk)
            except ModelFault as fault:
                put_out(nodes, node, fault, faults)
                continue
            for raw in given:
                event = decode(raw)
                yield Published(event.cause_seq, event.k, node, bytes(event.body), Kind(event.kind))


def run_on_columns(nodes: dict[str, Any], spans: Iterable[ColumnSpan], faults: Faults | None = None) -> Iterator[Published]:
    """Hands spans to the steps, or their events to those that take no columns; gives everything that they publish.

    `faults`: as `put_out` takes them."""
    for span in spans:
        for node, step in tuple(nodes.items()):
            if isinstance(step, ColumnStep):
                try:
                    given = step.step_span(span)
                except ModelFault as fault:
                    put_out(nodes, node, fault, faults)
                    continue
                size, bodies = SIGNAL.itemsize, given["record"].tobytes()
                for i, (cause_seq, k) in enumerate(zip(given["cause_seq"].tolist(), given["k"].tolist())):
                    yield Published(cause_seq, k, node, bodies[i * size : (i + 1) * size], Kind.signal)
            else:
                yield from run_steps({node: step}, span.events, max(len(span.events), 1))


def kinds_of(nodes: dict[str, Any]) -> tuple[set[Kind], set[Kind]]:
    """(kinds that these steps need as columns, kinds that they need as events)."""
    columns = {kind for step in nodes.values() if isinstance(step, ColumnStep) for kind in step.kinds}
    return columns, set() if all(isinstance(step, ColumnStep) for step in nodes.values()) else set(executor.READS)


def signals(config: Config, source: str = "all") -> "pandas.DataFrame":
    """Runs every model of mesh.toml over what is recorded; gives the signals in order of (cause_seq, k, model), one a row.

    Index and columns are those of tools/signal_frame.py, and `model`. `source`: all (the archive, then the log),
    log, or archive.
    """
    import pandas

    from tickmesh.tools.signal_frame import signal_frame

    frames = []
    for one in config.models:
        step = model.Step(config, one.name)
        frames.append(signal_frame(step, source_spans(config, source, step.kinds, ())).assign(model=one.name))
    together = pandas.concat(frames) if frames else pandas.DataFrame()
    return together.sort_values(["cause_seq", "k", "model"], kind="stable") if frames else together


class LiveOutput:
    """Collects from the log what one node published live, since it began to run its present code and parameters."""

    def __init__(self, identity: dict[str, Any]):
        self.identity = identity
        self.published: list[Published] = []
        self.others = 0  # published by other code or parameters
        self.after = (0, -1)  # the last of those, or of what came before it published anything
        self.warm_after = 0  # its state is of events beyond this: LOOKBACK_S in the kernel's file
        self.same_code = True  # the last run event names our own

    def take(self, event: Event) -> None:
        """Adds one event of the node; they come in order."""
        if event.kind == Kind.run:
            content = event.map()
            same = all(content.get(key) == value for key, value in self.identity.items())
            if not same or not self.same_code:  # what lies between two runs was published by the earlier one
                self.others += len(self.published)
                self.after = max([self.after, *(one[:2] for one in self.published)])
                self.published = []
            if same and "publishes_after" in content:  # what it would have said before it was there is not published
                self.after = max(self.after, (content["publishes_after"], K_MAX))
                self.others += sum(one[:2] <= self.after for one in self.published)
                self.published = [one for one in self.published if one[:2] > self.after]
            self.warm_after = content.get("warm_after", 0)
            self.same_code = same
        elif event.kind in DERIVED:
            payload = bytes(event.body)
            self.published.append(Published(event.cause_seq, event.k, event.producer, payload, Kind(event.kind)))


class ReplayedSteps:
    """Fresh steps of mesh.toml, what the same nodes published live, and what the steps publish again."""

    def __init__(self, config: Config):
        self.faults: Faults = {}
        self.steps: dict[str, Any] = {}
        for one in config.models:
            self.add(f"model-{one.name}", partial(model.Step, config, one.name))
        if config.executor.enabled:
            self.add("executor", partial(executor.Step, config, ""))
        self.lives = {node: LiveOutput(step.identity()) for node, step in self.steps.items()}
        self.replayed: dict[str, list[Published]] = {node: [] for node in self.steps}
        self.events = self.last_seq = 0

    def add(self, node: str, make: Callable[[], Any]) -> None:
        """Makes a step, or notes why it cannot be made."""
        try:
            step = self.steps[node] = make()
        except ModelFault as fault:
            self.faults[node] = str(fault)
        else:
            if isinstance(step, ColumnStep):
                step.careful = True

    def events_seen(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events, from seq 1 on, after a look at them. Raises Failure where they begin later."""
        for event in events:
            self.note(event.seq, event.seq)
            self.take_live(event)
            yield event

    def spans_seen(self, spans: Iterable[ColumnSpan]) -> Iterator[ColumnSpan]:
        """`events_seen` of spans, in which everything that the nodes published stands as events."""
        for span in spans:
            self.note(span.first, span.last)
            for event in span.events:
                self.take_live(event)
            yield span

    def note(self, first: int, last: int) -> None:
        if not self.events and first != 1:
            raise terminal.Failure(f"the first event there is has seq {first}; a replay needs the whole history, from seq 1")
        self.events, self.last_seq = self.events + last - first + 1, last

    def take_live(self, event: Event) -> None:
        if (live := self.lives.get(event.producer)) is not None:
            live.take(event)

    def result(self, published: Iterable[Published], batch: int | None) -> terminal.JsonObject:
        """{"ok", "events", "models": {node: …}, "executor": …}; each … as `_verdict` gives it."""
        for one in published:
            self.replayed[one.node].append(one)
        verdicts = {node: _verdict(node, self.lives[node], self.replayed[node]) for node in self.steps}
        empty = _verdict("", LiveOutput({}), [])
        for node, fault in self.faults.items():
            verdicts[node] = verdicts.get(node, empty) | {"ok": False, "fault": fault, "first_difference": None}
        models = {node.removeprefix("model-"): verdict for node, verdict in verdicts.items() if node != "executor"}
        ok = all(verdict["ok"] for verdict in verdicts.values())
        result = {"ok": ok, "events": self.events, "last_seq": self.last_seq, "batch": batch, "models": models}
        return result | ({"executor": verdicts["executor"]} if "executor" in verdicts else {})


def compare(config: Config, events: Iterable[Event], batch: int = 4096) -> terminal.JsonObject:
    """Runs the steps over `events`, from seq 1 on, and compares what they publish with what they published live."""
    both = ReplayedSteps(config)
    return both.result(run_steps(dict(both.steps), both.events_seen(events), batch, both.faults), batch)


def compare_lists(config: Config, source: str, batch: int) -> terminal.JsonObject:
    """`compare` over the events of a source, as `source_events` names them."""
    return compare(config, source_events(config, source), batch)


def compare_columns(config: Config, source: str) -> terminal.JsonObject:
    """`compare` over the columns of a source, as `source_spans` names them."""
    both = ReplayedSteps(config)
    columns, objects = kinds_of(both.steps)
    spans = source_spans(config, source, columns, objects | {Kind.run, *DERIVED})
    return both.result(run_on_columns(dict(both.steps), both.spans_seen(spans), both.faults), None)


def _verdict(node: str, live: LiveOutput, replayed: list[Published]) -> terminal.JsonObject:
    """
    live, replayed     how many there are to compare
    equal              how many are the same in cause_seq, k and every byte
    unsaid             replayed ones after the last live one: the log ends before the node published them
    twice              live ones that were published more than once
    other              live ones of other code or parameters, which are not compared
    same_code          what ran last was this code with these parameters
    first_difference   null, or cause_seq and k with the records of both sides (null where there is none)
    """
    last = live.published[-1][:2] if live.published else (0, -1)
    to_compare = [one for one in replayed if one[:2] > live.after]
    mine = {one[:2]: one for one in to_compare if one[:2] <= last}
    theirs = {one[:2]: one for one in live.published}
    twice = len(live.published) - len(theirs)
    keys = sorted(mine.keys() | theirs.keys())
    different = next((key for key in keys if mine.get(key) != theirs.get(key)), None)
    equal = sum(mine.get(key) == one for key, one in theirs.items())
    unsaid = len(to_compare) - len(mine)
    return {
        "ok": different is None and not twice and (bool(theirs) or not to_compare),
        "live": len(live.published),
        "replayed": len(to_compare),
        "equal": equal,
        "unsaid": unsaid,
        "twice": twice,
        "other": live.others,
        "same_code": live.same_code,
        "first_difference": different
        and {
            "cause_seq": different[0],
            "k": different[1],
            "live": _readable(theirs.get(different)),
            "replayed": _readable(mine.get(different)),
        },
    }


def _readable(one: Published | None) -> dict[str, Any] | None:
    if one is None:
        return None
    dtype = DTYPES[one.kind]
    if not dtype.names:
        return dict(msgpack.unpackb(one.payload))
    row = np.frombuffer(one.payload, dtype, 1)[0].item()
    return {name: _plain(value) for name, value in zip(dtype.names or (), row, strict=True)}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return None if isinstance(value, float) and math.isnan(value) else value


def source_events(config: Config, source: str) -> Iterable[Event]:
    """Reads the events of a source. all: the archive, then the log; log: the log alone; archive: the archive alone."""
    if source == "log":
        from tickmesh.bus.log import LogReader

        return LogReader(config.log_dir).events()
    from tickmesh.storage.archive import reader as archive
    from tickmesh.storage.query import reader

    if source == "archive":
        return archive.ArchiveReader(config.archive_dir).events()
    return reader.events(config)


def source_spans(config: Config, source: str, columns: Iterable[Kind], objects: Iterable[Kind]) -> Iterator[ColumnSpan]:
    """Reads the columns of a source, with some kinds as events; sources as in `source_events`."""
    from tickmesh.storage.columns import archive, log, reading

    if source == "log":
        return log.LogColumns(config.log_dir, columns, objects).spans()
    if source == "archive":
        return archive.ArchiveColumns(config.archive_dir, columns, objects).spans()
    return reading.spans(config, columns, objects)


def replay(source: str = "all", batch: int | None = None) -> terminal.JsonObject:
    """Replays this folder's events, by columns or in lists of `batch`; gives what `--json` prints.

    Raises terminal.Failure with a sentence."""
    if source not in SOURCES:
        raise terminal.UsageFailure(f"{source!r} is no source of events; there are {', '.join(SOURCES)}")
    if batch is not None and batch < 1:
        raise terminal.UsageFailure(f"a batch of {batch} events is impossible; 1 or more are")
    from tickmesh.bus.segments import LogError
    from tickmesh.storage.archive.file import ArchiveError
    from tickmesh.storage.query.reader import ReadError

    config = terminal.config()
    try:
        result = compare_columns(config, source) if batch is None else compare_lists(config, source, batch)
    except (ReadError, ArchiveError, LogError) as error:
        raise terminal.Failure(str(error)) from None
    if not result["events"]:
        where = {"log": config.log_dir, "archive": config.archive_dir}.get(source, config.source_dir)
        advice = "it is cut about once a minute and at mesh down" if source == "archive" else "start the mesh with: mesh up"
        raise terminal.Failure(f"there is no event in {where}; {advice}")
    return result | {"source": source}


def show(result: terminal.JsonObject) -> None:
    """Prints the comparison for a person."""
    nodes = dict(result["models"])
    if "executor" in result:
        nodes["executor"] = result["executor"]
    terminal.out.print(f"replayed {result['events']} events up to seq {result['last_seq']}")
    for name, one in nodes.items():
        word = "FAILS" if "fault" in one else "the same" if one["ok"] else "DIFFERENT"
        more = f", {one['unsaid']} after the last live one" if one["unsaid"] else ""
        more += f", {one['other']} of other code or parameters not compared" if one["other"] else ""
        terminal.out.print(f"  {name:<12} {word}: {one['equal']} of {one['live']} live ones equal{more}")
        if "fault" in one:
            terminal.out.print(f"    it cannot run to the end: {one['fault']}", markup=False)
        if not one["same_code"]:
            terminal.out.print("    what ran last had other code or parameters than there are now")
        if one["first_difference"]:
            terminal.out.print(f"    first difference: {one['first_difference']}")
