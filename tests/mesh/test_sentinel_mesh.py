"""A whole mesh with processes that are alive but wrong: stopped, swollen, again and again. What is told is in the log."""

import json
import os
import signal
import time

import psutil
import pytest

import tests.support.mesh_run as run
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.process_table import processes

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(500)]
SETTINGS = "[sentinel]\nheartbeat_s = 5.0\n"


def alerts(root, action: str = "") -> list[dict]:
    return [a for a in (e.map() for e in run.events(root, Kind.alert)) if a["action"].startswith(action)]


def freeze(root, name: str) -> int:
    pid = run.until(lambda: run.ready(root, name), f"{name} is ready")["pid"]
    os.kill(pid, signal.SIGSTOP)
    return pid


def replaced(root, name: str, pid: int, seconds: float = 40.0) -> None:
    run.until(
        lambda: run.ready(root, name).get("pid", pid) != pid,
        lambda: f"{name} is not replaced\n{run.logs(root)}", seconds,
    )  # fmt: skip
    assert not psutil.pid_exists(pid)


def leader(root) -> tuple[str, int]:
    """Name and pid of the sentinel that acts."""
    pid = int((root / "run/sentinel.lock").read_bytes()[:10])
    return next(n for n in ("sentinel-1", "sentinel-2") if run.ready(root, n).get("pid") == pid), pid


def test_what_is_stopped_is_restarted_and_told_of(make_root):
    root = make_root(SETTINGS)
    run.ok(root, "mesh", "up")
    time.sleep(1.5)  # the sentinels have heard everybody
    assert alerts(root) == [], "a start is no fault"
    for names in (("feed-binance-1", "model-imbalance", "recorder"), ("sequencer",)):  # each alone leaves the log going
        for name, pid in {name: freeze(root, name) for name in names}.items():
            replaced(root, name, pid)
    told = run.until(lambda: len(a := alerts(root, "restart")) >= 4 and a, lambda: f"{alerts(root)}\n{run.logs(root)}")
    what = {(a["target"], a["what"]) for a in told}
    assert what >= {("feed-binance-1", "heartbeat missing"), ("model-imbalance", "heartbeat missing"),
                    ("recorder", "heartbeat missing"), ("sequencer", "log still")}, told  # fmt: skip

    names = {entry.name for entry in processes(run.config_of(root))}
    status = run.until(lambda: (now := run.status(root))["verdict"] == "healthy" and now, lambda: f"{run.status(root)}")
    assert status["reasons"] == []
    shown_alerts = {(a["target"], a["what"]): a for a in status["alerts"]}
    assert len(shown_alerts) == len(status["alerts"]), "each trouble is listed once"
    assert set(what) <= set(shown_alerts) and all(a["cleared"] for a in shown_alerts.values()), "and they are over"
    for name in names:
        log = (root / f"run/logs/{name}.log").read_text()
        assert f"info {name}: begins: tickmesh" in log and f"info {name}: is ready" in log, f"{name}: {log}"
    left = {node["name"]: node["restarts_left"] for node in status["nodes"]}
    assert left["recorder"] < 4 and left["executor"] == 4
    words = run.ok(root, "mesh", "status").stdout
    assert "heartbeat missing" in words and "Over since" in words and words.rstrip().endswith("healthy.")
    shown = run.ok(root, "tap", "alert", "--from", "1", "--count", "2").stdout
    assert shown.count("restart") == 2, shown
    run.ok(root, "mesh", "down")
    assert run.ok_json(root, "mesh", "verify")["ok"]


@pytest.mark.long
def test_both_lines_stopped_at_once_come_back_one_after_the_other(make_root):
    root = make_root(SETTINGS)
    run.ok(root, "mesh", "up")
    time.sleep(1.5)
    pids = {name: freeze(root, name) for name in ("feed-binance-1", "feed-binance-2")}
    for name, pid in pids.items():
        replaced(root, name, pid)
    told = run.until(lambda: len(a := alerts(root, "restart")) >= 2 and a, "both are told of")
    assert told[1]["at_ns"] - told[0]["at_ns"] >= 5e9


@pytest.mark.long
def test_a_process_that_holds_too_much_is_restarted_until_the_budget_is_spent(make_root):
    """A bound that every model is above: its budget of one is spent, then there are alerts only; it goes on working."""
    root = make_root("[sentinel]\nmemory_bytes = 30_000_000\nrestarts_per_hour = 1\n")
    run.ok(root, "mesh", "up")

    def spent() -> bool:
        return any(a["target"] == "model-flow" and a["level"] == "critical" for a in alerts(root, "none: 1 restarts"))

    run.until(spent, lambda: f"{alerts(root)}\n{run.logs(root)}", 90)
    pid = run.ready(root, "model-flow")["pid"]
    mine = [a["action"].partition(":")[0] for a in alerts(root) if a["target"] == "model-flow"]
    assert mine == ["restart", "none"]
    name, old = leader(root)
    os.kill(old, signal.SIGKILL)  # who takes over knows that the budget is spent, and that it has been told
    run.until(lambda: leader(root)[1] != old, "another sentinel acts")
    time.sleep(6)
    assert run.ready(root, "model-flow")["pid"] == pid
    assert [a["action"].partition(":")[0] for a in alerts(root) if a["target"] == "model-flow"] == ["restart", "none"]
    assert run.status(root)["running"]


@pytest.mark.long
def test_a_sentinel_that_holds_the_lock_and_does_not_act_is_replaced(make_root):
    root = make_root(SETTINGS)
    run.ok(root, "mesh", "up")
    time.sleep(1.5)
    name, pid = leader(root)
    freeze(root, name)
    run.until(lambda: leader(root)[1] != pid, lambda: f"the other one acts\n{run.logs(root)}", 40)
    replaced(root, name, pid)
    run.until(lambda: [a for a in alerts(root, "restart") if a["target"] == name], lambda: f"it is told\n{run.logs(root)}")
    frozen = freeze(root, "session")
    replaced(root, "session", frozen)


@pytest.mark.long
def test_both_sentinels_gone_the_budget_is_found_in_the_log(make_root):
    root = make_root(SETTINGS + "restarts_per_hour = 1\n")
    run.ok(root, "mesh", "up")
    time.sleep(1.5)
    replaced(root, "executor", freeze(root, "executor"))
    run.until(lambda: alerts(root, "restart"), "it is told")
    old = {name: run.ready(root, name)["pid"] for name in ("sentinel-1", "sentinel-2")}
    for pid in old.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in old.items():
        replaced(root, name, pid)
    pid = freeze(root, "executor")
    refused = run.until(lambda: alerts(root, "none: 1 restarts"), lambda: f"refused\n{run.logs(root)}", 40)
    assert ("executor", "critical") in {(a["target"], a["level"]) for a in refused}
    assert run.ready(root, "executor")["pid"] == pid
    os.kill(pid, signal.SIGCONT)


def test_a_start_and_a_replay_at_full_speed_raise_no_alert(make_root, data):
    """The gateway keeps its turn here: on a busy machine it gives way until it is behind, and is told of."""
    root = make_root("[gateway]\nnice = 0\n")
    capture = data / "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz"
    run.ok(root, "mesh", "up", "--capture", capture, "--speed", "0")
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 120)
    time.sleep(5)
    assert alerts(root) == []
    beats = [e.map() for e in LogReader(run.config_of(root).log_dir).events() if e.kind == Kind.health]
    assert any("deaf_s" in beat for beat in beats)
    assert json.loads((root / "run/ready/recorder.json").read_text())["pid"]
