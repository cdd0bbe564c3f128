"""Limits against planted faults: exact at the price that the executor had, within what it could know."""

from decimal import Decimal

import msgpack
import pytest

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import Limit, Settings, SettingsInForce
from tickmesh.tools.judge.limit_facts import LimitFacts
from tickmesh.tools.judge.limits import LimitCheck
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.order_events import OrderEvent

UNIT = 10**8
BTC, ETH = "BTCUSDT", "ETHUSDT"


class Desk:
    """A log and a ledger of one strategy, `maker`, whose limits are given; every order is for one unit of the base."""

    def __init__(self, scope: str = "maker", **limits):
        self.limits = {scope: Limit(**limits)}
        self.seq = 0
        self.rows: list[OrderEvent] = []
        self.log: list[Event] = []

    def say(self, kind: str, records, cause: int = 0, subject: str = BTC, recv_ns: int = 1) -> int:
        """Logs an event; gives its seq."""
        self.seq += 1
        name = "executor" if kind in ("intent", "run") else "x"
        self.log.append(
            Event(kind, name, f"binance.{subject}", records, 0, 0, 1, 1, self.seq, 0, cause, 0, 0, 0, recv_ns, 0, self.seq, 0)
        )
        return self.seq

    def run(self, **limits) -> int:
        """Logs that an executor runs with these limits of `maker`, or of `account` where that was limited so far."""
        of = {"maker": {}, "account": {}} | {next(iter(self.limits)): limits}
        parameters = {"risk": of["account"], "strategies": {"maker": of["maker"]}}
        return self.say("run", msgpack.packb({"code": "1", "parameters": parameters}))

    def quote(self, bid: int, ask: int, subject: str = BTC, lots: int = 1) -> int:
        """Logs the best prices."""
        return self.say("quote", [(1, bid * UNIT, lots, ask * UNIT, lots, 0)], subject=subject)

    def order(
        self, name: str, cause: int, side: int = 1, price: int = 0, subject: str = BTC, parent: int = 1, recv_ns: int = 1
    ) -> None:
        """Logs an intent; `price` 0: of a market order."""
        record = (name.encode(), b"", 1, side, 1 if price else 2, 1, price * UNIT, UNIT, 0, b"maker", parent)
        self.say("intent", [record], cause, subject, recv_ns)

    def limit(self, name: str, value: str) -> int:
        """Logs that a limit is tightened."""
        return self.say("command", msgpack.packb({"command": "limit", "scope": "maker", "limit": name, "value": value}))

    def row(self, name: str, what: str = "NEW", status: str = "NEW", side: int = 1, subject: str = BTC, trade: int = 0) -> None:
        """The ledger's next row."""
        lots = UNIT if what == "TRADE" else 0
        number = len(self.rows) + 1
        self.rows.append(
            OrderEvent(subject, name, what, status, 0, side, 1, trade, False, 0, lots, 0, "", UNIT, 0, number, name)
        )

    def faults(self) -> int:
        """How many limits are exceeded."""
        findings, facts = Findings(), LimitFacts(SettingsInForce(Settings(self.limits)))
        for _ in facts.watch(self.log):
            pass
        check = LimitCheck(facts, findings)
        for one in self.rows:
            check.take(one)
        self.counts = findings.counts
        return findings.faults["limit_exceeded"]


def test_worth_is_exact_at_the_bid_that_the_order_s_cause_had():
    desk = Desk(worth=Decimal("100"))
    cause = desk.quote(100, 101)
    desk.quote(120, 121)  # what came before the intent was made does not matter, nor what the order was filled at
    desk.order("a", cause, price=101)
    desk.row("a")
    assert desk.faults() == 0 and desk.counts["limits_checked"] == 1
    dearer = Desk(worth=Decimal("99.99999999"))
    dearer.order("a", dearer.quote(100, 101), price=101)
    dearer.row("a")
    assert dearer.faults() == 1


def test_orders_that_overtake_each_other_are_held_against_the_newest_one_s_price():
    desk = Desk(worth=Decimal("200"))
    first = desk.quote(150, 151)
    desk.order("a", first, price=150)
    desk.order("b", desk.quote(100, 101), price=100)
    desk.row("b")
    desk.row("a")
    assert desk.faults() == 0, "at 150 two would have been too many; the second was made at 100"
    desk.rows.reverse()
    assert desk.faults() == 0, "nor is the first too much by itself"
    desk.order("c", desk.quote(101, 102), price=101)
    desk.row("c")
    assert desk.faults() == 1


