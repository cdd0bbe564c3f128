"""What a venue asks of an order of one instrument, from its `instrument` record."""

import msgspec


class InstrumentRules(msgspec.Struct, frozen=True):
    """Exponents, steps and least sizes; 0 = no rule."""

    price_exponent: int
    quantity_exponent: int
    tick_size: int
    lot_size: int
    min_quantity: int
    min_notional: int  # mantissa at 10^price_exponent

    def whole(self, lots: int) -> int:
        """The largest multiple of the lot size that is not above `lots`."""
        lot = max(self.lot_size, 1)
        return lots // lot * lot

    def whole_up(self, lots: int) -> int:
        """The smallest multiple of the lot size that is not below `lots`."""
        lot = max(self.lot_size, 1)
        return -(-lots // lot) * lot

    def takes(self, lots: int, price_ticks: int) -> bool:
        """Whether an order of so many lots is large enough at this price."""
        return lots >= max(self.min_quantity, 1) and price_ticks * lots >= self.min_notional * 10**-self.quantity_exponent
