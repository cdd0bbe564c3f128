"""What a kernel with FEATURES gives, as events of kind feature: one for each row that caused any, a record for each value."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tickmesh.bus.schema import FEATURE, Kind
from tickmesh.bus.wire import encode
from tickmesh.nodes.models.interface import Records

# A value beside its cause and that one's seq_ns; `instrument`: its place in InstrumentStates.subjects; k is always 0.
CAUSED_FEATURE = np.dtype(
    [("cause_seq", "<u8"), ("cause_ns", "<i8"), ("k", "<u4"), ("instrument", "<u4"), ("record", FEATURE)]
)  # fmt: skip


class FeaturesGiven:
    """The outputs of one kernel. `names`: its FEATURES; `wanted`: (names,) u1, 1 for those that are published."""

    def __init__(self, names: Sequence[str], wanted: np.ndarray):
        self._names, self._wanted = np.array([name.encode() for name in names], FEATURE["feature"]), wanted.astype(bool)
        self.published = [name for name, one in zip(names, self._wanted) if one]

    def gathered(
        self, out: Records, count: int, rows: Records, seqs: Sequence[int] | np.ndarray, place: int
    ) -> np.ndarray | None:
        """The wanted of out[:count] with their causes, (n,) CAUSED_FEATURE; None where a rule of interface.py is broken.

        rows, seqs: what the kernel was given, and the seq of each; place: the instrument's."""
        if not 0 <= count <= len(out):
            return None
        given = out[:count]
        row, feature = given["row"], given["feature"]
        if count and (row[0] < 0 or row[-1] >= len(seqs) or (np.diff(row) < 0).any()):
            return None
        if count and (feature.min() < 0 or feature.max() >= len(self._names) or np.bincount(row).max() > len(self._names)):
            return None
        given = given[self._wanted[feature]]
        found = np.zeros(len(given), CAUSED_FEATURE)
        found["cause_seq"], found["cause_ns"] = np.asarray(seqs, "<u8")[given["row"]], rows["seq_ns"][given["row"]]
        found["instrument"] = place
        record = found["record"]
        record["feature"], record["value"], record["at_ns"] = self._names[given["feature"]], given["value"], given["at_ns"]
        return found


def bodies(found: np.ndarray) -> Iterator[tuple[int, int, bytes]]:
    """(cause_seq, place of the instrument, records) of each event of (n,) CAUSED_FEATURE in order of their causes."""
    begins = np.flatnonzero(np.diff(found["cause_seq"], prepend=np.uint64(0))).tolist()
    size, records = FEATURE.itemsize, found["record"].tobytes()
    causes, places = found["cause_seq"].tolist(), found["instrument"].tolist()
    for first, last in zip(begins, [*begins[1:], len(found)]):
        yield causes[first], places[first], records[first * size : last * size]


def feature_events(found: np.ndarray, subjects: Sequence[str]) -> list[bytearray]:
    """Encodes the events of (n,) CAUSED_FEATURE; `subjects`: the instruments by place."""
    return [encode(Kind.feature, subjects[place], body, cause_seq=cause) for cause, place, body in bodies(found)]


def in_order(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Puts arrays of CAUSED_FEATURE together, in order of their causes."""
    found = np.concatenate([np.zeros(0, CAUSED_FEATURE), *parts])
    return found[np.argsort(found["cause_seq"], kind="stable")]
