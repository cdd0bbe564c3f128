"""Parents and amendments against planted faults: a clean history is found clean, and each verdict can fail."""

import msgpack
import pytest

from tickmesh.tools.judge import parents
from tickmesh.tools.judge.exchange_ledger import LedgerContents
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import Settings, SettingsInForce
from tickmesh.tools.judge.log import Event

LOG = "00c0ffee00c0ffee"
BTC, ONE, TWO, ASK = "binance.BTCUSDT", f"t{LOG}-1-0", f"t{LOG}-2-0", f"t{LOG}-3-0"
UNIT = 10**8
PRICE = 30_000
SIGNAL = 5  # seq of the signal that began the parent


def report(number: int, name: str, what: str, status: str, total: str, lots: str = "0", renamed: str = ""):
    """An event row of the ledger: an order to buy at PRICE."""
    text = (
        f'{{"e":"executionReport","s":"BTCUSDT","c":"{renamed or name}","C":"{name if renamed else ""}","S":"BUY","x":"{what}",'
        f'"X":"{status}","i":{number},"t":7,"m":false,"L":"{PRICE if what == "TRADE" else 0}","l":"{lots}","n":"0","N":null,'
        f'"q":"{total}","p":"{PRICE}"}}'
    )
    return ["event", 1000, text, "binance"]


def event(kind: str, records, seq: int, producer: str = "executor") -> Event:
    ns = seq * 10**9
    return Event(kind, producer, BTC, records, 0, 0, 1, seq, seq, 0, 1, 0, 0, ns, ns, ns, ns, 0)


def intent(seq: int, name: str, action: int = 1, target: str = "", lots: float = 0.02, side: int = 1):
    record = (name.encode(), target.encode(), action, side, 1, 1, PRICE * UNIT, int(lots * UNIT), 0, b"maker", SIGNAL)
    return event("intent", [record], seq)


def update(seq: int, name: str, status: int, lots: float):
    return event("update", [(name.encode(), 0, status, 1, 1, 1, 0, 0, int(lots * UNIT), 0)], seq, "session")


def parent(seq: int, state: int, wanted: float, filled: float = 0.0, children: int = 0, deadline_s: int = 30, shadow: int = 0):
    high, low = divmod(int(filled * UNIT) * PRICE * UNIT, 1 << 64)
    amounts = int(wanted * UNIT), int(filled * UNIT), high, low, 0, 0, 0, 0, children, 0
    times = 10 * 10**9, deadline_s * 10**9
    return event("parent", [(b"maker", b"post_only", b"", SIGNAL, state, 1, shadow, *times, 1, 2, 1, 2, *amounts)], seq)


class History:
    """One parent that wants 0.03: an order for 0.03 is reduced to 0.02 of which 0.01 is filled, another one for 0.02 fills."""

    def __init__(self) -> None:
        self.first_ms = 1  # of the ledger
        self.executor_s = 60  # when the executor said how it is for the last time
        self.reports = [
            report(11, ONE, "NEW", "NEW", "0.03"),
            report(11, ONE, "REPLACED", "NEW", "0.02", renamed=ONE),
            report(11, ONE, "TRADE", "PARTIALLY_FILLED", "0.02", "0.01"),
            report(11, ONE, "CANCELED", "CANCELED", "0.02"),
            report(12, TWO, "NEW", "NEW", "0.02"),
            report(12, TWO, "TRADE", "FILLED", "0.02", "0.02"),
        ]
        self.log = [
            intent(10, ONE, lots=0.03),
            parent(11, 1, 0.03),
            intent(12, ASK, 3, ONE, 0.02),
            update(13, ONE, 2, 0.02),
            update(14, ONE, 6, 0.02),
            intent(15, TWO),
            update(17, TWO, 4, 0.02),
            parent(20, 2, 0.03, 0.03, 2),
            update(60, "by-hand", 2, 1),
        ]

    def judge(self, targets: tuple[str, ...] = (), until_ms: float = float("inf")) -> Findings:
        findings, stored, contents = Findings(), parents.StoredParents(), LedgerContents()
        told = event("health", [], self.executor_s)
        for _ in stored.watch(sorted([*self.log, told], key=lambda one: one.seq)):
            pass
        for number, (kind, time_ms, *values) in enumerate([["head", self.first_ms, 2, "synthetic", {}, 0], *self.reports], 1):
            contents.take([number, kind, time_ms, *values])
        settings = SettingsInForce(Settings({}, frozenset(targets)))
        for one in self.log:
            settings.take(one)
        parents.compare(contents, stored, settings, findings, 12_000, 24_000, until_ms)
        return findings


def test_a_clean_history_is_found_clean_and_all_of_it_was_looked_at():
    findings = History().judge()
    assert findings.ok, findings.sentences
    counted = findings.counts
    assert (counted["parents_checked"], counted["children_checked"], counted["amends_checked"]) == (1, 2, 1)
    assert not counted["parents_not_compared"]


