"""What a session remembers of its account, as a checkpoint holds it. Sans I/O."""

import msgspec

from tickmesh.bus.schema import Status
from tickmesh.nodes.orders import states
from tickmesh.nodes.session.balances import Held


class SessionOrder(msgspec.Struct):
    """One order of a session. Quantities, prices: mantissas of the instrument; `sent_ns`: when PendingNew was published."""

    client_order_id: str
    subject: str
    side: int
    order_type: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int
    sent_ns: int = 0
    order_id: int = 0
    status: int = Status.PendingNew
    filled_lots: int = 0
    stray: bool = False  # over for the log, and reported as alive since
    fill_lots: int = 0  # sum of the fills known; filled_lots is what the venue reports with its states

    @property
    def final(self) -> bool:
        """Whether its status is Filled, Canceled, Rejected or Expired."""
        return self.status in states.FINAL

    @property
    def fills_missing(self) -> bool:
        """Whether the venue reports more as filled than the fills that are known."""
        return self.fill_lots < self.filled_lots

    @property
    def fills_complete(self) -> bool:
        """Whether the fills that are known are the whole order."""
        return self.fill_lots >= self.quantity_lots > 0


class AccountState(msgspec.Struct, kw_only=True):
    """Everything that an Account remembers, as a checkpoint holds it. `fills` has no default: a state without it is too old."""

    fills: dict[str, dict[str, int]]  # by instrument: see nodes/orders/fills.py
    orders: dict[str, SessionOrder] = {}
    waiting: dict[str, bytes] = {}  # intents that nothing has been published about: client id → event
    schema: str = ""  # that the waiting events are of; a state without it is of schema version 1
    trade_floor: dict[str, int] = {}  # own trades up to this id are complete
    exponents: dict[str, tuple[int, int]] = {}  # by instrument, of price and quantity: what the log's definition states
    balances: dict[str, Held] = {}  # by asset: what the log has of it
    positions: dict[str, int] = {}  # by instrument, in lots: the sum of the fills
    first_fill_ns: int = 0  # the venue's time of the first fill; 0: there is none
    fundings: dict[int, int] = {}  # by the venue's transaction id: its time
    producer: tuple[int, int] = (0, 0)  # epoch and number of the session's last event in the log
    stepped_ns: int = 0  # seq_ns of the last step forward of the mesh's time: nothing is older than since then
