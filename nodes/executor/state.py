"""All that the executor remembers, by instrument and of the account. A checkpoint is its JSON, where integers have no bound."""

from heapq import heappop, heappush
from typing import TypeVar

import msgspec

from tickmesh.nodes.executor import positions
from tickmesh.nodes.executor.drafts import is_tradable
from tickmesh.nodes.executor.guards import MarketState
from tickmesh.nodes.executor.intents import is_own_id
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.profit import LossWatch, fee_cost
from tickmesh.nodes.executor.risk import Bucket
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.session_word import SessionWord
from tickmesh.nodes.orders import fills, states

# How many finished things are remembered, so that a late copy is known as one. Of all instruments together: how far back that
# is follows from the account's order rate, and a checkpoint does not grow with the number of instruments.
CLOSED_ORDERS = 1024
REQUEST_IDS = 1024
FILL_IDS = 4096
FILLS_SINCE = 1024  # fills of which it is remembered when they were, so that a funding is divided by what was held at its time

_Value = TypeVar("_Value")


class Book(msgspec.Struct):
    """What one strategy has of one instrument; of the strategy "" what belongs to none."""

    position: Position = msgspec.field(default_factory=Position)
    shadow: Position = msgspec.field(default_factory=Position)  # of simulated fills
    turn: int = 0  # which style is next
    target_lots: int = 0  # the position that its last signal asked for, signed
    target_until_ns: int = 0  # so long (log time) that counts for what all strategies miss together; 0: not
    parents: dict[int, Parent] = {}  # by the seq of their signal: that is worked, and those whose orders are not over
    intents: int = 0
    signals: int = 0
    refusals: dict[str, int] = {}

    def count_refusal(self, reason: str) -> None:
        """Counts a signal that became no order, or an order of a parent that was not made, by its reason."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def worked(self) -> Parent | None:
        """The parent that may still order; there is one at most."""
        return next((parent for parent in self.parents.values() if parent.working), None)


class Closing(msgspec.Struct):
    """A person has a strategy's position closed, until this time (log time) at most; `why` it is not closed yet."""

    until_ns: int
    why: str = "no quote has come"


class InstrumentState(msgspec.Struct):
    """What an executor knows of one instrument from the log: definition, quote, orders, position, and what it has refused."""

    rules: InstrumentRules | None = None
    quote: tuple[int, int, int, int] = (0, 0, 0, 0)
    quote_ns: int = 0
    market: MarketState = msgspec.field(default_factory=MarketState)
    mark_ticks: int = 0  # the last mid that was looked at, for when a side of the book is empty
    orders: dict[str, Order] = {}  # what may still change the position, by client order id, oldest first
    shadow_orders: dict[str, Order] = {}  # that would rest in the book now, of strategies that are tried
    position: Position = msgspec.field(default_factory=Position)  # of all strategies, and of nobody's
    others_lots: int = 0  # of `position`: what orders that no executor has made have brought (placed by hand), signed
    books: dict[str, Book] = {}  # by strategy
    due_ns: int = 0  # when the next cancel is due; 0: none
    flatten_ns: int = 0  # before then its positions are not closed again
    closing: dict[str, Closing] = {}  # by strategy: nothing else is ordered here meanwhile
    involved: bool = False  # the account has, or has had, an order or a fill on it

    @property
    def open_orders(self) -> int:
        """How many orders on it are not final."""
        return sum(not order.final for order in self.orders.values())

    def book(self, strategy: str) -> Book:
        """A strategy's book, made where there is none."""
        known = self.books.get(strategy)
        if known is None:
            known = self.books[strategy] = Book()
        return known

    def mark(self) -> int:
        """The price by which it is valued, in ticks: the mid, rounded down; without one the last that was looked at, or 0."""
        bid_ticks, _, ask_ticks, _ = self.quote
        return (bid_ticks + ask_ticks) // 2 if is_tradable(*self.quote) else self.mark_ticks


class StrategyStatus(msgspec.Struct):
    """Whether a strategy trades, and what bounds it over all instruments."""

    state: str  # live, shadow, off
    why: str = ""  # it is as it is; empty: mesh.toml says so
    bucket: Bucket = msgspec.field(default_factory=Bucket)
    losses: LossWatch = msgspec.field(default_factory=LossWatch)


class KillStatus(msgspec.Struct):
    """The kill switch: on or off, since when (log time), by whom and why."""

    on: bool = False
    since_ns: int = 0
    by: str = ""
    why: str = ""


