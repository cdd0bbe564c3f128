"""Money the slow and obvious way: decimals of a person's units, one fill after the other. Nothing of nodes/ is used.

One rounding is part of the rule and is done here, too: of a position that is closed in part, the cost that goes with it is
rounded down to the smallest money of the instrument (tick × lot), so that what stays and what goes add up.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

ZERO = Decimal(0)
PLACES = 120


@dataclass
class NaivePosition:
    """One position by average cost, its fees and fundings."""

    unit: Decimal  # the smallest money
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    fee_cost: Decimal = ZERO
    funding: Decimal = ZERO

    def fill(self, side: int, price: Decimal, quantity: Decimal) -> None:
        """Buys (+1) or sells (−1)."""
        with localcontext() as exact:
            exact.prec = PLACES
            for part in self._parts(side, quantity):
                self._fill(side, price, part)

    def _parts(self, side: int, quantity: Decimal) -> list[Decimal]:
        """A fill through zero is two: one that closes, one that opens."""
        held = abs(self.quantity)
        if self.quantity * side < 0 and quantity > held:
            return [held, quantity - held]
        return [quantity]

    def _fill(self, side: int, price: Decimal, quantity: Decimal) -> None:
        if self.quantity * side < 0:
            share = self.cost * quantity / abs(self.quantity)
            released = (share / self.unit).to_integral_value(ROUND_FLOOR) * self.unit
            self.realised += -side * price * quantity - released
            self.cost -= released
        else:
            self.cost += side * price * quantity
        self.quantity += side * quantity

    def fee(self, asset: str, amount: Decimal, worth: Decimal | None) -> None:
        """A fee of an asset, and what one of it is worth in the quote currency; None: nobody knows."""
        self.fees[asset] = self.fees.get(asset, ZERO) + amount
        if worth is not None:
            with localcontext() as exact:
                exact.prec = PLACES
                self.fee_cost += (amount * worth / self.unit).to_integral_value(ROUND_CEILING) * self.unit

    def fund(self, amount: Decimal) -> None:
        """Receives, below zero pays, so much of the quote currency; rounded down to the smallest money."""
        with localcontext() as exact:
            exact.prec = PLACES
            self.funding += (amount / self.unit).to_integral_value(ROUND_FLOOR) * self.unit

    def unrealised(self, mark: Decimal) -> Decimal:
        """What closing it at this price would bring."""
        with localcontext() as exact:
            exact.prec = PLACES
            return self.quantity * mark - self.cost

    def profit(self, mark: Decimal) -> Decimal:
        """Realised and unrealised, less fees, and fundings."""
        with localcontext() as exact:
            exact.prec = PLACES
            return self.realised + self.unrealised(mark) - self.fee_cost + self.funding
