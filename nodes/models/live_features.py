"""Publishes features of the library, those that `features` of mesh.toml names, as db.features computes them (docs/features.md).

With `interval_ms` for each multiple of it, by the log's time: when the first later event of the kinds that they are made of
comes, before that one is taken. Of several multiples that passed in a silence the last is published. With 0 after each event.
"""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.features import table
from tickmesh.nodes.models.features.vector import give_values, take_row
from tickmesh.nodes.models.interface import Floats, Parameter, Record, Records

KINDS = (Kind.trade, Kind.quote, Kind.depth)
FEATURES = table.NAMES
PARAMETERS = {
    "interval_ms": Parameter(1000.0, 0.0, 8.64e7, "between two moments, which are its multiples; 0: after each event"),
    **table.PARAMETERS,
}
STATE = np.dtype(
    [
        ("library", table.state_dtype(FEATURES)),
        ("next_ns", "<i8"),  # the next multiple; 0 before the first event
        ("values", "<f8", (len(FEATURES),)),  # where the values of a moment are written
    ]
)
kinds_of = table.kinds_of


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives the wanted features at moments; arguments as in nodes/models/interface.py."""
    s, p = state[0], parameters[0]
    every_ns = int(p.interval_ms * 1e6)
    n = 0
    for r in range(count):
        now_ns = rows[r].seq_ns
        if every_ns > 0:
            if s.next_ns == 0:
                s.next_ns = -(-now_ns // every_ns) * every_ns
            if s.next_ns < now_ns:
                at_ns = (now_ns - 1) // every_ns * every_ns
                n = _give(s, p, r, at_ns, out, n)
                s.next_ns = at_ns + every_ns
        take_row(s.library, p, units, rows[r], quotes, trades, levels, p.wanted)
        if every_ns == 0:
            n = _give(s, p, r, now_ns, out, n)
    return n


@njit(cache=True)
def _give(s: Record, p: Record, row: int, at_ns: int, out: Records, n: int) -> int:
    """Writes the wanted features as of `at_ns` behind the first n outputs; gives how many there are then."""
    give_values(s.library, p, at_ns, p.wanted, s.values)
    known = 0
    for feature in range(len(p.wanted)):
        if p.wanted[feature]:
            out[n].row = row
            out[n].feature = feature
            out[n].value = s.values[known]
            out[n].at_ns = at_ns
            known += 1
            n += 1
    return n
