"""supervisord with the real table and the real sentinels, over stand-ins that only sleep: who comes back, and how soon."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

import pytest

from tests.support.places import PROJECT
from tickmesh.nodes.sentinel.deaths import RespawnBudget, left_alone
from tickmesh.nodes.sentinel.supervisord import Away, ProcessStates, Supervisord, is_free

# Stands where nodes/__main__.py is: the sentinels are real, the others sleep; model-flow is hosted by the sequencer, which
# has it ready a second after the process of its name has ended.
STAND_IN = f"""
import json, os, pathlib, runpy, signal, sys, time
if sys.argv[1] == "sentinel":
    runpy.run_path({str(PROJECT / "nodes/__main__.py")!r}, run_name="__main__")
from tickmesh.bus.process import die_with_parent
die_with_parent()
if sys.argv[1:] == ["model", "flow"]:
    sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
def ready(name, hosted):
    said = dict(pid=os.getpid(), ready_ns=time.time_ns(), wall_ns=time.time_ns(), hosted=hosted)
    pathlib.Path("run/ready").mkdir(exist_ok=True)
    pathlib.Path("run/ready", name + ".json").write_text(json.dumps(said))
ready("-".join(sys.argv[1:]), False)
if sys.argv[1] == "sequencer":
    time.sleep(1)
    ready("model-flow", True)
while True:
    time.sleep(60)
