"""Styles that rest: post-only at the best price, or improving it; patient does so for a while, then takes."""

from tickmesh.bus.schema import OrderType, TimeInForce
from tickmesh.nodes.executor.drafts import Draft
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.styles.interface import Advice, Trigger, View, any_change, any_quote, missing_lots, worst_price
from tickmesh.nodes.executor.styles.taking import take

MINUTE_NS = 60_000_000_000
MS = 1_000_000


def post_only(parent: Parent, view: View) -> Advice:
    """Rests at the best price of its own side, or better by improve_ticks; follows when others are better, if it may."""
    wait = Trigger()
    # What may still be filled by its oldest orders; by those first that nobody can call back
    room = parent.due_lots - parent.filled_lots - sum(one.staying_lots for one in view.children if not one.resting)
    for child in view.children:
        room -= child.staying_lots if child.resting else 0
        said = _follow(parent, view, child, room)
        if said.cancel:
            return said
        wait = wait.either(said.wait)
    lots = missing_lots(parent, view)
    if not lots:
        return Advice(wait=wait)
    if not view.quote.tradable:
        return Advice(wait=wait.either(any_quote()))
    price = post_price(parent, view)
    draft = Draft(parent.side, int(OrderType.LIMIT_MAKER), int(TimeInForce.GTC), price, lots, price)
    return Advice(place=draft, wait=wait)


def post_price(parent: Parent, view: View) -> int:
    """Where it would rest now: never at the other side's price, nor beyond the slippage bound."""
    quote, side = view.quote, parent.side
    near, far = (quote.bid_ticks, quote.ask_ticks) if side > 0 else (quote.ask_ticks, quote.bid_ticks)
    tick = max(view.rules.tick_size, 1)
    price = near + side * (view.settings.improve_ticks or 0) * tick
    worst = worst_price(parent, view)
    limits = [far - side * tick, *([worst] if worst is not None else [])]
    return min(price, *limits) if side > 0 else max(price, *limits)


def _follow(parent: Parent, view: View, child: Order, room: int) -> Advice:
    """Keeps what rests where it is best; else it is cancelled, and made again when it is gone. `room`: what is due beside it
    and older orders; below 0: they are for more than that."""
    if not child.resting or child.cancels or child.cancel_ns <= view.now_ns:
        return Advice()  # a report of it will come
    if room < 0:
        return Advice(cancel=(child,))  # the target asks for less
    if not view.quote.tradable:
        return Advice(wait=any_quote())
    side, price = parent.side, child.price_ticks
    near = view.quote.bid_ticks if side > 0 else view.quote.ask_ticks
    if (near - price) * side <= 0:  # nobody is better
        return Advice(wait=Trigger(bid_high=price + 1) if side > 0 else Trigger(ask_low=price - 1))
    if (post_price(parent, view) - price) * side <= 0:  # it may not be better than it is: the bound, or the other side
        return Advice(wait=any_change(view.quote))
    period_ns, burst = _pace(view)
    if not parent.pace.allows(view.now_ns, period_ns, burst):
        return Advice(wait=any_change(view.quote).no_later(parent.pace.full_ns - (burst - 1) * period_ns))
    return Advice(cancel=(child,), then="reprice")


def _pace(view: View) -> tuple[int, int]:
    """(ns between two reprices on average, how many at once: those of ten seconds)."""
    per_min = view.settings.reprices_per_min or 1.0
    return round(MINUTE_NS / per_min), max(int(per_min // 6), 1)


def take_reprice(parent: Parent, view: View) -> None:
    """Counts a reprice in the budget."""
    parent.pace.take(view.now_ns, _pace(view)[0])


def patient(parent: Parent, view: View) -> Advice:
    """Rests for patience_ms since its part is due, then takes what is left."""
    end_ns = parent.due_ns + (view.settings.patience_ms or 0) * MS
    if view.now_ns < end_ns:
        said = post_only(parent, view)
        return said._replace(wait=said.wait.no_later(end_ns))
    resting = tuple(one for one in view.children if one.resting and not one.cancels and one.cancel_ns > view.now_ns)
    return Advice(cancel=resting, then="take") if resting else take(parent, view)
