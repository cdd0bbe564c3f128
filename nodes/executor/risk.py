"""May this order be sent? `check` takes a draft and gives Approved(draft) or Refused(reason).

An intent to send is made of an Approved only (`intents.build_intent`), and nothing but `check` makes an Approved; a test holds
both, so an unchecked draft cannot become an intent.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tickmesh.bus.schema import OrderType
from tickmesh.nodes.executor.drafts import Draft, Quote
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.rules import InstrumentRules

SECOND = 1_000_000_000


class MarketView(NamedTuple):
    """What is known of an instrument when an order is checked. `now_ns`: time of the event that caused it."""

    quote: Quote
    quote_ns: int
    now_ns: int
    stale_ns: int
    rules: InstrumentRules


class Scope(NamedTuple):
    """One set of limits, and what it is held against: a strategy's, or the account's. None: no limit. See settings.Limits."""

    prefix: str  # of its reasons: "" of a strategy, "account_" of the account
    position_lots: int  # of the instrument, signed
    bought_lots: int  # outstanding
    sold_lots: int
    open_orders: int  # on all instruments
    elsewhere: int  # notional of its other instruments, as money of this one (price ticks × lots)
    position_max_lots: int | None = None
    notional_max: int | None = None  # money of this instrument
    order_max_lots: int | None = None
    order_max_notional: int | None = None
    price_collar: float = 0.0
    open_orders_max: int = 0


class Bucket(msgspec.Struct):
    """A token bucket that bounds a rate, as one number (GCRA, ITU-T I.371): when it would be full again."""

    full_ns: int = 0

    def allows(self, now_ns: int, period_ns: int, burst: int) -> bool:
        """Whether it holds a token: one comes every `period_ns`, and it holds `burst` at most."""
        return max(self.full_ns, now_ns) - now_ns <= (burst - 1) * period_ns

    def take(self, now_ns: int, period_ns: int) -> None:
        """Takes a token out, whether there is one or not: then it has to be made up for first."""
        self.full_ns = max(self.full_ns, now_ns) + period_ns


class Rate(NamedTuple):
    """A bucket with its pace: one in `period_ns` on average, `burst` at once."""

    bucket: Bucket
    period_ns: int
    burst: int
    reason: str  # of a refusal

    def allows(self, now_ns: int) -> bool:
        return self.bucket.allows(now_ns, self.period_ns, self.burst)

    def take(self, now_ns: int) -> None:
        self.bucket.take(now_ns, self.period_ns)


def build_rate(bucket: Bucket, per_s: float, reason: str = "rate") -> Rate:
    """A rate of so many a second, at least one at once."""
    return Rate(bucket, round(SECOND / per_s), max(1, int(per_s)), reason)


class Approved(NamedTuple):
    """A draft that `check` let pass. Nothing else makes one."""

    draft: Draft


class Refused(NamedTuple):
    """The answer of `check` for a draft that may not be sent, with the reason."""

    reason: str  # one of REASONS, of the account's limits with "account_" before it


REASONS = (
    "stale_quote", "quote", "price", "quantity", "notional", "own_order", "position", "order_size", "price_collar",
    "open_orders", "notional_limit", "rate", "message_rate", "netted",
)  # fmt: skip


def check(
    draft: Draft, market: MarketView, scopes: Sequence[Scope], orders: Iterable[Order], strategy: str, rates: Sequence[Rate]
) -> Approved | Refused:
    """Approves a draft of `strategy`, or refuses it by one of REASONS. An approval takes a token from each of `rates`.

    `orders`: all that may still change the position of the instrument.

    stale_quote     no quote for longer than market.stale_ns
    quote           a side of the book is empty, or the book is crossed
    price           none above 0, though it is no market order, or no multiple of the tick size
    quantity        below the least quantity, or no multiple of the lot size; or the venue's least is far above what was asked
    notional        price × quantity is too small for the venue
    position        if everything outstanding on this side were filled, a scope's position would be beyond its limit
    order_size      the order is larger than a scope allows
    price_collar    its price, or the worst it can be executed at, is too far from the mid
    open_orders     a scope has as many as it may have
    notional_limit  all positions of a scope together would be worth too much
    own_order       it could meet an order of ours that rests on the other side
    rate            too many orders; message_rate: too many orders and cancels
    netted          not by `check`: another strategy wished the opposite, and nothing is left to order
    """
    if reason := _unfit(draft, market):
        return Refused(reason)
    for scope in scopes:
        if reason := _beyond(draft, market.quote, scope):
            return Refused(f"{scope.prefix}{reason}")
    if any(_could_meet(draft, order, strategy) for order in orders):
        return Refused("own_order")
    for rate in rates:
        if not rate.allows(market.now_ns):
            return Refused(rate.reason)
    for rate in rates:
        rate.take(market.now_ns)
    return Approved(draft)


def _unfit(draft: Draft, market: MarketView) -> str:
    """Why the book or the venue's rules do not take it."""
    rules, lots = market.rules, draft.quantity_lots
    if market.now_ns - market.quote_ns > market.stale_ns:
        return "stale_quote"
    if not market.quote.tradable:
        return "quote"
    if draft.price_ticks <= 0 and draft.order_type != OrderType.MARKET:
        return "price"
    if rules.tick_size and draft.price_ticks % rules.tick_size:
        return "price"
    if lots <= 0 or lots < rules.min_quantity or lots != rules.whole(lots):
        return "quantity"
    return "" if rules.takes(lots, draft.worst_ticks) else "notional"


def _could_meet(draft: Draft, order: Order, strategy: str) -> bool:
    """Whether it could be matched with an order of ours; of its own strategy none on the other side is let stand."""
    if order.side == draft.side or not order.resting:
        return False
    if order.strategy == strategy or draft.order_type == OrderType.MARKET:
        return True
    return (draft.worst_ticks - order.price_ticks) * draft.side >= 0


def _beyond(draft: Draft, quote: Quote, scope: Scope) -> str:
    """Which limit of a scope it would be beyond; "" for none."""
    lots, worst, side = draft.quantity_lots, draft.worst_ticks, draft.side
    outstanding = scope.bought_lots if side > 0 else scope.sold_lots
    after = side * scope.position_lots + outstanding + lots
    if scope.position_max_lots is not None and after > scope.position_max_lots:
        return "position"
    if scope.order_max_lots is not None and lots > scope.order_max_lots:
        return "order_size"
    if scope.order_max_notional is not None and lots * worst > scope.order_max_notional:
        return "order_size"
    if scope.price_collar:
        mid = (quote.bid_ticks + quote.ask_ticks) / 2
        if abs(worst - mid) > scope.price_collar * mid:
            return "price_collar"
    if scope.open_orders_max and scope.open_orders >= scope.open_orders_max:
        return "open_orders"
    if scope.notional_max is not None and after > 0:
        other_way = (scope.sold_lots if side > 0 else scope.bought_lots) - side * scope.position_lots
        if scope.elsewhere + max(after, other_way) * worst > scope.notional_max:
            return "notional_limit"
    return ""
