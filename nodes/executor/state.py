"""All that the executor remembers, in one struct: a checkpoint is its JSON, where integers have no bound."""

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
    """What an executor knows from the log: instrument, quote, orders, position, and what it has refused."""

    log_id: str = ""  # 16 hex digits, from the sequencer's `run` event; client order ids contain it
    rules: InstrumentRules | None = None
    quote: tuple[int, int, int, int] = (0, 0, 0, 0)
    quote_ns: int = 0
    orders: dict[str, Order] = {}  # what may still change the position, by client order id, oldest first
    closed: dict[str, Order] = {}
    cancel_ids: dict[str, str] = {}  # client id of a cancel → of the order
    fill_ids: dict[str, int] = {}  # the fills in the position: see nodes/orders/fills.py
    position: Position = msgspec.field(default_factory=Position)
    bucket: Bucket = msgspec.field(default_factory=Bucket)
    marks: list[tuple[int, int]] = []  # (seq, seq_ns), oldest first: how old an event of the last stale_ms is
    due_ns: int = 0  # when the next cancel is due; 0: none
    turn: int = 0  # which style is next
    intents: int = 0
    cancels: int = 0
    signals: int = 0
    refusals: dict[str, int] = {}

    def count_refusal(self, reason: str) -> None:
        """Counts a signal that became no order, by its reason."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def find_order(self, client_order_id: str) -> Order | None:
        """The order of this client id, open or closed; None if it is not known, or forgotten."""
        return self.orders.get(client_order_id) or self.closed.get(client_order_id)

    def add_order(self, order: Order) -> None:
        """Adds an order to those that may still change the position, and its time to be cancelled."""
        self.orders[order.client_order_id] = order
        self.due_ns = min(self.due_ns or order.cancel_ns, order.cancel_ns)

    def apply_update(self, order: Order, status: int, filled_lots: int, order_id: int) -> None:
        """Moves an order by an update from the log."""
        states.apply_update(order, status, filled_lots, order_id)
        self._sort(order)

    def apply_fill(
        self, client_order_id: str, trade_id: int, side: int, price_ticks: int, lots: int, fee: int, asset: str
    ) -> None:
        """Counts a fill that is new into the position, and moves its order if that is known."""
        if not fills.remember_fill(self.fill_ids, client_order_id, trade_id, FILL_IDS):
            return
        positions.apply_fill(self.position, side, price_ticks, lots, fee, asset)
        if (order := self.find_order(client_order_id)) is not None:
            order.counted_lots += lots
            states.apply_fill(order, order.counted_lots, order.quantity_lots)
            self._sort(order)

    def forget_unpublished(self, cause_seq: int, k: int) -> None:
        """Forgets orders whose intent did not reach the log, although a later one, that of (cause_seq, k), has.

        The log has intents in order, so the missing ones never come.
        """
        for order in tuple(self.orders.values()):
            if not order.confirmed and (order.cause_seq, order.k) < (cause_seq, k):
                del self.orders[order.client_order_id]

    def remember_cancel(self, cancel_id: str, order: Order) -> None:
        """Remembers whose cancel an intent is, so that its refusal is not taken for the order's."""
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
