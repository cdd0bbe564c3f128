"""A folder of `mesh export` as a source: its Parquet or Arrow files read back into the rows that they were made of."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tickmesh.bus.fields import MANTISSAS, FieldLook, Form, record_looks, row_looks
from tickmesh.bus.schema import COVERAGE, Kind
from tickmesh.bus.wire import Event
from tickmesh.research.sources import Exponents, RowPart, TopicStock
from tickmesh.storage.archive.catalog import DAY_NS, day_of, day_start_ns
from tickmesh.storage.archive.file import subject_of
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.coverage.intervals import merge
from tickmesh.storage.query.recorded import RecordedSpan
from tickmesh.storage.query.times import ReadError

MANIFEST = "manifest.json"
ROWS_EACH = 1 << 17


class ExportedFile(NamedTuple):
    """One file of an export, as its place in the folder and the manifest say."""

    path: Path
    kind: str
    subject: str
    day: str
    rows: int
    bytes: int


class ExportSource:
    """A folder of `mesh export`: whole days, no log, nothing of processes."""

    def __init__(self, place: Path):
        self.place = place
        self.files = read_files(place)

    def instruments(self) -> list[str]:
        """The `venue.symbol` of every exported instrument, sorted."""
        return sorted({file.subject for file in self.files})

    def subjects(self, kind: Kind) -> list[str]:
        """The subjects that a kind has files of."""
        return sorted({file.subject for file in self.files if file.kind == kind.name})

    def now(self) -> tuple[int, int]:
        """(a seq above all, the end of the last day)."""
        days = sorted(file.day for file in self.files)
        return (1 << 62, day_start_ns(days[-1]) + DAY_NS) if days else (0, 0)

    def begin_ns(self) -> int:
        """The beginning of the first day, ns."""
        return min((day_start_ns(file.day) for file in self.files), default=0)

    def recorded(self, kind: Kind, subjects: Iterable[str]) -> dict[str, RecordedSpan]:
        """The whole days that an instrument has files of, by subject."""
        days: dict[str, list[str]] = {subject: [] for subject in subjects}
        for file in self.files:
            if file.subject in days:
                days[file.subject].append(file.day)
        edges = {subject: (day_start_ns(min(own)), day_start_ns(max(own)) + DAY_NS) for subject, own in days.items() if own}
        return {subject: RecordedSpan(self.place, *edges.get(subject, (0, 0))) for subject in days}

    def _chosen(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> list[ExportedFile]:
        first = day_of(start_ns) if start_ns is not None else ""
        last = day_of(end_ns) if end_ns is not None else "9999"
        own = [file for file in self.files if (file.kind, file.subject) == (kind.name, subject)]
        return sorted((file for file in own if first <= file.day <= last), key=lambda file: file.day)

    def parts(
        self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, until: int, scaled: bool
    ) -> Iterator[RowPart]:
        """Reads rows with start ≤ seq_ns < end, a row group at a time."""
        for file in self._chosen(kind, subject, start_ns, end_ns):
            for table, exponents in tables_of(file.path):
                rows = rows_of_table(table, row_dtype(kind), row_looks(kind), exponents)
                keep = np.ones(len(rows), bool)
                if start_ns is not None:
                    keep &= rows["seq_ns"] >= start_ns
                if end_ns is not None:
                    keep &= rows["seq_ns"] < end_ns
                if keep.all():
                    yield RowPart(rows, exponents, table)
                elif keep.any():
                    yield RowPart(rows[keep], exponents, table.filter(pa.array(keep)))

    def count(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> int:
        """Counts the rows of a span: of whole days by the manifest."""
        if start_ns is None and end_ns is None:
            return sum(file.rows for file in self._chosen(kind, subject, None, None))
        return sum(len(part.rows) for part in self.parts(kind, subject, start_ns, end_ns, 1 << 62, False))

    def ledger(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> np.ndarray:
        """Reads the coverage (COVERAGE rows) of a stream, as it was known at the export; by the venue's time."""
        looks = {name: look for name, look in record_looks(Kind.coverage).items() if name in (COVERAGE.names or ())}
        parts = [
            rows_of_table(table, COVERAGE, looks, (0, 0))
            for file in self.files
            if (file.kind, file.subject) == (Kind.coverage.name, subject)
            for table, _ in tables_of(file.path)
        ]
        rows = merge(parts)
        keep = rows["stream"] == kind
        if start_ns is not None:
            keep &= (rows["end_ns"] >= start_ns) | (rows["end_ns"] == 0)
        if end_ns is not None:
            keep &= rows["begin_ns"] < end_ns
        found: np.ndarray = rows[keep]
        return found

    def maps(self, kind: Kind, start_ns: int | None, end_ns: int | None, until: int) -> Iterator[Event]:
        """Raises ReadError: an export has nothing of processes."""
        raise ReadError(f"{self.place} is an export, which has no {kind.name} events; open the mesh or its data folder instead")

    def stock(self) -> list[TopicStock]:
        """What is stored, by topic."""
        found: dict[tuple[str, str], list[ExportedFile]] = defaultdict(list)
        for file in self.files:
            found[file.kind, file.subject].append(file)
        return [
            TopicStock(
                f"{kind}.{subject}", tuple(sorted(one.day for one in own)), sum(one.rows for one in own),
                sum(one.bytes for one in own),
            )
            for (kind, subject), own in sorted(found.items(), key=lambda item: (Kind[item[0][0]], item[0][1]))
        ]  # fmt: skip


