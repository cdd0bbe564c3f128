"""What a futures account must have to hold positions and orders: cross margin, one position a contract. Pure.

Sources: USD-M futures, "Account Information V3" and "Position Information V3" (which amounts there are), "Notional and Leverage
Brackets" (their shape; the table is this exchange's own). Amounts are mantissas at 10^−8 of the quote asset.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tickmesh.nodes.exchange.market.fees import PPM
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder, MarginPosition
from tickmesh.nodes.exchange.protocol import UNIT, towards_zero

LEVERAGE_DEFAULT = 20
LEVERAGE_MAX = 125
ASSUMED_PPM = 500  # a MARKET order to buy is taken to cost so much more than the best ask, before it is matched


class Bracket(NamedTuple):
    """One tier of position sizes: up to `cap` of the quote asset with at most this leverage, so much maintained."""

    leverage: int
    cap: int
    maintenance_ppm: int
    deducted: int  # so that the maintenance margin does not jump from one tier to the next


BRACKETS = (
    Bracket(125, 300_000 * UNIT, 4_000, 0),
    Bracket(100, 800_000 * UNIT, 5_000, 300 * UNIT),
    Bracket(50, 3_000_000 * UNIT, 10_000, 4_300 * UNIT),
    Bracket(20, 12_000_000 * UNIT, 25_000, 49_300 * UNIT),
    Bracket(10, 70_000_000 * UNIT, 50_000, 349_300 * UNIT),
    Bracket(5, 100_000_000 * UNIT, 100_000, 3_849_300 * UNIT),
    Bracket(1, 500_000_000 * UNIT, 125_000, 6_349_300 * UNIT),
)


class MarginUse(NamedTuple):
    """What one contract takes of the account: all from the position and the orders of that contract."""

    notional: int  # of the position at the mark price, below zero when short
    unrealised: int
    position_margin: int
    order_margin: int
    maintenance: int
    bid_notional: int  # of open orders that may add to a position
    ask_notional: int

    @property
    def initial_margin(self) -> int:
        """What is not available to other contracts."""
        return self.position_margin + self.order_margin


def notional_max(leverage: int) -> int:
    """The largest notional of a position at a leverage."""
    return next(one.cap for one in reversed(BRACKETS) if one.leverage >= leverage)


def maintenance_margin(notional: int) -> int:
    """The margin below which the venue would close a position of this notional (this exchange closes none)."""
    size = abs(notional)
    tier = next((one for one in BRACKETS if size <= one.cap), BRACKETS[-1])
    return size * tier.maintenance_ppm // PPM - tier.deducted


def margin_use(position: MarginPosition, orders: Iterable[MarginOrder], mark: int, leverage: int) -> MarginUse:
    """What a position and the open orders of one contract take. Orders that only reduce take nothing.

    Bids and asks cannot both add to one position: the worse of the two ways is what counts."""
    notional = towards_zero(position.amount * mark, UNIT)
    bids = asks = 0
    for order in orders:
        if not order.reduce_only:
            worth = order.price * order.remaining // UNIT
            bids, asks = (bids + worth, asks) if order.side > 0 else (bids, asks + worth)
    held = margin_of(notional, leverage)
    worst = max(abs(notional + bids), abs(notional - asks), abs(notional))
    return MarginUse(
        notional, notional - position.cost, held, margin_of(worst, leverage) - held, maintenance_margin(notional), bids, asks
    )


def margin_of(notional: int, leverage: int) -> int:
    """The initial margin of a notional, rounded up."""
    return -(-abs(notional) // leverage)


def opening_loss(side: int, price: int, quantity: int, mark: int) -> int:
    """What an order would lose at once, at the mark price, if it were filled at its own; 0 if it would win."""
    return max(side * (price - mark), 0) * quantity // UNIT
