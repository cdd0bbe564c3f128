"""One topic's day as one Parquet or Arrow file: streamed, read back and compared, and only then given its name."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tickmesh.bus.config import Config
from tickmesh.bus.files import make_folders
from tickmesh.bus.schema import SCHEMA_HASH, SCHEMA_VERSION, Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import refusal
from tickmesh.storage.archive.file import SOFTWARE, ArchiveFile, folder_of
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader, File, rows_of
from tickmesh.storage.query import reader
from tickmesh.storage.query.arrow import ContentSum, Decimals, ExportColumns
from tickmesh.storage.query.coverage import COVERED
from tickmesh.storage.query.row_parts import log_parts

Format = Literal["parquet", "arrow"]
ROWS_EACH = 1 << 17  # of a row group: some MB, and the same however the archive was cut


class ExportError(LogError):
    """An export that cannot be done: a sentence for the person who exports."""


class NoScale(ExportError):
    """A day on which the instrument's exponents changed, which one file cannot hold; others can be exported."""


class Day(NamedTuple):
    """One topic's day, to be exported. `complete`: nothing can be added to it any more."""

    kind: Kind
    subject: str
    day: str
    complete: bool

    def path(self, format: str) -> str:
        """The file's place in the export's folder, like trade/binance/BTCUSDT/2024-08-09.parquet."""
        return f"{self.kind.name}/{folder_of(self.kind, self.subject)}/{self.day}.{format}"

    def ledger_path(self, format: str) -> str:
        """The place of its coverage file in the export's folder."""
        return f"coverage/{folder_of(Kind.trade, self.subject)}/{self.day}.{format}"

    @property
    def topic(self) -> str:
        """The topic: `kind.subject`."""
        return f"{self.kind.name}.{self.subject}"

    @property
    def span_ns(self) -> tuple[int, int]:
        """The beginning and end of the day, ns."""
        start = int(np.datetime64(self.day, "D").astype("i8")) * DAY_NS
        return start, start + DAY_NS


class Written(NamedTuple):
    """An entry of the export's manifest about a file. `file_sha256` is of its bytes, `content_sha256` of its values."""

    rows: int
    bytes: int
    file_sha256: str
    content_sha256: str
    complete: bool
    format: str
    decimals: str
    log_id: str = ""  # of the log that it was made from


def archived_days(archive: ArchiveReader) -> tuple[list[str], str]:
    """The days that the archive has something of, and the last one: all before it are finished, as time never goes back."""
    days = sorted({file.day for file in archive.files})
    return days, days[-1] if days else ""


def files_of(archive: ArchiveReader, folder: str, day: str) -> list[File]:
    """The archive files of a folder that hold a day's events."""
    return [file for file in archive.files if file.folder == folder and file.day == day]


def kinds_of(archive: ArchiveReader, folder: str, day: str) -> list[Kind]:
    """The kinds that an instrument has events of on a day."""
    found: set[Kind] = set()
    for file in files_of(archive, folder, day):
        with ArchiveFile(file.path) as segment:
            found.update(segment.kinds)
    return sorted(found)


def log_id_of(archive: ArchiveReader, folder: str, day: str) -> str:
    """The identity of the log that a folder's day was made from: its last file's, as a sealed day has it. "" for none."""
    if not (files := files_of(archive, folder, day)):
        return ""
    with ArchiveFile(files[-1].path) as segment:
        return str(segment.attributes["log_id"])


def exponents_of(config: Config, archive: ArchiveReader, day: Day) -> tuple[int, int]:
    """The exponents of price and quantity on that day. Raises NoScale when they were changed on it."""
    known = reader.definitions(config, day.subject, *day.span_ns)
    if len(known) > 1:  # a definition that was replaced before the topic's first row of the day scales nothing
        first = next((int(part["seq"][0]) for part in rows(config, archive, day) if len(part)), 0)
        known = [one for one, after in zip(known, [*known[1:], (first + 1,)]) if after[0] > first]
    if len(known) > 1:
        raise NoScale(
            f"{day.topic} of {day.day} has exponents {known[0][1:]} and {known[1][1:]}: the venue's definition changed on that "
            "day, and one file has room for one; read it with tickmesh.storage.query.reader instead"
        )
    return known[0][1:]


def rows(config: Config, archive: ArchiveReader, day: Day) -> Iterator[np.ndarray]:
    """Reads the day's rows in order, as `tickmesh.storage.query.reader.arrays`, some at a time; of an open day the log's
    as well.
    """
    start_ns, end_ns = day.span_ns
    for file in files_of(archive, folder_of(day.kind, day.subject), day.day):
        with ArchiveFile(file.path) as segment:
            if day.kind in segment.kinds:
                for tables in segment.windows((day.kind,)):
                    yield rows_of(day.kind, tables[day.kind], day.subject, start_ns, end_ns)
    if day.complete:
        return
    yield from log_parts(config, archive.archived_seq, day.kind, day.subject, start_ns, end_ns)


def of_day(ledger: np.ndarray, day: Day) -> np.ndarray:
    """The rows of an instrument's ledger that touch the day; rows whose time is not known are always among them."""
    start_ns, end_ns = day.span_ns
    rows: np.ndarray = ledger[((ledger["end_ns"] >= start_ns) | (ledger["end_ns"] == 0)) & (ledger["begin_ns"] < end_ns)]
    return rows


def described(rows: np.ndarray, kind: Kind) -> str:
    """Encodes the ledger's rows of one stream as JSON."""
    own = rows[rows["stream"] == kind]
    return json.dumps([{name: row[name].item() for name in own.dtype.names or ()} for row in own])


