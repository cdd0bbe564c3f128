"""`mesh run` as a container runs it: PID 1, 64 MiB of /dev/shm that somebody fills, a read-only root; SIGTERM and SIGKILL."""

import signal

import pytest

from tests.support.command_run import mesh_here
from tests.support.container import Container
from tests.support.mesh_run import until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError

SETTINGS = """
default_models = false
[[instruments]]
symbol = "BTCUSDT"
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[executor]
signal_threshold = 0.3
[feed]
lines = 1
[exchange]
lines = 1
[gateway]
enabled = false
"""
FILL = "dd if=/dev/zero of=/dev/shm/ballast bs=64k 2>/dev/null; df /dev/shm | tail -1"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh.toml").write_text(SETTINGS)
    return tmp_path


def logged(config, kind, after=0):
    """The events of a kind; [] while there is no log."""
    try:
        return [event for event in LogReader(config.log_dir).events(after) if event.kind == kind]
    except LogError:
        return []


def judge(root):
    """Asserts what `mesh verify` does, alone and against the exchange's ledger."""
    for words in ((), ("--against", load(root).exchange_dir)):
        judged = mesh_here(root, "verify", *words)
        assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.mesh
@pytest.mark.timeout(400)
def test_a_mesh_in_a_container_trades_survives_a_kill_and_ends_in_order(root):
    config = load(root)
    first = Container(root)
    try:
        assert "/dev/shm has 64 MiB" in first.text() and "KiB" in first.text(), "it says so at its start"
        until(lambda: logged(config, Kind.fill), first.text, 120)
        assert first.run("touch", "/etc/written").returncode != 0, "the root file system is read-only"
        assert first.mesh("status").returncode in (0, 1), "its health check"
        assert "100%" in first.run("sh", "-c", FILL).stdout
        full = LogReader(config.log_dir).last
        until(lambda: any(e.map()["what"] == "outbox" for e in logged(config, Kind.alert, full)), first.text, 60)
        until(lambda: logged(config, Kind.fill, full), first.text, 60)
        first.run("rm", "/dev/shm/ballast")
        first.run("sh", "-c", "(sleep 0.2 &) ; exit 0")
        until(lambda: "reaped unknown pid" in first.text(), first.text)
        assert "info sequencer: is ready" in first.text(), "what its processes write comes out as well"
        first.signal(signal.SIGKILL)
    finally:
        first.close()
    killed = LogReader(config.log_dir).last
    second = Container(root)
    try:
        until(lambda: logged(config, Kind.fill, killed), second.text, 120)
        assert second.signal(signal.SIGTERM) == 0, second.text()
        assert "info sequencer: has ended, in order" in second.text()
    finally:
        second.close()
    judge(root)