def changed(history: History, damage: str) -> None:
    """Plants one fault."""
    log, reports = history.log, history.reports
    if damage == "no end":
        del log[7]
    elif damage == "ended twice":
        log.append(parent(21, 2, 0.03, 0.03, 2))
    elif damage == "never began":
        del log[1]
    elif damage == "beyond what it wants":
        log[1] = parent(11, 1, 0.02)
    elif damage == "the second order stood before the first was gone":
        reports[2:5] = [reports[4], reports[2], reports[3]]
    elif damage == "less filled than it says":
        reports[5] = report(12, TWO, "TRADE", "PARTIALLY_FILLED", "0.02", "0.01")
    elif damage == "another value than it says":
        reports[5][2] = reports[5][2].replace(f'"L":"{PRICE}"', '"L":"30001"')
    elif damage == "a child after the end":
        log[7] = parent(14, 2, 0.03, 0.03, 2)
    elif damage == "a child on the other side":
        log[5] = intent(15, TWO, side=-1)
    elif damage == "a child that it does not count":
        log.append(intent(16, f"t{LOG}-9-0"))
    elif damage == "renamed":
        reports[1] = report(11, ONE, "REPLACED", "NEW", "0.02", renamed="anew")
    elif damage == "the amendment's id is an order":
        reports.append(report(13, ASK, "NEW", "NEW", "0.02"))
    elif damage == "grew":
        reports[1] = report(11, ONE, "REPLACED", "NEW", "0.04", renamed=ONE)
    elif damage == "nobody asked for it":
        del log[2]
    elif damage == "the log has another quantity":
        log[3:5] = [update(13, ONE, 2, 0.03), update(14, ONE, 6, 0.03)]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("no end", "parent_open"), ("ended twice", "parent_doubled"), ("never began", "parent_unknown"),
        ("beyond what it wants", "parent_exceeded"),
        ("the second order stood before the first was gone", "parent_exceeded"),
        ("less filled than it says", "parent_different"), ("another value than it says", "parent_different"),
        ("a child after the end", "parent_late"), ("a child on the other side", "child_different"),
        ("a child that it does not count", "child_different"), ("renamed", "amend_renamed"),
        ("the amendment's id is an order", "amend_renamed"), ("grew", "amend_grew"), ("nobody asked for it", "amend_unasked"),
        ("the log has another quantity", "amend_different"),
    ],
)  # fmt: skip
def test_every_planted_fault_is_found(damage, fault):
    history = History()
    changed(history, damage)
    findings = history.judge()
    assert fault in findings.faults, (dict(findings.faults), findings.sentences)


def test_what_a_target_s_parent_wants_moves_so_that_only_its_end_is_compared():
    history = History()
    history.log[1] = parent(11, 1, 0.01)
    assert history.judge(("maker",)).ok
    history.log[7] = parent(20, 2, 0.03, 0.02, 2)
    assert set(history.judge(("maker",)).faults) == {"parent_different"}


@pytest.mark.parametrize(
    ("before", "faults"), [({"target_notional": "90"}, set()), ({"target_quantity": "1"}, set()), ({}, {"parent_exceeded"})]
)
def test_whether_a_strategy_had_a_target_is_of_the_settings_when_its_parent_began(before, faults):
    """It is another strategy by now, or none."""
    history = History()
    history.log[1] = parent(11, 1, 0.01)
    for seq, settings in ((9, before), (30, {} if before else {"target_quantity": "0.1"})):
        parameters = {"risk": {}, "strategies": {"maker": settings}}
        history.log.append(event("run", msgpack.packb({"parameters": parameters}), seq))
    history.log.sort(key=lambda one: one.seq)
    assert set(history.judge(() if before else ("maker",)).faults) == faults


def test_an_amendment_is_judged_once_its_intent_has_been_read():
    """The log of a mesh that trades is read first, the ledger a moment later."""
    history, late = History(), f"t{LOG}-4-0"
    history.log.append(update(16, late, 2, 0.02))
    amended = report(14, late, "REPLACED", "NEW", "0.01", renamed=late)
    history.reports += [report(14, late, "NEW", "NEW", "0.02"), [amended[0], 70_000, *amended[2:]]]
    assert history.judge(until_ms=69_999).ok
    assert set(history.judge(until_ms=70_000).faults) == {"amend_unasked"}


def test_an_order_that_the_venue_had_denied_counts_in_no_parent():
    """It was said to be rejected, so the parent made another one; that it is over soon is another rule's."""
    history = History()
    history.log[3:5] = [update(13, ONE, 7, 0.03)]
    del history.log[2], history.reports[1]
    history.log[-2] = parent(20, 2, 0.03, 0.02, 2)
    assert history.judge().ok, history.judge().sentences


def test_a_parent_of_before_the_ledger_is_counted_and_not_judged():
    """Its fills were at another exchange: this one's folder was removed, or copied."""
    history = History()
    history.reports, history.first_ms = [], 14_000  # before it the first of its orders was intended, and had fills
    counted = history.judge()
    assert counted.ok and counted.counts["parents_not_compared"] == 1 and not counted.counts["parents_checked"]


def test_parents_of_an_executor_with_other_settings_are_counted_and_not_judged():
    history = History()
    del history.log[7]
    runs = [msgpack.packb({"node": "executor", "parameters": {"order_notional": text}}) for text in ("60", "90")]
    history.log += [event("run", packed, seq) for seq, packed in zip((1, 16), runs)]
    findings = history.judge()
    assert findings.ok and findings.counts["parents_not_compared"] == 1
    history.log[-1] = event("run", runs[0], 16)
    assert set(history.judge().faults) == {"parent_open"}, "it was only started again"


@pytest.mark.parametrize(("deadline_s", "faults"), [(30, 1), (50, 0)])
def test_a_parent_may_be_open_as_long_as_its_children_may_be(deadline_s, faults):
    """The log ends at 60 s, and for 24 s the end of an order may be on its way."""
    history = History()
    history.log[1] = parent(11, 1, 0.03, deadline_s=deadline_s)
    del history.log[7]
    assert history.judge().counts["parent_open"] == faults


@pytest.mark.parametrize(("executor_s", "faults"), [(60, 1), (31, 0)])
def test_a_parent_that_nobody_was_there_to_end_is_counted_and_not_judged(executor_s, faults):
    """Its time was over at 30 s; an executor that was stopped before could not end it."""
    history = History()
    del history.log[7]
    history.executor_s = executor_s
    findings = history.judge()
    assert findings.counts["parent_open"] == faults
    assert findings.counts["parents_not_compared"] == 1 - faults
