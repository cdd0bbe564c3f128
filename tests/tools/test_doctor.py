"""`mesh doctor`: a healthy folder is clean, and each planted problem is found by name, with what to do."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_run import mesh_here
from tests.support.healthy_machine import FAST, HEALTHY, LOCAL
from tests.support.stored import Market, write_log
from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import decode
from tickmesh.storage.recent.store import RecentWriter
from tickmesh.tools import doctor as command
from tickmesh.tools.diagnosis import folder_checks, hot_path, machine
from tickmesh.tools.diagnosis.folder import DiskSpeed, Mount, disk_speed, look_at, mount_of

MESH = '[[instruments]]\nsymbol = "BTCUSDT"\n'


@pytest.fixture
def healthy(make_root, monkeypatch):
    """A folder as `mesh down` leaves it, on a machine and a disk on which all is well."""
    monkeypatch.setattr(machine, "read_machine", lambda _tmpfs: HEALTHY)
    monkeypatch.setattr(folder_checks, "disk_speed", lambda _folder: FAST)
    monkeypatch.setattr(folder_checks, "mount_of", lambda _place: LOCAL)
    root = make_root(MESH)
    (root / "run" / "ready").mkdir(parents=True, mode=0o700)
    (root / "run").chmod(0o700)
    (root / "run" / "logs").mkdir()
    write_log(load(root).log_dir, Market().mixed(5))
    return root


def troubles() -> dict[str, dict]:
    """What is not ok in the working folder, by name."""
    found = [one for one in command.doctor()["checks"] if one["grade"] != "ok"]
    by_name = {one["name"]: one for one in found}
    assert len(by_name) == len(found), found
    return by_name


def dead_pid() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def left_socket(path: Path) -> None:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def key_file(root: Path) -> None:
    (root / "mesh.toml").write_text(f'{MESH}[session.accounts.binance_usdm]\nkey_file = "binance_usdm.key"\n')
    (root / "binance_usdm.key").write_text('api_key = "x"\n')
    (root / "binance_usdm.key").chmod(0o640)


def stepped(root: Path) -> None:
    """Stores an alert of a step of an hour ago."""
    alert = {"level": "warning", "what": "clock_step", "target": "clock", "why": "it stepped by 3 s", "action": "see to NTP"}
    event = Market(seq_ns=machine_wall_ns() - 3600 * 10**9).event(Kind.alert, "sequencer", alert)
    store = RecentWriter(load(root).recent_dir)
    store.put([decode(event)])
    store.commit()
    store.close()


PLANTED = {
    "config": lambda root: (root / "mesh.toml").write_text("frob = 1\n"),
    "config ": lambda root: (root / "supervisor.conf").unlink(),
    "config  ": lambda root: (root / "data/sim/market").write_text("venues\n"),
    "permissions.run": lambda root: (root / "run").chmod(0o755),
    "permissions.key": key_file,
    "permissions.folder": lambda root: (root / "data/sim/archive").write_text("a file"),
    "disk.space": lambda root: (root / "mesh.toml").write_text(f"{MESH}[disk]\nlow_bytes = {1 << 60}\n"),
    "clock.log": lambda root: write_log(load(root).log_dir, Market(5, machine_wall_ns() + 3600 * 10**9).mixed(1)),
    "clock.steps": stepped,
    "left_over.pid_file": lambda root: (root / "run/supervisord.pid").write_text(f"{dead_pid()}\n"),
    "left_over.ready": lambda root: (root / "run/ready/feed-1.json").write_text(f'{{"pid": {dead_pid()}}}'),
    "left_over.exchange": lambda root: _private(root / "run/exchange.json", f'{{"pid": {dead_pid()}, "started": "x"}}'),
    "left_over.socket": lambda root: left_socket(root / "run/sockets/log"),
    "left_over.temporary": lambda root: (root / "data/sim/log/owner.new").touch(),
}


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def test_a_healthy_folder_is_clean(healthy):
    done = mesh_here(healthy, "doctor", "--json")
    assert [one for one in json.loads(done.stdout)["checks"] if one["grade"] != "ok"] == [] and done.returncode == 0


def test_the_worst_finding_is_the_exit_code_and_what_to_do_is_shown(healthy):
    (healthy / "run/supervisord.pid").write_text(f"{dead_pid()}\n")
    shown = mesh_here(healthy, "doctor")
    assert shown.returncode == 1 and "left_over.pid_file: " in shown.stdout and "`mesh up` replaces it" in shown.stdout
    (healthy / "run").chmod(0o755)
    shown = mesh_here(healthy, "doctor")
    assert shown.returncode == 2 and f"chmod 700 {healthy}/run" in shown.stdout and " 1 warn, 1 fail, in " in shown.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_problem_is_found_by_name_with_what_to_do(healthy, name):
    PLANTED[name](healthy)
    found = troubles()
    assert list(found) == [name.strip()]
    assert all(found[name.strip()].values()), "each part of it is there"


@pytest.mark.parametrize(
    ("what", "given", "name"),
    [
        ("mount_of", Mount("/mnt", "nfs4"), "mounts.data mounts.run"),
        ("mount_of", Mount("/mnt", "tmpfs"), "mounts.data"),
        ("disk_speed", DiskSpeed(80.0, 400.0), "disk.speed"),
        ("disk_speed", DiskSpeed(1.0, 3.0), "disk.speed"),
    ],
)
def test_a_file_system_that_does_not_keep_or_is_slow_is_found(healthy, monkeypatch, what, given, name):
    monkeypatch.setattr(folder_checks, what, lambda _place: given)
    assert " ".join(troubles()) == name


def test_what_latency_asks_for_and_this_machine_does_not_have(healthy, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(hot_path, "may_go_first", lambda: False)
    for asked, name, words in (
        ("pin = [1, 9]", "latency.pin", "there is no core 9 for it; allowed: 0, 1"),
        ("spin_us = 50", "latency.spin_us", "7 processes look for events for 50 µs before they sleep, on 2 cores"),
        ("realtime = true", "latency.realtime", "this user may not use SCHED_FIFO"),
    ):
        (healthy / "mesh.toml").write_text(f"{MESH}[latency]\n{asked}\n")
        found = troubles()
        assert list(found) == [name] and words in found[name]["seen"]
    (healthy / "mesh.toml").write_text(f'{MESH}[latency]\npin = "auto"\n')
    assert troubles() == {}


def test_a_port_that_somebody_has_and_a_lock_of_somebody_else(healthy):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (healthy / "mesh.toml").write_text(f"{MESH}[exchange]\nport = {other.getsockname()[1]}\n")
        assert list(troubles()) == ["ports"]
    lock = "import fcntl, sys\nfile = open('data/sim/log/lock', 'w')\nfcntl.flock(file, 2)\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", lock], cwd=healthy, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        found = troubles()
        assert list(found) == ["locks"] and f"process {holder.pid} holds" in found["locks"]["seen"]
        holder.communicate()


def test_processes_without_supervisord_and_one_that_does_not_answer(healthy):
    mesh = look_at(healthy)
    assert (mesh.supervisord, mesh.is_up) == ("is not there", False)
    for pids, word, grade in (({"feed-1": 7}, mesh.supervisord, "fail"), ({}, "supervisord is there, and hangs", "fail")):
        (found,) = folder_checks.supervision(type(mesh)(mesh.root, mesh.config, "", pids, word))
        assert (found.name, found.grade) == ("supervisord", grade) and "mesh down" in found.do


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_found(healthy):
    os.chown(healthy / "run/logs", 1234, 1234)
    assert list(troubles()) == ["permissions.owner"]


def test_without_a_mesh_the_machine_alone_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "read_machine", lambda _tmpfs: HEALTHY)
    done = mesh_here(tmp_path, "doctor")
    assert done.returncode == 0 and "machine and libraries alone" in done.stdout and "config" not in done.stdout


def test_the_disk_is_really_tried_and_nothing_is_left(tmp_path):
    speed = disk_speed(tmp_path)
    assert speed.sync_ms > 0 and speed.mib_per_s > 0 and list(tmp_path.iterdir()) == []
    assert mount_of(Path("/proc/self")).type == "proc"
