"""A whole mesh in a test: up, look, kill, wait, down. Everything through the commands that users have."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from tests.support.command_run import PROGRAMS, run_here
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind

# At the top of a mesh.toml: nobody trades or looks. What is recorded of a market needs no models, executor, session, gateway.
MARKET_ALONE = "models = []\nexecutor.enabled = false\ngateway.enabled = false\n"


def command(root: Path, program: str, *words: object, timeout: float = 240) -> subprocess.CompletedProcess:
    """Runs a command of the mesh under `root`: `mesh` and `tap` in this process, another as `process` does.

    A process of its own costs half a second of CPU before it begins, and a mesh's test asks a dozen times.
    """
    if program in PROGRAMS:
        return run_here(root, program, *words)
    return process(root, program, *words, timeout=timeout)


def process(root: Path, program: str, *words: object, timeout: float = 240) -> subprocess.CompletedProcess:
    """Runs a command of the mesh under `root` in a process of its own, as a person does."""
    return subprocess.run(
        [str(root / ".venv/bin" / program), *map(str, words)], cwd=root, capture_output=True, text=True, timeout=timeout
    )


def ok(root: Path, program: str, *words: object, timeout: float = 240, alone: bool = False) -> subprocess.CompletedProcess:
    """Runs a command that must succeed, in a process `alone` or as `command` does."""
    done = (process if alone else command)(root, program, *words, timeout=timeout)
    assert done.returncode == 0, f"{program} {words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{logs(root)}"
    return done


def ok_json(root: Path, program: str, *words: object, timeout: float = 240, alone: bool = False) -> dict:
    """Runs a command that must succeed with `--json`; gives what it printed."""
    return json.loads(ok(root, program, *words, "--json", timeout=timeout, alone=alone).stdout)


def status(root: Path, alone: bool = False) -> dict:
    """What `mesh status --json` prints of a mesh that runs, healthy or degraded."""
    done = (process if alone else command)(root, "mesh", "status", "--json")
    assert done.returncode in (0, 1), f"{done.returncode}\n{done.stdout}\n{done.stderr}\n{logs(root)}"
    return json.loads(done.stdout)


def logs(root: Path) -> str:
    """The last lines of every process's log, for a failure's message."""
    out = []
    for path in sorted((root / "run/logs").glob("*.log")):
        text = path.read_text(errors="replace").splitlines()[-15:]
        out.append(f"--- {path.name}\n" + "\n".join(text))
    return "\n".join(out)


def until(condition, what: str, seconds: float = 60.0):
    """Waits until a condition holds; gives what it gave, or fails with `what`.

    It is looked at a third of the time at most: to read a log, or to run a command, takes CPU from those who are waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if got := condition():
            return got
        now = time.monotonic()
        assert now < deadline, what() if callable(what) else what
        time.sleep(min(max(2 * (now - begun), 0.02), 0.5))


def config_of(root: Path) -> Config:
    """The settings of the mesh under `root`."""
    return load(root)


def events(root: Path, *kinds: int, after: int = 0) -> list:
    """Reads the events of these kinds that are in the log now."""
    return [e for e in LogReader(config_of(root).log_dir).events(after) if not kinds or e.kind in kinds]


def ready(root: Path, name: str) -> dict:
    """{pid, ready_ns} of a process that has become ready; {} while it has not."""
    try:
        return json.loads((root / f"run/ready/{name}.json").read_text())
    except (OSError, ValueError):
        return {}


def replay_ended(root: Path) -> bool:
    """Whether the exchange has replayed its capture to the end."""
    return (config_of(root).exchange_dir / "ended").exists()


def born(pid: int) -> float:
    """When a process began, in seconds since the boot, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


class Killer:
    """SIGKILLs processes one after another at random moments, and measures their return.

    Processes are found by what they wrote into run/ready, their births by the kernel's clock: nobody is asked, since a
    question would wake supervisord.
    """

    def __init__(self, root: Path, seed: int):
        self.root = root
        self.random = random.Random(seed)
        self.respawn_s: list[float] = []
        self.ready_s: dict[str, list[float]] = {}

    def kill(self, name: str, patience_s: float = 20.0) -> None:
        """Kills a process and waits until its successor is ready."""
        pid = ready(self.root, name)["pid"]
        killed, killed_boot = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        os.kill(pid, signal.SIGKILL)
        info = until(
            lambda: (now := ready(self.root, name)).get("pid", pid) != pid and now,
            lambda: f"{name} did not come back\n{logs(self.root)}", patience_s,
        )  # fmt: skip
        self.ready_s.setdefault(name, []).append(info["wall_ns"] / 1e9 - killed)
        with contextlib.suppress(OSError):
            self.respawn_s.append(born(info["pid"]) - killed_boot)

    def round(self, names: list[str]) -> None:
        """Kills each of them once, in random order, at random moments."""
        order = list(names)
        self.random.shuffle(order)
        for name in order:
            time.sleep(self.random.uniform(0.05, 0.8))
            self.kill(name)

    def report(self, root: Path) -> dict:
        """Computes the figures of the whole run."""
        health: dict[str, list[dict]] = {}
        for event in events(root, Kind.health):
            health.setdefault(event.subject, []).append(event.map())

        def total(field: str) -> int:  # counters begin anew with each process: the maximum per process, added up
            most: dict[tuple[str, int], int] = {}
            for name, many in health.items():
                for one in many:
                    key = (name, one.get("pid", 0))
                    most[key] = max(most.get(key, 0), one.get(field, 0))
            return sum(most.values())

        self.figures = {
            "kills": sum(map(len, self.ready_s.values())),
            "respawn_p50_s": float(np.percentile(self.respawn_s, 50)),
            "respawn_p99_s": float(np.percentile(self.respawn_s, 99)),
            "ready_max_s": max(max(times) for times in self.ready_s.values()),
            "sequencer_ready_max_s": max(self.ready_s["sequencer"]),
            "outbox_caught_up": total("outbox_caught_up"),
            "log_caught_up": total("log_caught_up"),
        }
        return self.figures

    def judge(self) -> None:
        """Asserts what every run with kills must have shown. Times are generous here: `make bench` states them."""
        assert self.figures["outbox_caught_up"] > 0, "outbox catch-up was used"
        assert self.figures["log_caught_up"] > 0, "log catch-up was used"
        assert self.figures["respawn_p50_s"] < 1.0, "quicker than supervisord by itself"