def test_a_limit_that_a_person_tightens_holds_from_its_place_in_the_log_until_it_is_lifted():
    desk = Desk(position=Decimal(5))
    before = desk.quote(100, 101)
    desk.order("a", before, price=100)
    tight = desk.limit("position_max", "1")
    desk.order("b", before, price=100)  # made before, logged after
    desk.row("a")
    desk.row("b")
    assert desk.faults() == 0
    desk.order("c", tight, price=100)
    desk.row("c")
    assert desk.faults() == 1
    desk.order("d", desk.limit("position_max", ""), price=100)
    desk.row("d")
    assert desk.faults() == 1, "lifted: five are allowed again"


def test_a_limit_that_is_wider_than_mesh_toml_s_changes_nothing():
    desk = Desk(open_orders=1)
    desk.limit("open_orders_max", "many")  # nor what is no amount
    cause = desk.limit("open_orders_max", "9")
    for name in ("a", "b"):
        desk.order(name, cause, price=100)
        desk.row(name)
    assert desk.faults() == 1


def test_worth_in_all_counts_other_instruments_at_their_mid_and_the_order_at_its_worst_price():
    for limit, faults in (("350.5", 0), ("350.49", 1)):
        desk = Desk(worth_in_all=Decimal(limit))
        desk.order("a", desk.quote(250, 251, ETH), side=-1, price=250, subject=ETH)
        desk.row("a", side=-1, subject=ETH)
        desk.order("b", desk.quote(99, 100))  # at market: what is asked
        desk.row("b")
        assert desk.faults() == faults and desk.counts["limits_in_all_checked"] == 2


def test_what_cannot_be_valued_as_the_executor_did_is_counted():
    desk = Desk(worth_in_all=Decimal(1))
    desk.order("a", desk.quote(250, 251, ETH), price=250, subject=ETH)
    desk.row("a", subject=ETH)
    desk.quote(0, 251, ETH, lots=0)
    desk.order("b", desk.quote(99, 100), price=99)
    desk.row("b")
    assert desk.faults() == 1 and desk.counts["limits_not_compared"] == 1


def test_what_the_venue_had_denied_counts_once_its_fill_is_known():
    desk = Desk(position=Decimal(1))
    cause = desk.quote(100, 101)
    desk.order("stray", cause, price=100)
    denied = desk.say("update", [(b"stray", 0, 7, 1, 1, 1, 0, 0, UNIT, 0)])
    desk.row("stray")
    desk.row("stray", "TRADE", "FILLED", trade=5)
    desk.order("a", denied, price=100)
    desk.row("a")
    assert desk.faults() == 0, "for all that was known the first one never came"
    known = desk.say("fill", [(b"stray", 1, 0, 1, 5, 100 * UNIT, UNIT, 0, b"", 0)])
    desk.row("a", "CANCELED", "CANCELED")
    desk.order("b", known, price=100)
    desk.row("b")
    assert desk.faults() == 1, "the position is there, and one more is too much"


def test_a_fill_of_others_is_counted_once():
    desk = Desk("account", position=Decimal(3))
    desk.row("by-hand", "TRADE", "FILLED", trade=5)
    cause = desk.say("fill", [(b"by-hand", 1, 0, 1, 5, 100 * UNIT, UNIT, 0, b"", 0)])
    for name, faults in (("a", 0), ("b", 0), ("c", 1)):
        desk.order(name, cause, price=100)
        desk.row(name)
        assert desk.faults() == faults


def test_an_order_of_others_counts_in_the_account_once_the_log_knows_it():
    desk = Desk("account", position=Decimal(1))
    desk.row("by-hand")
    desk.order("a", desk.quote(100, 101), price=100)
    known = desk.say("update", [(b"by-hand", 0, 2, 1, 1, 1, 0, 0, UNIT, 0)])
    desk.row("a")
    assert desk.faults() == 0
    desk.row("a", "CANCELED", "CANCELED")
    desk.order("b", known, price=100)
    desk.row("b")
    assert desk.faults() == 1


