"""Parent orders and amendments in the log, held against the exchange's events of their children."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tickmesh.tools.judge.account import ASKED_MS, FINAL, OPEN
from tickmesh.tools.judge.exchange_ledger import LedgerContents, subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import SettingsInForce
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.order_events import OrderEvent
from tickmesh.tools.judge.trading import map_of

NEW, AMEND = 1, 3  # actions of an intent
BEGUN, ENDED = 1, 2  # states of a parent
REJECTED = 7  # status of an update
WIDE = 1 << 64
ENDING_MS = 2_000.0  # so long an executor may need to end a parent whose time is over: its child has to be cancelled first
AMENDED = ("REPLACED", "AMENDMENT")  # how either venue calls it
NAMES = (
    "parent_open", "parent_doubled", "parent_unknown", "parent_exceeded", "parent_different", "parent_late", "child_different",
    "amend_renamed", "amend_grew", "amend_unasked", "amend_different",
)  # fmt: skip

OrderKey = tuple[str, str]  # subject, client order id
ParentKey = tuple[str, str, int]  # subject, strategy, seq of its signal


class ParentRecord(NamedTuple):
    """What one record of a parent says: mantissas of its instrument, as docs/messages.md has them."""

    seq: int  # of the record
    style: str
    side: int
    shadow: bool
    deadline_ms: float
    wanted: int
    filled: int
    value: int
    children: int


class Child(NamedTuple):
    """An intent to send an order for a parent."""

    parent: ParentKey
    seq: int  # of the intent
    intended_ms: float
    side: int


class StoredParents:
    """The parents, children and amendments that a log has."""

    def __init__(self) -> None:
        self.begun: dict[ParentKey, ParentRecord] = {}
        self.ended: dict[ParentKey, ParentRecord] = {}
        self.doubled: list[ParentKey] = []
        self.children: dict[OrderKey, Child] = {}
        self.amends: dict[OrderKey, set[int]] = defaultdict(set)  # of each order: the quantities that were asked for
        self.requests: set[OrderKey] = set()  # ids of cancels and amendments, which are no orders
        self.quantity: dict[OrderKey, int] = {}  # of each order, by its newest update
        self.over: dict[OrderKey, int] = {}  # the final status of each order
        self.unjudged: set[ParentKey] = set()  # begun by other settings than those that had to end them
        self.settings_changed = False
        self.last_ms = 0.0
        self.executor_ms = 0.0  # when the executor was last heard
        self._identity: dict[str, object] = {}

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes events, and passes them on."""
        for event in events:
            self.last_ms = event.seq_ns / 1e6
            if event.producer.startswith("executor"):
                self.executor_ms = self.last_ms
            if event.kind == "parent":
                self._parent(event)
            elif event.kind == "intent":
                self._intent(event)
            elif event.kind == "update":
                self._update(event)
            elif event.kind == "run" and event.producer.startswith("executor"):
                self._run(event)
            yield event

    def _parent(self, event: Event) -> None:
        for record in event.records:
            strategy, style, _, seq, state, side, shadow, _, deadline_ns = record[:9]
            key = event.subject, strategy.decode(), seq
            wanted, filled, high, low = record[13:17]
            said = ParentRecord(
                event.seq, style.decode(), side, bool(shadow), deadline_ns / 1e6, wanted, filled, high * WIDE + low, record[21]
            )
            of = self.begun if state == BEGUN else self.ended
            if key in of:
                self.doubled.append(key)
            of[key] = said

    def _intent(self, event: Event) -> None:
        for record in event.records:
            key, action = (event.subject, record[0].decode()), record[2]
            if action != NEW:
                self.requests.add(key)
            if action == AMEND:
                self.amends[event.subject, record[1].decode()].add(record[7])
            elif action == NEW and len(record) > 10 and record[10]:
                parent = event.subject, record[9].decode(), record[10]
                self.children[key] = Child(parent, event.seq, event.seq_ns / 1e6, record[3])

    def _update(self, event: Event) -> None:
        for name, _, status, _, _, _, _, _, quantity, *_ in event.records:
            if quantity:
                self.quantity[event.subject, name.decode()] = quantity
                if status in FINAL:
                    self.over.setdefault((event.subject, name.decode()), status)

    def _run(self, event: Event) -> None:
        """An executor with other settings replays the log by them: what became of the parents of before is not on record."""
        content = map_of(event.records)
        identity = {name: content.get(name) for name in ("code", "instruments", "parameters")}
        if self._identity and identity != self._identity:
            self.settings_changed = True
            self.unjudged |= self.begun.keys() - self.ended.keys()
        self._identity = identity


