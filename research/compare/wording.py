"""What a venue or an executor said of one order, as a sentence for people: exact decimals of its instrument. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import DTYPES, Action, Kind, Status
from tickmesh.nodes.venues.parsing.decimals import text
from tickmesh.research.compare.agreement import VenueState


class OrderWording(NamedTuple):
    """The exponents of an instrument, as its newest definition has them."""

    price_exponent: int
    quantity_exponent: int

    @classmethod
    def defined(cls, definition: np.void) -> "OrderWording":
        """By a record of kind `instrument`."""
        return cls(int(definition["price_exponent"]), int(definition["quantity_exponent"]))

    def text(self, kind: int, record: np.void) -> str:
        """An intent, an update or a fill."""
        if kind == Kind.update:
            return self.state(VenueState(int(record["status"]), int(record["filled_lots"])))
        quantity, price = self.quantity(int(record["quantity_lots"])), text(int(record["price_ticks"]), self.price_exponent)
        if kind == Kind.fill:
            return f"a fill of {quantity} at {price} as {'maker' if record['maker'] else 'taker'}"
        side = "buy" if record["side"] > 0 else "sell"
        at = f" at {price}" if record["price_ticks"] else ""  # none: at the market's
        return f"{Action(int(record['action'])).name} {side} {quantity}{at}"

    def published(self, kind: int, body: bytes) -> str:
        """The first record of what an executor published."""
        return Kind(kind).name if kind != Kind.intent else self.text(kind, np.frombuffer(body, DTYPES[Kind.intent])[0])

    def states(self, states: Iterable[VenueState]) -> str:
        """Several states of one order."""
        return ", ".join(map(self.state, states)) or "nothing"

    def state(self, state: VenueState) -> str:
        """A status, and how much is filled by then."""
        return f"{Status(state.status).name} ({self.quantity(state.filled)} filled)"

    def quantity(self, lots: int) -> str:
        """A quantity as its decimal."""
        return text(lots, self.quantity_exponent)


MANTISSAS = OrderWording(0, 0)  # of an instrument that nothing has defined yet
