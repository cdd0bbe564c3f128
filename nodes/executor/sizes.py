"""How much an order is for, and how far a position may go: from a strategy's settings, the instrument's rules and a price.

Settings name an amount of the quote currency, so that they fit every instrument; a quantity that is set is taken as it is.
No I/O.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.nodes.executor.profit import MONEY_EXPONENT, money_of_text
from tickmesh.nodes.executor.rules import InstrumentRules

LOTS_MAX = 1 << 60  # what an intent can hold, with room for ten of them
RAISED_MAX = 2  # an order is raised to the venue's least up to so many times what the settings ask for, and not made beyond
POSITION_ORDERS = 10  # a position's bound, in orders, where the settings name none


class Sizes:
    """How large the next order of an instrument is, and how far its position may go: in lots, at a price in ticks."""

    def __init__(self, settings: StrategySettings, rules: InstrumentRules, tight: Callable[[int], int | None] = lambda _: None):
        """`tight`: how far a position may go at a price by limits that were tightened; None: as far as the settings say."""
        self._rules = rules
        self._tight = tight
        scale = Decimal(10) ** -rules.quantity_exponent
        # of a notional in quote units: price ticks × lots
        product = Decimal(10) ** -(rules.price_exponent + rules.quantity_exponent)

        def lots(quantity: str) -> int | None:
            # None where it is not set: a quantity below the smallest is one of 0, which risk refuses
            return int(Decimal(quantity) * scale) if quantity else None

        def notional(amount: str) -> int:
            return int(Decimal(amount) * product) if amount else 0

        self._order_lots = lots(settings.order_quantity)
        self._notional = notional(settings.order_notional)
        self._share = Fraction(settings.order_equity) if settings.order_equity else None
        self._capital = money_of_text(settings.capital)
        self._target_lots = lots(settings.target_quantity)
        self._target_notional = notional(settings.target_notional)
        self._position_lots = lots(settings.position_max)
        self._position_notional = notional(settings.position_notional)

    def order_lots(self, price_ticks: int, profit: int = 0) -> int:
        """How much the next order is for at this price; 0, which risk refuses, where no size fits, or no intent can hold it.

        The nearest multiple of the lot size to what is set, not below the venue's least quantity and value. None fits without
        a price, or where that least is far more than was asked for. `profit`: of the strategy, money at 10^−36, for a share of
        its equity.
        """
        if self._order_lots is not None:
            return self._order_lots if self._order_lots <= LOTS_MAX else 0
        notional = self._notional if self._share is None else self._equity_notional(profit)
        if price_ticks <= 0:
            return 0
        rules = self._rules
        lot = max(rules.lot_size, 1)
        lots = (2 * notional + price_ticks * lot) // (2 * price_ticks * lot) * lot
        least = -(-rules.min_notional * 10**-rules.quantity_exponent // price_ticks)
        lots = min(max(lots, rules.whole_up(max(least, rules.min_quantity, 1))), rules.whole(LOTS_MAX))
        return lots if lots * price_ticks <= RAISED_MAX * notional else 0

    def _equity_notional(self, profit: int) -> int:
        exponent = self._rules.price_exponent + self._rules.quantity_exponent - MONEY_EXPONENT
        return int((self._share or 0) * (self._capital + profit) / 10**exponent)

    def target_lots(self, value: float, price_ticks: int) -> int | None:
        """The position, signed, that a signal of this value asks for at this price; whole lots, towards zero. None where that
        depends on a price and there is none.
        """
        full = self._target_lots
        if full is None:
            if price_ticks <= 0 and value:
                return None
            full = self._target_notional // max(price_ticks, 1)
        lots = self._rules.whole(min(int(abs(Fraction(value)) * full), LOTS_MAX))
        return lots if value > 0 else -lots

    def position_lots(self, price_ticks: int) -> int:
        """How far the position may go at this price: the bound that is set, else the target, else POSITION_ORDERS orders."""
        stated, tight = self._stated_lots(price_ticks), self._tight(price_ticks)
        return stated if tight is None else min(stated, tight)

    def _stated_lots(self, price_ticks: int) -> int:
        if self._position_lots is not None:
            return self._position_lots
        if self._position_notional:
            return self._position_notional // price_ticks if price_ticks > 0 else 0
        if self._target_lots is not None or self._target_notional:
            return LOTS_MAX  # what its signals ask for
        return POSITION_ORDERS * self.order_lots(price_ticks)
