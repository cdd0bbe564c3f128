"""The kill switch while what should carry it out is dead or stopped: the orders at the venue are cancelled all the same."""

import contextlib
import json
import os
import signal

import pytest

import tests.support.mesh_run as run
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.trading_mesh import NODES, ONE_MODEL
from tests.support.venue_account import VenueAccount
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.schema import Kind, Status

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(900)]

SETTINGS = """
[executor]
order_ttl_ms = 600000
styles = ["limit"]
[risk]
session_patience_ms = 1000
lost_pause_s = 2.0
lost_latch_s = {latch_s}
[session]
reconcile_s = 1.0
recv_window_ms = 1000
[exchange.limits]
weight_per_minute = 1000000
[venues.binance]
weight_per_minute = 1000000
"""  # both: the test itself asks the venue all the time, and a session leaves an address alone that has used its weight
TRADING = ("sequencer", "session", "executor")
PATIENCE_S = 240.0  # a process of its own takes its time to start on a busy machine


class Scene(NodeProcesses):
    """A mesh with a sentinel, and no supervisord: what is killed stays dead until the test starts it."""

    def __init__(self, root, latch_s):
        super().__init__(root, ONE_MODEL + SETTINGS.format(latch_s=latch_s))
        self.account = VenueAccount(self.config)
        self.scenes = 0

    def rest(self) -> list[str]:
        """Orders of ours that rest at the venue, and one that is not; the session has heard of them."""
        self.scenes += 1
        names = [f"t00000000000000{self.scenes:02x}-{i:x}-0" for i in range(8)]
        self.account.place(*names, f"by-hand-{self.scenes}")
        until(lambda: set(names) <= {name for name, _ in self.updates()}, "the session has adopted them", PATIENCE_S)
        return names

    def updates(self):
        return [
            (row["client_order_id"].decode(), Status(int(row["status"])))
            for event in self.events(Kind.update) for row in event.records
        ]  # fmt: skip

    def signal(self, number, names):
        for name in names:
            os.kill(self.processes[name].pid, number)

    def ours(self) -> set[str]:
        return {name for name in self.account.open() if name.startswith("t")}

    def until_none_of_ours(self):
        until(lambda: not self.ours(), lambda: f"open at the venue: {self.ours()}\n{run.logs(self.root)}", PATIENCE_S)
        assert f"by-hand-{self.scenes}" in self.account.open(), "what is somebody else's is left alone"

    def mesh(self, *words) -> dict:
        done = run.command(self.root, "mesh", *words, "--json", timeout=PATIENCE_S)
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def lift(self, names):
        """The log agrees with the venue, and trading goes on when a person says so."""
        last = lambda: dict(self.updates())  # noqa: E731
        until(lambda: all(last()[name] == Status.Canceled for name in names), lambda: f"{last()}", PATIENCE_S)
        self.mesh("kill-switch", "off")
        until(lambda: self.newest("executor")["kill_switch"]["on"] is False, "it is off", PATIENCE_S)


@contextlib.contextmanager
def running(root, latch_s):
    """A scene in which everything runs, and has heard of each other."""
    scene = Scene(root, latch_s)
    try:
        scene.start(*NODES, "sentinel-1")
        at = scene.last()
        until(lambda: scene.beats("executor", at)[1:], "the sentinel has heard of the executor", PATIENCE_S)
        yield scene
    finally:
        scene.end()


def test_a_sentinel_needs_nobody_but_the_venue(tmp_path):
    """No session, no executor, and then no sequencer that works."""
    scene = Scene(tmp_path, 4.0)
    path = scene.config.run_dir / KILL_SWITCH_FILE
    try:
        scene.start("sequencer", "exchange", "sentinel-1")
        scene.scenes = 1
        scene.account.place(*(f"t0123456789abcdef-{i}-0" for i in range(8)), "by-hand-1")
        path.touch()
        scene.until_none_of_ours()
        told = until(lambda: scene.alerts("emergency cancel")[1:], "it is told in the log", PATIENCE_S)
        assert told[0]["level"] == "info" and "8 were cancelled" in told[0]["why"]
        assert [event.map()["by"] for event in scene.events(Kind.command)] == ["sentinel-1"]
        scene.mesh("kill-switch", "off")
        assert not path.exists()
        scene.account.place(*(f"t1123456789abcdef-{i}-0" for i in range(8)))
        scene.signal(signal.SIGSTOP, ["sequencer"])
        until(path.exists, "the loss latches", PATIENCE_S)
        assert "nothing has come into the log for 4 s; risk.lost_latch_s allows 4" in path.read_text()
        scene.until_none_of_ours()
        said = scene.mesh("kill-switch", "on", "--why", "stopped")
        assert said["seq"] is None and "in the outbox" in said["not_logged"] and path.read_text() == "stopped\n"
        scene.signal(signal.SIGCONT, ["sequencer"])
        whys = lambda: {event.map()["why"] for event in scene.events(Kind.command)}  # noqa: E731
        until(lambda: "stopped" in whys(), lambda: f"the log has it when it can: {whys()}", PATIENCE_S)
        assert scene.alerts("latched")
    finally:
        scene.end()


