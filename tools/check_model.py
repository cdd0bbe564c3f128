"""`mesh check-model`: tries models in a process of its own, on made events and with bounds checked; `mesh up` does it, too.

What a kernel breaks there breaks nothing else. A model that was tried is not tried again until something that it depends on has
changed: tried.json, beside the machine code (run/kernels).
"""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.files import process_stat, write_file
from tickmesh.bus.settings import ModelSettings
from tickmesh.nodes.model import refused
from tickmesh.nodes.models import loading
from tickmesh.nodes.models.cache import base_folder, sources_hash
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err, out

TIMEOUT_S = 120.0  # of processor time for all of it, compilation too
WAIT_S = 60.0  # so long it may wait without using the processor; one that a busy machine does not let run is not waiting
NEWS_S = 15.0  # how often a person is told that it goes on
POLL_S = 0.5
CALL_S = 10.0  # of processor time for one list of made events, as for one of a live model
_FRAME = re.compile(r'File "([^"]+)", line ([0-9]+) in ')  # of faulthandler, the innermost first
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
    result = tried(config, [KernelTrial(kernel, settings, found[0].features if found else ())], timeout_s)[0]
    if result["ok"]:
        _remember_good(config, kernel, [model for model in found if model.parameters == settings])
    return result


def _remember_good(config: Config, kernel: str, models: Sequence[ModelSettings]) -> None:
    """Takes notice that these models, of a kernel by its name or file, can run: what refused them does so no more."""
    loading.use_folder(config)
    with contextlib.suppress(ConfigError):
        if not kernel.endswith(".py") or loading.file_of(Path(kernel).stem) == Path(kernel).resolve():
            refused.keep(config, [refused.key_of(model) for model in models], {})


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
        word = json.dumps(trial._asdict())
        limits = str(math.ceil(timeout_s)), str(CALL_S)
        command = [sys.executable, "-m", "tickmesh.nodes.model.trial", str(config.root), *limits, word]
        code, shown, dump = _run(command, trial.kernel)
        if code == 0:
            results += json.loads(shown.splitlines()[-1])
            continue
        if code is None:
            why = f"{trial.kernel}: it has waited for {WAIT_S:g} s without using the processor, for a file, a lock or a network"
        elif code in (-signal.SIGXCPU, -signal.SIGVTALRM):
            why = _endless(config, trial.kernel, dump, CALL_S if code == -signal.SIGVTALRM else math.ceil(timeout_s))
        else:
            why = f"{trial.kernel}: its process ended: {(dump.strip().splitlines() or [f'exit {code}'])[-1]}"
        results.append({"ok": False, "kernel": trial.kernel, "fault": why, "warnings": []})
    return results


def _run(command: list[str], kernel: str) -> tuple[int | None, str, str]:
    """(exit code, stdout, stderr) of a trial; the code is None where it waited too long, and was ended."""
    begun = news = active = time.monotonic()
    spent = 0
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=none, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    shown, dump = child.communicate(timeout=POLL_S)
                    return child.returncode, shown, dump
                now, stat = time.monotonic(), process_stat(child.pid)
                ticks = int(stat[11]) + int(stat[12]) if stat else spent
                if (stat and stat[0] == "R") or ticks > spent:
                    spent, active = ticks, now
                if now - active > WAIT_S:
                    return None, "", ""
                if now - news > NEWS_S:
                    news, used = now, ticks / os.sysconf("SC_CLK_TCK")
                    err.print(f"trying {kernel}: {now - begun:.0f} s so far, {used:.0f} s of processor time", markup=False)
        finally:
            child.kill()


def _endless(config: Config, kernel: str, dump: str, spent_s: float) -> str:
    """Why a trial was ended by the system, with file and line: from the stack that it has left."""
    loading.use_folder(config)
    try:
        path = Path(kernel).resolve() if kernel.endswith(".py") else loading.file_of(kernel)
    except ConfigError:
        return f"{kernel}: it has not ended within {spent_s:g} s of processor time"
    shown = loading.short(str(path))
    frames = _FRAME.findall(dump)
    within = f"it does not come back within {spent_s:g} s of processor time"
    if lines := [line for file, line in frames if Path(file) == path]:
        return f"{shown}:{lines[0]}: {within}: a loop here may have no end"
    if any("/numba/" in file for file, _ in frames):
        return f"{shown}: numba has not compiled it within {spent_s:g} s of processor time: --timeout gives it more"
    loops, _ = loading.loop_lines(path)
    if len(loops) == 1:
        return f"{shown}:{loops[0]}: {within}: this loop may have no end"
    whiles = f" (`while` is in lines {', '.join(map(str, loops))})" if loops else ""
    return f"{shown}: {within}: a loop in it may have no end{whiles}"


def check_models(config: Config, announce: Callable[[str], None]) -> dict[str, str]:
    """Tries the models of mesh.toml that have not been tried as they are: name → why it cannot run, which is announced too."""
    faults = faults_of(config, config.models)
    for name, why in faults.items():
        announce(f"model-{name} cannot run: {why}. All else is started.")
    return faults


def faults_of(config: Config, models: Iterable[ModelSettings]) -> dict[str, str]:
    """Tries those of these models that have not been tried as they are: name → why it cannot run, and no process runs it."""
    loading.use_folder(config)
    memory = base_folder(config) / "tried.json"
    known = _read(memory)
    faults: dict[str, str] = {}
    bad: dict[str, str] = {}
    good = []
    for model in models:
        key = refused.key_of(model)
        if key and key in known:
            good.append(key)
            continue
        (result,) = tried(config, [KernelTrial(model.kernel, model.parameters, model.features)])
        if result["ok"]:
            good += [key] if key else []
        else:
            faults[model.name] = result["fault"]
            bad |= {key: result["fault"]} if key else {}
    refused.keep(config, good, bad)
    with contextlib.suppress(OSError):  # a full disk, or a folder that only another user writes: they are tried again then
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
