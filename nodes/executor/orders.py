"""One order's state, from what the log says of it: FIX's words, any order of arrival, any number of copies.

PendingNew → New → PartiallyFilled → Filled, Canceled, Rejected or Expired, which are final; it never goes back along
that line. PendingCancel and Unknown can be entered from every state that is not final, and are left by the next report
from the venue. An order that is not final, Unknown above all, counts as if it could still fill completely.
"""

import msgspec

from tickmesh.bus.schema import Status, TimeInForce

PENDING_NEW, NEW, PARTIALLY_FILLED, FILLED = 1, 2, 3, 4  # Status; plain integers compare faster
PENDING_CANCEL, CANCELED, REJECTED, EXPIRED, UNKNOWN = 5, 6, 7, 8, 9
FINAL = frozenset((FILLED, CANCELED, REJECTED, EXPIRED))

assert [int(s) for s in Status] == list(range(1, 10)) and Status.Unknown == UNKNOWN and Status.Expired == EXPIRED


class Order(msgspec.Struct):
    """`cause_seq`, `k` name the intent; both 0 for an order that the log knew before we did."""

    client_order_id: str
    side: int
    order_type: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int
    created_ns: int
    cause_seq: int = 0
    k: int = 0
    status: int = PENDING_NEW
    order_id: int = 0
    filled_lots: int = 0  # cumulative, as reported by updates and fills, whichever is more; never decreases
    counted_lots: int = 0  # of these, the part whose fills are in the position
    confirmed: bool = False  # its intent has been read in the log
    cancels: int = 0  # how often a cancel has been asked for
    cancel_ns: int = 0  # when the next cancel is due

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def resting(self) -> bool:
        """It may stand in the book until it is cancelled."""
        return self.time_in_force == TimeInForce.GTC and self.price_ticks > 0 and not self.final

    @property
    def outstanding_lots(self) -> int:
        """What may still be added to the position: all that is not filled, or what a final order's fills still owe us."""
        most = self.filled_lots if self.final else max(self.quantity_lots, self.filled_lots)
        return max(most - self.counted_lots, 0)


def update(order: Order, status: int, filled_lots: int, order_id: int = 0) -> bool:
    """Applies one report; False when it told nothing new. Copies and late reports are harmless."""
    before = (order.status, order.filled_lots, order.order_id)
    order.filled_lots = max(order.filled_lots, filled_lots)
    order.order_id = order.order_id or order_id
    if order.status not in FINAL:
        order.status = _next(order, status)
    return before != (order.status, order.filled_lots, order.order_id)


def fill(order: Order, lots: int) -> None:
    """Applies one execution, which the caller knows to be none that it has seen."""
    order.counted_lots += lots
    order.filled_lots = max(order.filled_lots, order.counted_lots)
    if order.status not in FINAL:
        complete = order.counted_lots >= order.quantity_lots > 0
        order.status = FILLED if complete else _next(order, PARTIALLY_FILLED)


def _next(order: Order, status: int) -> int:
    """The state of an order that is not final, after the venue or the session said `status`."""
    if status in FINAL or status in (UNKNOWN, PENDING_CANCEL):
        return status
    if status == PENDING_NEW:
        return order.status  # the session is trying: tells nothing of an order that is known to be further
    least = PARTIALLY_FILLED if order.filled_lots > 0 else NEW
    if order.status in (NEW, PARTIALLY_FILLED):
        least = max(least, order.status)
    return max(status, least) if status in (NEW, PARTIALLY_FILLED) else order.status