def compare(
    ledger: LedgerContents,
    stored: StoredParents,
    settings: SettingsInForce,
    findings: Findings,
    asked_ms: float,
    absent_ms: float,
    until_ms: float = float("inf"),
) -> None:
    """Judges parents and amendments. `settings`: those in force when a parent began say whether its strategy's signals ask for
    a position: then what it is to do moves, and is on record only as it was in the beginning and in the end.

    `asked_ms`: for so long a record may be on its way when the log ends; `absent_ms`: likewise the end of a child; `until_ms`:
    what the ledger has later may be of intents that were not read.
    """
    for name in (*NAMES, "parents_checked", "children_checked", "amends_checked", "parents_not_compared"):
        findings.count(name, 0)
    known = {key for key, one in stored.begun.items() if not one.shadow} - stored.unjudged
    findings.count("parents_not_compared", len(stored.unjudged))
    for key in stored.doubled:
        _fault(findings, "parent_doubled", f"{_name(key)} began or ended twice")
    events = ledger.order_events(until_ms)
    strays = _strays(events, stored)
    earlier = _earlier(ledger, stored) & known
    findings.count("parents_not_compared", len(earlier))
    known -= earlier
    _ends(stored, findings, absent_ms)
    _children(stored, findings, asked_ms)
    _fills(events, stored, known, strays, settings, findings)
    _amendments(events, stored, findings)


def _strays(events: Iterable[OrderEvent], stored: StoredParents) -> set[OrderKey]:
    """Orders that stood at the venue, and the log has as rejected: the venue had said so, or that it does not know them."""
    return {key for event in events if event.what == "NEW" for key in [_key(event)] if stored.over.get(key) == REJECTED}


def _earlier(ledger: LedgerContents, stored: StoredParents) -> set[ParentKey]:
    """Parents with a child of before this ledger's first row: what was filled of it then is in another ledger, or in none."""
    first_ms = ledger.first_ms + (0 if ledger.complete else ASKED_MS)
    return {child.parent for child in stored.children.values() if child.intended_ms < first_ms}


def _ends(stored: StoredParents, findings: Findings, absent_ms: float) -> None:
    """Every parent that began has an end, once its time is over and nothing of its children is under way.

    Only an executor can end it: one that was stopped before says nothing of it, and nothing is said of that parent.
    """
    for key in stored.begun.keys() - stored.ended.keys() - stored.unjudged:
        begun = stored.begun[key]
        if stored.executor_ms - begun.deadline_ms > max(absent_ms, ENDING_MS):
            _fault(findings, "parent_open", f"{_name(key)} ({begun.style}) has no end")
        elif stored.last_ms - begun.deadline_ms > absent_ms:
            findings.count("parents_not_compared")


def _children(stored: StoredParents, findings: Findings, asked_ms: float) -> None:
    """Every child has a parent, on its side, that had not ended when the child was made; and a parent as many as it says."""
    made: Counter[ParentKey] = Counter()
    for order, child in stored.children.items():
        findings.count("children_checked")
        made[child.parent] += 1
        begun, ended = stored.begun.get(child.parent), stored.ended.get(child.parent)
        if begun is None:
            late = stored.last_ms - child.intended_ms <= asked_ms
            if not (late or stored.settings_changed):
                _fault(findings, "parent_unknown", f"order {order[1]} is of {_name(child.parent)}, which never began")
        elif child.side != begun.side:
            _fault(findings, "child_different", f"order {order[1]} is on the other side than {_name(child.parent)}")
        if ended is not None and child.seq > ended.seq:
            _fault(findings, "parent_late", f"order {order[1]} was made after {_name(child.parent)} had ended")
    for key, ended in stored.ended.items():
        if not ended.shadow and not stored.settings_changed and made[key] != ended.children:
            _fault(findings, "child_different", f"{_name(key)} says {ended.children} children; the log has {made[key]}")


