"""A whole mesh judged by the ledger of the exchange it listened to, with faults meanwhile."""

import json
import urllib.request

import mesh_run as run
import pytest

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(400)]


def test_everything_the_exchange_did_is_stored_once_and_equal_in_spite_of_faults(make_root):
    root = make_root("[exchange]\ntrades_per_s = 50\n")
    run.ok(root, "mesh", "up")
    where = json.loads((root / "run/exchange.json").read_text())["rest"] + "/tickmesh/v1/faults"
    plan = [
        {"kind": "skip", "connection": 1, "length_s": 3, "probability": 0.3, "stream": "btcusdt@trade"},
        {"kind": "cut", "start_s": 3, "connection": 2, "length_s": 0.1},
        {"kind": "duplicate", "start_s": 3, "length_s": 2},
        {"kind": "garbage", "start_s": 5, "length_s": 1, "probability": 0.05},
    ]
    request = urllib.request.Request(where, json.dumps(plan).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        assert len(json.loads(answer.read())["added"]) == 4
    seen = run.events(root)[-1].seq
    run.until(lambda: run.events(root)[-1].seq > seen + 3000, "it goes on")
    run.ok(root, "mesh", "down")
    verdict = run.ok_json(root, "mesh", "verify", "--against", "data/sim/exchange")
    assert verdict["ok"] and verdict["withheld"] > 0, verdict
    assert verdict["trades"] > 300 and verdict["quotes_checked"] > 300 and verdict["depth_checked"] > 50, verdict
    assert verdict["lost"] == 0
