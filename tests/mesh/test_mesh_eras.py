"""An exchange whose folder was removed begins with ids of its own: for the mesh a new era, and both are kept."""

import os
import shutil
import signal

import pytest

import tests.support.mesh_run as run
from tickmesh.bus.schema import Flag, Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

SUBJECT, OTHER = "binance.BTCUSDT", "binance_usdm.BTCUSDT"
SETTINGS = f"""{run.MARKET_ALONE}[recorder]
segment_s = 2
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "BTCUSDT"
venue = "binance_usdm"
[exchange]
trades_per_s = 60
"""
MARKET = (Kind.trade, Kind.quote, Kind.depth)


def market(root, kind: Kind, subject: str = SUBJECT) -> list:
    return [event for event in run.events(root, kind) if event.subject == subject]


def resets(root, kind: Kind, subject: str = SUBJECT) -> list:
    return [event for event in market(root, kind, subject) if event.flags & Flag.RESET]


def test_a_folder_that_is_removed_under_a_mesh_that_goes_on_is_an_era_of_every_stream(make_root):
    """`rm -r data/sim/exchange`, and the exchange dies. Of one seed, the first minute of the next is the old one again."""
    root = make_root(SETTINGS)
    run.ok(root, "mesh", "up")
    run.until(lambda: all(len(market(root, Kind.trade, one)) > 300 for one in (SUBJECT, OTHER)), "trades flow")
    shutil.rmtree(root / "data/sim/exchange")
    os.kill(run.ready(root, "exchange")["pid"], signal.SIGKILL)
    begun = [(kind, subject) for kind in MARKET for subject in (SUBJECT, OTHER)]
    run.until(lambda: all(resets(root, *one) for one in begun), lambda: f"a new era of each stream\n{run.logs(root)}")
    said = {event.map()["target"] for event in run.events(root, Kind.alert) if event.map()["what"] == "ids_began_anew"}
    assert said >= {f"{kind}.{subject}" for kind in ("trade", "depth") for subject in (SUBJECT, OTHER)}, "in words"
    (began,) = resets(root, Kind.trade)
    run.until(lambda: market(root, Kind.trade)[-1].last_id > began.last_id + 300, "it goes on")
    (anew,) = resets(root, Kind.depth)
    run.until(lambda: any(e.flags & Flag.SNAPSHOT and e.seq >= anew.seq for e in market(root, Kind.depth)), "with its book")
    run.ok(root, "mesh", "down")
    trades = market(root, Kind.trade)
    old = [event.last_id for event in trades if event.seq < began.seq]
    new = [event.last_id for event in trades if event.seq >= began.seq]
    assert new[0] < old[-1] and new == list(range(new[0], new[-1] + 1)), "nothing of it was taken for a copy"
    streams = {one["kind"]: one["intervals"] for one in run.ok_json(root, "mesh", "coverage", SUBJECT)["streams"]}
    whole = [(row["first_id"], row["last_id"], row["era"]) for row in streams["trade"] if row["state"] == "complete"]
    assert whole == [(old[0], old[-1], 0), (new[0], new[-1], began.seq)]
    assert {row["reason"] for row in streams["trade"] if row["state"] == "missing"} == {"reset"}
    assert {row["era"] > 0 for row in streams["depth"] if row["state"] == "complete"} == {False, True}
    verdict = run.ok_json(root, "mesh", "verify")
    assert verdict["ok"], verdict
    verdict = run.ok_json(root, "mesh", "verify", "--against", "data/sim/exchange")
    assert verdict["ok"] and verdict["trades"] >= len(new), verdict
