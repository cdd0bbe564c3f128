"""Real processes under a wall clock that steps: only theirs, the machine's is left alone (bus/clock_faults.py)."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request

import numpy as np
import pytest

import tests.support.mesh_run as run
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.places import KNOWN
from tickmesh.bus import clock
from tickmesh.bus.clock_faults import ClockFaults
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.process import Context
from tickmesh.bus.schema import INSTRUMENT, INTENT, QUOTE, SIGNAL, Action, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.net.venue_clock import MEASURE_S
from tickmesh.nodes.sentinel.node import Opinion
from tickmesh.nodes.sentinel.processes import age_ns
from tickmesh.nodes.sentinel.supervisord import ProcessStates

pytestmark = pytest.mark.mesh

SECOND = clock.SECOND
HOUR = 3600 * SECOND
SUBJECT = "binance.BTCUSDT"
LOT = 100_000


@pytest.fixture
def make(tmp_path):
    made = []

    def mesh(settings=""):
        made.append(NodeProcesses(tmp_path, settings))
        return made[0]

    yield mesh
    for one in made:
        one.end()


def test_the_log_s_time_whatever_the_wall_clock_does(make):
    mesh = make()
    mesh.start("sequencer")
    until(lambda: mesh.events(Kind.clock), "a clock event")
    mesh.faults.step(-HOUR)
    (slew,) = until(lambda: mesh.alerts("clock_slew"), "the slew is said")
    assert slew["level"] == "warning" and abs(slew["size_ns"] + HOUR) < SECOND
    mesh.keeps_pace(1.0)  # it stood still for an hour
    mesh.kill("sequencer")
    at = mesh.last()
    mesh.start("sequencer")  # an hour behind the log: it goes on all the same
    until(lambda: mesh.events(Kind.clock, after=at), "it goes on")
    mesh.keeps_pace(1.0)
    before = len(mesh.alerts("clock_step"))
    mesh.faults.heal()
    until(lambda: mesh.alerts("clock_slew_end"), "all is well again")
    mesh.faults.step(HOUR)  # forward and back, before it is confirmed
    time.sleep(0.3)
    mesh.faults.step(-HOUR)
    mesh.faults.freeze()
    mesh.keeps_pace(1.5)
    assert len(mesh.alerts("clock_step")) == before
    mesh.faults.heal()
    at = mesh.last()
    mesh.faults.step(HOUR)
    (step,) = until(lambda: mesh.alerts("clock_step", after=at), "the step is said")
    assert step["size_ns"] == pytest.approx(HOUR, abs=3 * SECOND)
    total = sum(int(event.records["correction_ns"][0]) for event in mesh.events(Kind.clock, after=at))
    assert total == pytest.approx(HOUR, abs=3 * SECOND)
    mesh.faults.suspend(2 * HOUR)
    (asleep,) = until(lambda: mesh.alerts("clock_suspend"), "the suspend is said")
    assert asleep["size_ns"] == pytest.approx(2 * HOUR, abs=SECOND // 1000)
    assert next(LogReader(mesh.config.log_dir).events(mesh.last() - 1)).seq_ns - time.time_ns() > 2.9 * HOUR
    health = until(lambda: [e.map() for e in mesh.events(Kind.health, after=at) if e.map()["clock_suspends"]], "health")[-1]
    assert health["clock_steps"] == 1 and abs(health["clock_offset_ms"]) < 100
    mesh.judge()


def test_receive_times_of_a_feed_that_starts_again_do_not_go_back(make):
    mesh = make("[exchange]\nlines = 0\n[log]\nhold_ms = 200\n")
    mesh.start("sequencer", "exchange", "feed-1")
    until(lambda: len(mesh.events(Kind.trade)) > 10, "trades")
    mesh.faults.step(-HOUR)
    until(lambda: mesh.alerts("clock_slew"), "the step is seen")
    mesh.kill("feed-1")
    at = mesh.last()
    mesh.start("feed-1")
    until(lambda: len(mesh.events(Kind.trade, after=at)) > 10, "trades go on")
    said = [event for event in mesh.events(Kind.trade, Kind.quote) if event.producer == "feed-1"]
    stamps = [event.recv_ns for event in sorted(said, key=lambda event: event.number)]
    assert stamps == sorted(stamps), "ids made of them would be below those that are known"
    hops = [event.seq_ns - event.recv_ns for event in mesh.events(Kind.quote, after=at)]
    assert min(hops) > -SECOND and sorted(hops)[len(hops) // 2] < 60 * SECOND, "the hops are measured by one clock"
    mesh.judge()


def test_an_order_s_time_ends_though_the_wall_clock_goes_back(make):
    mesh = make('[executor]\norder_ttl_ms = 700\nstale_ms = 60000\nstyles = ["limit"]\n')
    mesh.start("sequencer", "executor")
    with (
        contextlib.closing(Producer(mesh.config, "feed-1")) as feed,
        contextlib.closing(Producer(mesh.config, "model-m")) as model,
    ):
        feed.publish([encode(Kind.instrument, SUBJECT, np.array([(-8, -8, 10**6, 1000, 1000, 0, 0)], INSTRUMENT))])
        mesh.faults.step(-HOUR)
        until(lambda: mesh.alerts("clock_slew"), "the step is seen")
        at = mesh.last()
        bid = 6_000_000_000_000
        feed.publish(
            [encode(Kind.quote, SUBJECT, np.array([(1, bid, 10**9, bid + 10**6, 10**9, 0)], QUOTE), first_id=1, last_id=1)]
        )
        until(lambda: mesh.events(Kind.quote), "a quote")
        model.publish([encode(Kind.signal, SUBJECT, np.array([(b"m", 0.9, np.nan, 0, bid)], SIGNAL), cause_seq=mesh.last())])
        new, cancel = until(lambda: (both := mesh.events(Kind.intent, after=at))[1:] and both[:2], "an intent and its cancel")
        assert new.records["action"][0] == Action.NEW and cancel.records["action"][0] == Action.CANCEL
        (signal,) = mesh.events(Kind.signal, after=at)
        assert 0.7 <= (cancel.seq_ns - signal.seq_ns) / SECOND < 60, "by the log's time, not by a clock that is an hour behind"
        assert new.records["expires_ns"][0] > new.seq_ns


def test_a_session_follows_the_venue_s_clock(make):
    mesh = make(KNOWN + "[session]\nreconcile_s = 0.5\nbackoff_s = [0.05, 0.2]\n[exchange]\nlines = 0\n")
    mesh.start("sequencer", "exchange", "session")
    with contextlib.closing(Producer(mesh.config, "executor")) as executor:
        number = 0

        def order(kind=OrderType.LIMIT):
            """Final status of a new order, far below the market."""
            nonlocal number
            number += 1
            name = f"order-{number}".encode()
            row = np.zeros(1, INTENT)
            row["client_order_id"], row["action"], row["side"], row["order_type"] = name, Action.NEW, 1, kind
            row["time_in_force"], row["price_ticks"], row["quantity_lots"] = TimeInForce.GTC, 30_000 * 10**8, LOT
            executor.publish([encode(Kind.intent, SUBJECT, row)])

            def told():
                rows = [r for e in mesh.events(Kind.update) for r in e.records if r["client_order_id"] == name]
                return [r for r in rows if r["status"] not in (Status.PendingNew, Status.Unknown)]

            row = until(told, "the order's state")[0]
            return Status(int(row["status"])), int(row["code"])

        assert order() == (Status.New, 0)
        for step in (-HOUR, 2 * HOUR, -HOUR):
            mesh.faults.step(step)
            assert order() == (Status.New, 0), "what it signs does not depend on the wall clock"
        rest = json.loads((mesh.config.run_dir / "exchange.json").read_text())["rest"]
        terms = json.dumps({"kind": "clock", "offset_ms": 30_000, "length_s": 600}).encode()
        asked = urllib.request.Request(f"{rest}/tickmesh/v1/faults", terms, {"Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=5).close()
        began = time.monotonic()
        until(lambda: order() == (Status.New, 0), "it measures the venue's clock anew")
        assert time.monotonic() - began < MEASURE_S / 2, "long before it would anyhow"
        mesh.faults.suspend(HOUR)  # ours says that an hour has passed, the venue's does not
        began = time.monotonic()
        until(lambda: order() == (Status.New, 0), "likewise")
        assert time.monotonic() - began < MEASURE_S / 2
        refused = {int(r["code"]) for e in mesh.events(Kind.update) for r in e.records if r["status"] == Status.Rejected}
        assert refused <= {-1021}


@pytest.mark.parametrize("off_ns", [HOUR, -HOUR])
def test_a_sentinel_reckons_a_process_s_age_in_the_log_s_time(tmp_path, off_ns):
    """supervisord says when it was started by the wall clock, which may be an hour away from the log's time."""
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path)
    config.log_dir.mkdir(parents=True)
    segment = clock.ClockSegment(clock.elapsed_ns(), clock.wall_ns() + off_ns, 0)
    (config.log_dir / clock.NAME).write_bytes(clock.pack(segment, clock.boot_bytes()))
    try:
        opinion = Opinion(Context(config, "sentinel-1"), raise_alert=lambda alert: None)
        opinion.known = True
        with subprocess.Popen(["sleep", "60"]) as process:
            info = {"name": "recorder", "state": ProcessStates.RUNNING, "pid": process.pid, "start": int(time.time())}
            assert opinion.of([info]) == []
            observed = opinion._observe("recorder", process.pid)
            assert abs(clock.now_ns() - observed.since_ns) < 10 * SECOND
            process.kill()
        assert age_ns(process.pid) == 0
    finally:
        clock.follow(tmp_path / "another mesh")