def test_no_limit_is_asked_for_an_order_that_closes_a_position():
    desk = Desk(open_orders=1)
    cause = desk.quote(100, 101)
    desk.order("a", cause, price=100)
    desk.order("close", cause, side=-1, parent=0)
    desk.row("a")
    desk.row("close", side=-1)
    assert desk.faults() == 0


@pytest.mark.parametrize("scope", ["maker", "account"])
def test_an_order_is_held_against_the_limits_that_its_executor_ran_with(scope):
    """What mesh.toml says today, 200, is the last of three: `mesh reload` has tightened it twice."""
    desk = Desk(scope, worth_in_all=Decimal(200))
    for most in ("350", "300"):
        desk.run(notional_max=most)
        cause = desk.quote(100, 101)
        desk.order(f"of {most}", cause, price=100)
        desk.row(f"of {most}")
    cause = desk.quote(150, 151)
    desk.order("first", cause, price=150)  # with both that are filled or stand: 450
    desk.row("first")
    assert desk.faults() == 1, "beyond 300, and 350: exceeded in the stretch that had the wider limit"
    desk.rows.pop()
    assert desk.faults() == 0 and desk.counts["limits_in_all_checked"] == 2
    desk.run(notional_max="200")
    desk.order("b", desk.quote(66, 67), price=66)  # three at 66
    desk.row("b")
    assert desk.faults() == 0
    desk.order("c", desk.quote(67, 68), price=67)
    desk.rows[-1] = desk.rows[-1]._replace(client_order_id="c")
    assert desk.faults() == 1, "201 is beyond 200: exceeded in the stretch of now"


def test_what_an_executor_finds_unsaid_is_of_the_settings_that_its_run_event_names():
    """Those events have no time of receipt, and come before it; what came over the bus until then is of before."""
    desk = Desk(position=Decimal(9))
    desk.run(position_max="2")
    cause = desk.quote(100, 101)
    for name, recv_ns, faults in (("a", 1, 0), ("b", 1, 0), ("c", 0, 1)):
        desk.order(name, cause, price=100, recv_ns=recv_ns)
        desk.row(name)
        assert desk.faults() == faults, "as long as nobody says more it is of the settings of before"
    desk.run(position_max="3")
    assert desk.faults() == 0
    desk.order("d", cause, price=100, recv_ns=0)
    desk.row("d")
    desk.run(position_max="4")
    desk.rows.append(desk.rows[-1]._replace(client_order_id="e"))
    desk.order("e", cause, price=100)
    assert desk.faults() == 1, "five, of four"


def test_an_order_of_a_strategy_that_is_no_more_is_held_against_its_limits():
    desk = Desk()
    desk.run(position_max="1")
    cause = desk.quote(100, 101)
    desk.limits = {}  # of mesh.toml today
    for name, faults in (("a", 0), ("b", 1)):
        desk.order(name, cause, price=100)
        desk.row(name)
        assert desk.faults() == faults


def test_what_was_tightened_by_a_command_stays_so_with_other_settings():
    desk = Desk()
    desk.run(position_max="5")
    desk.limit("position_max", "1")
    desk.run(position_max="4")
    cause = desk.quote(100, 101)
    for name, faults in (("a", 0), ("b", 1)):
        desk.order(name, cause, price=100)
        desk.row(name)
        assert desk.faults() == faults


@pytest.mark.parametrize("parameters", [{}, {"risk": {}}, {"risk": {}, "strategies": {"maker": {"position_max": "many"}}}, 5])
def test_limits_that_the_log_does_not_tell_are_not_compared(parameters):
    """Of an executor that was older than they are, or said what can be no limit: the strategy's and the account's."""
    desk = Desk(position=Decimal("0.5"))
    cause = desk.quote(100, 101)
    desk.order("a", cause, price=100)
    desk.row("a")
    assert desk.faults() == 1, "mesh.toml's, as no executor said any"
    desk.log.clear()
    desk.say("run", msgpack.packb({"parameters": parameters}))
    desk.order("a", cause, price=100)
    assert desk.faults() == 0 and desk.counts["limits_not_compared"] == 2 and not desk.counts["limits_checked"]
