"""The default mesh, as a user meets it: up, look, kill, hosted, down, up again."""

import json
import resource
import time

import numpy as np
import pytest

import tests.support.mesh_run as run
import tickmesh
from tests.support.command_run import mesh_here
from tests.support.page_blocks import blocks, commands
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.net.waits import Waits

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(400)]

HOSTED = 'host = ["feed-1", "model", "executor", "session"]\n'
MORE = """
default_models = false
host = ["executor"]
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
[feed]
lines = 3
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[executor]
signal_threshold = 0.65
"""
KILLED = [
    "feed-binance-1",
    "feed-binance-2",
    "sequencer",
    "backfill",
    "recorder",
    "model-imbalance",
    "executor",
    "session",
    "sentinel-1",
    "sentinel-2",
]


def check_log(root) -> None:
    """What must hold of the log whatever happened."""
    seqs, trades, causes, clients, fills = [], {}, set(), set(), set()
    for e in run.events(root):
        seqs.append(e.seq)
        if e.kind == Kind.trade:
            trades.setdefault(e.subject, []).append(e.last_id)
        elif e.kind == Kind.signal or e.kind == Kind.intent:
            key = (e.producer, e.cause_seq, e.k)
            assert key not in causes, f"said twice: {key}"
            causes.add(key)
        if e.kind == Kind.intent:
            client = bytes(e.records["client_order_id"][0])
            assert client not in clients, f"order twice: {client}"
            clients.add(client)
        elif e.kind == Kind.health and e.subject == "exchange":
            assert not e.map().get("limited"), "the default mesh has met a limit of its venue"
        elif e.kind == Kind.fill:
            for record in e.records:
                key = (e.subject, int(record["trade_id"]), bytes(record["client_order_id"]))
                assert key not in fills, f"fill twice: {key}"
                fills.add(key)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    for subject, ids in trades.items():
        assert ids == list(range(ids[0], ids[0] + len(ids))), f"trades of {subject} have a hole or a double"


def pids(root) -> dict[str, int]:
    return {node["name"]: node["pid"] for node in run.status(root)["nodes"]}


def live_commands() -> list[list[str]]:
    """Those of README.md that look at a running mesh or restart a process of it; as printed, but that each of them ends."""
    printed = [words for block in blocks("bash") if block.page == "README.md" for words in commands(block)]
    named = [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in printed]
    found = [words for words in named if words[0] in ("tap", "supervisorctl") or words[:2] == ["mesh", "status"]]
    assert {words[0] for words in found} == {"tap", "supervisorctl", "mesh"}
    return [[*words, "-n", "1"] if words[0] == "tap" else words for words in found]