@pytest.mark.timeout(300)
def test_a_whole_mesh_lives_through_every_step(make_root, monkeypatch):
    """Processes die before and after each; nobody is blamed for it, nothing is lost, orders go on.

    After the step forward both clocks of this mesh are an hour ahead of the venue's: orders go on because that limit is
    switched off (test_clock_skew_mesh.py has it on).
    """
    root = make_root(
        "[executor]\norder_ttl_ms = 500\n[risk]\nclock_skew_max_ms = 0\n"
        "[sentinel]\nheartbeat_s = 5.0\n[recorder]\nsegment_s = 2.0\n"
    )
    faults = ClockFaults(root / "clock-faults.json")
    for name, value in faults.environment.items():
        monkeypatch.setenv(name, value)
    run.ok(root, "mesh", "up", alone=True)  # this process has the machine's clocks

    def killed(*names):
        for name in names:
            pid = run.ready(root, name)["pid"]
            os.kill(pid, signal.SIGKILL)
            run.until(lambda: run.ready(root, name)["pid"] != pid, f"{name} is back")  # noqa: B023

    def goes_on():
        at = LogReader(run.config_of(root).log_dir).last
        wanted = {Kind.trade, Kind.quote, Kind.signal, Kind.fill, Kind.health}
        run.until(
            lambda: {event.kind for event in run.events(root, *wanted, after=at)} == wanted,
            lambda: f"the mesh stands still\n{run.logs(root)}", 30,
        )  # fmt: skip

    faults.step(-HOUR)
    killed("feed-binance-1", "sequencer", "session")
    goes_on()
    faults.step(2 * HOUR)
    killed("exchange", "sequencer")
    goes_on()
    faults.suspend(HOUR)
    killed("feed-binance-2")
    goes_on()
    status = run.status(root, alone=True)
    assert all(-1 < node["heartbeat_age_s"] < 10 for node in status["nodes"] if node["heartbeat_age_s"] is not None), status
    assert not [t["topic"] for t in status["topics"] if t["stale"]]
    skews = [event.map().get("clock_skew_ms", 0.0) for event in run.events(root, Kind.health) if event.subject == "session"]
    assert min(skews) < -3_590_000, "the session has said how far the venue is behind"
    assert not (run.config_of(root).run_dir / KILL_SWITCH_FILE).exists(), "a step is no loss"
    run.ok(root, "mesh", "down", alone=True)
    said = [event.map() for event in run.events(root, Kind.alert)]
    assert not [alert for alert in said if "at_ns" in alert], "nobody was blamed"
    assert {"clock_step", "clock_slew", "clock_suspend"} <= {alert["what"] for alert in said}
    done = run.ok_json(root, "mesh", "verify", alone=True)
    assert done["ok"], done
