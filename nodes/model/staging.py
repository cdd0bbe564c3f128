"""Events of a list, copied into the arrays of one kernel call: rows of all instruments in order, records by kind."""

from typing import NamedTuple

import numpy as np

from tickmesh.bus.layout import RECORDS, struct_of
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.models.interface import ROW, Records

ROWS = 1024  # events staged at once; the result does not depend on it
_ROW = struct_of(ROW)


class Stage:
    """Records of one kind, back to back, for the kernel: always aligned and writable, so it is compiled only once."""

    def __init__(self, kind: Kind):
        self.kind, self.dtype = kind, DTYPES[kind]
        self.used = 0
        self.array = np.zeros(ROWS, self.dtype)
        self.bytes = self.array.data.cast("B")

    def grow(self, records: int) -> None:
        grown = np.zeros(records, self.dtype)
        grown[: self.used] = self.array[: self.used]
        self.array = grown
        self.bytes = grown.data.cast("B")

    def put(self, event: Event) -> int:
        """Copies the event's records; returns the index of the first."""
        first = self.used
        end = first + event.count
        if end > len(self.array):
            self.grow(2 * end)
        size = self.dtype.itemsize
        self.bytes[first * size : end * size] = event.raw[RECORDS]
        self.used = end
        return first


class Group(NamedTuple):
    """The staged rows of one instrument, in order, and the seq of each."""

    place: int
    rows: Records
    causes: list[int]


class Staging:
    """Up to ROWS events. `causes`: the seq of each row; `places`: which instrument's it is."""

    def __init__(self, kinds: tuple[Kind, ...]):
        self.kinds = Stage(Kind.quote), Stage(Kind.trade), Stage(Kind.depth)  # in the order of a kernel's arguments
        self.wanted = {int(stage.kind): stage for stage in self.kinds if stage.kind in kinds}
        self.rows = np.zeros(ROWS, ROW)
        self._bytes = self.rows.data.cast("B")
        self.causes: list[int] = []
        self.places: list[int] = []

    def put(self, event: Event, place: int, stream: int = 0, first: int = 0, count: int = 0) -> None:
        """Stages one row for the instrument at `place`."""
        at = len(self.causes) * _ROW.size
        _ROW.pack_into(self._bytes, at, event.kind, event.flags, stream, first, count, event.seq_ns)
        self.causes.append(event.seq)
        self.places.append(place)

    def only_place(self) -> int | None:
        """The place of the instrument that all staged rows are of; None where they are of several."""
        places = self.places
        first = places[0]
        return first if len(places) == 1 or places.count(first) == len(places) else None

    def groups(self) -> list[Group]:
        """The staged rows by instrument."""
        of, causes = np.array(self.places), np.array(self.causes)
        order = np.argsort(of, kind="stable")
        rows, causes = self.rows[order], causes[order]
        begins = [0, *(np.flatnonzero(np.diff(of[order])) + 1).tolist(), len(order)]
        return [Group(self.places[order[a]], rows[a:b], causes[a:b].tolist()) for a, b in zip(begins, begins[1:])]

    def clear(self) -> None:
        self.causes, self.places = [], []
        for stage in self.wanted.values():
            stage.used = 0
