"""A real venue in one line, as a person meets it: the local exchange over TLS stands in for it under its own name."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tests.support.mesh_run as run
from tests.support.stand_in import StandIn
from tickmesh.bus.schema import Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

MESH = Path(sys.prefix) / "bin/mesh"
WANTED = ("--venue", "binance", "--instruments", "btcusdt,ETH/USDT")


def alerts(root, what: str) -> list[dict]:
    """The alerts of this name that are in the log now."""
    return [alert for alert in (event.map() for event in run.events(root, Kind.alert)) if alert["what"] == what]


def trading(root, last: int) -> set[str]:
    """The instruments of which a trade came after seq `last`."""
    return {event.subject for event in run.events(root, Kind.trade, after=last)}


def trades_missing(root) -> int:
    """Ids of trades that are skipped between the first and the last one in the log."""
    ids: dict[str, set[int]] = {}
    for event in run.events(root, Kind.trade):
        ids.setdefault(event.subject, set()).add(event.last_id)
    return sum(max(some) - min(some) + 1 - len(some) for some in ids.values())


@pytest.fixture
def venue(tmp_path):
    with StandIn(tmp_path / "venue", ["BTCUSDT", "ETHUSDT", "binance_usdm.BTCUSDT"]) as exchange:
        yield exchange


def test_a_venue_is_recorded_through_kills_and_its_own_outage_and_without_it_the_reason_is_said(deep, venue):
    root = deep / "recorder"
    root.mkdir()
    made = subprocess.run([MESH, "init", *WANTED, "--json"], cwd=root, capture_output=True, text=True)
    assert made.returncode == 0 and set(json.loads(made.stdout)["laid"]) == {"supervisor.conf", ".venv", "models/"}, made.stderr
    with open(root / "mesh.toml", "a") as file:
        file.write(f"\n{venue.toml()}")
    try:
        recorded(root, venue)
        not_recorded(root, venue)
    finally:
        run.command(root, "mesh", "down")
    for path in root.glob("run/logs/*.log"):
        assert "Traceback" not in path.read_text(), path


def recorded(root, venue) -> None:
    """Up, looked at, refused what the venue has not, killed, cut off from the venue for a while, judged by its ledger, down."""
    up = run.ok_json(root, "mesh", "up")
    assert (up["mode"], up["source"], up["not_recording"]) == ("capture", "binance", {})
    for row, name in zip(up["seen"], ("BTCUSDT", "ETHUSDT"), strict=True):
        assert row["instrument"] == f"binance.{name}" and not row["quiet"]
        assert set(row["first_s"]) == {"trade", "quote", "depth"} and row["per_s"]["quote"] > 0
        assert float(row["ask"]) > float(row["bid"]) > 0 and float(row["tick_size"]) == 0.01
    nodes = {node["name"]: node["state"] for node in run.status(root)["nodes"]}
    assert not nodes.keys() & {"exchange", "executor", "session"} and set(nodes.values()) == {"RUNNING"}, nodes
    assert len(run.ok(root, "tap", "quote", "--count", "2").stdout.splitlines()) == 2

    wrong = run.command(root, "mesh", "up", "--venue", "binance", "--instruments", "BTCUSDT,ETHUSDC")
    assert wrong.returncode == 1 and "no instrument 'ETHUSDC'; near it: ETHUSDT" in wrong.stderr, wrong.stderr
    other = run.command(root, "mesh", "up", *WANTED, "--source", "another")
    assert other.returncode == 1 and "up with source 'binance'" in other.stderr, other.stderr
    assert run.ok_json(root, "mesh", "up", *WANTED)["plan"] == [], "the flags say what init wrote"

    for name in ("feed-binance-1", "sequencer"):
        pid = run.ready(root, name)["pid"]
        os.kill(pid, signal.SIGKILL)
        run.until(lambda name=name, pid=pid: run.ready(root, name).get("pid", pid) != pid, f"{name} is back")
    venue.end()
    run.until(lambda: len(alerts(root, "unreachable")) == 2, "each line says that it does not reach the venue")
    assert all("it refuses the connection: nothing listens there" in alert["why"] for alert in alerts(root, "unreachable"))
    venue.begin()
    run.until(lambda: len(alerts(root, "reachable")) == 2, "each line says that it does again")
    last = run.events(root)[-1].seq
    run.until(lambda: len(run.events(root, Kind.trade, after=last)) > 5, "trades go on")
    run.until(lambda: not trades_missing(root), "what was printed before a line was back is asked for")
    a_second_venue(root, venue)
    run.until(lambda: not trades_missing(root), "what was printed during the reload is asked for")
    assert run.ok_json(root, "mesh", "verify", "--against", str(venue.ledger))["ok"], "while both run"
    venue.end()  # what it prints when nobody records it any more is no loss
    run.ok(root, "mesh", "down")
    judged = run.ok_json(root, "mesh", "verify", "--against", str(venue.ledger))
    assert judged["ok"] and judged["trades"] > 50 and judged["lost"] == 0, judged
    alone = run.ok_json(root, "mesh", "verify")
    assert alone["ok"] and alone["not_heard"] == [], alone
    coverage = run.ok_json(root, "mesh", "coverage")
    assert len(coverage["streams"]) == 9 and coverage["unheard"] == [], coverage


def a_second_venue(root, venue) -> None:
    """Added while data flows: first with a line that nobody understands, which stops nothing."""
    before = {node["name"]: node["pid"] for node in run.ok_json(root, "mesh", "status")["nodes"]}
    settings = (root / "mesh.toml").read_text()
    (root / "mesh.toml").write_text(f"{settings}\n[feed]\nlinse = 3\n")
    wrong = run.command(root, "mesh", "reload")
    assert wrong.returncode == 1 and "linse" in wrong.stderr and "lines" in wrong.stderr, wrong.stderr
    (root / "mesh.toml").write_text(settings)
    assert {node["name"]: node["pid"] for node in run.ok_json(root, "mesh", "status")["nodes"]} == before

    row = '{ venue = "binance", symbol = "ETHUSDT" },'
    assert row in settings
    more = settings.replace(row, f'{row}\n    {{ venue = "binance_usdm", symbol = "BTCUSDT" }},')
    (root / "mesh.toml").write_text(f"{more}\n{venue.toml('binance_usdm')}")
    result = run.ok_json(root, "mesh", "reload")
    assert not result["failed"] and not result["not_running"], result
    heard = {"binance.BTCUSDT", "binance.ETHUSDT", "binance_usdm.BTCUSDT"}
    last = run.events(root)[-1].seq
    run.until(lambda: trading(root, last) == heard, lambda: f"trades flow of {trading(root, last)}, not of {heard}")
    names = {node["name"] for node in run.ok_json(root, "mesh", "status")["nodes"] if node["state"] == "RUNNING"}
    assert names == before.keys() | {"feed-binance_usdm-1", "feed-binance_usdm-2"}


def not_recorded(root, venue) -> None:
    """Nothing listens where the venue was: exit code 3, who cannot be reached and why, what goes on and how to end it."""
    up = run.command(root, "mesh", "up", *WANTED)
    assert up.returncode == 3, up.stderr
    assert "binance cannot be asked for its instruments: 127.0.0.1:" in up.stderr
    words = " ".join(up.stdout.split())
    assert "NOT recording binance:" in words and "it refuses the connection: nothing listens there" in words
    assert "tries again" in words and "`mesh down` ends it" in words
