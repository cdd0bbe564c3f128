"""supervisord with the real table and the real sentinels, over stand-ins that only sleep: who comes back, and how soon."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

import pytest

from tests.support.stand_ins import UP, StandIns
from tickmesh.nodes.sentinel.deaths import RespawnBudget, left_alone
from tickmesh.nodes.sentinel.processes import ProcessWatch
from tickmesh.nodes.sentinel.supervisord import Away, ProcessStates, is_free

WORKERS = ("exchange", "sequencer", "recorder", "feed-binance-1", "feed-binance-2", "backfill", "executor", "session")
pytestmark = pytest.mark.mesh


@pytest.fixture
def mesh(make_root):
    out = StandIns(make_root())
    (out.root / "idle/model-flow").touch()
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
    # Without sentinels supervisord brings them back: half a second to two, what this machine makes of it now.
    alone = median(mesh.kill(name) for name in WORKERS[:4])
    assert median(took) < alone / 2 and at_once < alone * 1.5, (took, at_once, alone)


def test_a_crash_loop_is_told_once_and_goes_on_at_supervisord_s_pace(mesh):
    """Of all of these deaths within a second or two: four inside startsecs would be final for supervisord's defaults."""

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
    kinds = ["sentinel", "gateway", "executor", "session", "exchange", "feed", "backfill", "model", "sequencer", "recorder"]
    assert list(dict.fromkeys(stopped)) == kinds
    again = subprocess.run([".venv/bin/mesh", "down"], cwd=mesh.root, capture_output=True, text=True)
    assert again.returncode == 0 and "was not running" in again.stdout


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_supervisord_has_no_more_is_forgotten():
    """Were it not, the same name that comes back later would count as a respawn that took so long."""

    async def scene():
        watch = ProcessWatch(lambda: None)
        watch.see("recorder", os.getpid())
        watch.see("model-flow", os.getppid())
        watch.died["model-imbalance"] = (1, 0.0)
        watch.keep({"recorder"})
        assert (list(watch.pids), watch.died) == (["recorder"], {})
        watch.close()

    asyncio.run(scene())


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
