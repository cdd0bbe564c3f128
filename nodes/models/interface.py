"""What a kernel is given and what it writes: the dtypes, and the numbers of the kinds that it can see.

A kernel module declares

    KINDS        the kinds it wants, any of quote, trade, depth
    PARAMETERS   {name: Parameter(default, least, most, meaning)}, the unit last in the name
    STATE        a structured dtype; one record of it is all that the model remembers of one instrument
    HORIZON_NS   how far ahead its value looks; 0 = not stated
    RANGE        (least, most) of its values; without it −1 … +1, what signal_threshold in mesh.toml is measured by
    LOOKBACK_S   seconds of events after which its state no longer depends on what was before, or a function that gives them for
                 {parameter: value}; without it all of the log. It is checked at each start (nodes/runner/warm.py)
    kernel(state, parameters, units, rows, count, quotes, trades, levels, out) -> n
    OFF_BOOK     optional: True for a kernel that is to be given the trades that never met the book, too
    FEATURES     optional: names of features; what the kernel gives then are no signals but values of these, which are published
                 and recorded (kind feature) and never traded. HORIZON_NS and RANGE mean nothing then
    kinds_of(features) -> kinds    optional, beside FEATURES: which of KINDS those that mesh.toml chooses are made of

| argument | shape, dtype | meaning |
|---|---|---|
| state | (1,) STATE | the instrument's: zeros at the start of the log, then whatever the kernel left there |
| parameters | (1,) float64 fields | one field per name in PARAMETERS |
| units | (2,) float64 | price of one tick, quantity of one lot; NaN until the log has an `instrument` event |
| rows | (≥ count,) ROW | the instrument's events in order of `seq`: the kind, and where its records lie |
| quotes, trades, levels | (…,) of the kind | the records: row r has [r.first, r.first + r.count) of its kind's array |
| out | (≥ SIGNALS_PER_ROW × count,) OUT | its signals, in order of `row`; n of them, at most SIGNALS_PER_ROW for one row |

A kernel with FEATURES has the field `wanted` among its parameters, (len(FEATURES),) u1, 1 for those that mesh.toml chooses
(`features = [...]`), and its `out` is (≥ len(FEATURES) × count,) FEATURE_OUT: a feature's number, its value (NaN: not known)
and the time that it is of; those of one row become one event, and those that are not wanted are left out.

The result must not depend on how events are cut into calls, so whatever a later event needs is kept in `state`.
A value that is not finite or outside RANGE, or an infinite price, is no signal: it is counted (`refused` in the health event),
and an alert says so. A kernel that goes beyond an array, says more than SIGNALS_PER_ROW for a row, names a row that it was not
given, or raises, is stopped, and an alert names its file, line and event (docs/research.md).
Time is `row.seq_ns`, nanoseconds, rising (in older logs never decreasing). A `gap` row (every kernel gets them) has no
records: `row.stream` is the kind whose records are missing before the next ones; there is one when a gap opens, none when it
is decided. Rows with REPAIRED in their flags come late. Trades off the book (docs/messages.md) are no rows, unless the module
declares OFF_BOOK = True: then they are rows with IS_OFF_BOOK in their flags.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tickmesh.bus.schema import Flag, Kind
from tickmesh.storage.columns.span import ROW  # as readers of columns fill it

__all__ = [
    "DEPTH", "FEATURE_OUT", "GAP", "IS_OFF_BOOK", "OUT", "QUOTE", "REPAIRED", "ROW", "SIGNALS_PER_ROW", "SNAPSHOT", "TRADE",
    "UNSYNCED", "Floats", "Parameter", "Record", "Records",
]  # fmt: skip

# Plain integers: numba freezes globals into the machine code, and the cache folder is keyed by them (cache.py).
TRADE = int(Kind.trade)
QUOTE = int(Kind.quote)
DEPTH = int(Kind.depth)
GAP = int(Kind.gap)
SNAPSHOT = int(Flag.SNAPSHOT)
REPAIRED = int(Flag.REPAIRED)
UNSYNCED = int(Flag.UNSYNCED)
IS_OFF_BOOK = int(Flag.OFF_BOOK)

SIGNALS_PER_ROW = 4
RANGE = (-1.0, 1.0)  # of a kernel that declares none

Records: TypeAlias = NDArray[np.void]  # of a structured dtype: state, parameters, rows, records of a kind, signals
Record: TypeAlias = Any  # one record of such an array, its fields as attributes
Floats: TypeAlias = NDArray[np.float64]

OUT = np.dtype(
    [
        ("row", "<i8"),
        ("value", "<f8"),
        ("price", "<f8"),
        ("reference_ticks", "<i8"),
    ]
)

FEATURE_OUT = np.dtype([("row", "<i8"), ("feature", "<i8"), ("value", "<f8"), ("at_ns", "<i8")])


class Parameter(NamedTuple):
    """A number that mesh.toml may set: [[models]] parameters = { name = value }."""

    default: float
    least: float
    most: float
    meaning: str
