"""`mesh down` ends whatever runs, also where mesh.toml cannot be read any more. Stand-ins for the nodes."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.stand_ins import StandIns
from tickmesh.bus.config import load
from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown
from tickmesh.tools import down, ending
from tickmesh.tools.running import living
from tickmesh.tools.started_with import remember

pytestmark = pytest.mark.mesh

# Notes in which order it is asked to end what: the sequencer holds the lock of a session until that was told to end.
NOTES = """
import fcntl, pathlib, signal, sys, time
lock = open("run/session.lock", "a")
if sys.argv[1] == "sequencer":
    fcntl.flock(lock, fcntl.LOCK_EX)
def note(what):
    with open("ends", "a") as ends:
        ends.write(what + " ")
def end(*_):
    note(sys.argv[1])
    sys.exit(0)
def end_trading(*_):
    time.sleep(0.2)
    note("session")
    lock.close()
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, end_trading)
pathlib.Path("ready-" + sys.argv[1]).touch()
while True:
    time.sleep(60)
"""


def test_a_long_end_says_what_has_not_ended_yet(tmp_path, monkeypatch, capsys):
    class Client:
        """A supervisord that shuts down, and is gone when it is asked the third time."""

        def shutdown(self):
            pass

        def pid(self):
            raise next(answers)

    for news_s, lines in ((0.0, 2), (10.0, 0)):
        answers = iter([ShuttingDown(), ShuttingDown(), Away()])
        monkeypatch.setattr(down, "NEWS_S", news_s)
        monkeypatch.setattr(down, "living", lambda root: {"sequencer": 2, "recorder": 1})
        down._shut_down(tmp_path, Client(), time.monotonic() + 30)
        assert capsys.readouterr().err.count("0 s: recorder, sequencer still to end") == lines


def test_a_hosted_session_ends_before_the_venue_also_where_nobody_is_left_to_keep_the_order(tmp_path):
    for folder in ("run", "tickmesh/nodes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tickmesh/nodes/__main__.py").write_text(NOTES)
    started = []
    try:
        for name in ("sequencer", "exchange", "recorder"):
            command = [sys.executable, "-m", "tickmesh.nodes", name]
            started.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "SUPERVISOR_ENABLED": "1"}))
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("ready-*"))) < len(started):
            assert time.monotonic() < deadline, "they are not ready"
            time.sleep(0.02)
        assert ending.end_what_is_left(tmp_path, deadline) == ending.LEFT_OVER
        assert (tmp_path / "ends").read_text().split() == ["session", "exchange", "sequencer", "recorder"]
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("known", "words"), [(True, ()), (False, ("--force",))])
def test_a_wrong_mesh_toml_hinders_no_end(tmp_path, known, words):
    (tmp_path / "mesh.toml").write_text('source = "mine"\n')
    shutil.copy(PROJECT / "supervisor.conf", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    mesh = StandIns(tmp_path)
    mesh.start()
    if known:
        remember(load(tmp_path))
    else:
        (tmp_path / "run/settings.json").unlink(missing_ok=True)
    try:
        (tmp_path / "mesh.toml").write_text("[sentinel\n")
        refused = mesh_here(tmp_path, "up")
        assert refused.returncode == 1 and "not TOML" in refused.stderr
        done = mesh_here(tmp_path, "down", *words)
        assert done.returncode == 0 and "not TOML" in done.stdout and "tickmesh is down" in done.stdout, done
        assert ("Source mine" in done.stdout) is known and ("not known: its outboxes stay" in done.stdout) is not known
        assert (
            not living(tmp_path) and not (tmp_path / "run/ready").exists() and not (tmp_path / "run/supervisord.pid").exists()
        )
        answer = json.loads(mesh_here(tmp_path, "down", "--json").stdout)
        assert not answer["was_running"] and "not TOML" in answer["wrong_settings"]
        assert answer["source"] == ("mine" if known else None)
    finally:
        (tmp_path / "mesh.toml").write_text('source = "mine"\n')
        mesh_here(tmp_path, "down", "--force")
