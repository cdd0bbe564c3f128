"""What a style is given, and what it says. A style keeps nothing of its own."""

from collections.abc import Callable
from typing import NamedTuple

from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.nodes.executor.drafts import Draft, Quote
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.rules import InstrumentRules

NEVER_NS = NO_MOST = (1 << 63) - 1
NO_LEAST = -1


class Trigger(NamedTuple):
    """Until when a style has nothing to do: it is asked again as soon as any of this is so. The numbers that never are: above.

    Whatever else happens that it may depend on (a signal, a report of one of its orders, a command, a gap) wakes it too.
    """

    time_ns: int = NEVER_NS  # log time is there, or beyond
    bid_low: int = NO_LEAST  # the best bid is there, or below
    bid_high: int = NO_MOST  # or there, or above
    ask_low: int = NO_LEAST
    ask_high: int = NO_MOST
    trade_low: int = NO_LEAST  # a trade at this price, or below
    trade_high: int = NO_MOST
    volume_lots: int = NO_MOST  # the instrument's traded volume, since its log began, has come so far
    lag_low_ns: int = -NEVER_NS  # how late market data comes: so little, or less
    lag_high_ns: int = NEVER_NS

    def no_later(self, time_ns: int) -> "Trigger":
        """Gives a trigger that fires at that time at the latest."""
        return self._replace(time_ns=min(self.time_ns, time_ns))

    def either(self, other: "Trigger") -> "Trigger":
        """Gives a trigger that fires when one of both does."""
        return Trigger(
            min(self.time_ns, other.time_ns),
            max(self.bid_low, other.bid_low), min(self.bid_high, other.bid_high),
            max(self.ask_low, other.ask_low), min(self.ask_high, other.ask_high),
            max(self.trade_low, other.trade_low), min(self.trade_high, other.trade_high),
            min(self.volume_lots, other.volume_lots),
            max(self.lag_low_ns, other.lag_low_ns), min(self.lag_high_ns, other.lag_high_ns),
        )  # fmt: skip


class Advice(NamedTuple):
    """What a style says: one order to make, or orders to cancel; and what it waits for then.

    `then`: what is to follow a cancel: "reprice" (the same at another price), "take" (at the market), "" (nothing).
    """

    place: Draft | None = None
    cancel: tuple[Order, ...] = ()
    then: str = ""
    wait: Trigger = Trigger()


class View(NamedTuple):
    """What a style sees. `children`: those of its orders that may still change what is filled. `traded_lots`: volume so far."""

    quote: Quote
    now_ns: int
    rules: InstrumentRules
    settings: ExecutionSettings
    children: tuple[Order, ...]
    traded_lots: int


Work = Callable[[Parent, View], Advice]  # towards `parent.due_lots`
Schedule = Callable[[Parent, View], tuple[int, Trigger]]  # how much is due by now, and when that changes


def any_change(quote: Quote) -> Trigger:
    """Waits for any change of the best prices."""
    return Trigger(
        bid_low=quote.bid_ticks - 1, bid_high=quote.bid_ticks + 1, ask_low=quote.ask_ticks - 1, ask_high=quote.ask_ticks + 1
    )


def any_quote() -> Trigger:
    """Waits for the next quote, whatever it is."""
    return Trigger(bid_high=0)


def missing_lots(parent: Parent, view: View) -> int:
    """What is due and neither filled nor under way, in whole lots; 0 where it is less than the venue took at arrival."""
    under_way = sum(order.outstanding_lots for order in view.children)
    lots = view.rules.whole(parent.due_lots - parent.filled_lots - under_way)
    return lots if view.rules.takes(lots, parent.bid_ticks) else 0


def worst_price(parent: Parent, view: View) -> int | None:
    """The worst price that the slippage bound allows, on the tick grid; None for no bound."""
    if not view.settings.slippage_max_bp:
        return None
    bound = round(parent.side * view.settings.slippage_max_bp * 1000)
    twice_mid, unit = parent.bid_ticks + parent.ask_ticks, 20_000_000
    tick = max(view.rules.tick_size, 1)
    product = twice_mid * (10_000_000 + bound)
    price = product // unit if parent.side > 0 else -(-product // unit)
    return price // tick * tick if parent.side > 0 else -(-price // tick) * tick
