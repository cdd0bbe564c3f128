"""The limits of trading, held against every moment of the exchange's ledger: positions, worth and open orders.

An order is made when the executor reads an event of the log, its cause: by what the log had up to there, at the quotes of that
moment, within the limits of that moment. What the executor counted then was never less than what stood at the exchange when the
order came: each order that it had made, filled or not, each fill that can still come. So at the exchange nothing may be beyond
the limits at the cause of the newest order that has come, at the prices of that cause, without any allowance. Limits are those
of the executor that made it: of the settings that its `run` event names, and of the commands up to the cause.

Orders of which the executor could not know (of others, before the log knew them; such as the venue had denied) count from when
it could.
"""

from collections import defaultdict
from decimal import Decimal

from tickmesh.tools.judge.exchange_ledger import subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.in_force import ACCOUNT, Limit
from tickmesh.tools.judge.limit_facts import LimitFacts, Made
from tickmesh.tools.judge.order_events import OrderEvent
from tickmesh.tools.judge.trading import OrderKey

OPEN = ("NEW", "PARTIALLY_FILLED")
UNIT = 10**8
NEVER = 1 << 62  # the seq of what no log has
NONE = Made(0, 0, "", 0, False)


class _Scope:
    """What a scope has by the ledger: mantissas at 10^−8."""

    def __init__(self) -> None:
        self.lots: dict[str, int] = defaultdict(int)  # by subject, signed
        self.outstanding: dict[OrderKey, tuple[int, int]] = {}  # open orders: side, what is left
        self.newest: dict[tuple[str, int], Made] = {}  # by subject and side: of the orders that have come the newest
        self.newest_of_all: tuple[str, Made, bool] = "", NONE, False  # its subject, and whether it made a position larger
        self.unlimited_seq = 0  # of the newest order that has come and closes a position: no limit is asked for it

    def after(self, subject: str, side: int) -> int:
        """The position towards a side, if what is outstanding on it were filled."""
        return side * self.lots[subject] + sum(
            lots for (of, _), (way, lots) in self.outstanding.items() if of == subject and way == side
        )

    def most(self, subject: str) -> int:
        """The largest position, of either sign, that what is outstanding could make of an instrument's."""
        return max(self.after(subject, 1), self.after(subject, -1), 0)


class LimitCheck:
    """Takes the account's order events in order, and holds each limit against what they come to."""

    def __init__(self, facts: LimitFacts, findings: Findings):
        self._facts, self._findings = facts, findings
        self._scopes: dict[str, _Scope] = defaultdict(_Scope)
        self._filled: dict[OrderKey, int] = defaultdict(int)  # of each order
        self._hidden: list[tuple[int, OrderEvent]] = []  # what the executor could not know before this seq

    def take(self, event: OrderEvent) -> None:
        """Takes one event; where a limit is exceeded after it, that is a fault."""
        key = subject_of(event.symbol), event.client_order_id
        made = self._facts.made.get(key)
        if made is not None and key not in self._facts.denied:
            self._count(event, made.strategy)
            if event.what == "NEW":
                self._come(key[0], event, made)
        elif event.what == "TRADE":
            self._hidden.append((self._facts.fill_seq.get((*key, event.trade_id), NEVER), event))
        elif made is None:
            self._hidden.append((self._facts.known_seq.get(key, NEVER), event))

    def _count(self, event: OrderEvent, strategy: str) -> None:
        subject = subject_of(event.symbol)
        key = subject, event.client_order_id
        self._filled[key] += event.quantity if event.what == "TRADE" else 0
        for scope in (self._scopes[name] for name in (ACCOUNT, strategy) if name):
            if event.what == "TRADE":
                scope.lots[subject] += event.side * event.quantity
            if event.status in OPEN and key not in self._facts.denied:
                scope.outstanding[key] = event.side, event.total - self._filled[key]
            else:
                scope.outstanding.pop(key, None)

    def _come(self, subject: str, event: OrderEvent, made: Made) -> None:
        """An order has come to the exchange."""
        self._show(made.cause_seq)
        for name in (ACCOUNT, made.strategy):
            if not name:
                continue
            scope = self._scopes[name]
            if made.free:
                scope.unlimited_seq = max(scope.unlimited_seq, made.seq)
                continue
            if made.seq > scope.newest.get((subject, event.side), NONE).seq:
                scope.newest[subject, event.side] = made
            if made.seq > scope.newest_of_all[1].seq:
                scope.newest_of_all = subject, made, scope.after(subject, event.side) > 0
            self._look(name, scope, subject, event)

    def _show(self, seq: int) -> None:
        """Counts what the executor could know at this seq, as far as it was not counted yet."""
        known = [event for at, event in self._hidden if at <= seq]
        if known:
            self._hidden = [one for one in self._hidden if one[0] > seq]
        for event in known:
            made = self._facts.made.get((subject_of(event.symbol), event.client_order_id))
            self._count(event, made.strategy if made is not None else "")

    def _look(self, name: str, scope: _Scope, subject: str, event: OrderEvent) -> None:
        newest = scope.newest[subject, event.side]
        limit = self._facts.in_force(name, newest)
        if limit is None:
            self._findings.count("limits_not_compared")
        elif newest.seq > scope.unlimited_seq and limit != Limit():
            self._findings.count("limits_checked")
            after = scope.after(subject, event.side)
            bid, _ = self._facts.prices(subject, newest.cause_seq)
            if limit.position is not None and after > limit.position * UNIT:
                self._fault(event, f"{name} could come to {after / UNIT} of {subject}; position_max is {limit.position}")
            if limit.worth is not None and after * bid > limit.worth * UNIT * UNIT:
                worth = Decimal(after * bid) / UNIT / UNIT
                self._fault(event, f"{name} could come to {worth:.4f} in {subject}; position_notional is {limit.worth}")
        self._look_at_all(name, scope, event)

    def _look_at_all(self, name: str, scope: _Scope, event: OrderEvent) -> None:
        subject, newest, grew = scope.newest_of_all
        limit = self._facts.in_force(name, newest)
        if limit is None or newest.seq < scope.unlimited_seq:
            return
        if limit.open_orders and len(scope.outstanding) > limit.open_orders:
            self._fault(event, f"{name} has {len(scope.outstanding)} open orders; open_orders_max is {limit.open_orders}")
        if limit.worth_in_all is None or not grew:
            return
        worth = scope.most(subject) * newest.worst
        involved = {of for of, lots in scope.lots.items() if lots} | {of for of, _ in scope.outstanding}
        for other in involved - {subject}:
            bid, ask = self._facts.prices(other, newest.cause_seq)
            if bid <= 0:
                self._findings.count("limits_not_compared")  # valued at an older price, which the log does not tell
                return
            worth += scope.most(other) * ((bid + ask) // 2)
        self._findings.count("limits_in_all_checked")
        if worth > limit.worth_in_all * UNIT * UNIT:
            shown = Decimal(worth) / UNIT / UNIT
            self._fault(event, f"{name} could come to {shown:.4f} in all; notional_max is {limit.worth_in_all}")

    def _fault(self, event: OrderEvent, what: str) -> None:
        self._findings.count("limit_exceeded")
        self._findings.fault("limit_exceeded", f"order {event.client_order_id}: {what}")
