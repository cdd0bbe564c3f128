"""An order that risk has not checked, and the book that it is priced by. Whether it is allowed is not decided here."""

from typing import NamedTuple

from tickmesh.bus.schema import OrderType, TimeInForce


def is_tradable(bid_ticks: int, bid_lots: int, ask_ticks: int, ask_lots: int) -> bool:
    """Whether both sides of a book are there and do not cross."""
    return 0 < bid_ticks < ask_ticks and bid_lots > 0 and ask_lots > 0


class Quote(NamedTuple):
    """The best bid and ask of a book; price and quantity are 0 where a side is empty."""

    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int

    @property
    def tradable(self) -> bool:
        """Whether both sides are there and do not cross."""
        return is_tradable(*self)


class Draft(NamedTuple):
    """An order that risk has not checked. `price_ticks`: 0 for a market order; `worst_ticks`: the price that risk assumes.

    `reduce_only`: it closes a position, and is to open none, whatever fills meanwhile.
    """

    side: int
    order_type: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int
    worst_ticks: int
    reduce_only: bool = False


def build_draft(style: str, side: int, quote: Quote, quantity_lots: int) -> Draft:
    """Makes a draft of an order in one of the styles below; its price comes from the quote.

    market       takes what is there, at any price
    limit        joins the best price of its own side and rests there (GTC)
    limit_ioc    takes the best price of the other side, and not a worse one (IOC)
    limit_maker  as limit, refused by the venue if it would take
    """
    near, far = (quote.bid_ticks, quote.ask_ticks) if side > 0 else (quote.ask_ticks, quote.bid_ticks)
    if style == "market":
        return Draft(side, int(OrderType.MARKET), int(TimeInForce.GTC), 0, quantity_lots, far)
    if style == "limit_ioc":
        return Draft(side, int(OrderType.LIMIT), int(TimeInForce.IOC), far, quantity_lots, far)
    order_type = OrderType.LIMIT_MAKER if style == "limit_maker" else OrderType.LIMIT
    return Draft(side, int(order_type), int(TimeInForce.GTC), near, quantity_lots, near)
