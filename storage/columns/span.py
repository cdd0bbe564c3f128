"""What a reader of columns gives: a span of the log; of each subject rows in order of `seq`, and the records they point to."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event

# One event for a kernel: nodes/models/interface.py gives the meaning of the fields.
ROW = np.dtype(
    [
        ("kind", "<u2"),
        ("flags", "<u2"),
        ("stream", "<u2"),
        ("reserved", "<u2"),
        ("first", "<i8"),
        ("count", "<i8"),
        ("seq_ns", "<i8"),
    ]
)


class SubjectColumns(NamedTuple):
    """One subject's events in a span. `rows`: (n,) ROW; `seqs`: (n,) u8, the `seq` of each row.

    `records`: by kind, every record that the rows point to, dtype DTYPES[kind]: row r has [first, first + count) of its
    kind's array, which it may share with other subjects. A kind that was not asked for, or has no event, may be absent.
    """

    subject: str
    rows: np.ndarray
    seqs: np.ndarray
    records: Mapping[Kind, np.ndarray]


class ColumnSpan(NamedTuple):
    """The events with `first` ≤ seq ≤ `last`: columns of the kinds that were asked for, and some kinds as objects.

    `subjects`: those with a row, in no order. `events`: in order of `seq`.
    """

    first: int
    last: int
    subjects: list[SubjectColumns]
    events: list[Event]


def with_streams(rows: np.ndarray, gaps: np.ndarray | None) -> None:
    """Writes into every `gap` row the kind whose records are missing. `gaps`: the records that such rows point to."""
    if gaps is not None and len(gaps):
        places = np.flatnonzero(rows["kind"] == Kind.gap)
        rows["stream"][places] = gaps["stream"][rows["first"][places]]
