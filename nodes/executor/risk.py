"""May this order be sent? `check` takes a draft and gives Approved(draft) or Refused(reason).

An intent to send is made of an Approved only (`intents.build_intent`), and nothing but `check` makes an Approved; a test holds
both, so an unchecked draft cannot become an intent.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.styles import Draft, Quote

SECOND = 1_000_000_000


class InstrumentRules(msgspec.Struct, frozen=True):
    """What the venue asks of an order, from the `instrument` record; 0 = no rule."""

    price_exponent: int
    quantity_exponent: int
    tick_size: int
    lot_size: int
    min_quantity: int
    min_notional: int  # mantissa at 10^price_exponent


class RiskLimits(NamedTuple):
    """Limits of the settings that every order of the executor is held to."""

    position_max_lots: int
    stale_ns: int
    order_period_ns: int  # one order per so long on average …
    order_burst: int  # … and so many at once


class Bucket(msgspec.Struct):
    """A token bucket that bounds the rate of orders, as one number (GCRA, ITU-T I.371): when it would be full again."""

    full_ns: int = 0

    def allows(self, now_ns: int, period_ns: int, burst: int) -> bool:
        """Whether it holds a token: one comes every `period_ns`, and it holds `burst` at most."""
        return max(self.full_ns, now_ns) - now_ns <= (burst - 1) * period_ns

    def take(self, now_ns: int, period_ns: int) -> None:
        """Takes a token out; `allows` has to be asked first."""
        self.full_ns = max(self.full_ns, now_ns) + period_ns


class Approved(NamedTuple):
    """A draft that `check` let pass. Nothing else makes one."""

    draft: Draft


class Refused(NamedTuple):
    """The answer of `check` for a draft that may not be sent, with the reason."""

    reason: str  # one of REASONS


REASONS = ("stale_quote", "quote", "price", "quantity", "notional", "own_order", "position", "rate")


def check(
    draft: Draft, quote: Quote, quote_ns: int, now_ns: int, rules: InstrumentRules, limits: RiskLimits, position_lots: int,
    orders: Iterable[Order], bucket: Bucket,
) -> Approved | Refused:  # fmt: skip
    """Approves a draft, or refuses it by one of REASONS. An approval takes a token from `bucket`; a refusal takes none.

    `orders`: all that may still change the position.

    stale_quote  no quote for longer than limits.stale_ns
    quote        a side of the book is empty, or the book is crossed
    price        no multiple of the tick size
    quantity     below the least quantity, or no multiple of the lot size; or the venue's least is far above order_notional
    notional     price × quantity is too small for the venue
    own_order    it would meet an order of ours that rests on the other side
    position     if everything outstanding on this side were filled, the position would be beyond its limit
    rate         too many orders
    """
    if now_ns - quote_ns > limits.stale_ns:
        return Refused("stale_quote")
    if not quote.tradable:
        return Refused("quote")
    if rules.tick_size and draft.price_ticks % rules.tick_size:
        return Refused("price")
    lots = draft.quantity_lots
    if lots <= 0 or lots < rules.min_quantity or (rules.lot_size and lots % rules.lot_size):
        return Refused("quantity")
    if draft.worst_ticks * lots < rules.min_notional * 10**-rules.quantity_exponent:
        return Refused("notional")
    exposed = lots
    for order in orders:
        if order.side == draft.side:
            exposed += order.outstanding_lots
        elif order.resting:
            return Refused("own_order")
    if draft.side * position_lots + exposed > limits.position_max_lots:
        return Refused("position")
    if not bucket.allows(now_ns, limits.order_period_ns, limits.order_burst):
        return Refused("rate")
    bucket.take(now_ns, limits.order_period_ns)
    return Approved(draft)
