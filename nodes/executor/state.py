"""All that the executor remembers, in one struct: a checkpoint is its JSON, where integers have no bound."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from tickmesh.nodes.executor import positions
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.risk import Bucket, InstrumentRules
from tickmesh.nodes.orders import fills, states

# How many finished things are remembered, so that a late copy is known as one.
CLOSED_ORDERS = 256
CANCEL_IDS = 256
FILL_IDS = 1024

_Value = TypeVar("_Value")


class ExecutorState(msgspec.Struct):
    log_id: str = ""  # 16 hex digits, from the sequencer's `run` event; client order ids contain it
    rules: InstrumentRules | None = None
    quote: tuple[int, int, int, int] = (0, 0, 0, 0)
    quote_ns: int = 0
    orders: dict[str, Order] = {}  # what may still change the position, by client order id, oldest first
    closed: dict[str, Order] = {}
    cancel_ids: dict[str, str] = {}  # client id of a cancel → of the order
    fill_ids: dict[str, int] = {}  # the fills in the position: see fills.py
    position: Position = msgspec.field(default_factory=Position)
    bucket: Bucket = msgspec.field(default_factory=Bucket)
    marks: list[tuple[int, int]] = []  # (seq, seq_ns), oldest first: how old an event of the last stale_ms is
    due_ns: int = 0  # when the next cancel is due; 0: none
    turn: int = 0  # which style is next
    intents: int = 0
    cancels: int = 0
    signals: int = 0
    refusals: dict[str, int] = {}

    def refuse(self, reason: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def find(self, client_order_id: str) -> Order | None:
        return self.orders.get(client_order_id) or self.closed.get(client_order_id)

    def add(self, order: Order) -> None:
        self.orders[order.client_order_id] = order
        self.due_ns = min(self.due_ns or order.cancel_ns, order.cancel_ns)

    def update(self, order: Order, status: int, filled_lots: int, order_id: int) -> None:
        states.apply_update(order, status, filled_lots, order_id)
        self._sort(order)

    def fill(self, client_order_id: str, trade_id: int, side: int, price_ticks: int, lots: int, fee: int, asset: str) -> None:
        """Counts a fill into the position, whoever's order it was, once."""
        if not fills.learn(self.fill_ids, client_order_id, trade_id, FILL_IDS):
            return
        positions.apply(self.position, side, price_ticks, lots, fee, asset)
        if (order := self.find(client_order_id)) is not None:
            order.counted_lots += lots
            states.apply_fill(order, order.counted_lots, order.quantity_lots)
            self._sort(order)

    def forget(self, order: Order) -> None:
        """An intent that the log never showed: it was not said."""
        self.orders.pop(order.client_order_id, None)

    def orders_never_sent(self, cause_seq: int, k: int) -> Iterator[Order]:
        """Intents before (cause_seq, k) that the log has not shown. It shows them in order, so they were never said."""
        for order in tuple(self.orders.values()):
            if not order.confirmed and (order.cause_seq, order.k) < (cause_seq, k):
                yield order

    def remember_cancel(self, cancel_id: str, order: Order) -> None:
        _remember(self.cancel_ids, cancel_id, order.client_order_id, CANCEL_IDS)

    def _sort(self, order: Order) -> None:
        """A final order that owes no fill goes to `closed`; there it stays."""
        if order.final and not order.outstanding_lots and order.client_order_id in self.orders:
            del self.orders[order.client_order_id]
            _remember(self.closed, order.client_order_id, order, CLOSED_ORDERS)


def _remember(table: dict[str, _Value], key: str, value: _Value, kept_max: int) -> None:
    table[key] = value
    if len(table) > kept_max:
        del table[next(iter(table))]
