"""What one operation of a venue is: a row of the tables in api.py (spot) and usdm_operations.py. Pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tickmesh.nodes.exchange.api.parameters import Takes
from tickmesh.nodes.exchange.protocol import Params


class Operation(NamedTuple):
    """One operation of the venue: the function that answers it, its weight and parameters, whether it has to be signed."""

    call: Callable[[Any, Params, int], object]  # with the venue whose table it is in
    weight: int = 1
    takes: Takes = Takes()  # its parameters, without those of a signature
    signed: bool = False
    keyed: bool = False  # asks for an API key, and for no signature
    order: bool = False  # makes a new order: its reply has the order counts
    free: bool = False  # weighs nothing when it succeeds (the venue's rule since 2026-04-02)
    weigh: Callable[[Params], int] | None = None  # where the weight depends on the parameters

    def weight_of(self, params: Params) -> int:
        """The request weight of the operation with these parameters."""
        return self.weigh(params) if self.weigh else self.weight
