"""A selection of a kind whose records are maps (health, alert, run …): a row for each event, a column for each key."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tickmesh.bus.schema import HEADER as EVENT_HEADER
from tickmesh.bus.wire import Event
from tickmesh.research.libraries import library
from tickmesh.research.selection import CHUNK_ROWS, Selection
from tickmesh.storage.query.map_rows import HEADER, columns_of_maps
from tickmesh.storage.query.times import ReadError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

HEADERS = np.dtype([(name, EVENT_HEADER[name].str) for name in HEADER])


class MapSelection(Selection):
    """Events of processes: which columns there are is known when they are read. Subjects may be patterns; none are all."""

    @property
    def topics(self) -> list[str]:
        """The topics that are read; `health.*` where all are."""
        return [f"{self._kind.name}.{one}" for one in self._subjects or ["*"]]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, of which keys are known when the events are read."""
        return list(self.to_arrow().column_names)

    def __repr__(self) -> str:
        return f"{', '.join(self.topics)}: a row for each event, a column for each key\n.head(), .to_pandas() … read it"

    def _events(self) -> Iterator[Event]:
        until, _ = self._source.now()
        for event in self._source.maps(self._kind, self._terms.start_ns, self._terms.end_ns, until):
            if not self._subjects or any(fnmatchcase(event.subject, one) for one in self._subjects):
                yield event

    def chunks(self, rows: int = CHUNK_ROWS) -> "Iterator[pa.Table]":
        """Reads Arrow tables of at most `rows` events; each has the columns of its own events."""
        self.check_span(self._terms.gaps)
        events = self._events()
        while part := list(islice(events, rows)):
            yield self._table(part)

    def _table(self, events: list[Event]) -> "pa.Table":
        pa = library("pyarrow", "reading tables")
        headers = np.array([tuple(getattr(event, name) for name in HEADER) for event in events], HEADERS)
        columns = columns_of_maps(self._kind, headers, [event.map() for event in events])
        arrays = {"subject": pa.array([event.subject for event in events], pa.string())}
        for name, values in columns.items():
            arrays[name] = _array(pa, values)
        return pa.table(arrays)

    def to_arrow(self) -> "pa.Table":
        """Reads everything as one Arrow table. Raises ReadError for a process of which nothing is known."""
        self.check_span(self._terms.gaps)
        events = list(self._events())
        if not events and self._subjects:
            self._check_known()
        return self._table(events)

    def _check_known(self) -> None:
        known = self._source.subjects(self._kind)
        for one in self._subjects:
            if not any(fnmatchcase(name, one) for name in known):
                there = ", ".join(known) or "none"
                raise ReadError(f"there is no {self._kind.name} of {one!r} in {self._source.place}; of these there is: {there}")

    def to_numpy(self) -> np.ndarray:
        """Raises ReadError: maps fit into no array."""
        raise ReadError(f"{self._kind.name} events have maps, which fit into no array; .to_pandas() has a row for each")

    def to_duckdb(self, connection: "duckdb.DuckDBPyConnection", name: str = "") -> str:
        """Reads everything into a table of a DuckDB connection; gives the table's name."""
        named = name or self._kind.name
        quoted = named.replace('"', '""')
        connection.register("_tickmesh_rows", self.to_arrow())
        connection.execute(f'create or replace temp table "{quoted}" as select * from _tickmesh_rows').fetchall()
        connection.unregister("_tickmesh_rows")
        return named

    def __len__(self) -> int:
        return sum(1 for _ in self._events())

    def _first(self, rows: int) -> "pa.Table":
        self.check_span(self._terms.gaps)
        return self._table(list(islice(self._events(), rows)))


def _array(pa: Any, values: Any) -> Any:
    """An Arrow array; of values that have no common type their texts."""
    if isinstance(values, np.ndarray):
        return pa.array(values, from_pandas=True)
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if one is None else str(one) for one in values], pa.string())