def write_ledger(folder: Path, day: Day, rows: np.ndarray, format: Format, known: dict[str, Any] | None) -> Written | None:
    """Writes an instrument's coverage of the day beside its topics' files. None if it is there already, as `known` has it."""
    path = folder / day.ledger_path(format)
    columns = ExportColumns(Kind.coverage, day.subject)
    shape = columns.schema()
    part = columns.table(rows, shape)
    content = ContentSum()
    content.add(part)
    if known and known["content_sha256"] == content.hexdigest() and is_there(path, known["bytes"]):
        return None
    wanted, size, file_sum = write(path, shape, [part], format)
    return Written(wanted.rows, size, file_sum, wanted.hexdigest(), day.complete, format, "mantissa")


def is_there(path: Path, size: int) -> bool:
    """Whether a file of this size is there."""
    with contextlib.suppress(OSError):
        return path.stat().st_size == size
    return False


def groups(parts: Iterable[pa.Table], empty: pa.Table) -> Iterator[pa.Table]:
    """Cuts tables anew, the same rows in tables of ROWS_EACH; the last one is shorter."""
    held = empty
    for part in parts:
        held = pa.concat_tables([held, part])
        while held.num_rows >= ROWS_EACH:
            yield held.slice(0, ROWS_EACH).combine_chunks()
            held = held.slice(ROWS_EACH).combine_chunks()
    if held.num_rows:
        yield held.combine_chunks()


def write_day(
    config: Config, archive: ArchiveReader, day: Day, folder: Path, format: Format, decimals: Decimals,
    ledger: np.ndarray, progress: Callable[[int], None] = lambda rows: None,
) -> Written:  # fmt: skip
    """Writes one topic's day below `folder`. Raises ExportError; nothing is left behind then."""
    exponents = exponents_of(config, archive, day)
    metadata = {
        "software": SOFTWARE, "topic": day.topic, "day": day.day, "complete": json.dumps(day.complete),
        "log_id": f"{archive.log_id:016x}", "schema_version": str(SCHEMA_VERSION), "schema_hash": SCHEMA_HASH,
        "price_exponent": str(exponents[0]), "quantity_exponent": str(exponents[1]),
    }  # fmt: skip
    if day.kind in COVERED:
        metadata["coverage"] = described(of_day(ledger, day), day.kind)
    columns = ExportColumns(day.kind, day.subject, exponents, decimals)
    shape = columns.schema({f"tickmesh.{name}": value for name, value in metadata.items()})

    def tables() -> Iterator[pa.Table]:
        for part in rows(config, archive, day):
            progress(len(part))
            yield columns.table(part, shape)

    log_id = log_id_of(archive, folder_of(day.kind, day.subject), day.day)
    wanted, size, file_sum = write(folder / day.path(format), shape, tables(), format)
    return Written(wanted.rows, size, file_sum, wanted.hexdigest(), day.complete, format, decimals, log_id)


def write(path: Path, shape: pa.Schema, parts: Iterable[pa.Table], format: Format) -> tuple[ContentSum, int, str]:
    """Writes a file aside, reads it back, syncs and renames it; gives (sum of the values, bytes, SHA-256 of the bytes)."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        make_folders(path.parent)
        written = ContentSum()
        with _writer(aside, shape, format) as put:
            for group in groups(parts, shape.empty_table()):
                written.add(group)
                put(group)
        _sync(aside)
        if content(aside, format) != (written.rows, written.hexdigest()):
            raise ExportError(f"{path} does not read back as it was written; this is a bug or a bad disk, nothing was kept")
        size, file_sum = aside.stat().st_size, file_sha256(aside)
        aside.rename(path)
        _sync(path.parent)
        return written, size, file_sum
    except (OSError, pa.ArrowException) as error:
        why = refusal(error, path.parent) if isinstance(error, OSError) else error
        raise ExportError(f"{path} cannot be written: {why}; what is finished stays, run it again to go on") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


@contextlib.contextmanager
def _writer(path: Path, shape: pa.Schema, format: Format) -> Iterator[Callable[[pa.Table], Any]]:
    if format == "parquet":
        deltas = {field.name: "DELTA_BINARY_PACKED" for field in shape if _is_counted(field.type)}
        others = [field.name for field in shape if field.name not in deltas]
        with pq.ParquetWriter(
            path, shape, compression="zstd", version="2.6", use_dictionary=others, column_encoding=deltas
        ) as parquet:
            yield lambda group: parquet.write_table(group, row_group_size=ROWS_EACH)
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, shape, options=options) as ipc:
            yield lambda group: ipc.write_table(group, max_chunksize=ROWS_EACH)


def _is_counted(type: pa.DataType) -> bool:
    """Whether values follow one another closely, as ids, times and prices do: half the size of a dictionary then."""
    return bool(pa.types.is_timestamp(type) or pa.types.is_int64(type))


def content(path: Path, format: Format) -> tuple[int, str]:
    """Reads a file as it is on disk, one row group in memory at a time: (rows, SHA-256 of the values)."""
    found = ContentSum()
    if format == "parquet":
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                found.add(file.read_row_group(number))
    else:
        with pa.OSFile(str(path), "rb") as source:
            ipc = pa.ipc.open_file(source)
            for number in range(ipc.num_record_batches):
                found.add(pa.Table.from_batches([ipc.get_batch(number)]))
    return found.rows, found.hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """A file or a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
