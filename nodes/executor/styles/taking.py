"""Styles that take: at the market, or up to the slippage bound while there is something to take."""

from tickmesh.bus.schema import OrderType, TimeInForce
from tickmesh.nodes.executor.drafts import Draft, build_draft
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.styles.interface import Advice, Trigger, View, missing_lots, worst_price


def take(parent: Parent, view: View) -> Advice:
    """Takes what is missing: by a market order, or where slippage is bound as `sweep` does."""
    lots = missing_lots(parent, view)
    if view.children or not lots:
        return Advice()
    if worst_price(parent, view) is not None:
        return sweep(parent, view)
    return Advice(place=build_draft("market", parent.side, view.quote, lots))


def sweep(parent: Parent, view: View) -> Advice:
    """Takes what is offered up to the slippage bound, by an IOC; again when more is offered. Without a bound: nothing."""
    lots, worst, side = missing_lots(parent, view), worst_price(parent, view), parent.side
    if view.children or not lots or worst is None:
        return Advice()
    far = view.quote.ask_ticks if side > 0 else view.quote.bid_ticks
    if (far - worst) * side > 0 or not view.quote.tradable:  # beyond the bound
        return Advice(wait=Trigger(ask_low=worst) if side > 0 else Trigger(bid_high=worst))
    return Advice(place=Draft(side, int(OrderType.LIMIT), int(TimeInForce.IOC), worst, lots, worst))
