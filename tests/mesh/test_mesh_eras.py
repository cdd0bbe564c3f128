"""An exchange whose folder was removed begins with ids of its own: for the mesh a new era, and both are kept."""

import shutil

import pytest

import tests.support.mesh_run as run
from tickmesh.bus.schema import Flag, Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

SUBJECT = "binance.BTCUSDT"
SETTINGS = "[recorder]\nsegment_s = 2\n[exchange]\ntrades_per_s = 60\n"
MARKET = (Kind.trade, Kind.quote, Kind.depth)


def market(root, kind: Kind) -> list:
    return [event for event in run.events(root, kind) if event.subject == SUBJECT]


def resets(root, kind: Kind) -> list:
    return [event for event in market(root, kind) if event.flags & Flag.RESET]


def test_an_exchange_that_begins_anew_is_an_era_of_every_stream(make_root):
    root = make_root(SETTINGS)
    run.ok(root, "mesh", "up")
    run.until(lambda: len(market(root, Kind.trade)) > 400, "trades flow")
    control = ("supervisorctl", "-c", "supervisor.conf")
    run.ok(root, *control, "stop", "exchange")
    shutil.rmtree(root / "data/sim/exchange")
    (root / "mesh.toml").write_text(SETTINGS + "seed = 2\n")  # of the same seed its first minute would be the same to the byte
    run.ok(root, *control, "start", "exchange")
    run.until(lambda: all(resets(root, kind) for kind in MARKET), lambda: f"a new era of each stream\n{run.logs(root)}")
    (began,) = resets(root, Kind.trade)
    run.until(lambda: market(root, Kind.trade)[-1].last_id > began.last_id + 300, "it goes on")
    (anew,) = resets(root, Kind.depth)
    run.until(lambda: any(e.flags & Flag.SNAPSHOT and e.seq >= anew.seq for e in market(root, Kind.depth)), "with its book")
    run.ok(root, "mesh", "down")
    trades = market(root, Kind.trade)
    old = [event.last_id for event in trades if event.seq < began.seq]
    new = [event.last_id for event in trades if event.seq >= began.seq]
    assert new[0] < 200 < old[-1] and new == list(range(new[0], new[-1] + 1)), "nothing of it was taken for a copy"
    streams = {one["kind"]: one["intervals"] for one in run.ok_json(root, "mesh", "coverage", "BTCUSDT")["streams"]}
    whole = [(row["first_id"], row["last_id"], row["era"]) for row in streams["trade"] if row["state"] == "complete"]
    assert whole == [(old[0], old[-1], 0), (new[0], new[-1], began.seq)]
    assert {row["reason"] for row in streams["trade"] if row["state"] == "missing"} == {"reset"}
    assert {row["era"] > 0 for row in streams["depth"] if row["state"] == "complete"} == {False, True}
    verdict = run.ok_json(root, "mesh", "verify")
    assert verdict["ok"], verdict
    verdict = run.ok_json(root, "mesh", "verify", "--against", "data/sim/exchange")
    assert verdict["ok"] and verdict["before_ledger"] == len(MARKET) and verdict["trades"] == len(new), verdict