"""
WORKERS = ("exchange", "sequencer", "recorder", "feed-binance-1", "feed-binance-2", "backfill", "executor", "session")
UP = (ProcessStates.STARTING, ProcessStates.RUNNING)
pytestmark = pytest.mark.mesh


class Mesh:
    def __init__(self, root: Path):
        self.root = root
        self.log = root / "run/supervisord.log"
        self.client = Supervisord(root / "run")

    def start(self) -> None:
        """Returns once the sentinels have seen everybody."""
        (self.root / "run/logs").mkdir(parents=True, exist_ok=True)
        subprocess.run([".venv/bin/supervisord", "-c", "supervisor.conf"], cwd=self.root, check=True)
        for name in ("sentinel-1", "sentinel-2"):
            path = self.root / f"run/ready/{name}.json"
            self.until(lambda path=path: path.exists() and self.is_ready(path.stem), f"{name} is ready")
        time.sleep(0.7)

    def until(self, condition, what: str, seconds: float = 20.0):
        deadline = time.monotonic() + seconds
        while not (got := condition()):
            assert time.monotonic() < deadline, what
            time.sleep(0.02)
        return got

    def info(self, name: str) -> dict:
        return next(p for p in self.client.processes() if p["name"] == name)

    def is_ready(self, name: str) -> bool:
        return json.loads((self.root / f"run/ready/{name}.json").read_text())["pid"] == self.info(name)["pid"]

    def kill(self, *names: str, how: signal.Signals = signal.SIGKILL) -> float:
        """Kills, and waits for the successors in supervisord's log: to ask it would wake it. Returns seconds."""
        pids = [self.info(name)["pid"] for name in names]
        size = self.log.stat().st_size
        begun = time.monotonic()
        for pid in pids:
            os.kill(pid, how)
        for name in names:
            spawned = re.compile(rf"spawned: '{name}' with pid".encode())
            while not spawned.search(self.log.read_bytes()[size:]):
                assert time.monotonic() - begun < 10, f"{name} did not come back"
                time.sleep(0.001)
        return time.monotonic() - begun

    def ctl(self, *words: str) -> str:
        done = subprocess.run([".venv/bin/supervisorctl", "-c", "supervisor.conf", *words], cwd=self.root,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout


@pytest.fixture
def mesh(make_root):
    root = make_root()
    for package in ("tickmesh", "tickmesh/nodes"):
        (root / package).mkdir()
        (root / package / "__init__.py").write_text(f"__path__.append({str(PROJECT / package)!r})\n")
    (root / "tickmesh/nodes/__main__.py").write_text(STAND_IN)
    out = Mesh(root)
    out.start()
    return out


def test_the_dead_come_back_at_once(mesh):
    assert len(str(mesh.root)) > 107, "the folder is deep"
    took = []
    for name in (*WORKERS, "sentinel-1", "sentinel-2"):
        took.append(mesh.kill(name))
        time.sleep(0.15)
        if name.startswith("sentinel"):  # while only one is there, nobody watches it
            mesh.until(lambda name=name: mesh.is_ready(name), f"{name} is ready")
            time.sleep(0.3)
    at_once = mesh.kill("feed-binance-1", "sequencer", "session")
    mesh.ctl("stop", "sentinel-1", "sentinel-2")
    alone = median(mesh.kill(name) for name in WORKERS[:4])  # half a second to two: what this machine makes of it now
    assert median(took) < alone / 2 and at_once < alone * 1.5, (took, at_once, alone)


def test_a_quick_series_of_deaths_ends_well(mesh):
    """Four deaths inside startsecs would be final for supervisord's defaults."""
    for _ in range(8):
        mesh.kill("executor")
    assert mesh.info("executor")["state"] in UP


def test_a_crash_loop_is_told_once_and_goes_on_at_supervisord_s_pace(mesh):
    def told() -> int:
        return sum(p.read_text().count("executor: crash loop") for p in (mesh.root / "run/logs").glob("sentinel-?.log"))

    kills = 0
    while not told() and kills < 20:
        mesh.kill("executor")
        kills += 1
        time.sleep(0.3)  # the sentinel has seen the successor
    assert told() == 1 and kills >= 5
    mesh.kill("executor")
    time.sleep(0.5)
    assert told() == 1 and mesh.info("executor")["state"] in UP


def test_without_sentinels_supervisord_brings_all_back(mesh):
    mesh.ctl("stop", "sentinel-1", "sentinel-2")
    mesh.kill("recorder")


def test_what_an_operator_stops_stays_down(mesh):
    mesh.ctl("stop", "feed-binance-1")
    time.sleep(1.2)
    assert mesh.info("feed-binance-1")["state"] == ProcessStates.STOPPED
    mesh.ctl("start", "feed-binance-1")
    assert mesh.info("feed-binance-1")["state"] in UP


def test_what_had_nothing_to_do_stays_down_and_what_was_ended_comes_back(mesh):
    assert mesh.info("model-flow")["state"] == ProcessStates.EXITED
    mesh.until((mesh.root / "run/ready/model-flow.json").exists, "its host has it ready")
    time.sleep(2)
    mesh.kill("session", how=signal.SIGTERM)
    assert mesh.info("model-flow")["state"] == ProcessStates.EXITED
    assert mesh.log.read_text().count("spawned: 'model-flow'") == 1, "what works in its host is not started beside it"


def test_a_killed_supervisord_takes_its_children_along_and_can_be_started_anew(mesh):
    pids = [p["pid"] for p in mesh.client.processes() if p["pid"]]
    os.kill(mesh.client.pid(), signal.SIGKILL)
    mesh.until(lambda: not [pid for pid in pids if _alive(pid)], "the children have ended")
    assert (mesh.root / "run/supervisor.sock").exists() and is_free(mesh.root / "run"), "a stale socket"
    with contextlib.suppress(Away):
        mesh.client.processes()
    mesh.start()
    assert mesh.info("recorder")["state"] in UP


def test_mesh_down_is_quick_and_in_order(mesh):
    pids = [p["pid"] for p in mesh.client.processes() if p["pid"]]
    begun = time.monotonic()
    done = subprocess.run([".venv/bin/mesh", "down"], cwd=mesh.root, capture_output=True, text=True)
    assert done.returncode == 0 and "is down" in done.stdout, done.stderr
    assert time.monotonic() - begun < 8
    assert not [pid for pid in pids if _alive(pid)]
    stopped = re.findall(r"stopped: ([a-z]+)", mesh.log.read_text())
    kinds = ["sentinel", "exchange", "feed", "backfill", "model", "executor", "session", "sequencer", "recorder"]
    assert list(dict.fromkeys(stopped)) == kinds
    again = subprocess.run([".venv/bin/mesh", "down"], cwd=mesh.root, capture_output=True, text=True)
    assert again.returncode == 0 and "was not running" in again.stdout


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_budget_of_quick_respawns():
    budget = RespawnBudget(3)
    for second in range(3):
        assert budget.allows("a", second)
        budget.spend("a", second)
    assert not budget.allows("a", 59) and budget.allows("b", 59)
    assert budget.allows("a", 60.5), "a minute after the first"


def test_who_is_left_alone():
    def info(state: int, status: int = 0, start: int = 0) -> dict:
        return {"state": state, "exitstatus": status, "start": start}

    for state in (ProcessStates.STOPPED, ProcessStates.STOPPING, ProcessStates.FATAL, ProcessStates.BACKOFF):
        assert left_alone(info(state), 0)
    assert left_alone(info(ProcessStates.EXITED, 0, start=100), 0), "nothing to do, however long it took to find that out"
    assert left_alone(info(ProcessStates.EXITED, 0, start=100), 99 * 10**9), "it had something to do in an earlier life"
    assert not left_alone(info(ProcessStates.EXITED, 0, start=100), 100 * 10**9 + 1), "ended by somebody"
    assert not left_alone(info(ProcessStates.EXITED, -1), 0), "killed"
    assert not left_alone(info(ProcessStates.RUNNING), 0), "dead, but not yet reaped"
