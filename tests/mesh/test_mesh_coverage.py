"""The ledger of a running mesh, an outage, and a replayed capture: what it says is what happened."""

import contextlib
import json
import os
import signal
import urllib.request

import pytest

import tests.support.mesh_run as run
from tests.support.places import HAND_WRITTEN
from tickmesh.bus.schema import Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(600)]

SUBJECT = "binance.BTCUSDT"
BTC = "hftbacktest/spot/btcusdt_20240808.gz"
QUICK = "[recorder]\nsegment_s = 2\n[exchange]\ntrades_per_s = 40\n"


def streams(root) -> dict[str, dict]:
    """kind → what `mesh coverage` says of it."""
    return {stream["kind"]: stream for stream in run.ok_json(root, "mesh", "coverage", "BTCUSDT")["streams"]}


def spans(stream: dict) -> list[tuple]:
    return [(row["state"], row["first_id"], row["last_id"]) for row in stream["intervals"]]


def verified(root, *words) -> dict:
    verdict = run.ok_json(root, "mesh", "verify", *words)
    assert verdict["ok"], verdict
    return verdict


def ids(root, kind: Kind) -> list[int]:
    return [event.last_id for event in run.events(root, kind) if event.subject == SUBJECT]


def test_a_default_run_is_complete_from_the_first_id(make_root):
    root = make_root(QUICK)
    run.ok(root, "mesh", "up")
    run.until(lambda: len(run.events(root, Kind.coverage)) > 2, "the recorder says what its cuts prove")
    live = streams(root)
    assert spans(live["trade"]) == [("complete", ids(root, Kind.trade)[0], live["trade"]["ends"])]
    run.ok(root, "mesh", "down")
    seen = streams(root)
    trades, depth = ids(root, Kind.trade), [e for e in run.events(root, Kind.depth) if e.subject == SUBJECT]
    first_book = next(event.last_id for event in depth if event.flags & 1)
    assert spans(seen["trade"]) == [("complete", trades[0], trades[-1])]
    unproven, complete = spans(seen["depth"])
    assert unproven == ("unproven", depth[0].first_id, first_book - 1), "changes before the first snapshot are there"
    assert complete[:2] == ("complete", first_book)
    assert depth[-1].first_id <= complete[2] <= depth[-1].last_id, "the newest change counts up to its first id"
    assert {row["state"] for row in seen["quote"]["intervals"]} == {"unproven"}
    assert seen["trade"]["share_of_ids"] == seen["trade"]["share_of_time"] == 1
    assert run.command(root, "mesh", "coverage", "--missing").returncode == 0
    verdict = verified(root)
    assert verdict["coverage_checked"] >= 6 and verdict["coverage_said"] >= 3, verdict
    truth = verified(root, "--against", "data/sim/exchange")
    assert truth["coverage_ids"] >= len(trades) and truth["coverage_books"] > 20, truth
    assert truth["coverage_missing_ids"] == truth["coverage_missing_changes"] == 0


TWO_DIALECTS = """[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "BTCUSDT"
venue = "binance_usdm"
"""


def depth_of_both(root, after: int = 0) -> bool:
    """Whether both venues' books have been heard of after a seq."""
    return {e.subject for e in run.events(root, Kind.depth, after=after)} == {SUBJECT, "binance_usdm.BTCUSDT"}


