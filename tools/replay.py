"""`mesh replay`: the recorded events through the same steps again; they must publish what they published live, to the bit.

Compared are cause_seq, k and the record's bytes; not the times of the hops, which differ by nature. A step that was
started with other code or parameters is compared from the start of the present ones on; its state follows from the whole
history all the same, so the events have to begin with seq 1.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.tools import terminal

SOURCES = ("all", "log", "archive")


class Published(NamedTuple):
    """One event that a step published. Sorted by (cause_seq, k), then by node."""

    cause_seq: int
    k: int
    node: str
    payload: bytes  # the record, without the header


def steps(config: Config, with_executor: bool = True) -> dict[str, Any]:
    """Builds the steps that mesh.toml names, fresh: node name → step."""
    out: dict[str, Any] = {f"model-{one.name}": model.Step(config, one.name) for one in config.models}
    if with_executor and config.executor.enabled:
        out["executor"] = executor.Step(config, "")
    return out


def run_steps(nodes: dict[str, Any], events: Iterable[Event], batch: int) -> Iterator[Published]:
    """Hands events to the steps in lists of `batch`; gives everything that they publish."""
    iterator = iter(events)
    while chunk := list(islice(iterator, batch)):
        for node, step in nodes.items():
            for raw in step.step(chunk):
                event = decode(raw)
                yield Published(event.cause_seq, event.k, node, bytes(event.body))


def signals(config: Config, events: Iterable[Event], batch: int = 4096) -> list[Published]:
    """Runs every model of mesh.toml over `events`; gives the signals in order of (cause_seq, k, node).

    `events`: from seq 1 on, in order, of any source: the log, the archive, a list. The answer does not depend on `batch`.
    """
    return sorted(run_steps(steps(config, with_executor=False), events, batch))


class LiveOutput:
    """Collects from the log what one node published live, since it began to run its present code and parameters."""

    def __init__(self, identity: dict[str, Any]):
        self.identity = identity
        self.published: list[Published] = []
        self.others = 0  # published by other code or parameters
        self.after = (0, -1)  # the last of those
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
            self.same_code = same
        elif event.kind in (Kind.signal, Kind.intent):
            self.published.append(Published(event.cause_seq, event.k, event.producer, bytes(event.body)))


def compare(config: Config, events: Iterable[Event], batch: int = 4096) -> terminal.JsonObject:
    """Runs the steps over `events`, from seq 1 on, and compares what they publish with what they published live.

    {"ok", "events", "models": {node: …}, "executor": …}; each … as `_verdict` gives it.
    """
    fresh = steps(config)
    lives = {node: LiveOutput(step.identity()) for node, step in fresh.items()}
    replayed: dict[str, list[Published]] = {node: [] for node in fresh}
    seen = [0, 0]

    def listen() -> Iterator[Event]:
        for event in events:
            if not seen[0] and event.seq != 1:
                raise terminal.Failure(
                    f"the first event there is has seq {event.seq}; a replay needs the whole history, from seq 1"
                )
            seen[0], seen[1] = seen[0] + 1, event.seq
            live = lives.get(event.producer)
            if live is not None:
                live.take(event)
            yield event

    for one in run_steps(fresh, listen(), batch):
        replayed[one.node].append(one)
    verdicts = {node: _verdict(node, lives[node], replayed[node]) for node in fresh}
    models = {node.removeprefix("model-"): verdict for node, verdict in verdicts.items() if node != "executor"}
    ok = all(verdict["ok"] for verdict in verdicts.values())
    result = {"ok": ok, "events": seen[0], "last_seq": seen[1], "batch": batch, "models": models}
    return result | ({"executor": verdicts["executor"]} if "executor" in verdicts else {})


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
    mine = {one[:2]: one.payload for one in to_compare if one[:2] <= last}
    theirs = {one[:2]: one.payload for one in live.published}
    twice = len(live.published) - len(theirs)
    keys = sorted(mine.keys() | theirs.keys())
    different = next((key for key in keys if mine.get(key) != theirs.get(key)), None)
    equal = sum(mine.get(key) == payload for key, payload in theirs.items())
    unsaid = len(to_compare) - len(mine)
    kind = Kind.intent if node == "executor" else Kind.signal
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
            "live": _readable(kind, theirs.get(different)),
            "replayed": _readable(kind, mine.get(different)),
        },
    }


def _readable(kind: Kind, payload: bytes | None) -> dict[str, Any] | None:
    if payload is None:
        return None
    dtype = DTYPES[kind]
    row = np.frombuffer(payload, dtype, 1)[0].item()
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


def replay(source: str = "all", batch: int = 4096) -> terminal.JsonObject:
    """Replays this folder's events; gives what `--json` prints. Raises terminal.Failure with a sentence."""
    if source not in SOURCES:
        raise terminal.UsageFailure(f"{source!r} is no source of events; there are {', '.join(SOURCES)}")
    if batch < 1:
        raise terminal.UsageFailure(f"a batch of {batch} events is impossible; 1 or more are")
    from tickmesh.bus.segments import LogError
    from tickmesh.storage.archive.file import ArchiveError
    from tickmesh.storage.query.reader import ReadError

    config = terminal.config()
    try:
        result = compare(config, source_events(config, source), batch)
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
        word = "the same" if one["ok"] else "DIFFERENT"
        more = f", {one['unsaid']} after the last live one" if one["unsaid"] else ""
        more += f", {one['other']} of other code or parameters not compared" if one["other"] else ""
        terminal.out.print(f"  {name:<12} {word}: {one['equal']} of {one['live']} live ones equal{more}")
        if not one["same_code"]:
            terminal.out.print("    what ran last had other code or parameters than there are now")
        if one["first_difference"]:
            terminal.out.print(f"    first difference: {one['first_difference']}")
