"""Orders that close a position, against planted faults: none makes it larger, or turns it."""

import pytest

from tickmesh.tools.judge import closing
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.order_events import OrderEvent, read_order_event

BTC = "binance_usdm.BTCUSDT"
STRATEGY = {(BTC, "opens"): "maker", (BTC, "closes"): "maker", (BTC, "other"): "taker"}


def trade(name: str, side: int, quantity: int, reduce_only: bool = False) -> OrderEvent:
    """A fill by the ledger."""
    return OrderEvent(BTC, name, "TRADE", "FILLED", 1, side, 1, 1, False, 5, quantity, 0, "", reduce_only=reduce_only)


def judge(*events: OrderEvent, complete: bool = True) -> Findings:
    findings = Findings()
    closing.compare(events, STRATEGY, {(BTC, "closes")}, complete, findings)
    return findings


@pytest.mark.parametrize(("side", "quantity", "faults"), [(-1, 3, 0), (-1, 2, 0), (-1, 4, 1), (1, 1, 1)])
def test_an_order_that_closes_makes_its_strategy_s_position_smaller(side, quantity, faults):
    """Whatever another strategy holds of the same instrument."""
    findings = judge(trade("opens", 1, 3), trade("other", -1, 3), trade("closes", side, quantity))
    assert findings.faults["closing_grew"] == faults and findings.counts["closings_checked"] == 1


def test_a_reduce_only_order_is_held_against_the_position_of_the_account():
    assert judge(trade("opens", 1, 3), trade("other", -1, 1, reduce_only=True)).ok
    found = judge(trade("opens", 1, 3), trade("other", -1, 3), trade("opens", -1, 1, reduce_only=True))
    assert set(found.faults) == {"reduce_only_grew"}


@pytest.mark.parametrize(("held", "faults"), [(2, 0), (1, 1)])
def test_what_a_strategy_held_at_an_exchange_of_before_is_closed_at_this_one(held, faults):
    """Its folder was removed. The account of the new one never had it: reduce-only is held against what that has."""
    findings = Findings()
    known, later = trade("opens", 1, held), [trade("closes", -1, 2), trade("other", 1, 2), trade("other", -1, 1, True)]
    closing.compare(later, STRATEGY, {(BTC, "closes")}, True, findings, [known])
    assert findings.faults["closing_grew"] == faults and findings.counts["closings_checked"] == 2
    assert findings.faults["reduce_only_grew"] == 1, "0 at the new one, and sold"


def test_a_ledger_that_begins_later_does_not_tell_what_is_held():
    findings = judge(trade("closes", 1, 1), complete=False)
    assert findings.ok and not findings.counts["closings_checked"]


def test_whether_an_order_is_reduce_only_is_in_its_event():
    event = {"s": "BTCUSDT", "c": "a", "S": "BUY", "x": "NEW", "X": "NEW", "i": 4, "t": 0, "m": False, "L": "0", "l": "0"}
    for said in (True, False):
        read = read_order_event({"e": "ORDER_TRADE_UPDATE", "o": {**event, "n": "0", "N": None, "R": said}}, "binance_usdm", 1)
        assert read is not None and read.reduce_only is said
