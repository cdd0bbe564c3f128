"""What our orders have taken of the recorded quantities. Our orders do not change the recording, so what they took would stand
there again at the next frame; it is kept here, level by level, and is not for sale twice.

The rule: what we took of a level stays taken as long as the recording shows that much there. A level that shrinks to less
holds nothing that is not taken; what it grows by is new; one that vanishes and comes back is new as a whole. Source: the
option `liquidity_consumption` of NautilusTrader, which tracks the displayed size consumed at each price level
(nautilustrader.io/docs/latest/concepts/backtesting/fill-prices-and-matching). Pure.
"""

from collections.abc import Callable
from typing import TypeAlias

from tickmesh.nodes.exchange.protocol import Level

Shown: TypeAlias = Callable[[int, int], int | None]  # side, price → quantity; None: not known


class Consumed:
    """Quantities that our orders took, by side and price of the recorded level; mantissas at 10^−8."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, int], int] = {}
        self.changed = False  # since someone wrote it down

    def at(self, side: int, price: int) -> int:
        """What is taken of a level."""
        return self._taken.get((side, price), 0)

    def take(self, side: int, price: int, quantity: int) -> None:
        """Takes a quantity of a level."""
        self._taken[side, price] = self.at(side, price) + quantity
        self.changed = True

    def follow(self, shown: Shown) -> None:
        """Follows the recording: no more is taken of a level than it shows now (None: it shows nothing of the book)."""
        for (side, price), taken in list(self._taken.items()):
            there = shown(side, price)
            if there is None or there >= taken:
                continue
            self.changed = True
            if there:
                self._taken[side, price] = there
            else:
                del self._taken[side, price]

    def rows(self) -> list[Level]:
        """Side, price and taken quantity of each level, for a state file."""
        return [(side, price, quantity) for (side, price), quantity in self._taken.items()]

    def restore(self, rows: list[Level], shown: Shown) -> None:
        """Restores what `rows` gave, where the recording stands now."""
        self._taken = {(side, price): quantity for side, price, quantity in rows}
        self.follow(shown)