def read_files(place: Path) -> list[ExportedFile]:
    """The files that an export's manifest names. Raises ReadError for a manifest that is none of ours."""
    path = place / MANIFEST
    try:
        tree = json.loads(path.read_bytes())
        found = []
        for name, entry in tree["files"].items():
            kind, *folder, file = PurePosixPath(name).parts
            found.append(
                ExportedFile(
                    place / name, kind, subject_of("/".join(folder)), file.partition(".")[0], entry["rows"], entry["bytes"]
                )
            )
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(f"{path} is no manifest of `mesh export`: {error!r}; export again, into another folder") from None


def tables_of(path: Path) -> Iterator[tuple[pa.Table, Exponents]]:
    """Reads a file in parts of about ROWS_EACH rows, each with the exponents that its metadata states."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                exponents = _exponents(file.schema_arrow)
                for batch in file.iter_batches(ROWS_EACH):
                    yield pa.Table.from_batches([batch]), exponents
        else:
            with pa.OSFile(str(path), "rb") as source:
                ipc = pa.ipc.open_file(source)
                for number in range(ipc.num_record_batches):
                    yield pa.Table.from_batches([ipc.get_batch(number)]), _exponents(ipc.schema)
    except (OSError, pa.ArrowException) as error:
        raise ReadError(f"{path} cannot be read: {error}; run the export again, it makes what is missing anew") from None


def _exponents(schema: pa.Schema) -> Exponents:
    known = schema.metadata or {}
    price, quantity = (int(known.get(f"tickmesh.{of}_exponent".encode(), b"0")) for of in ("price", "quantity"))
    return price, quantity


def rows_of_table(table: pa.Table, dtype: np.dtype, looks: Mapping[str, FieldLook], exponents: Exponents) -> np.ndarray:
    """Builds the rows (`dtype`) that a table of `mesh export` was made of, whatever its `--decimals`; a column it lacks is 0.

    Of floats a mantissa is exact below 2^50.
    """
    out = np.zeros(table.num_rows, dtype)
    for name in dtype.names or ():
        look = looks[name]
        named = next((one for one in (look.name, name, f"{name}_mantissa") if one in table.column_names), None)
        if named is None:
            continue
        column = table[named].combine_chunks()
        scale = table[look.scale].to_numpy().astype("i8") if look.scale in table.column_names else 0
        out[name] = _stored(column, look, look.exponent(*exponents) + scale)
    return out


def _stored(column: Any, look: FieldLook, exponent: Any) -> np.ndarray:
    if look.form is Form.moment:
        return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))
    if look.form in (Form.word, Form.words):
        words = column.dictionary_encode()
        codes = np.array([_code(word, look) for word in words.dictionary.to_pylist()] or [0], "i8")
        found: np.ndarray = codes[words.indices.fill_null(0).to_numpy(zero_copy_only=False)] * (~_nulls(column))
        return found
    if look.form is Form.text:
        return np.array([(text or "").encode() for text in column.to_pylist()])
    if look.form in MANTISSAS and pa.types.is_decimal(column.type):
        return _unscaled(column, exponent)
    if look.form in MANTISSAS and pa.types.is_floating(column.type):
        floats = np.nan_to_num(column.to_numpy(zero_copy_only=False))
        mantissas: np.ndarray = np.rint(floats * 10.0 ** -np.asarray(exponent, "f8")).astype("i8")
        return mantissas
    return np.asarray((column.fill_null(0) if column.null_count else column).to_numpy(zero_copy_only=False))


def _unscaled(column: Any, exponent: Any) -> np.ndarray:
    """The mantissas of exact decimals."""
    shifts = np.broadcast_to(np.asarray(exponent), len(column)).tolist()
    return np.array([0 if one is None else int(one.scaleb(-shift)) for one, shift in zip(column.to_pylist(), shifts)], "i8")


def _nulls(column: Any) -> np.ndarray:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False))


def _code(word: str, look: FieldLook) -> int:
    codes = {text: code for code, text in look.words.items()}
    if look.form is Form.words:
        return sum(codes[one] if one in codes else int(one) for one in word.split("|") if one)
    return codes[word] if word in codes else int(word)
