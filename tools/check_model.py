"""`mesh check-model`: tries models in a process of its own, on made events and with bounds checked; `mesh up` does it, too.

What a kernel breaks there breaks nothing else. A model that was tried is not tried again until something that it depends on has
changed: tried.json, beside the machine code (run/kernels).
"""

import hashlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import ModelSettings
from tickmesh.nodes.models import loading
from tickmesh.nodes.models.cache import base_folder, sources_hash, versions
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

TIMEOUT_S = 120.0  # of processor time for all of it, compilation too
PATIENCE = 10  # a machine that others use gives it that in so many times the time, or it is given up
KEPT = 100  # models that are known to be good; more where mesh.toml has more


class KernelTrial(NamedTuple):
    """What is tried: a kernel, by its name or file. `features`: of a kernel that has some; () for all of them."""

    kernel: str
    parameters: dict[str, float]
    features: tuple[str, ...] = ()


def check_model(config: Config, kernel: str, given: Sequence[str], timeout_s: float = TIMEOUT_S) -> JsonObject:
    """Tries one kernel, by its name or file; gives what `--json` prints. `given`: parameters as NAME=VALUE."""
    found = [model for model in config.models if model.kernel == Path(kernel).stem]
    settings = parameters_of(given) or (found[0].parameters if found else {})
    return tried(config, [KernelTrial(kernel, settings, found[0].features if found else ())], timeout_s)[0]


def parameters_of(given: Sequence[str]) -> dict[str, float]:
    """Reads NAME=VALUE words. Raises UsageFailure for one that is none."""
    parameters = {}
    for word in given:
        name, _, value = word.partition("=")
        try:
            parameters[name] = float(value)
        except ValueError:
            raise UsageFailure(f"{word!r} is no parameter; give NAME=NUMBER, like half_life_ms=200") from None
    return parameters


def tried(config: Config, kernels: Sequence[KernelTrial], timeout_s: float = TIMEOUT_S) -> list[JsonObject]:
    """Tries kernels one after the other in a process of its own; one result each, as nodes/model/trial.py gives it."""
    results: list[JsonObject] = []
    for trial in kernels:
        kernel, word = trial.kernel, json.dumps(trial._asdict())
        command = [sys.executable, "-m", "tickmesh.nodes.model.trial", str(config.root), str(math.ceil(timeout_s)), word]
        patience_s = PATIENCE * timeout_s
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            why = f"it was not done in {patience_s:g} s: the machine had no time for it, or it waits for something; try again"
            results.append({"ok": False, "kernel": kernel, "fault": f"{kernel}: {why}", "warnings": []})
            continue
        if done.returncode == -signal.SIGXCPU:
            spent = f"within {timeout_s:g} s of processor time"
            why = f"it has not come to an end of the made events {spent}: a loop in it may have no end"
            results.append({"ok": False, "kernel": kernel, "fault": f"{kernel}: {why}", "warnings": []})
        elif done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            results.append({"ok": False, "kernel": kernel, "fault": f"{kernel}: its process ended: {last}", "warnings": []})
        else:
            results += json.loads(done.stdout.splitlines()[-1])
    return results


def check_models(config: Config, announce: Callable[[str], None]) -> dict[str, str]:
    """Tries the models of mesh.toml that have not been tried as they are: name → why it cannot run, which is announced too."""
    faults = faults_of(config, config.models)
    for name, why in faults.items():
        announce(f"model-{name} cannot run: {why}. All else is started.")
    return faults


def faults_of(config: Config, models: Iterable[ModelSettings]) -> dict[str, str]:
    """Tries those of these models that have not been tried as they are: name → why it cannot run."""
    loading.use_folder(config)
    memory = base_folder(config) / "tried.json"
    known = _read(memory)
    faults: dict[str, str] = {}
    good = []
    for model in models:
        key = _key(model)
        if key and key in known:
            good.append(key)
            continue
        (result,) = tried(config, [KernelTrial(model.kernel, model.parameters, model.features)])
        if result["ok"]:
            good += [key] if key else []
        else:
            faults[model.name] = result["fault"]
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_file(memory, json.dumps(list(dict.fromkeys([*good, *known]))[: max(KEPT, len(good))]).encode())
    return faults


def sources_of(config: Config, kernel: str) -> str:
    """A hash of a kernel's file and those it imports, as they are now; "" where there is no such kernel."""
    loading.use_folder(config)
    try:
        return sources_hash(loading.file_of(kernel))
    except ConfigError:
        return ""


def _key(model: ModelSettings) -> str:
    """What a model's trial depends on, as a hash; "" where there is no such kernel."""
    try:
        made_of = sources_hash(loading.file_of(model.kernel))
    except ConfigError:
        return ""
    given = f"{sorted(model.parameters.items())}{sorted(model.features) or ''}"
    return hashlib.sha256(f"{made_of} {versions()} {given}".encode()).hexdigest()[:16]


def _read(memory: Path) -> list[str]:
    try:
        keys: list[str] = json.loads(memory.read_bytes())
        return keys
    except (OSError, ValueError):
        return []


def show(result: JsonObject) -> None:
    """Prints for a person what came of it."""
    if not result["ok"]:
        raise Failure(result["fault"])
    given = f"{result['signals']} {result['publishes']}s"
    counts = f"{given} for {result['events']} made events, {result['us_per_event']:g} µs an event"
    out.print(f"{result['file']}: it can run. {counts}.", markup=False)
    for warning in result["warnings"]:
        out.print(f"  {warning}", style="bold", markup=False)
