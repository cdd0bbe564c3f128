"""The events an executor publishes: intents to send an order that risk has approved, to cancel or reduce one that was sent."""

from typing import NamedTuple

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Action, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.risk import Approved

INTENT = record_struct(Kind.intent)


class IntentPlace(NamedTuple):
    """What names an intent and bounds it: instrument, log, the event that caused it, and until when it may be acted on."""

    subject: str
    log_id: str
    cause_seq: int
    k: int  # the number of this answer among those to the same cause
    expires_ns: int  # of an order; a cancel has no end
    strategy: str
    parent_seq: int = 0

    @property
    def client_order_id(self) -> str:
        """The client id of the order: it follows from the log alone, so that a replay names the same order."""
        return f"t{self.log_id}-{self.cause_seq:x}-{self.k}"


def is_own_id(client_order_id: str) -> bool:
    """Whether a client order id is of the form that meshes give: `t<log id>-…`."""
    return client_order_id[:1] == "t" and client_order_id[17:18] == "-"


def build_intent(approved: Approved, place: IntentPlace) -> bytearray:
    """The intent event that asks for a new order. It takes what `risk.check` approved; there is no other way to make one."""
    side, order_type, force, price_ticks, lots, _, reduce_only = approved.draft
    return _event(place, b"", Action.NEW, side, order_type, force, price_ticks, lots, place.expires_ns, reduce_only)


def build_cancel(order: Order, place: IntentPlace) -> bytearray:
    """The intent event that asks to cancel an order. It adds nothing to the position: risk is not asked, and it has no end."""
    return _event(place, order.client_order_id.encode(), Action.CANCEL, order.side, order.order_type, 0, 0, 0, 0)


def build_amend(order: Order, lots: int, place: IntentPlace) -> bytearray:
    """The intent event that asks to reduce an order to `lots` in its place. It only takes away: as a cancel it has no end."""
    return _event(place, order.client_order_id.encode(), Action.AMEND, order.side, order.order_type, 0, 0, lots, 0)


def _event(
    place: IntentPlace, target: bytes, action: int, side: int, order_type: int, force: int, price_ticks: int, lots: int,
    expires_ns: int, reduce_only: bool = False,
) -> bytearray:  # fmt: skip
    name = place.client_order_id.encode()
    strategy = place.strategy.encode()
    terms = side, order_type, force, price_ticks, lots, expires_ns
    record = INTENT.pack(name, target, action, *terms, strategy, place.parent_seq, reduce_only)
    return encode(Kind.intent, place.subject, record, k=place.k, cause_seq=place.cause_seq)


class Answers:
    """What a list of events makes an executor publish: numbered by the event that causes it, in order."""

    def __init__(self) -> None:
        self.events: list[bytearray] = []
        self._cause_seq = -1
        self._k = 0

    def begin_list(self) -> None:
        """A new list of events begins."""
        self.events = []
        self._cause_seq = -1

    def begin_rest(self) -> None:
        """Goes on with the same list of events: what has been added was taken."""
        self.events = []

    def place(
        self, cause: Event, subject: str, log_id: str, strategy: str = "", expires_ns: int = 0, parent_seq: int = 0
    ) -> IntentPlace:
        """Gives the place of the next answer to `cause`."""
        if cause.seq != self._cause_seq:
            self._cause_seq, self._k = cause.seq, 0
        return IntentPlace(subject, log_id, cause.seq, self._k, expires_ns, strategy, parent_seq)

    def add(self, event: bytearray) -> None:
        """Adds the answer for which `place` was asked."""
        self.events.append(event)
        self._k += 1
