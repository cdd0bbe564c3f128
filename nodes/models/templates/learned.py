"""A learned model: features of the library, weights and trees that `mesh train` has frozen; −1 down … +1 up.

The value is 2·chance − 1, the chance that the next move beyond the costs is up (docs/learning.md). It changes with its file of
weights, models/NAME.weights.npz, and with nothing else: what the features were trained with cannot be set otherwise.
"""

import numpy as np
from numba import njit

from tickmesh.nodes.models import weights
from tickmesh.nodes.models.features.table import PARAMETERS as OF_FEATURES
from tickmesh.nodes.models.features.table import kinds_of, state_dtype, wanted_of
from tickmesh.nodes.models.features.touch import mid
from tickmesh.nodes.models.features.vector import give_values, take_row
from tickmesh.nodes.models.interface import QUOTE, Floats, Parameter, Records
from tickmesh.nodes.models.learned import chance_of, score_of
from tickmesh.nodes.models.signal_rule import SIGNAL_RULE, signal_due

LEARNED = weights.load(__file__)
LINEAR, BIAS, CURVE = LEARNED.linear, LEARNED.bias, LEARNED.curve  # numba makes constants of what the kernel uses
ROOTS, LINKS, NUMBERS = LEARNED.roots, LEARNED.links, LEARNED.numbers
WANTED = wanted_of(LEARNED.names)
COUNT = len(LEARNED.names)

KINDS = kinds_of((*LEARNED.names, "mid"))
HORIZON_NS = int(LEARNED.facts["horizon_ns"])
PARAMETERS = {
    **{
        name: Parameter(value, value, value, f"{OF_FEATURES[name].meaning}; as trained")
        for name, value in LEARNED.parameters.items()
    },
    **SIGNAL_RULE,
}
STATE = np.dtype(
    [
        ("features", state_dtype(LEARNED.names)),
        ("published_value", "<f8"),
        ("published_ns", "<i8"),
    ]
)


@njit(cache=True)
def kernel(
    state: Records, parameters: Records, units: Floats, rows: Records, count: int, quotes: Records, trades: Records,
    levels: Records, out: Records,
) -> int:  # fmt: skip
    """Gives 2·chance − 1 after quotes as signals; arguments as in nodes/models/interface.py."""
    s = state[0]
    p = parameters[0]
    values = np.empty(COUNT)
    n = 0
    for r in range(count):
        row = rows[r]
        take_row(s.features, p, units, row, quotes, trades, levels, WANTED)
        if row.kind != QUOTE or s.features.touch.known == 0:
            continue
        give_values(s.features, p, row.seq_ns, WANTED, values)
        score = score_of(values, LINEAR, BIAS, ROOTS, LINKS, NUMBERS)
        value = 2.0 * chance_of(score, CURVE) - 1.0
        if signal_due(value, row.seq_ns, s.published_value, s.published_ns,
               p.step, p.threshold, p.interval_ms * 1e6, p.repeat_ms * 1e6):  # fmt: skip
            s.published_value = value
            s.published_ns = row.seq_ns
            out[n].row = r
            out[n].value = value
            out[n].price = np.nan
            out[n].reference_ticks = np.int64(mid(s.features.touch))
            n += 1
    return n
