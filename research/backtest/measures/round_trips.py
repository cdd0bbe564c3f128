"""Round trips and what they realised: entries matched with exits first in, first out, and from flat to flat by average cost.

Both divide one profit differently between what is closed and what is held: realised + unrealised is the same.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# opened and closed are prices, quantity and fees (quote currency) of this trip alone; side +1: it was long
ROUND_TRIP = np.dtype(
    [("instrument", "<i4"), ("strategy", "<i4"), ("side", "i1"), ("opened_ns", "<i8"), ("closed_ns", "<i8"),
     ("quantity", "<f8"), ("opened", "<f8"), ("closed", "<f8"), ("gross", "<f8"), ("fees", "<f8")]
)  # fmt: skip
RESIDUE = 1e-9  # of the largest quantity: below it a position is flat, since sums of floats leave crumbs


class Deal(NamedTuple):
    """A fill, or the position at the start as if it had been bought at that moment's mid."""

    time_ns: int
    side: int
    price: float
    quantity: float
    fee: float


@dataclass(frozen=True)
class MatchedDeals:
    """Round trips (dtype ROUND_TRIP, in order of closing); what was realised before fees; what is held, and its cost.

    `held` is signed and `cost` has its sign. Money is in quote currency.
    """

    trips: np.ndarray
    realised: float
    held: float
    cost: float


class _Lot:
    """What is left of an entry."""

    __slots__ = ("fee", "price", "quantity", "side", "time_ns")

    def __init__(self, deal: Deal, quantity: float):
        self.time_ns, self.side, self.price = deal.time_ns, deal.side, deal.price
        self.quantity, self.fee = quantity, deal.fee * quantity / deal.quantity


def first_in_first_out(deals: list[Deal], instrument: int, strategy: int) -> MatchedDeals:
    """Matches each exit with the oldest entries that are left; one trip for each pair. Fees go with the quantity."""
    crumb = RESIDUE * max((one.quantity for one in deals), default=0.0)
    lots: deque[_Lot] = deque()
    trips = []
    realised = 0.0
    for deal in deals:
        left = deal.quantity
        while left > crumb and lots and lots[0].side != deal.side:
            lot = lots[0]
            quantity = min(left, lot.quantity)
            gross = lot.side * (deal.price - lot.price) * quantity
            fee = lot.fee * quantity / lot.quantity
            fees = fee + deal.fee * quantity / deal.quantity
            trips.append(
                (instrument, strategy, lot.side, lot.time_ns, deal.time_ns, quantity, lot.price, deal.price, gross, fees)
            )
            realised += gross
            left -= quantity
            lot.quantity -= quantity
            lot.fee -= fee
            if lot.quantity <= crumb:
                lots.popleft()
        if left > crumb:
            lots.append(_Lot(deal, left))
    held = sum(one.side * one.quantity for one in lots)
    cost = sum(one.side * one.quantity * one.price for one in lots)
    return MatchedDeals(np.array(trips, ROUND_TRIP), realised, held, cost)


class _Trip:
    """A trip that goes on: what was bought and sold of it."""

    __slots__ = ("entered", "entry_cost", "exited", "exit_cost", "fees", "opened_ns", "side")

    def __init__(self, deal: Deal):
        self.opened_ns, self.side = deal.time_ns, deal.side
        self.entered = self.entry_cost = self.exited = self.exit_cost = self.fees = 0.0

    @property
    def held(self) -> float:
        return self.entered - self.exited


def flat_to_flat(deals: list[Deal], instrument: int, strategy: int) -> MatchedDeals:
    """A trip goes from leaving zero to being back there, or going through it; its prices are averages.

    Closing a part realises it against the average cost of what is held (as the executor's positions do), also of a trip that
    goes on.
    """
    crumb = RESIDUE * max((one.quantity for one in deals), default=0.0)
    trips = []
    realised = cost = 0.0
    trip: _Trip | None = None
    for deal in deals:
        left = deal.quantity
        if trip is not None and trip.side != deal.side:
            quantity = min(left, trip.held)
            part = quantity / trip.held
            realised += trip.side * deal.price * quantity - cost * part
            cost -= cost * part
            trip.exited += quantity
            trip.exit_cost += quantity * deal.price
            trip.fees += deal.fee * quantity / deal.quantity
            left -= quantity
            if trip.held <= crumb:
                opened, closed = trip.entry_cost / trip.entered, trip.exit_cost / trip.exited
                gross = trip.side * (trip.exit_cost - trip.entry_cost)
                trips.append(
                    (
                        instrument,
                        strategy,
                        trip.side,
                        trip.opened_ns,
                        deal.time_ns,
                        trip.entered,
                        opened,
                        closed,
                        gross,
                        trip.fees,
                    )
                )
                trip, cost = None, 0.0
        if left > crumb:
            trip = trip or _Trip(deal)
            trip.entered += left
            trip.entry_cost += left * deal.price
            trip.fees += deal.fee * left / deal.quantity
            cost += deal.side * left * deal.price
    return MatchedDeals(np.array(trips, ROUND_TRIP), realised, trip.side * trip.held if trip is not None else 0.0, cost)
