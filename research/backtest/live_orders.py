"""The orders of a recording: what was sent, when the venue had it, what it filled, and how it ended, all in the log's time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Action, Kind, OrderType, Status
from tickmesh.bus.wire import Event
from tickmesh.nodes.orders.accounts import is_session, session_name
from tickmesh.nodes.orders.states import FINAL
from tickmesh.research.backtest.log_times import CHANGE, LogTimes, Sought, log_times
from tickmesh.storage.query import reader

NEVER_NS = (1 << 63) - 1
SLACK_NS = 250_000_000  # the market's streams may be later in the log than the answer to an order, by no more than this
SESSION = b"session"  # origin of what the session concludes by itself
NOT_OF_VENUE = (SESSION, b"reconcile")  # of a refusal without a venue's time: not sent, or the venue does not know the order
OF_SESSION = (Status.PendingNew, Status.PendingCancel, Status.PendingReplace, Status.Unknown)


class LiveFill(NamedTuple):
    """A fill of the venue. `at_ns`: when the log had its trade; where that is not recorded, when it had the fill. `venue_ns`:
    the venue's time of it."""

    trade_id: int
    at_ns: int
    seq_ns: int
    price_ticks: int
    lots: int
    maker: bool
    venue_ns: int = 0


@dataclass(slots=True)
class LiveOrder:
    """An order from its intent on. Times are of the log, 0 where there is none; `intent`: an INTENT record.

    cause_ns     of the event of the market that its signal is about; else of what caused it
    parent_seq   `seq` of the event that its parent's signal is about; 0 for an order without a parent
    arrived_ns   the venue had it: what the log had by then had happened before it, and nothing else
    answered_ns  the log had the venue's first word of it
    canceled_ns  the venue had taken it out, unfilled or in part
    ended_ns     the log had the word that it is over
    fills        in order of time
    reduced      (when the log had it, lots) of each amendment that was made
    """

    subject: str
    intent: np.void
    seq: int
    sent_ns: int
    cause_seq: int
    cause_ns: int = 0
    parent_seq: int = 0
    venue_ns: int = 0
    arrived_ns: int = 0
    answered_ns: int = 0
    canceled_ns: int = 0
    ended_ns: int = 0
    status: int = int(Status.PendingNew)
    reason: str = ""
    fills: list[LiveFill] = field(default_factory=list)
    reduced: list[tuple[int, int]] = field(default_factory=list)

    @property
    def strategy(self) -> str:
        return bytes(self.intent["strategy"]).decode(errors="replace")

    @property
    def is_open(self) -> bool:
        return self.status not in FINAL

    @property
    def rests(self) -> bool:
        """Whether what is left of it waits in the book."""
        return self.intent["order_type"] != OrderType.MARKET and int(self.intent["time_in_force"]) in (0, 1)

    @property
    def lots(self) -> int:
        """What it wants in all, after its amendments."""
        return self.reduced[-1][1] if self.reduced else int(self.intent["quantity_lots"])

    @property
    def filled_lots(self) -> int:
        return sum(one.lots for one in self.fills)

    @property
    def taken_lots(self) -> int:
        """What it filled as it came."""
        return sum(one.lots for one in self.fills if not one.maker)


class LiveRequest(NamedTuple):
    """A cancel or an amendment that was sent: its intent, and the order that it is about."""

    intent: np.void
    sent_ns: int
    order: LiveOrder


class LiveOrders(NamedTuple):
    """Orders and requests of a recording, each in order of sending. `down`: from, to (ns of the log), and who was not there;
    `others`: orders that are none of these, and stood in the books too."""

    orders: list[LiveOrder]
    requests: list[LiveRequest]
    down: list[tuple[int, int, str]]
    others: Sequence[LiveOrder] = ()


def down_of(down: Iterable[tuple[int, int, str]], venues: Collection[str]) -> list[tuple[int, int, str]]:
    """Gives the absences of `LiveOrders.down` that stopped orders of accounts at these venues: no other account's session."""
    sessions = {session_name(venue) for venue in venues}
    return [one for one in down if one[2] in sessions or not is_session(one[2])]


def venue_of(subject: str) -> str:
    """The venue of an instrument, which names the account its orders are of."""
    return subject.partition(".")[0]


def read_live_orders(config: Config, subjects: Iterable[str]) -> LiveOrders:
    """Reads the orders on these instruments. Raises ReadError, ArchiveError and LogError as reading does."""
    found = _Reading(frozenset(subjects))
    for event in reader.events(config, kinds=(Kind.signal, Kind.intent, Kind.update, Kind.fill, Kind.run, Kind.health)):
        found.take(event)
    orders = list(found.orders.values())
    trade_ids = {(one.subject, fill.trade_id) for one in orders for fill in one.fills}
    sought = {
        subject: Sought(
            np.array([change for one in orders if one.subject == subject for change in _changes(one)], CHANGE),
            np.array([trade for of, trade in trade_ids if of == subject], "i8"),
        )
        for subject in found.subjects
    }
    causes = {found.signals.get(one.cause_seq, one.cause_seq) for one in orders}
    times = log_times(config, sought, causes)
    for one in orders:
        _place(one, found, times)
    return LiveOrders(orders, found.requests, found.down)


