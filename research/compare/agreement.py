"""What two venues say of one order, the live and the simulated one: what both say is known when it was known live."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tickmesh.bus.schema import Status
from tickmesh.nodes.orders.states import FINAL
from tickmesh.research.backtest.live_orders import LiveFill

NEAR_NS = 100_000_000  # books are recorded every 100 ms: a place in a queue, and so the time of its fill, is known no better


class VenueState(NamedTuple):
    """A status, and how much is filled by then, in lots."""

    status: int
    filled: int


class OrderAgreement:
    """Two venues and one order. `fills`, `states`: all that the live venue says of it.

    is_apart  the simulated venue has said something that the live one does not say by then: it is believed from here on
    """

    def __init__(self, fills: Sequence[LiveFill], states: Iterable[VenueState]):
        self.is_apart = False
        self._to_come = list(fills)
        self._states_to_come = Counter(states)
        self._waiting: Counter[tuple[int, bool]] = Counter()  # by price, as maker or not: lots whose live word is to come
        self._held: set[int] = set()  # trades
        self._filled = 0
        self._states: set[VenueState] = set()
        self._given: set[VenueState] = set()

    # What the simulated venue says: True where it is to be told on its own

    def fill_here(self, price: int, lots: int, maker: bool, at_ns: int) -> bool:
        """A fill at a time of the log: whether the live venue has none of it, or none near."""
        self._filled += lots
        near = sum(one.lots for one in self._to_come if self._is_of(one, price, maker) and one.at_ns <= at_ns + NEAR_NS)
        if near >= self._waiting[price, maker] + lots:
            self._waiting[price, maker] += lots
            return False
        self.is_apart = True
        return True

    def state_here(self, state: VenueState) -> bool:
        """A state: on the way to what both say none is of interest."""
        self._states.add(state)
        if not self.is_apart:
            if state.status not in FINAL or self._states_to_come[state] > 0:
                return False
            self.is_apart = True
        self._given.add(state)
        return True

    # What the live venue says: True where it holds here

    def fill_live(self, trade_id: int, price: int, lots: int, maker: bool) -> bool:
        """A fill: whether the simulated venue has had it."""
        known = [one for one in self._to_come if one.trade_id == trade_id]
        if not known:
            return trade_id in self._held
        self._to_come.remove(known[0])
        if self._waiting[price, maker] < lots:
            self.is_apart = True
            return False
        self._waiting[price, maker] -= lots
        self._held.add(trade_id)
        return True

    def left_over(self, price: int, maker: bool) -> int:
        """Takes what waits for a live word that will not come: lots."""
        waiting = self._waiting[price, maker]
        left = max(waiting - sum(one.lots for one in self._to_come if self._is_of(one, price, maker)), 0)
        self._waiting[price, maker] -= left
        return left

    def state_live(self, state: VenueState) -> bool:
        """A state: whether the order is, or was, in it at the simulated venue."""
        self._states_to_come[state] -= 1
        on_the_way = state.status == Status.PartiallyFilled and state.filled <= self._filled
        if state not in self._given and (state in self._states or on_the_way):
            return True
        self.is_apart = True
        return False

    @property
    def states(self) -> list[VenueState]:
        """What the simulated venue has said, by how much is filled."""
        return sorted(self._states, key=lambda one: one.filled)

    def _is_of(self, fill: LiveFill, price: int, maker: bool) -> bool:
        return fill.price_ticks == price and fill.maker == maker