def tap_cpu_s(root) -> float:
    """The CPU time that `tap` takes to its first live line."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "trade.binance.BTCUSDT" in run.ok(root, "tap", "trade", "-n", "1", alone=True).stdout
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def look(root) -> None:
    """A mesh that has just been asked to come up, as a person looks at it."""
    first = run.ok_json(root, "mesh", "up", alone=True)
    assert first["running"] and not first["already"]
    assert list(first["rates"]) == ["trade", "quote", "depth", "signal", "intent", "fill"]
    assert first["rates"]["quote"] > 0, "of the second after everything was seen"
    assert min(first["counts"].values()) > 0, "each was seen, if not in that second"
    assert {Kind[name] for name in first["rates"]} <= {event.kind for event in run.events(root)}
    again = run.ok_json(root, "mesh", "up")
    assert again["already"]

    shown = run.ok(root, "tap", "trade", "--count", "5", "--json").stdout.splitlines()
    assert len(shown) == 5
    assert all(json.loads(line)["topic"].startswith("trade.") for line in shown)
    cpu_s = [tap_cpu_s(root) for _ in range(3)]
    assert min(cpu_s) < 0.6, f"to the first line: {cpu_s} s of CPU; on a machine that does nothing else it is below 0.3"
    for words in live_commands():
        run.ok(root, *words, alone=True)
    hops = {one["hop"]: one for one in json.loads(mesh_here(root, "latency", "--for", "1s", "--json").stdout)["hops"]}
    assert hops["feed: read, appended, sent"]["count"] > 0 and hops["market data → log"]["count"] > 0
    checks = {one["name"]: one for one in json.loads(mesh_here(root, "doctor", "--json").stdout)["checks"]}
    for name in ("config", "supervisord", "permissions", "left_over"):
        assert checks[name]["grade"] == "ok", checks
    rare = run.command(root, "tap", "gap", "--until", "now")
    assert (rare.returncode, rare.stdout) == (0, "") and "nothing of gap was recorded" in rare.stderr
    status = run.status(root)
    names = {node["name"] for node in status["nodes"]}
    assert names >= set(KILLED) | {"exchange", "model-flow"}
    assert all(node["state"] == "RUNNING" for node in status["nodes"]), status["nodes"]
    assert all({"name", "state", "pid", "uptime_s", "heartbeat_age_s"} <= set(node) for node in status["nodes"])
    taken = [node["memory_bytes"] for node in status["nodes"]]
    assert {node["memory_is"] for node in status["nodes"]} == {"pss"} and min(taken) > 0
    assert status["memory"]["bytes"] == sum(taken) + status["memory"]["supervisord_bytes"] > sum(taken)
    assert {"topic", "last_seq", "rate"} <= set(status["topics"][0])
    assert status["told_to_wait"] == []
    Waits(load(root), "feed-binance-1").take("ws://127.0.0.1:1/stream", "", 600.0, "it answers HTTP 429 Too Many Requests")
    (wait,) = run.status(root)["told_to_wait"]
    assert wait["server"] == "127.0.0.1:1 (websocket)" and 500 < wait["left_s"] <= 600
    assert "127.0.0.1:1 (websocket) is left alone for" in " ".join(run.command(root, "mesh", "status").stdout.split())
    assert run.ok_json(root, "mesh", "verify")["ok"]
    read_while_it_records(root)


def read_while_it_records(root) -> None:
    """The day that is not over, from Python: more of it at each look, to the newest event."""
    db = tickmesh.open(root)
    trades = db.trades("binance.BTCUSDT", gaps="raise")
    before = trades.to_arrow()
    run.until(lambda: len(trades) > before.num_rows, "a trade more")
    after = trades.to_arrow()
    assert after.slice(0, before.num_rows).equals(before) and after.num_rows > before.num_rows
    assert (np.diff(after["trade_id"].to_numpy()) == 1).all()
    last = LogReader(run.config_of(root).log_dir).last
    run.until(lambda: db.quotes("binance.BTCUSDT").tail(1)["seq"].item() > last, "the newest quote is there")
    counts = db.sql("select (select count(*) from signals), (select count(*) from fills), (select count(*) from health)")
    assert min(counts.fetchall()[0]) > 0


def stop_and_start_single_processes(root) -> None:
    for name in ("feed-binance-1", "sequencer", "recorder"):
        begun = time.monotonic()
        run.ok(root, "supervisorctl", "-c", "supervisor.conf", "stop", name)
        assert time.monotonic() - begun < 10, f"{name} does not stop while data flows"
        time.sleep(0.3)
        run.ok(root, "supervisorctl", "-c", "supervisor.conf", "start", name)


def change_one_setting(root) -> None:
    before = pids(root)
    (root / "mesh.toml").write_text("[executor]\nsignal_threshold = 0.65\n")
    run.ok(root, "mesh", "reload")
    after = pids(root)
    assert {name for name in after if after[name] != before[name]} == {"executor"}


def change_much(root) -> None:
    """An instrument, a line and a host more, and a model less."""
    before = pids(root)
    (root / "mesh.toml").write_text(MORE)
    result = run.ok_json(root, "mesh", "reload")
    assert not result["failed"] and not result["not_running"]
    last = LogReader(run.config_of(root).outbox_dir / "model-flow").last
    untouched = {name for name, pid in pids(root).items() if pid == before.get(name)}
    assert not untouched, "the executor is a process no more, the rest reads of instruments or hosts"
    state = {node["name"]: node["state"] for node in run.status(root)["nodes"]}
    assert state["executor"] == "HOSTED" and state["feed-binance-3"] == "RUNNING" and "model-flow" not in state
    seen = run.events(root)[-1].seq
    run.until(lambda: run.events(root, Kind.fill, after=seen), "fills go on")
    eth = run.until(lambda: [e for e in run.events(root, Kind.trade) if e.subject == "binance.ETHUSDT"], "the new one is heard")
    run.until(
        lambda: max(e.number for e in run.events(root) if e.producer == "model-flow") == last, "what it said last is taken"
    )
    assert not [e.map() for e in run.events(root, Kind.alert) if e.producer.startswith("sentinel")], (
        "nobody took it for a death"
    )
    assert run.events(root)[-1].seq > eth[0].seq


def test_up_look_change_down_and_up_again(make_root):
    root = make_root()
    look(root)
    stop_and_start_single_processes(root)
    change_one_setting(root)
    change_much(root)
    run.ok(root, "mesh", "down")
    check_log(root)
    end = run.events(root)[-1].seq
    down = run.ok_json(root, "mesh", "verify")
    assert down["ok"], down
    truth = run.ok_json(root, "mesh", "verify", "--against", "data/sim/exchange")
    assert truth["ok"] and truth["trades"] > 100, truth
    watermark = json.loads((run.config_of(root).archive_dir / "watermark.json").read_text())
    assert watermark["archived_seq"] == end, "a stop leaves a complete archive"
    assert not run.config_of(root).outbox_dir.exists(), "nothing is left of the model that went"

    run.ok(root, "mesh", "up")
    run.ok(root, "mesh", "down")
    check_log(root)
    assert run.events(root)[-1].seq > end
    assert not run.config_of(root).outbox_dir.exists()


@pytest.mark.long
@pytest.mark.parametrize("settings", ["", HOSTED], ids=["separate", "hosted"])
def test_kills_under_load(make_root, settings):
    root = make_root(settings + "[exchange]\ntrades_per_s = 100\nquotes_per_s = 300\n")
    run.ok(root, "mesh", "up")
    killer = run.Killer(root, seed=7)
    hosted = ("feed-1", "model-imbalance", "executor", "session") if settings else ()
    names = [name for name in KILLED if name not in hosted]
    for name in names:
        run.until(lambda name=name: run.ready(root, name), f"{name} is ready")
    for _ in range(2):
        killer.round(names)
    seen = run.events(root)[-1].seq
    run.until(lambda: len(run.events(root, Kind.fill, after=seen)) > 2, "fills go on")
    status = run.status(root)
    assert all(node["state"] in ("RUNNING", "HOSTED") for node in status["nodes"]), status["nodes"]
    run.ok(root, "mesh", "down")
    check_log(root)
    verified = run.ok_json(root, "mesh", "verify")
    assert verified["ok"], verified
    print(killer.report(root))
    killer.judge()
