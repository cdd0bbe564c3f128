"""Tries a model on made events, as `mesh check-model` does in a process of its own: `python -m tickmesh.nodes.model.trial`.

Words: the mesh's folder, how many seconds of processor time it may take in all and for one import or list of events, the
kernel's name or file and its parameters as JSON.
One JSON object on stdout: see `tried`. What takes too much processor time is ended by the system: all of it with SIGXCPU, an
import or a list of events with SIGVTALRM. Compiled code lets no line of Python run, so where it was is on stderr, by
faulthandler.
"""

import faulthandler
import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Mesh, ModelSettings
from tickmesh.bus.wire import Event, cause_of
from tickmesh.nodes.model import made_events
from tickmesh.nodes.model.node import Step
from tickmesh.nodes.models import cache, loading
from tickmesh.nodes.models.faults import ModelFault

EVENTS = 4000
LISTS = (1, 7, 1024)


def tried(
    config: Config, kernel: str, parameters: dict[str, float], features: Sequence[str] = (), arm: Callable[[], object] = bool
) -> dict[str, Any]:
    """Runs a kernel over made events, in lists of different lengths; raises nothing for what is wrong with it.

    `features`: which of a kernel's FEATURES are wanted; none: all that it has. `arm` is called before its file is imported,
    when the kernel is compiled, and before each list of events.

    ok          whether it can run: it loads, breaks no rule, and gives the same however its events are cut into calls
    fault       why not, a sentence with file and line; "" if it can
    warnings    sentences: values that are no signals, a look-back that does not hold, no signal at all
    publishes   signal or feature
    events, signals, refused    of one run (signals: events of what it publishes); us_per_event: live, one event a call
    """
    result: dict[str, Any] = {"ok": False, "kernel": kernel, "fault": "", "warnings": [], "events": EVENTS}
    try:
        loading.use_folder(config)
        file = loading.find(kernel)
        chosen = tuple(features) or (("*",) if loading.gives_features(file.stem) else ())
        settings = ModelSettings("m", file.stem, parameters=parameters, features=chosen)
        _import(config, file, arm)
        step = Step(Config(Mesh(models=(settings,), paths=config.mesh.paths), config.root), "m", arm)
        publishes = "signal" if step.features is None else "feature"
        result |= {"file": loading.short(str(file)), "identity": step.identity(), "publishes": publishes}
        _run(step, result, arm)
    except (ModelFault, ConfigError) as error:
        result |= {"fault": str(error), "ok": False}
    return result


def _import(config: Config, file: Path, arm: Callable[[], object]) -> None:
    """Imports a kernel's file as one that has to come back soon; numba, and what it compiles, may take longer."""
    cache.use(config, file)  # which imports numba
    arm()
    loading.load(file.stem)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def _run(step: Step, result: dict[str, Any], arm: Callable[[], object]) -> None:
    """Runs the step over the same events in different lists, and compares."""
    events = made_events.events(EVENTS)
    step.careful = True
    outcomes = []
    for size in LISTS:
        step.reset()
        given = []
        for i in range(0, len(events), size):
            arm()
            given += [bytes(raw) for raw in step.step(events[i : i + size])]
        outcomes.append((size, given, step.states.save()))
    (size, given, state), *others = outcomes
    result |= {"signals": len(given), "refused": step.refused.count}
    if step.refused.count:
        result["warnings"].append(f"{step.refused.complaint()}: they are not published")
    if not given and not step.refused.count:
        result["warnings"].append("it says nothing for any of the made events")
    last = max((cause_of(bytearray(one))[0] for one in given), default=0)
    if last < events[len(events) // 2].seq and (lost := sorted({name for of in step.states.of for name in nans(of[0])})):
        since = f"after event {last} of {len(events)}" if given else "ever"
        result["warnings"].append(f"{', '.join(lost)} of STATE is NaN at the end, and it says nothing {since}: NaN stays NaN")
    for other, signals, end in others:
        if signals != given or end != state:
            place = next((cause_of(bytearray(a)) for a, b in zip(given, signals) if a != b), (0, 0))
            raise ModelFault(
                f"what it gives depends on how events are cut into calls, from event {place[0]} on (lists of {size} and of "
                f"{other}): whatever a later event needs has to be in STATE, and every output field written",
                result["file"],
            )
    if step.lookback_ns and not _looks_back(step, events, state, arm):
        declared = step.lookback_ns / 1e9
        result["warnings"].append(
            f"LOOKBACK_S = {declared:g} is too short: its state depends on older events; a warm start will replay the whole log"
        )
    step.careful = False
    arm()
    begun = time.perf_counter()
    for event in events:
        step.step([event])
    result |= {"ok": True, "us_per_event": round((time.perf_counter() - begun) / len(events) * 1e6, 2)}


def nans(records: np.ndarray) -> list[str]:
    """The fields of records that are NaN anywhere, those of a record within as `outer.inner`."""
    found = []
    for name in records.dtype.names or ():
        field = records[name]
        if field.dtype.names:
            found += [f"{name}.{inner}" for inner in nans(field)]
        elif field.dtype.kind == "f" and np.isnan(field).any():
            found.append(name)
    return found


def _looks_back(step: Step, events: list[Event], state: bytes, arm: Callable[[], object]) -> bool:
    """Whether the state at the end is the same without what is older than the look-back, as far as definitions are known."""
    since = events[-1].seq_ns - step.lookback_ns
    definitions = [event for event in events if event.kind == Kind.instrument and event.seq_ns < since]
    step.reset()
    arm()
    step.step([*definitions, *(event for event in events if event.seq_ns >= since)])
    same = step.states.save() == state
    step.reset()
    return same


def main(words: list[str]) -> int:
    root, seconds, call_s, *kernels = words
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # which SIGXCPU would leave
    for number in (signal.SIGXCPU, signal.SIGVTALRM):
        faulthandler.register(number, sys.stderr, all_threads=False, chain=True)
    arm = partial(signal.setitimer, signal.ITIMER_VIRTUAL, float(call_s))
    results = []
    for one in map(json.loads, kernels):
        results.append(tried(load(Path(root)), **one, arm=arm))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
