"""What a trade costs: the venue keeps a share of what is received, in that asset (venues.md §3.3, `commissionAsset`).

Rates are parts per million. Named schedules are those that spot venues publish; any other pair of rates can be set.
"""

from typing import NamedTuple

PPM = 10**6


class Fees(NamedTuple):
    """Of a resting order, and of one that takes."""

    maker_ppm: int
    taker_ppm: int

    def share(self, received: int, maker: bool) -> int:
        """The venue's part of a mantissa that is received, rounded down."""
        return share(received, self.maker_ppm if maker else self.taker_ppm)


def share(received: int, rate_ppm: int) -> int:
    return received * rate_ppm // PPM


SCHEDULES = {
    "spot": Fees(1000, 1000),  # 0.1 % both ways: Binance spot, first tier
    "spot_discount": Fees(750, 750),  # a quarter less, as when fees are paid in the venue's own coin
    "free": Fees(0, 0),
}
