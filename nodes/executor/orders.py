"""An order as the executor remembers it. Which state follows which is decided in nodes/orders/states.py.

An order that is not final, Unknown above all, counts as if it could still fill completely.
"""

import msgspec

from tickmesh.bus.schema import TimeInForce
from tickmesh.nodes.orders.states import FINAL, OPEN, PENDING_NEW


class Order(msgspec.Struct):
    """One order. `cause_seq` and `k` name the intent that made it; both are 0 for an order that was first read in the log."""

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
    amend_lots: int = 0  # the quantity to which an amendment that is under way reduces it; 0: none is
    parent_seq: int = 0  # the parent that it is a child of; 0: none
    reduce_lots: int = 0  # the quantity to which it is to be reduced as soon as that can be asked for; 0: nothing waits
    recalled: bool = False  # it is to be cancelled as soon as its intent is read
    strategy: str = ""  # whose it is; empty: nobody's, as orders placed by hand or by a version of before

    @property
    def terms(self) -> tuple[int, int, int, int, int]:
        """What was asked for: side, type, time in force, price and quantity."""
        return self.side, self.order_type, self.time_in_force, self.price_ticks, self.quantity_lots

    @property
    def final(self) -> bool:
        """Whether its status is Filled, Canceled, Rejected or Expired."""
        return self.status in FINAL

    @property
    def resting(self) -> bool:
        """Whether it may stand in the venue's book until it is cancelled."""
        return self.time_in_force == TimeInForce.GTC and self.price_ticks > 0 and not self.final

    @property
    def amendable(self) -> bool:
        """Whether the venue can be asked to reduce it: it is known to stand there, and nothing else has been asked about it."""
        return self.status in OPEN and self.confirmed and not self.cancels and not self.amend_lots

    def leaving(self, now_ns: int) -> bool:
        """Whether a cancel of it has been asked for, or is due at that log time."""
        return not self.final and (self.cancels > 0 or self.recalled or self.cancel_ns <= now_ns)

    @property
    def kept_lots(self) -> int:
        """Its quantity once the amendments that are under way, or wait, are done."""
        return self.reduce_lots or self.amend_lots or self.quantity_lots

    @property
    def unasked_lots(self) -> int:
        """Lots of a resting order that neither are filled nor make way by an amendment that is under way, or waits."""
        return max(self.kept_lots - self.filled_lots, 0)

    @property
    def staying_lots(self) -> int:
        """Outstanding lots, but for those that make way by an amendment that is under way, or waits."""
        if self.final:
            return self.outstanding_lots
        return max(self.outstanding_lots - max(self.quantity_lots - self.kept_lots, 0), 0)

    @property
    def outstanding_lots(self) -> int:
        """Lots that may still come into the position: all but the known fills; of a final order, its missing fills."""
        most = self.filled_lots if self.final else max(self.quantity_lots, self.filled_lots)
        return max(most - self.counted_lots, 0)
