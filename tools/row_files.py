"""Files that rows go into as they come: CSV, or Parquet in pieces. Whole when closed, and not there before under their name."""

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tickmesh.tools.event_rows import ColumnType, Row
from tickmesh.tools.extras import need
from tickmesh.tools.terminal import Failure, UsageFailure

PIECE_ROWS = 10_000
PIECE_S = 5.0  # a piece is written after so long, so that little is held in memory
ENDINGS = (".csv", ".parquet")


def check_ending(path: Path) -> None:
    """Raises UsageFailure for a file whose ending is none of ENDINGS."""
    if path.suffix.lower() not in ENDINGS:
        seen = path.suffix or "nothing"
        raise UsageFailure(f"--out {path} ends with {seen!r}; a file of rows ends with {' or '.join(ENDINGS)}")


class RowWriter(Protocol):
    """What takes rows, and makes the file whole."""

    def add(self, row: Row) -> None:
        """Takes a row; columns that it has not are empty."""

    def close(self) -> None:
        """Writes what is left."""


class RowFile:
    """A file of rows: written beside, under a temporary name, and put in its place by `close`. `rows`: how many it has."""

    def __init__(self, path: Path, columns: Mapping[str, ColumnType]):
        """Begins a file of these columns. Raises UsageFailure for another ending, Failure where it cannot be made."""
        kinds: dict[str, Callable[[Path, Mapping[str, ColumnType]], RowWriter]] = {".csv": _Csv, ".parquet": _Parquet}
        check_ending(path)
        self.path, self.rows = path, 0
        self._aside = path.with_name(f".{path.name}.tmp")
        try:
            self._writer = kinds[path.suffix.lower()](self._aside, columns)
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror or error}") from None

    def add(self, row: Row) -> None:
        """Takes a row. Raises Failure where the disk does not."""
        try:
            self._writer.add(row)
        except OSError as error:
            raise Failure(f"{self.path} cannot be written on: {error.strerror or error}") from None
        self.rows += 1

    def close(self) -> None:
        """Makes the file whole and puts it in its place; one that is there already is replaced. Raises Failure."""
        try:
            self._writer.close()
            os.replace(self._aside, self.path)
        except OSError as error:
            raise Failure(f"{self.path} cannot be finished: {error.strerror or error}") from None


class _Csv:
    def __init__(self, path: Path, columns: Mapping[str, ColumnType]):
        self._file = path.open("w", newline="")
        self._columns = list(columns)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._columns)

    def add(self, row: Row) -> None:
        values = (row.get(name) for name in self._columns)
        self._writer.writerow(["" if value is None else value for value in values])

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Mapping[str, ColumnType]):
        need("pyarrow", "export", "a Parquet file; --out FILE.csv needs nothing, and it")
        import pyarrow as pa
        from pyarrow import parquet

        types = {
            "int": pa.int64(),
            "float": pa.float64(),
            "text": pa.string(),
            "time": pa.timestamp("ns", "UTC"),
            "bool": pa.bool_(),
        }
        self._schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        self._columns = columns
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._begun = time.monotonic()

    def add(self, row: Row) -> None:
        self._rows.append({name: _typed(row.get(name), kind) for name, kind in self._columns.items()})
        if len(self._rows) >= PIECE_ROWS or time.monotonic() - self._begun > PIECE_S:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._begun = [], time.monotonic()

    def close(self) -> None:
        self._write()
        self._writer.close()


def _typed(value: Any, kind: ColumnType) -> Any:
    if value is None:
        return None
    if kind == "float":
        return float(value)
    return str(value) if kind == "text" else value


def file_columns(names: Sequence[str], types: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Column → type of a file; what is in a map, of which nothing is known beforehand, is text."""
    return {name: types.get(name, "text") for name in names}