def _changes(order: LiveOrder) -> list[tuple[int, int, int, int]]:
    """What the order did to its level: (venue time, side, price, lots), as CHANGE."""
    side, price = int(order.intent["side"]), int(order.intent["price_ticks"])
    lots = int(order.intent["quantity_lots"])
    out = [(order.venue_ns, side, price, lots - order.taken_lots)] if order.venue_ns else []
    return [*out, (order.canceled_ns, side, price, order.filled_lots - order.lots)] if order.canceled_ns else out


def _place(order: LiveOrder, found: "_Reading", times: LogTimes) -> None:
    """Puts an order's times into the log's."""
    cause, changes = found.signals.get(order.cause_seq, order.cause_seq), _changes(order)
    order.cause_ns = min(times.of_seq.get(cause, found.times.get(order.cause_seq, order.sent_ns)), order.sent_ns)
    order.parent_seq = found.signals.get(int(order.intent["parent_seq"]), 0)
    printed = [times.trade_ns(order.subject, one.trade_id, one.venue_ns) for one in order.fills]
    fills = [one._replace(at_ns=at_ns or one.at_ns) for one, at_ns in zip(order.fills, printed)]
    order.fills = sorted(fills, key=lambda one: one.at_ns)
    takes = [one.at_ns for one in order.fills if not one.maker]
    if takes:
        order.arrived_ns = max(min(takes) - 1, order.sent_ns)
    elif order.venue_ns:
        order.arrived_ns = _in_log(times, (order.subject, *changes[0]), order.sent_ns, order.answered_ns)
    elif order.answered_ns:  # refused by the venue, which does not say when: by its answer
        order.arrived_ns = max(order.answered_ns - 1, order.sent_ns)
    if order.canceled_ns:
        last_ns = max([order.arrived_ns, *(one.at_ns for one in order.fills)])
        order.canceled_ns = _in_log(times, (order.subject, *changes[-1]), last_ns, order.ended_ns)


def _in_log(times: LogTimes, change: tuple[str, int, int, int, int], least_ns: int, most_ns: int) -> int:
    """When the log had all that had happened before a change; no quote or trade tells: by the venue's clock, within bounds."""
    at = times.of_change.get(change) or times.at_venue.get(change[:2], NEVER_NS)
    return max(at - 1, least_ns) if at <= most_ns + SLACK_NS else max(min(change[1], most_ns), least_ns)


class _Reading:
    """Takes the log's events in order."""

    def __init__(self, subjects: frozenset[str]):
        self.subjects = subjects
        self.orders: dict[tuple[str, bytes], LiveOrder] = {}
        self.requests: list[LiveRequest] = []
        self.signals: dict[int, int] = {}  # seq → that of its cause
        self.times: dict[int, int] = {}  # of what may cause an order: seq → seq_ns
        self.down: list[tuple[int, int, str]] = []
        self._alive: dict[str, int] = {}  # process of trading → when it last said that it lives

    def take(self, event: Event) -> None:
        name = event.producer
        if name.startswith(("executor", "session", "model-")):
            if event.kind == Kind.run and name in self._alive:
                self.down.append((self._alive[name], event.seq_ns, name))
            elif event.kind == Kind.health:
                self._alive[name] = event.seq_ns
        if event.subject not in self.subjects:
            return
        self.times[event.seq] = event.seq_ns
        if event.kind == Kind.signal:
            self.signals[event.seq] = event.cause_seq
        elif event.kind == Kind.intent:
            for intent in event.records:
                self._take_intent(event, intent)
        elif event.kind == Kind.update:
            for update in event.records:
                self._take_update(event, update)
        elif event.kind == Kind.fill:
            for row in event.records:
                order = self.orders.get((event.subject, bytes(row["client_order_id"])))
                trade = int(row["trade_id"])
                if order is not None and all(one.trade_id != trade for one in order.fills):
                    terms = int(row["price_ticks"]), int(row["quantity_lots"]), bool(row["maker"]), int(row["venue_ns"])
                    order.fills.append(LiveFill(trade, event.seq_ns, event.seq_ns, *terms))
                    self._note_answer(order, int(row["venue_ns"]), event.seq_ns)

    def _take_intent(self, event: Event, intent: np.void) -> None:
        if intent["action"] == Action.NEW:
            name = event.subject, bytes(intent["client_order_id"])
            self.orders[name] = LiveOrder(event.subject, intent, event.seq, event.seq_ns, event.cause_seq)
        elif order := self.orders.get((event.subject, bytes(intent["target_id"]))):
            self.requests.append(LiveRequest(intent, event.seq_ns, order))

    def _take_update(self, event: Event, update: np.void) -> None:
        order, status = self.orders.get((event.subject, bytes(update["client_order_id"]))), int(update["status"])
        if order is None or order.status in FINAL:
            return
        if status in OF_SESSION:
            return
        order.status = status
        if 0 < update["quantity_lots"] < order.lots:
            order.reduced.append((event.seq_ns, int(update["quantity_lots"])))
        order.reason = bytes(update["reason"]).decode(errors="replace")
        if update["venue_ns"]:
            self._note_answer(order, int(update["venue_ns"]), event.seq_ns)
        elif status == Status.Rejected and not order.answered_ns and bytes(update["origin"]) not in NOT_OF_VENUE:
            order.answered_ns = event.seq_ns
        if status in FINAL:
            order.ended_ns = event.seq_ns
            if status == Status.Canceled:
                order.canceled_ns = int(update["venue_ns"])

    def _note_answer(self, order: LiveOrder, venue_ns: int, now_ns: int) -> None:
        if not order.venue_ns:
            order.venue_ns, order.answered_ns = venue_ns, now_ns
