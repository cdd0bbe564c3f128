"""How often each recovery path of orders was used, read from the log that a sweep left."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from tickmesh.bus.schema import Action, Kind, ParentState, Status
from tickmesh.bus.wire import Event
from tickmesh.tools.chaos.orders_settings import STYLES

# Recovery path → the counter in `health` that shows its use, and whose. Counters begin anew with each process.
COUNTED: dict[str, tuple[str, str]] = {
    "strays_cancelled": ("session", "strays_cancelled"),  # alive at the venue, and over for the log
    "outbox_tail": ("session", "outbox_tail"),  # it had published what the log had not: read from its own outbox
    "reconnect": ("session", "reconnected"),  # it could send orders again; `reconnects` counts what was lost
    "adopted": ("session", "adopted"),  # an order that the log did not know
    "order_pause": ("session", "order_pauses"),  # the venue asked it to wait
    "repeated": ("session", "repeated"),  # a report told nothing new: again, or in another order
    "outbox_read": ("sequencer", "outbox_caught_up"),
}
SEEN = (
    "found_by_query", "found_absent", "fill_by_query", "expired_unsent", "cancelled_unsent", "cancelled_again",
    "checkpoint", "session_checkpoint", "kill_switch", "strategy_switched", "limit_tightened", "cancelled_at_stop",
    "amended", "repriced", "positions_closed",
)  # fmt: skip
PATHS = (*COUNTED, *SEEN)


class OrderFigures:
    """Counts from the log uses of each recovery path (`paths`), fills by instrument, parents by style that had a fill
    (`styles`), and orders and parents that are not over (`open`)."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter(dict.fromkeys(PATHS, 0))
        self.fills: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.styles: Counter[str] = Counter(dict.fromkeys(STYLES, 0))
        self.ends: Counter[str] = Counter()  # why parents ended
        self.open: dict[str, int] = {}
        self._most: dict[tuple[str, int, str], int] = {}
        self._cancels: Counter[bytes] = Counter()
        self._quantity: dict[bytes, int] = {}
        self._unknown: set[bytes] = set()
        self._closing: set[bytes] = set()  # orders of no parent: they close a position
        self._resumed: set[tuple[str, int]] = set()
        self._stopping = False

    def read(self, events: Iterable[Event]) -> "OrderFigures":
        """Takes all events, in order; gives itself."""
        for event in events:
            self.take(event)
        return self

    def take(self, event: Event) -> None:
        """Takes one event; they come in order."""
        if event.kind == Kind.update:
            for record in event.records:
                self._update(record)
        elif event.kind == Kind.fill:
            self.fills[event.subject] += event.count
            self.paths["fill_by_query"] += sum(record["origin"] == b"reconcile" for record in event.records)
        elif event.kind == Kind.intent:
            for record in event.records:
                self._intent(record)
        elif event.kind == Kind.parent:
            for record in event.records:
                self._parent(record)
        elif event.kind in (Kind.health, Kind.run, Kind.command, Kind.alert):
            self._packed(event)

    def _intent(self, record: np.void) -> None:
        if record["action"] == Action.CANCEL:
            target = bytes(record["target_id"])
            self._cancels[target] += 1
            self.paths["cancelled_again"] += self._cancels[target] == 2
        elif record["action"] == Action.NEW:
            self.open[record["client_order_id"].decode()] = Status.PendingNew
            if not record["parent_seq"]:
                self._closing.add(bytes(record["client_order_id"]))

    def _parent(self, record: np.void) -> None:
        name = f"parent {record['strategy'].decode()} {record['parent_seq']}"
        if record["state"] == ParentState.begun:
            self.open[name] = Status.PendingNew
            self.paths["strategy_switched"] += bool(record["shadow"])  # none is in mesh.toml
            return
        self.open.pop(name, None)
        self.styles[record["style"].decode()] += bool(record["filled_lots"]) and not record["shadow"]
        self.ends[record["why"].decode()] += 1
        self.paths["repriced"] += int(record["reprices"])

    def _update(self, record: np.void) -> None:
        if not record["quantity_lots"]:
            return  # the refusal of a cancel
        name, status, reason = bytes(record["client_order_id"]), Status(int(record["status"])), record["reason"]
        self.statuses[status.name] += 1
        found = name in self._unknown and record["origin"] == b"reconcile"
        self.paths["found_absent"] += found and status == Status.Rejected
        self.paths["found_by_query"] += found and status not in (Status.Rejected, Status.Unknown)
        self.paths["amended"] += int(record["quantity_lots"]) < self._quantity.get(name, 0)
        self._quantity[name] = int(record["quantity_lots"])
        self.paths["positions_closed"] += status == Status.Filled and name in self._closing
        self.paths["expired_unsent"] += status == Status.Expired and reason.startswith(b"the intent expired")
        self.paths["cancelled_unsent"] += reason.startswith(b"cancelled before it was sent")
        self.paths["cancelled_at_stop"] += self._stopping and status == Status.Canceled
        if status == Status.Unknown:
            self._unknown.add(name)
        elif status != Status.PendingCancel:  # a cancel of it finds nothing out
            self._unknown.discard(name)
        if status in (Status.Filled, Status.Canceled, Status.Rejected, Status.Expired):
            self.open.pop(name.decode(), None)
        else:
            self.open[name.decode()] = status

    def _packed(self, event: Event) -> None:
        content = event.map()
        if event.kind == Kind.run:
            self.paths["checkpoint"] += content.get("checkpoint_seq", 0) > 0
            if event.subject.startswith("session"):
                self._stopping = False
        elif event.kind == Kind.alert:
            self._stopping |= content["what"] == "session_stopping"
        elif event.kind == Kind.command:
            self.paths["kill_switch"] += content.get("command") == "kill_switch"
            self.paths["limit_tightened"] += content.get("command") == "limit" and bool(content["value"])
        else:
            self._health(event.subject, content)

    def _health(self, subject: str, content: dict[str, int]) -> None:
        pid = content.get("pid", 0)
        for path, (name, counter) in COUNTED.items():
            if subject.partition("-")[0] != name:
                continue
            key, now = (subject, pid, counter), content.get(counter, 0)
            if now > (before := self._most.get(key, 0)):
                self._most[key] = now
                self.paths[path] += now - before
        if subject.startswith("session") and content.get("resumed_seq") and (subject, pid) not in self._resumed:
            self._resumed.add((subject, pid))
            self.paths["session_checkpoint"] += 1