def test_a_stop_a_killed_exchange_and_a_killed_mesh_leave_no_id_out(make_root):
    """Ids go on without a hole, so nothing reads as loss that was none: coverage and the judge agree, in both dialects."""
    root = make_root(run.MARKET_ALONE + TWO_DIALECTS + QUICK)
    run.ok(root, "mesh", "up")
    run.until(lambda: depth_of_both(root), "both books")
    run.ok(root, "mesh", "down")
    before = run.events(root)[-1].seq
    run.ok(root, "mesh", "up")
    run.until(lambda: depth_of_both(root, before), "both go on after a clean stop")
    os.kill(pid := run.ready(root, "exchange")["pid"], signal.SIGKILL)
    run.until(lambda: run.ready(root, "exchange").get("pid", pid) != pid, "the exchange is back")
    before = run.events(root)[-1].seq
    run.until(lambda: depth_of_both(root, before), "both go on after its kill")
    supervisord = int((root / "run/supervisord.pid").read_text())
    for number in (supervisord, *(json.loads(path.read_text())["pid"] for path in (root / "run/ready").glob("*.json"))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    before = run.events(root)[-1].seq
    run.ok(root, "mesh", "up")
    run.until(lambda: depth_of_both(root, before), "both go on after everything was killed")
    run.until(lambda: run.command(root, "mesh", "coverage", "--missing").returncode == 0, "every trade is repaired")
    run.ok(root, "mesh", "down")
    shown = run.command(root, "mesh", "coverage", "--missing")
    assert shown.returncode == 0, shown.stdout
    for stream in run.ok_json(root, "mesh", "coverage", "--kind", "depth")["streams"]:
        assert [row["state"] for row in stream["intervals"]] == ["unproven", "complete"], "one book, over all of it"
    truth = verified(root, "--against", "data/sim/exchange")
    assert truth["coverage_missing_ids"] == truth["coverage_missing_changes"] == 0 and truth["coverage_books"] > 20
    bars = run.ok_json(root, "mesh", "bars", SUBJECT, "--every", "1s")["bars"]
    assert {bar["covered"] for bar in bars} >= {0, 1}, "no id is missing, and yet the bars say that the mesh was down"
    assert all(bar["count"] == bar["quotes"] == 0 for bar in bars if not bar["covered"])


def printed(root) -> int:
    """The newest trade id of the exchange."""
    where = json.loads((root / "run/exchange.json").read_text())["rest"]
    with urllib.request.urlopen(f"{where}/api/v3/trades?symbol=BTCUSDT&limit=1") as answer:
        return json.loads(answer.read())[0]["id"]


@pytest.mark.parametrize(
    "enabled, expected, feeds", [("true", "repaired", ["feeds:*"]), ("false", "missing", ["feed-1", "feed-2"])]
)
def test_an_outage_of_all_feeds_is_repaired_or_missing(make_root, enabled, expected, feeds):
    """Once with the table that is written from mesh.toml, once with one that a person has written, as long ago."""
    by_hand = None if feeds == ["feeds:*"] else HAND_WRITTEN
    alone = "" if by_hand else run.MARKET_ALONE
    root = make_root(f"{alone}{QUICK}[backfill]\nenabled = {enabled}\n[feed]\nlines = {3 if by_hand else 2}\n", by_hand)
    shown = run.ok(root, "mesh", "up").stdout
    assert ("a table of its own" in shown and "does not run feed-binance-3, gateway, which mesh.toml has" in shown) == bool(
        by_hand
    )
    run.until(lambda: len(ids(root, Kind.trade)) > 20, "trades flow")
    run.ok(root, "supervisorctl", "-c", "supervisor.conf", "stop", *feeds)
    away = printed(root)
    run.until(lambda: printed(root) > away + 100, "the exchange goes on")
    run.ok(root, "supervisorctl", "-c", "supervisor.conf", "start", *feeds)
    if by_hand:
        states = {node["name"]: node["state"] for node in run.status(root)["nodes"]}
        assert states["feed-1"] == "RUNNING" and states["backfill"] == "EXITED" and "feed-binance-1" not in states
        again = run.command(root, "mesh", "reload")
        assert again.returncode == 1 and "written by hand" in again.stderr
    run.until(lambda: ids(root, Kind.trade)[-1] > away + 150, "trades flow again")
    run.until(lambda: expected in {row[0] for row in spans(streams(root)["trade"])}, f"the hole is {expected}")
    if expected == "repaired":
        run.until(lambda: not streams(root)["trade"]["ids"]["missing"], "everything is repaired")
    run.ok(root, "mesh", "down")
    seen = streams(root)
    between = [row for row in spans(seen["trade"]) if row[0] != "complete"]
    assert {row[0] for row in between} == {expected}
    low, high = between[0][1], between[-1][2]
    assert low - 1 <= away + 100 and high - low >= 90
    assert [row[0] for row in spans(seen["trade"])][:: len(between) + 1] == ["complete", "complete"]
    lost = [row for row in seen["depth"]["intervals"] if row["state"] == "missing"]
    assert lost and all(row["begin"] and row["end"] for row in lost)
    assert {row["reason"] for row in lost} <= {"skipped", "no_history", "resync"}
    assert run.command(root, "mesh", "coverage", "--missing").returncode == 1
    verified(root)
    verdict = json.loads(run.command(root, "mesh", "verify", "--against", "data/sim/exchange", "--json").stdout)
    assert not [name for name in verdict["faults"] if name.startswith("coverage")], verdict
    missing = sum(row[2] - row[1] + 1 for row in between if row[0] == "missing")
    assert verdict["lost"] == missing == verdict["coverage_missing_ids"], "what the exchange printed and is not here is told"
    assert verdict["coverage_books"] > 20


@pytest.mark.long
@pytest.mark.data
def test_a_replayed_capture_is_covered_as_it_is(make_root, data):
    root = make_root("[recorder]\nsegment_s = 2\n")
    run.ok(root, "mesh", "up", "--capture", data / BTC, "--speed", 20)
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 200)
    run.until(lambda: len(ids(root, Kind.trade)) == 9757, lambda: f"{len(ids(root, Kind.trade))} trades", 60)
    run.ok(root, "mesh", "down")
    seen = streams(root)
    (trades,) = seen["trade"]["intervals"]
    assert (trades["state"], seen["trade"]["ids"]["complete"]) == ("complete", 9757)
    assert trades["begin"].startswith("2024-08-0") and trades["end"] > trades["begin"], "venue times, not those of today"
    assert {row["state"] for row in seen["depth"]["intervals"]} == {"complete"}
    assert {row["reason"] for row in seen["quote"]["intervals"]} == {"conflated"}
    verdict = verified(root)
    assert verdict["coverage_checked"] >= 6
