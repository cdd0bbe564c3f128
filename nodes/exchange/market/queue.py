"""Where our order stands in the queue of a recorded level, of which only the total quantity is known.

A trade at the price takes from the front. Any other decrease of the level is a cancel, before us or behind us: that is what
the models guess. Sources: R. Almgren's and E. Rigtorp's descriptions ("Estimating order queue position", rigtorp.se, 2013;
quant.stackexchange.com/questions/3782), and the models of hftbacktest by the names that it gives them
(hftbacktest.readthedocs.io, "Order Fill"): RiskAverseQueueModel, PowerProbQueueModel, LogProbQueueModel.
Quantities are mantissas at 10^−8, positions floats of the same unit.
"""

import math
from collections.abc import Callable

from tickmesh.nodes.exchange.protocol import UNIT


class QueuePlace:
    """An order's place in the queue of its level: `ahead` stands before it (infinite while the level is not known); `traded`
    since the level's last change. `level` is the level's quantity when it was last looked at, `as_of` the update id of that."""

    __slots__ = ("ahead", "traded", "level", "as_of")

    def __init__(self, ahead: float, level: int | None = None, as_of: int = -1):
        self.ahead = ahead
        self.traded = 0
        self.level = level
        self.as_of = as_of

    def take(self, quantity: int, mine: int = 0) -> int:
        """Takes a trade at the order's price, `mine` of it by better placed orders of ours; gives what reaches this one."""
        self.traded += quantity
        left = quantity - mine - self.ahead
        self.ahead = max(-left, 0.0)
        return math.floor(left) if left > 0 else 0

    def follow(self, model: "QueueModel", level: int, update_id: int, named: bool = True) -> None:
        """Follows the level as of `update_id`: one that is known for the first time stands before the order as a whole.

        `named`: whether a change named the level; with the quantity that it had, others have replaced what was traded."""
        if update_id <= self.as_of:
            return  # the order was placed by a later view of the level
        before, self.level, self.as_of = self.level, level, update_id
        if before is None:
            self.ahead, self.traded = min(self.ahead, level), 0
        elif level != before:
            model(self, before, level)
        elif named:
            self.traded = 0


QueueModel = Callable[[QueuePlace, int, int], None]  # the level's quantity went from … to …


def risk_averse(place: QueuePlace, before: int, after: int) -> None:
    """A queue model: all cancels are behind us, as long as there is anyone behind; it gives the fewest fills."""
    place.traded = 0
    place.ahead = min(place.ahead, after)


def _probability(weight: Callable[[float], float]) -> QueueModel:
    """A queue model: cancels are before us with the probability f(ahead) ÷ (f(ahead) + f(behind))."""

    def changed(place: QueuePlace, before: int, after: int) -> None:
        # the trades that we have seen are part of the decrease: only the rest are cancels
        canceled = before - after - place.traded
        place.traded = 0
        if canceled > 0 and place.ahead > 0:
            behind = max(before - place.ahead, 0.0)
            front, back = weight(place.ahead / UNIT), weight(behind / UNIT)
            share = front / (front + back) if front + back else 1.0
            # more cancels behind us than there are orders can only have been before us
            place.ahead -= share * canceled + max((1 - share) * canceled - behind, 0.0)
        place.ahead = min(max(place.ahead, 0.0), after)

    return changed


def power(n: float = 3.0) -> QueueModel:
    """A queue model: cancels are before us in the ratio of (quantity ahead)ⁿ to (quantity behind)ⁿ.

    The greater n, the more it is the larger part that cancels."""
    return _probability(lambda x: x**n)


def logarithm() -> QueueModel:
    """A queue model: cancels are before us in the ratio of log(1 + quantity ahead) to log(1 + quantity behind)."""
    return _probability(math.log1p)


MODELS: dict[str, Callable[[], QueueModel]] = {
    "risk_averse": lambda: risk_averse,
    "probability_power": power,
    "probability_log": logarithm,
}
