"""`mesh compare` as a person and a program read it: a planted price is in the table, in JSON and in CSV."""

import csv
import io
import json

import pytest

from tests.support.compare_scene import ASK, BID, LiveRun
from tickmesh.bus.schema import Status
from tickmesh.research.compare.running import compare
from tickmesh.tools import compare as command
from tickmesh.tools.terminal import Failure


def test_a_planted_price_is_in_all_that_is_printed(tmp_path, capsys):
    run = LiveRun()
    for name, price in (("good", ASK), ("bad", BID)):
        run.take(name, 1, ASK, 10)
        at_ns = run.venue_ns
        trade = run.trade(ASK, 10, 1)
        run.fill(name, trade, 1, price, 10, False, at_ns)
        run.update(name, Status.Filled, at_ns)
        run.quote(100, 90)
    found = compare(run.laid(tmp_path))
    result = json.loads(json.dumps(command.summary(found), allow_nan=False))
    assert (result["share"], result["outcomes"], result["reasons"]) == (0.5, {"same": 1, "other": 1}, {"price_moved": 1})
    good, bad = result["rows"]
    assert good["reason"] == "" and bad["live"]["price"] == pytest.approx(60000.0) != bad["backtest"]["price"]
    rows = list(csv.DictReader(io.StringIO(command.as_csv(found))))
    assert [row["client_order_id"] for row in rows] == ["good", "bad"] and float(rows[1]["live_price"]) == bad["live"]["price"]
    command.show(found)
    shown = capsys.readouterr().out
    assert "50.00% of the live fills at the same price" in shown and "60000 → 60000.1" in shown and "price_moved" in shown
    assert all(line in shown for line in command.pasted(found.fit)) and 'queue = "risk_averse"' in shown
    command.demand(found, 0.5)
    with pytest.raises(Failure, match="50.00% of the live fills are reproduced, and 95.00% at least are asked for"):
        command.demand(found, 0.95)
