"""Orders of a strategy that is tried: never sent, filled by a rule against the quotes of the log. No I/O.

An order that takes (market, limit_ioc) is filled whole, at once, at the other side's best price: what lies behind the best
level is not known. One that rests is filled when the other side's best price reaches its own, and expires when its time is
over: the queue before it counts for nothing, so a maker's fills are those of the front of the queue.
"""

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Kind, Status
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor import positions
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.intents import IntentPlace
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.risk import Approved
from tickmesh.nodes.executor.state import InstrumentState

SHADOW = record_struct(Kind.shadow)
PPM = 1_000_000
RESTING_MAX = 100  # simulated orders of one instrument at a time; the oldest expires


def build_shadow(order: Order, place: IntentPlace, status: Status, fill_ticks: int = 0) -> bytearray:
    """The event that says what became of a simulated order: New, Filled or Expired."""
    record = SHADOW.pack(
        order.strategy.encode(), order.client_order_id.encode(), order.side, order.order_type, order.time_in_force, status,
        order.price_ticks, order.quantity_lots, fill_ticks,
    )  # fmt: skip
    return encode(Kind.shadow, place.subject, record, k=place.k, cause_seq=place.cause_seq)


def shadow_order(approved: Approved, place: IntentPlace, now_ns: int, cancel_ns: int) -> Order:
    """The order that would have been sent."""
    side, order_type, force, price_ticks, lots, *_ = approved.draft
    order = Order(place.client_order_id, side, order_type, force, price_ticks, lots, now_ns, place.cause_seq, place.k)
    order.strategy, order.confirmed, order.status, order.cancel_ns = place.strategy, True, int(Status.New), cancel_ns
    order.parent_seq = place.parent_seq
    return order


def fill_price(order: Order, quote: Quote) -> int:
    """The price in ticks at which this quote would fill it; 0 where it would not."""
    if not quote.tradable:
        return 0
    far = quote.ask_ticks if order.side > 0 else quote.bid_ticks
    if not order.resting:
        return far
    return order.price_ticks if (far - order.price_ticks) * order.side <= 0 else 0


def fill_shadow(instrument: InstrumentState, order: Order, price_ticks: int, fee_ppm: int) -> None:
    """Fills a simulated order whole, into its strategy's shadow position; the fee is of the quote currency."""
    book = instrument.book(order.strategy)
    cost = -(-price_ticks * order.quantity_lots * fee_ppm // PPM)
    positions.apply_fill(book.shadow, order.side, price_ticks, order.quantity_lots)
    book.shadow.fee_cost += cost
    if (parent := book.parents.get(order.parent_seq)) is not None:
        parent.add_fill(price_ticks, order.quantity_lots, cost)
    instrument.shadow_orders.pop(order.client_order_id, None)
