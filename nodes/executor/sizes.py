"""How much an order is for, and how far a position may go: from the settings, the instrument's rules and a price. No I/O.

Settings name an amount of the quote currency, so that they fit every instrument; a quantity that is set is taken as it is.
"""

from decimal import Decimal

from tickmesh.bus.settings import ExecutorSettings
from tickmesh.nodes.executor.risk import InstrumentRules

LOTS_MAX = 1 << 60  # what an intent can hold, with room for ten of them
RAISED_MAX = 2  # an order is raised to the venue's least up to so many times what the settings ask for, and not made beyond
POSITION_ORDERS = 10  # a position's bound, in orders, where the settings name none


class Sizes:
    """How large the next order of an instrument is, and how far its position may go: in lots, at a price in ticks."""

    def __init__(self, settings: ExecutorSettings, rules: InstrumentRules):
        self._rules = rules
        scale = Decimal(10) ** -rules.quantity_exponent
        # None where it is not set: a quantity below the smallest is one of 0, which risk refuses
        self._order_lots = int(Decimal(settings.order_quantity) * scale) if settings.order_quantity else None
        self._position_lots = int(Decimal(settings.position_max) * scale) if settings.position_max else None
        # of a notional in quote units: price ticks × lots
        product = Decimal(10) ** -(rules.price_exponent + rules.quantity_exponent)
        self._notional = int(Decimal(settings.order_notional) * product)
        self._position_notional = int(Decimal(settings.position_notional) * product) if settings.position_notional else 0

    def order_lots(self, price_ticks: int) -> int:
        """How much the next order is for at this price; 0, which risk refuses, where no size fits.

        The nearest multiple of the lot size to what is set, not below the venue's least quantity and value. None fits without
        a price, or where that least is far more than was asked for.
        """
        if self._order_lots is not None:
            return self._order_lots
        if price_ticks <= 0:
            return 0
        rules = self._rules
        lot = max(rules.lot_size, 1)
        lots = (2 * self._notional + price_ticks * lot) // (2 * price_ticks * lot) * lot
        least = -(-rules.min_notional * 10**-rules.quantity_exponent // price_ticks)
        lots = min(max(lots, -(-max(least, rules.min_quantity, 1) // lot) * lot), LOTS_MAX // lot * lot)
        return lots if lots * price_ticks <= RAISED_MAX * self._notional else 0

    def position_lots(self, price_ticks: int) -> int:
        """How far the position may go at this price: the bound that is set, else POSITION_ORDERS orders."""
        if self._position_lots is not None:
            return self._position_lots
        if self._position_notional:
            return self._position_notional // price_ticks if price_ticks > 0 else 0
        return POSITION_ORDERS * self.order_lots(price_ticks)