@pytest.fixture
def scene(tmp_path):
    with running(tmp_path, 0.0) as scene:
        yield scene


def test_what_is_dead_or_stopped_does_not_keep_orders_alive(scene):
    """Session killed; session stopped; all that trades stopped; all that trades killed, and the sentinel, too."""
    names = scene.rest()
    scene.kill("session")
    said = scene.mesh("kill-switch", "on", "--why", "a test")
    assert said["seq"] and not said["not_logged"]
    scene.until_none_of_ours()
    told = until(lambda: scene.alerts("emergency cancel")[1:], "the sentinel tells of it in the log", PATIENCE_S)
    assert told[0]["level"] == "info" and "no order of this mesh open" in told[0]["why"]
    scene.start("session")
    scene.lift(names)

    names = scene.rest()
    scene.signal(signal.SIGSTOP, ["session"])
    (scene.config.run_dir / KILL_SWITCH_FILE).touch()
    scene.until_none_of_ours()
    scene.signal(signal.SIGCONT, ["session"])
    scene.lift(names)

    names = scene.rest()
    scene.signal(signal.SIGSTOP, TRADING)
    said = scene.mesh("kill-switch", "on", "--why", "all stopped")
    assert said["seq"] is None and "in the outbox" in said["not_logged"]
    assert said["emergency"]["left"] == 0, "to the command a sentinel started by hand is none: two cancel, and neither fails"
    scene.until_none_of_ours()
    scene.signal(signal.SIGCONT, TRADING)
    until(lambda: scene.newest("executor")["kill_switch"]["on"], "the command is in the log when it can be", PATIENCE_S)
    scene.lift(names)

    names = scene.rest()
    for name in (*TRADING, "sentinel-1"):
        scene.kill(name)
    said = scene.mesh("kill-switch", "on", "--why", "all dead")
    assert said["seq"] is None and said["emergency"]["left"] == 0, said
    scene.until_none_of_ours()
    status = lambda: scene.mesh("kill-switch", "status")  # noqa: E731
    state = until(lambda: (now := status())["on"] is None and now, "the executor's last word is out of date", PATIENCE_S)
    assert state["file_why"] == "all dead" and "sequencer" in state["lost"]
    scene.start(*TRADING)
    until(lambda: scene.newest("executor")["kill_switch"]["on"], "it holds when all is back", PATIENCE_S)
    scene.lift(names)


def test_a_loss_pauses_first_and_latches_after_the_set_time(tmp_path):
    with running(tmp_path, 6.0) as scene:
        for stopped in (("sequencer",), ("executor",), ("sequencer", "executor")):
            names = scene.rest()
            before = scene.last()
            path = scene.config.run_dir / KILL_SWITCH_FILE
            scene.signal(signal.SIGSTOP, stopped)
            if "sequencer" in stopped:
                until(lambda: "sequencer" in scene.mesh("kill-switch", "status")["lost"], "it is paused", PATIENCE_S)
            until(path.exists, f"it latches without {stopped}", PATIENCE_S)
            assert "risk.lost_latch_s allows 6" in path.read_text()
            scene.until_none_of_ours()
            scene.signal(signal.SIGCONT, stopped)
            until(lambda: scene.newest("executor")["kill_switch"]["on"], "it is on when all is back, until a person lifts it",
                  PATIENCE_S)  # fmt: skip
            until(lambda: scene.alerts("latched", before), "it is told of", PATIENCE_S)  # noqa: B023
            scene.lift(names)