def _fills(
    events: Iterable[OrderEvent], stored: StoredParents, known: set[ParentKey], strays: set[OrderKey],
    settings: SettingsInForce, findings: Findings,
) -> None:  # fmt: skip
    """At no moment children of a parent are filled and working for more than it wants; what it says was filled is what was."""
    filled: Counter[ParentKey] = Counter()
    value: Counter[ParentKey] = Counter()
    traded: Counter[OrderKey] = Counter()
    working: dict[ParentKey, dict[OrderKey, int]] = defaultdict(dict)
    marred = {stored.children[key].parent for key in strays & stored.children.keys()}  # they count in no parent
    for event in events:
        key = _key(event)
        child = stored.children.get(key)
        if child is None or child.parent not in known or key in strays:
            continue
        parent = child.parent
        if event.what == "TRADE":
            traded[key] += event.quantity
            filled[parent] += event.quantity
            value[parent] += event.quantity * event.price
        working[parent].pop(key, None)
        if event.status in OPEN:
            working[parent][key] = event.total - traded[key]
        most = filled[parent] + sum(working[parent].values())
        wanted = stored.begun[parent].wanted
        targets = settings.at(stored.begun[parent].seq).targets
        if parent[1] not in targets and most > wanted:
            _fault(findings, "parent_exceeded", f"{_name(parent)} could come to {most} with order {key[1]}; it wants {wanted}")
    for parent in sorted(known & stored.ended.keys()):
        findings.count("parents_checked")
        ended = stored.ended[parent]
        true = filled[parent], value[parent]
        if parent not in marred and (ended.filled, ended.value) != true:
            said = f"{ended.filled} filled at a value of {ended.value}; the exchange {true[0]} at {true[1]}"
            _fault(findings, "parent_different", f"{_name(parent)} says {said}")


def _amendments(events: Iterable[OrderEvent], stored: StoredParents, findings: Findings) -> None:
    """An amended order keeps its name, becomes less, by what was asked for, and the log has what the venue made of it."""
    total: dict[OrderKey, int] = {}
    amended: set[OrderKey] = set()
    for event in events:
        key = _key(event)
        if key in stored.requests:
            _fault(
                findings, "amend_renamed", f"{key[1]} is the id of a cancel or an amendment; the exchange has an order of it"
            )
        if key not in stored.quantity:
            continue  # of others
        before = total.setdefault(key, event.total)
        total[key] = event.total
        if event.what not in AMENDED:
            continue
        findings.count("amends_checked")
        amended.add(key)
        if event.own_id != event.client_order_id:
            _fault(findings, "amend_renamed", f"order {key[1]} is {event.own_id} since it was amended")
        if event.total > before:
            _fault(findings, "amend_grew", f"order {key[1]} was for {before} and is for {event.total}")
        elif event.total not in stored.amends.get(key, ()):
            _fault(findings, "amend_unasked", f"order {key[1]} is for {event.total}, which no intent asked for")
    for key in sorted(amended & stored.over.keys()):
        if stored.quantity[key] != total[key]:
            _fault(findings, "amend_different", f"order {key[1]} is for {stored.quantity[key]} by the log, {total[key]} truly")


def _key(event: OrderEvent) -> OrderKey:
    return subject_of(event.symbol), event.client_order_id


def _name(key: ParentKey) -> str:
    return f"{key[0]}: parent {key[1]} {key[2]}"


def _fault(findings: Findings, name: str, sentence: str) -> None:
    findings.count(name)
    findings.fault(name, sentence)