class Stopping(msgspec.Struct):
    """A command to stop a scope is on its way to the log; it is published again after `until_ns`, twice as long later."""

    until_ns: int
    pause_ns: int


class ExecutorState(msgspec.Struct):
    """What an executor knows from the log: its instruments, and what is of the account or of all of them together."""

    log_id: str = ""  # 16 hex digits, from the sequencer's `run` event; client order ids contain it
    instruments: dict[
        str, InstrumentState
    ] = {}  # by subject: those defined, traded, or with an order or a fill of this account
    closed: dict[str, Order] = {}  # orders that change no position any more
    request_ids: dict[str, str] = {}  # client id of a cancel or an amendment → of the order
    fill_ids: dict[str, int] = {}  # the fills in the positions: see nodes/orders/fills.py
    last_fills: list[tuple[int, str, str, int]] = []  # (venue_ns, subject, strategy, signed lots), as they were read
    unconfirmed: dict[str, str] = {}  # client ids of orders whose intent has not been read in the log → subject, oldest first
    due: list[tuple[int, str]] = []  # a heap of (due_ns, subject); one that is not its instrument's due_ns (any more) is void
    bucket: Bucket = msgspec.field(default_factory=Bucket)  # of all instruments: the venue counts orders by account
    messages: Bucket = msgspec.field(default_factory=Bucket)  # of orders and cancels together
    strategies: dict[str, StrategyStatus] = {}  # those of mesh.toml, as they have been switched
    kill: KillStatus = msgspec.field(default_factory=KillStatus)
    sessions: dict[str, SessionWord] = {}  # by process
    losses: LossWatch = msgspec.field(default_factory=LossWatch)  # of the account
    stopping: dict[str, Stopping] = {}  # by scope: a limit is breached, and the command that says so is not in the log yet
    tightened: dict[str, dict[str, str]] = {}  # by scope: limit → value
    commands_refused: int = 0
    marks: list[tuple[int, int]] = []  # (seq, seq_ns), oldest first: how old an event of the last stale_ms is
    ranges: dict[str, tuple[float, float]] = {}  # by process of a model: what its values may be, from its `run` event
    intents: int = 0
    cancels: int = 0
    amends: int = 0

    def instrument(self, subject: str) -> InstrumentState:
        """The state of an instrument, made where there is none."""
        known = self.instruments.get(subject)
        if known is None:
            known = self.instruments[subject] = InstrumentState()
        return known

    def add_order(self, subject: str, order: Order) -> None:
        """Adds an order to its instrument, and its time to be cancelled."""
        instrument = self.instrument(subject)
        instrument.orders[order.client_order_id] = order
        instrument.involved = True
        self.schedule(subject, order.cancel_ns)
        if not order.confirmed:
            self.unconfirmed[order.client_order_id] = subject

    def find_order(self, instrument: InstrumentState, client_order_id: str) -> Order | None:
        """The order of this client id, open or closed; None if it is not known, or forgotten."""
        return instrument.orders.get(client_order_id) or self.closed.get(client_order_id)

    def apply_update(
        self, instrument: InstrumentState, order: Order, status: int, filled_lots: int, order_id: int, quantity_lots: int = 0
    ) -> bool:
        """Moves an order by an update from the log; gives whether that shows an amendment that was not done."""
        asked = order.status == states.PENDING_REPLACE
        states.apply_update(order, status, filled_lots, order_id, quantity_lots)
        self._sort(instrument, order)
        missed = asked and order.status in states.OPEN and 0 < order.amend_lots < order.quantity_lots
        if missed or order.quantity_lots <= order.amend_lots:
            order.amend_lots = 0
        return missed

    def apply_fill(
        self, subject: str, client_order_id: str, trade_id: int, side: int, price_ticks: int, lots: int, fee: int, asset: str,
        venue_ns: int = 0,
    ) -> None:  # fmt: skip
        """Counts a fill that is new into the positions of instrument and strategy, and moves its order if that is known."""
        if not fills.remember_fill(self.fill_ids, client_order_id, trade_id, FILL_IDS):
            return
        instrument = self.instrument(subject)
        order = self.find_order(instrument, client_order_id)
        cost = self._fee_cost(subject, asset, fee, price_ticks)
        strategy = order.strategy if order is not None else ""
        book = instrument.book(strategy)
        self.last_fills.append((venue_ns, subject, strategy, side * lots))
        if len(self.last_fills) > FILLS_SINCE:
            del self.last_fills[0]
        if order is not None and (parent := book.parents.get(order.parent_seq)) is not None:
            parent.add_fill(price_ticks, lots, cost)
        for position in (instrument.position, book.position):
            positions.apply_fill(position, side, price_ticks, lots, fee, asset, cost)
        instrument.involved = True
        if not is_own_id(client_order_id):
            instrument.others_lots += side * lots
        if order is not None:
            order.counted_lots += lots
            states.apply_fill(order, order.counted_lots)
            self._sort(instrument, order)

    def apply_funding(self, subject: str, asset: str, amount: int, venue_ns: int = 0) -> None:
        """Counts a funding (at 10^−8 of its asset, below zero paid) into the positions of instrument and strategies.

        It goes by what each held at `venue_ns`, the venue's time, as far back as fills are remembered; 0: by what each holds.
        """
        instrument = self.instrument(subject)
        instrument.involved = True
        held = {name: book.position.lots for name, book in instrument.books.items()}
        for fill_ns, filled, strategy, lots in self.last_fills if venue_ns else ():
            if fill_ns > venue_ns and filled == subject:
                held[strategy] -= lots
        shares = [(instrument.book(name).position, part) for name, part in positions.funding_shares(amount, held).items()]
        for position, part in [(instrument.position, amount), *shares]:
            if part:
                positions.apply_funding(position, part, asset, -self._fee_cost(subject, asset, -part, instrument.mark()))

    def _fee_cost(self, subject: str, asset: str, fee: int, price_ticks: int) -> int:
        """What a fee cost, as money of the instrument; 0 where that is not known."""
        venue, _, symbol = subject.partition(".")
        rules = self.instruments[subject].rules
        if rules is None or not fee:
            return 0

        def find_price(asset: str, symbol: str) -> tuple[int, InstrumentRules] | None:
            for begin in range(1, len(symbol)):  # the longest quote currency first
                other = self.instruments.get(f"{venue}.{asset}{symbol[begin:]}")
                if other is not None and other.rules is not None and (mark := other.mark()):
                    return mark, other.rules
            return None

        return fee_cost(symbol, asset, fee, price_ticks, rules, find_price) or 0

    def remember_request(self, request_id: str, order: Order) -> None:
        """Remembers whose cancel or amendment an intent is, so that its refusal is not taken for the order's."""
        _remember(self.request_ids, request_id, order.client_order_id, REQUEST_IDS)

    def _sort(self, instrument: InstrumentState, order: Order) -> None:
        """A final order that owes no fill goes to `closed`; there it stays."""
        if order.final and not order.outstanding_lots and order.client_order_id in instrument.orders:
            del instrument.orders[order.client_order_id]
            _remember(self.closed, order.client_order_id, order, CLOSED_ORDERS)

    def schedule(self, subject: str, due_ns: int) -> None:
        """Sees to it that `take_due` gives this instrument when `due_ns` has come, or earlier if it was to."""
        instrument = self.instruments[subject]
        if not instrument.due_ns or due_ns < instrument.due_ns:
            instrument.due_ns = due_ns
            heappush(self.due, (due_ns, subject))

    def take_due(self, now_ns: int) -> list[str]:
        """The instruments of which something is due, by name; each has to be scheduled anew."""
        out = set()
        while self.due and self.due[0][0] <= now_ns:
            due_ns, subject = heappop(self.due)
            instrument = self.instruments[subject]
            if instrument.due_ns == due_ns:
                instrument.due_ns = 0
                out.add(subject)
        return sorted(out)

    def forget_unpublished(self, cause_seq: int, k: int, subject: str) -> None:
        """Forgets orders whose intent did not reach the log, when that of (cause_seq, k), an order on `subject`, has.

        The log has the intents of all instruments in order, so the missing ones never come; nor does another one of this place.
        `subject` is empty where the intent was to cancel.
        """
        while self.unconfirmed:
            client_order_id, ours = next(iter(self.unconfirmed.items()))
            orders = self.instruments[ours].orders
            order = orders.get(client_order_id)
            if order is not None and not order.confirmed:
                place = order.cause_seq, order.k
                if place > (cause_seq, k) or (place == (cause_seq, k) and ours == subject):
                    return
                del orders[client_order_id]
            del self.unconfirmed[client_order_id]


def _remember(table: dict[str, _Value], key: str, value: _Value, kept_max: int) -> None:
    table[key] = value
    if len(table) > kept_max:
        del table[next(iter(table))]
