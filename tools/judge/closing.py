"""Orders that close positions, and reduce-only ones, against the exchange's fills: none makes one larger, or turns it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from tickmesh.tools.judge.exchange_ledger import subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import ACCOUNT
from tickmesh.tools.judge.order_events import OrderEvent
from tickmesh.tools.judge.trading import OrderKey

NAMES = ("closing_grew", "reduce_only_grew")


def compare(
    events: Iterable[OrderEvent],
    strategy: Mapping[OrderKey, str],
    closing: Collection[OrderKey],
    complete: bool,
    findings: Findings,
    earlier: Iterable[OrderEvent] = (),
) -> None:
    """Judges order events of a ledger, in order. `strategy`: of each order that the log has an intent of; `closing`: those of
    no parent, by which a strategy's position is closed. `complete`: the ledger has all fills of its exchange. `earlier`: the
    log's fills at the exchange before that: they are in a strategy's position, and not in the account's."""
    for name in (*NAMES, "closings_checked"):
        findings.count(name, 0)
    held: dict[tuple[str, str], int] = defaultdict(int)  # by strategy, or ACCOUNT, and subject
    for event in earlier:
        key = subject_of(event.symbol), event.client_order_id
        held[strategy.get(key, ""), key[0]] += event.side * event.quantity
    for event in events:
        if event.what != "TRADE":
            continue
        key = subject_of(event.symbol), event.client_order_id
        owner = strategy.get(key, "")
        for name, closes, rule in ((owner, key in closing, NAMES[0]), (ACCOUNT, event.reduce_only, NAMES[1])):
            if not name:
                continue  # of no strategy: what those have together is on no record
            before = held[name, key[0]]
            after = held[name, key[0]] = before + event.side * event.quantity
            if not closes or not complete:
                continue
            findings.count("closings_checked")
            if abs(after) >= abs(before) or after * before < 0:
                findings.count(rule)
                findings.fault(
                    rule, f"{key[0]}: order {key[1]}, which closes, made {name}'s position {after} of {before} (at 10^-8)"
                )
