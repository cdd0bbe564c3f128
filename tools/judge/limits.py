"""The limits of mesh.toml, held against every moment of the exchange's ledger: positions, worth and open orders."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from tickmesh.tools.judge.exchange_ledger import subject_of
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.order_events import OrderEvent

ACCOUNT = "account"  # the scope of everything
OPEN = ("NEW", "PARTIALLY_FILLED")
UNIT = 10**8
# Worth is limited at the price that was the best when the order was made; the exchange's, when it came, may be another by now
MOVED = Decimal("1.05")


class Limit(NamedTuple):
    """What a scope may have at most; None: no limit. Position: base currency; worth: quote currency; `open_orders` 0: none."""

    position: Decimal | None = None  # of each instrument, with all that is outstanding
    worth: Decimal | None = None  # likewise
    worth_in_all: Decimal | None = None  # of all instruments together
    open_orders: int = 0


class _Scope:
    """What a scope has by the ledger: mantissas at 10^−8."""

    def __init__(self) -> None:
        self.lots: dict[str, int] = defaultdict(int)  # by subject, signed
        self.outstanding: dict[tuple[str, str], tuple[int, int]] = {}  # open orders: side, what is left

    def after(self, subject: str, side: int) -> int:
        """The position towards a side, if what is outstanding on it were filled."""
        return side * self.lots[subject] + sum(
            lots for (of, _), (way, lots) in self.outstanding.items() if of == subject and way == side
        )

    def most(self, subject: str) -> int:
        """The largest position, of either sign, that what is outstanding could make of an instrument's."""
        return max(self.after(subject, 1), self.after(subject, -1), 0)


class LimitCheck:
    """Takes the account's order events in order, and holds each limit against what they come to.

    `strategy`: of each order, by subject and client id; of others only the account's limits are looked at.
    """

    def __init__(self, limits: Mapping[str, Limit], strategy: Mapping[tuple[str, str], str], findings: Findings):
        self._limits, self._strategy, self._findings = limits, strategy, findings
        self._scopes: dict[str, _Scope] = defaultdict(_Scope)
        self._prices: dict[str, int] = {}  # by subject: of the newest fill, or of an order's limit
        self._filled: dict[tuple[str, str], int] = defaultdict(int)  # of each order

    def take(self, event: OrderEvent) -> None:
        """Takes one event; where a limit is exceeded after it, that is a fault."""
        subject = subject_of(event.symbol)
        key = subject, event.client_order_id
        if price := event.price or event.limit:
            self._prices[subject] = price
        self._filled[key] += event.quantity if event.what == "TRADE" else 0
        left = event.total - self._filled[key]
        for name in (ACCOUNT, self._strategy.get(key, "")):
            if not name:
                continue
            scope = self._scopes[name]
            if event.what == "TRADE":
                scope.lots[subject] += event.side * event.quantity
            if event.status in OPEN:
                scope.outstanding[key] = event.side, left
            else:
                scope.outstanding.pop(key, None)
            # What ends an order exceeds nothing, and what others place on the account nobody here can hinder
            if event.what in ("NEW", "TRADE", "REPLACED", "AMENDMENT") and key in self._strategy:
                self._look(name, scope, subject, event)

    def _look(self, name: str, scope: _Scope, subject: str, event: OrderEvent) -> None:
        limit = self._limits.get(name)
        if limit is None or limit == Limit():
            return
        self._findings.count("limits_checked")
        most = Decimal(scope.most(subject)) / UNIT
        grown = event.what == "NEW" and scope.after(subject, event.side) > 0  # what only closes a position may be worth more
        worth = Decimal(scope.after(subject, event.side)) * self._prices.get(subject, 0) / UNIT / UNIT
        everything = sum(
            (Decimal(scope.most(one)) * self._prices.get(one, 0) / UNIT / UNIT for one in self._prices), Decimal(0)
        )  # fmt: skip
        if limit.position is not None and most > limit.position:
            self._fault(event, f"{name} could come to {most} of {subject}; position_max is {limit.position}")
        if limit.worth is not None and grown and worth > limit.worth * MOVED:
            self._fault(event, f"{name} could come to {worth:.2f} in {subject}; position_notional is {limit.worth}")
        if limit.worth_in_all is not None and grown and everything > limit.worth_in_all * MOVED:
            self._fault(event, f"{name} could come to {everything:.2f} in all; notional_max is {limit.worth_in_all}")
        if limit.open_orders and len(scope.outstanding) > limit.open_orders:
            self._fault(event, f"{name} has {len(scope.outstanding)} open orders; open_orders_max is {limit.open_orders}")

    def _fault(self, event: OrderEvent, what: str) -> None:
        self._findings.count("limit_exceeded")
        self._findings.fault("limit_exceeded", f"order {event.client_order_id}: {what}")
