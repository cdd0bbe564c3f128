"""What a trade costs: the venue keeps a share of what is received, in that asset (venues.md §3.3, `commissionAsset`).

Rates are parts per million. Named schedules are those that spot venues publish; any other pair of rates can be set.
"""

from typing import NamedTuple

PPM = 10**6


class Fees(NamedTuple):
    """A pair of fee rates: for an order that rested (maker), and for one that took (taker)."""

    maker_ppm: int
    taker_ppm: int

    def fee(self, received: int, maker: bool) -> int:
        """The fee on a mantissa that is received, rounded down."""
        return fee_of(received, self.maker_ppm if maker else self.taker_ppm)


def fee_of(received: int, rate_ppm: int) -> int:
    """The fee on a mantissa that is received, at a rate in parts per million, rounded down."""
    return received * rate_ppm // PPM


SCHEDULES = {
    "spot": Fees(1000, 1000),  # 0.1 % both ways: Binance spot, first tier
    "spot_discount": Fees(750, 750),  # a quarter less, as when fees are paid in the venue's own coin
    "free": Fees(0, 0),
}
