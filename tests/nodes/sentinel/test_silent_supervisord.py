"""A supervisord that is there and does not answer: nobody takes it for gone, and what dies meanwhile comes back."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.support.command_run import mesh_here
from tests.support.stand_ins import UP, StandIns
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.sentinel.silence import SILENT_S, Silence
from tickmesh.nodes.sentinel.supervisord import Silent
from tickmesh.nodes.supervision.presence import find, processes_of
from tickmesh.tools.running import living

pytestmark = pytest.mark.mesh


@pytest.fixture
def mesh(make_root):
    out = StandIns(
        make_root("[sentinel]\nrestarts_per_hour = 0\n")
    )  # stand-ins write no log, and are not to be restarted for it
    out.start()
    yield out
    if find(out.root / "run") is not None:  # whatever has become of it
        mesh_here(out.root, "down", "--force")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def refused(mesh, *words: str) -> str:
    """What a command says that has to do nothing; within its time-out and the time that a busy machine takes to start it."""
    begun = time.monotonic()
    done = mesh_here(mesh.root, *words, "--timeout", "2")
    assert done.returncode == 1 and time.monotonic() - begun < 45, done
    return done.stderr


def alerts(mesh) -> list[str]:
    """Level and reason of what the sentinels have published of supervisord: in their outboxes, since there is no sequencer."""
    boxes = [LogReader(box) for box in load(mesh.root).outbox_dir.glob("sentinel-?")]
    found = [event.map() for box in boxes for event in box.events() if event.kind == Kind.alert]
    return [f"{alert['level']}: {alert['why']}" for alert in found if alert["what"] == "supervisord silent"]


def test_it_is_not_taken_for_none_and_what_dies_comes_back(mesh):
    pid = mesh.client.pid()
    before = living(mesh.root)
    files = {path: path.stat().st_ino for path in (mesh.root / "run").iterdir()}
    os.kill(pid, signal.SIGSTOP)
    for words in (("up",), ("down",)):
        sentence = refused(mesh, *words)
        assert f"supervisord (pid {pid}) is there and does not answer" in sentence and f"kill -CONT {pid}" in sentence
        assert "mesh down --force" in sentence
    status = mesh_here(mesh.root, "status", "--json")
    assert status.returncode == 1
    answer = json.loads(status.stdout)
    assert answer["running"] and answer["verdict"] == "degraded" and f"kill -CONT {pid}" in answer["supervisord"]
    assert living(mesh.root) == before and find(mesh.root / "run").pid == pid
    assert {path for path in files if not path.exists()} == set(), "nothing of a live mesh is removed"

    [told] = mesh.until(lambda: alerts(mesh), "a sentinel tells of it", 30)
    assert told.startswith("critical") and f"kill -CONT {pid}" in told
    os.kill(before["recorder"], signal.SIGKILL)
    stand_in = mesh.until(
        lambda: (now := living(mesh.root).get("recorder", 0)) not in (0, before["recorder"]) and now, "a sentinel starts it", 30
    )
    os.kill(pid, signal.SIGCONT)
    mesh.until(lambda: not alive(stand_in) and mesh.info("recorder")["pid"], "supervisord has its own again", 30)
    over = mesh.until(lambda: alerts(mesh)[1:], "a sentinel tells that it is over", 30)
    assert over[0].startswith("info: it answers again")
    logs = [path.read_text() for path in (mesh.root / "run/logs").glob("sentinel-?.log")]
    assert any("starts recorder in supervisord's place" in log for log in logs)
    assert mesh.info("recorder")["state"] in UP
    assert list(map(" ".join, processes_of(mesh.root).values())).count("recorder") == 1, "one of each"


def test_one_that_cannot_be_reached_any_more_is_found_and_ended(mesh):
    """Without its socket and its pid file, as an earlier version left it: neither a second one, nor one left behind."""
    pid, before = mesh.client.pid(), living(mesh.root)
    for name in ("supervisor.sock", "supervisord.pid"):
        (mesh.root / "run" / name).unlink()
    mesh.client.close()  # else it goes on over its old connection
    with pytest.raises(Silent, match=f"pid {pid}"):
        mesh.client.processes()
    second = subprocess.run([".venv/bin/supervisord", "-c", "supervisor.conf"], cwd=mesh.root, capture_output=True, text=True)
    assert second.returncode == 2 and f"another supervisord of this folder lives (pid {pid})" in second.stdout + second.stderr
    assert f"pid {pid}" in refused(mesh, "up") and f"pid {pid}" in refused(mesh, "down")
    done = mesh_here(mesh.root, "down", "--force")
    assert done.returncode == 0 and "by force" in done.stdout, done
    assert not [one for one in (pid, *before.values()) if alive(one)] and find(mesh.root / "run") is None


def test_what_lives_on_without_a_supervisord_is_waited_for_and_ended(make_root):
    root = make_root()
    mesh = StandIns(root)
    (root / "run").mkdir()
    command = [".venv/bin/python", "-m", "tickmesh.nodes", "session"]
    with subprocess.Popen(command, cwd=root, env={**os.environ, "SUPERVISOR_ENABLED": "1"}) as left:
        mesh.until((root / "run/ready/session.json").exists, "it is ready to be ended")
        assert living(root) == {"session": left.pid}
        assert f"session (pid {left.pid})" in refused(mesh, "up")
        status = mesh_here(root, "status")
        assert status.returncode == 2 and f"session (pid {left.pid})" in status.stdout
        done = mesh_here(root, "down")
        assert done.returncode == 0 and "supervisord was gone" in done.stdout and left.wait(10) == 0, done
    assert "was not running" in mesh_here(root, "down").stdout


def test_a_silence_is_told_of_once_and_so_is_its_end():
    silence = Silence()
    assert silence.failed("it hangs", 10.0, 12.0) is None and not silence.lasts
    assert silence.answered(13.0) is None, "too short to be told of"
    assert silence.failed("it hangs", 20.0, 22.0) is None
    alert = silence.failed("it hangs", 22.0, 20.0 + SILENT_S)
    assert (
        alert and (alert["level"], alert["target"], alert["why"]) == ("critical", "supervisord", "it hangs") and silence.lasts
    )
    assert silence.failed("it hangs", 40.0, 42.0) is None
    over = silence.answered(50.0)
    assert over and (over["level"], over["what"]) == ("info", alert["what"]) and "after 30 s" in over["why"]
    assert silence.answered(51.0) is None and not silence.lasts
