"""Our own exports (`mesh export`, Parquet or Arrow): the events that they were made of, at the times of their log.

They have been arbitrated when they were recorded: gaps, flags and ids are taken over as they are. An export has no header's
event time of quotes, no checksums of books, and nothing of processes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tickmesh.bus.fields import row_looks
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import encode
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.query.times import ReadError
from tickmesh.tools.extras import need
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.rows import FileSpan, Row, Said
from tickmesh.tools.importing.source import Known, SourceFile
from tickmesh.tools.importing.text_files import Progress
from tickmesh.tools.terminal import Failure

if TYPE_CHECKING:
    from tickmesh.research.exported import ExportedFile

EXPORT = "export"
KINDS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)
MANIFEST = "manifest.json"
LACKS = ("no checksums of books, no event times of quotes, seq counted anew",)


def is_export(place: Path) -> bool:
    """Whether a folder is one of `mesh export`."""
    return (place / MANIFEST).is_file()


def sources(place: Path, progress: Progress) -> tuple[list[SourceFile], list[str]]:
    """(every file of an export that holds market data, in words what is left out). Raises Failure."""
    need("pyarrow", "export", "reading an export")
    from tickmesh.research.exported import read_files

    try:
        files = read_files(place)
        sums = {place / name: one["file_sha256"] for name, one in json.loads((place / MANIFEST).read_bytes())["files"].items()}
    except (ReadError, KeyError, TypeError, AttributeError) as error:
        raise Failure(str(error)) from None
    names = {kind.name for kind in KINDS}
    left_out = sorted({file.kind for file in files} - names - {Kind.coverage.name})
    wanted = [file for file in files if file.kind in names]
    defined = {file.subject for file in wanted if file.kind == Kind.instrument.name}
    for file in wanted:
        if file.subject not in defined:
            raise Failure(
                f"{place} has no definition of {file.subject}, so nobody knows the scale of its prices: export it again, with "
                "--topic instrument among the topics"
            )
    found = [_source(file, sums[file.path], progress) for file in wanted if file.rows]
    return found, [f"{one}: what processes and orders said refers to the log it was in" for one in left_out]


def _source(file: "ExportedFile", wanted: str, progress: Progress) -> SourceFile:
    sha256 = text_files.sha256_of(file.path, progress)
    if sha256 != wanted:
        raise Failure(f"{file.path} is not the file that was exported (its SHA-256 is {sha256}, not {wanted}): export it again")
    kind = Kind[file.kind]
    times = np.concatenate([_rows(kind, table, exponents)["seq_ns"][[0, -1]] for table, exponents in _tables(file.path)])
    window = FileSpan(int(times[0]), int(times[-1]))
    return SourceFile(file.path, EXPORT, (file.subject,), (kind,), sha256, file.bytes, window, LACKS)


def exponents_of(source: SourceFile) -> tuple[int, int]:
    """The exponents of price and quantity that a file's metadata states."""
    return next(exponents for _, exponents in _tables(source.path))


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The file's events in order of their seq, each at the log's time."""
    (kind,), (subject,) = source.kinds, source.subjects
    held = np.zeros(0, row_dtype(kind))
    try:
        for table, exponents in _tables(source.path):
            part = np.concatenate([held, _rows(kind, table, exponents)])
            last = int(np.searchsorted(part["seq"], part["seq"][-1]))  # an event may go on in the next part
            yield from _events(kind, subject, part[:last])
            held = part[last:]
            progress(0)
    except ReadError as error:
        raise Failure(str(error)) from None
    yield from _events(kind, subject, held)
    progress(source.size)


def _tables(path: Path) -> Iterator[tuple[Any, tuple[int, int]]]:
    from tickmesh.research.exported import tables_of

    return tables_of(path)


def _rows(kind: Kind, table: Any, exponents: tuple[int, int]) -> np.ndarray:
    from tickmesh.research.exported import rows_of_table

    return rows_of_table(table, row_dtype(kind), row_looks(kind), exponents)


def _events(kind: Kind, subject: str, rows: np.ndarray) -> Iterator[Row]:
    """One event for each run of rows with the same seq."""
    if not len(rows):
        return
    own = DTYPES[kind]
    records = np.zeros(len(rows), own)
    for name in own.names or ():
        if name in (rows.dtype.names or ()):
            records[name] = rows[name]
    starts = np.concatenate([[0], np.flatnonzero(rows["seq"][1:] != rows["seq"][:-1]) + 1, [len(rows)]]).tolist()
    for start, stop in zip(starts[:-1], starts[1:]):
        head = rows[stop - 1]
        event = encode(
            kind, subject, records[start:stop], flags=int(head["flags"]), first_id=int(head["first_id"]),
            last_id=int(head["last_id"]), venue_ns=_venue_ns(kind, head), recv_ns=int(head["recv_ns"]),
        )  # fmt: skip
        yield Row(int(head["seq_ns"]), event, int(head["seq"]), settled=True)


def _venue_ns(kind: Kind, row: np.void) -> int:
    """The event's own time: of a trade that states one its event time, else what the row has."""
    if kind is Kind.trade and row["event_ns"]:
        return int(row["event_ns"])
    return int(row["venue_ns"])
