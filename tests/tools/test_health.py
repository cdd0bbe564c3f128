"""Whether a mesh is well, for cron: what `mesh status` says and exits with, what `mesh up` starts. Stand-ins for the nodes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from supervisor.options import ServerOptions

import tests.support.mesh_run as run
from tests.support.command_run import mesh_here
from tests.support.places import HAND_WRITTEN, PROJECT
from tests.support.stand_ins import UP, StandIns
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.nodes.process_table import processes
from tickmesh.tools import start, verdict
from tickmesh.tools.log_window import LogWindow
from tickmesh.tools.started_with import recall, remember
from tickmesh.tools.terminal import Failure

pytestmark = pytest.mark.mesh
ODD = 'a folder %s of "100 %" [1]; {x} $HOME #é'  # what supervisord, a shell, a pattern or an ini file would read otherwise


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    root = tmp_path_factory.mktemp("health") / ODD
    root.mkdir()
    (root / "mesh.toml").write_text("[sentinel]\nrestarts_per_hour = 0\nrespawns_per_minute = 0\n")
    shutil.copy(PROJECT / "supervisor.conf", root)
    (root / ".venv").symlink_to(sys.prefix)
    out = StandIns(root)
    out.start()
    yield out
    run.command(root, "mesh", "down")


def look(mesh) -> tuple[int, dict]:
    """Exit code and answer of `mesh status --json`."""
    done = mesh_here(mesh.root, "status", "--json")
    return done.returncode, json.loads(done.stdout)


def why(answer: dict, about: str) -> str:
    """Why a mesh is not well, as far as it is `about` this; "" where nothing is."""
    return "; ".join(one["why"] for one in answer["reasons"] if one["about"] == about)


def ctl_from_elsewhere(mesh, *words: str) -> subprocess.CompletedProcess:
    command = [str(mesh.root / ".venv/bin/supervisorctl"), "-c", str(mesh.root / "supervisor.conf"), *words]
    return subprocess.run(command, cwd="/", capture_output=True, text=True)


def test_supervisorctl_works_from_any_folder_whatever_the_mesh_s_is_called(mesh):
    done = ctl_from_elsewhere(mesh, "status", "feeds:*")
    assert done.returncode == 0 and done.stdout.count("RUNNING") == 2, done
    mesh.until(lambda: "acts: it has the lock" in ctl_from_elsewhere(mesh, "tail", "sentinel-1").stdout
               + ctl_from_elsewhere(mesh, "tail", "sentinel-2").stdout, "their logs can be looked at")  # fmt: skip


def test_what_is_missing_is_noticed_and_started(mesh):
    mesh.ctl("stop", "backfill")
    mesh.ctl("remove", "backfill")
    mesh.ctl("stop", "exchange")
    os.kill(mesh.info("executor")["pid"], signal.SIGTERM)  # which ends with 0, as what has nothing to do
    mesh.until(lambda: mesh.info("executor")["statename"] == "EXITED", "nobody brings it back")
    code, answer = look(mesh)
    assert (code, answer["verdict"]) == (1, "degraded")
    assert "supervisord does not have it" in why(answer, "backfill") and "STOPPED" in why(answer, "exchange")
    assert "EXITED" in why(answer, "executor")
    assert not why(answer, "recorder")
    done = mesh_here(mesh.root, "up")
    assert (
        done.returncode == 0 and "start backfill" in done.stdout and "start exchange: it does not run (STOPPED)" in done.stdout
    )
    assert {info["name"] for info in mesh.client.processes()} == {entry.name for entry in processes(load(mesh.root))}
    assert all(info["state"] in UP for info in mesh.client.processes())


def test_a_mesh_of_which_nothing_runs_is_down_and_up_starts_it(mesh):
    mesh.ctl("stop", "all")
    said = [
        words
        for line in (mesh.root / "run/supervisord.log").read_text().splitlines()
        if (words := line.split())[3:4] == ["stopped:"]
    ]
    priorities = {entry.name: entry.priority for entry in processes(load(mesh.root))}
    stopped = [priorities[words[4]] for words in said[-len(priorities) :]]
    assert stopped == sorted(stopped, reverse=True) and len(set(stopped)) == 10, (
        "as in a shutdown: sentinels first, the recorder last"
    )
    code, answer = look(mesh)
    assert (code, answer["verdict"], answer["running"]) == (2, "down", True) and why(answer, "recorder")
    assert "down: nothing of it runs." in mesh_here(mesh.root, "status").stdout
    done = mesh_here(mesh.root, "up")
    assert done.returncode == 0 and done.stdout.count("start ") == len(processes(load(mesh.root))), done
    assert all(info["state"] in UP for info in mesh.client.processes())
    assert look(mesh)[1]["verdict"] == "degraded", "stand-ins write no log"


def test_a_crash_loop_is_shown_as_one_and_up_does_not_call_it_up(mesh):
    (mesh.root / "bad/session").touch()
    mesh.ctl("restart", "session")
    mesh.until(lambda: mesh.client.restarts().get("session", 0) >= verdict.LOOP_RESTARTS, "it dies and dies")
    code, answer = look(mesh)
    assert code == 1 and "times within the last minute" in why(answer, "session")
    assert "session has no such kernel" in why(answer, "session"), "with what it wrote last"
    assert "CRASH LOOP" in mesh_here(mesh.root, "status").stdout
    mesh.ctl("stop", "session")
    done = mesh_here(mesh.root, "up", "--timeout", "10", "--json")
    assert done.returncode == 1 and "session" in json.loads(done.stdout)["failed"]
    (mesh.root / "bad/session").unlink()
    mesh_here(mesh.root, "up")
    assert mesh.info("session")["state"] in UP


def test_a_wrong_mesh_toml_is_said_beside_the_mesh_that_runs(mesh):
    assert mesh_here(mesh.root, "up").returncode == 0
    before, good = look(mesh)[1], (mesh.root / "mesh.toml").read_text()
    try:
        (mesh.root / "mesh.toml").write_text(good + "no_such_key = 1\n")
        code, answer = look(mesh)
        assert (code, answer["verdict"], answer["running"]) == (1, "degraded", True)
        assert "no_such_key" in why(answer, "settings") and "no_such_key" in mesh_here(mesh.root, "status").stdout
        shown = [[(one["name"], one["state"], one["pid"]) for one in seen["nodes"]] for seen in (before, answer)]
        assert shown[0] == shown[1] and len(shown[0]) == len(processes(recall(mesh.root)))
        (mesh.root / "mesh.toml").write_text("not = [toml")
        assert "not TOML" in why(look(mesh)[1], "settings")
        refused = mesh_here(mesh.root, "init", "--mode", "sim", mesh.root)
        assert refused.returncode == 1 and "edit mesh.toml, and `mesh reload` applies it" in refused.stderr
    finally:
        (mesh.root / "mesh.toml").write_text(good)
    assert not why(look(mesh)[1], "settings")


def test_settings_are_remembered_as_they_are_and_count_for_nothing_where_no_mesh_runs(make_root):
    root = make_root()
    config = load(root, {"venues": {"kraken": {"ws": ["wss://kraken.example"]}}, "executor": {"order_notional": "7.5"}})
    (root / "run").mkdir(exist_ok=True)
    remember(config)
    assert recall(root).mesh == config.mesh
    (root / "mesh.toml").write_text("no_such_key = 1\n")
    done = mesh_here(root, "status")
    assert done.returncode == 1 and "no_such_key" in done.stderr and not done.stdout
    (root / "run/settings.json").write_text('{"mode": "of another version"}')
    assert recall(root) is None


def test_rates_are_those_of_now(make_root):
    """A log that was written a moment ago and is not any more has no rate."""
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(40))
    window = LogWindow()
    for event in LogReader(load(root).log_dir).events():
        window.add(event)
    now = window.last_ns + 10**8
    assert window.rate(40, now) > 0 and not window.is_still(now)
    later = window.last_ns + 6 * 10**9
    assert window.rate(40, later) == 0 and window.is_still(later)


def test_a_table_written_by_hand_may_lie_in_any_folder(tmp_path, monkeypatch):
    """Its paths begin with %(here)s, which supervisord expands and then expands again."""
    root = tmp_path / ODD
    (root / "run/logs").mkdir(parents=True)
    shutil.copy(HAND_WRITTEN, root / "supervisor.conf")
    monkeypatch.chdir(root)
    options = ServerOptions()
    options.realize(["-c", start.CONF])
    programs = [program for group in options.process_group_configs for program in group.process_configs]
    assert len(programs) > 10 and {program.directory for program in programs} == {"/proc/self/cwd"}
    assert all(program.stdout_logfile == f"/proc/self/cwd/run/logs/{program.name}.log" for program in programs)
    assert all(program.command.startswith('"/proc/self/cwd/.venv/bin/python" -m tickmesh') for program in programs)


def test_no_environment_is_shown_where_supervisord_does_not_start(make_root, monkeypatch):
    """A table of one's own whose paths supervisord expands a %s of: it would print all variables that it has."""
    monkeypatch.setenv("MY_SECRET_KEY", "hunter2")
    root = make_root()
    (root / "run/logs").mkdir(parents=True)
    for setting in ("logfile=%s", "logfile=%(ENV_NOBODY)s", "umask=99"):
        (root / "supervisor.conf").write_text(f"[supervisord]\n{setting}\n[program:x]\ncommand=true\nstdout_logfile=%s/x.log\n")
        with pytest.raises(Failure, match="supervisord did not start: ") as raised:
            start.start_supervisord(root, 20.0)
        sentence = str(raised.value)
        assert "hunter2" not in sentence and "MY_SECRET_KEY" not in sentence and "For help" not in sentence
        assert not [path for path in root.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert "umask" in sentence or "99" in sentence, "supervisord's own words"


def test_a_start_is_waited_for_no_longer_than_its_time_out(make_root):
    root = make_root()
    (root / "run/logs").mkdir(parents=True)
    with FileLock.acquired(root / "run/up.lock"):
        begun = time.monotonic()
        done = mesh_here(root, "up", "--timeout", "1")
    assert done.returncode == 1 and "another `mesh up`" in done.stderr and time.monotonic() - begun < 15
