"""Which fundings of an account the log has, and what the venue tells of others becomes events. Sans I/O."""

from collections.abc import Iterable

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.venues.order_venue import FundingPayment
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.private import asset_name, held_amounts

FUNDING = record_struct(Kind.funding)
KEPT = 20_000  # far more than OVERLAP_NS can bring
OVERLAP_NS = 3600 * 1_000_000_000  # before the newest known one the venue is asked again: it may tell of some late


class Fundings:
    """The fundings that the log has: `known`, transaction id → the venue's time in ns; a checkpoint holds it.

    `due`: one was settled, or may have been, and the venue has not been asked since. `unheld`: sentences about those that are
    in no event, for the operator, who takes them from here.
    """

    def __init__(self, known: dict[int, int]):
        self.known = known
        self.due = False
        self.unheld: list[str] = []

    def read(self, event: Event) -> None:
        """Takes in a `funding` event of the log."""
        for _, _, transaction_id, venue_ns, _ in FUNDING.iter_unpack(event.body):
            self._remember(transaction_id, venue_ns)

    def since_ns(self, first_fill_ns: int) -> int:
        """From when on the venue is to be asked; nothing before our first fill was ours."""
        return max(first_fill_ns, max(self.known.values(), default=0) - OVERLAP_NS)

    def apply(self, payments: Iterable[FundingPayment], recv_ns: int) -> list[bytearray]:
        """Takes in what the venue tells, and gives an event for each funding that is new."""
        events = []
        for one in payments:
            if one.transaction_id in self.known:
                continue
            self._remember(one.transaction_id, one.venue_ns)
            try:
                size, _, scale = held_amounts(one.amount.removeprefix("-"), "0")
            except DecimalError as error:
                self.unheld.append(f"the funding {one.transaction_id} of {one.subject}, {one.asset}, is in no event: {error}")
                continue
            amount = -size if one.amount.startswith("-") else size
            record = FUNDING.pack(asset_name(one.asset), amount, one.transaction_id, one.venue_ns, scale)
            events.append(
                encode(
                    Kind.funding, one.subject, record,
                    first_id=one.transaction_id, last_id=one.transaction_id, venue_ns=one.venue_ns, recv_ns=recv_ns,
                )
            )  # fmt: skip
        return events

    def _remember(self, transaction_id: int, venue_ns: int) -> None:
        self.known[transaction_id] = venue_ns
        if len(self.known) > KEPT:
            del self.known[next(iter(self.known))]
