"""A selection: some topics over a span of time, of which nothing is read until it is asked for in some form."""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from tickmesh.bus.names import SUBJECT_BYTES
from tickmesh.bus.schema import COVERAGE, Kind
from tickmesh.bus.topics import topic
from tickmesh.research.libraries import library
from tickmesh.research.sources import DataSource, RowPart
from tickmesh.storage.archive.rows import joined, row_dtype
from tickmesh.storage.query.coverage import COVERED, described, iso, lacking
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning, Gaps, Rows, check_span, outside, sentence, with_stretch
from tickmesh.storage.query.recorded import SLACK_NS, RecordedSpan
from tickmesh.storage.query.times import ReadError

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow as pa

    from tickmesh.research.joining import JoinedRows
    from tickmesh.storage.query.arrow import ExportColumns

Decimals = Literal["float", "mantissa", "exact"]
CHUNK_ROWS = 1 << 17
TAIL_NS = 60 * 10**9  # the first look back of `tail`; each further one is LONGER times as long
LONGER = 16


class RowTerms(NamedTuple):
    """What is wanted of topics: start ≤ seq_ns < end (None: no bound), how missing data and numbers are shown, which order."""

    start_ns: int | None = None
    end_ns: int | None = None
    gaps: Gaps = "warn"
    decimals: Decimals = "float"
    merge: bool = False


class Selection:
    """Rows of one kind, of one or several subjects, over a span of time. Nothing is read until a method is called that reads.

    Columns are those of `mesh export --decimals float` (docs/fields.md), wherever the data lie. Several subjects come one after
    the other, or with `merge=True` in order of seq. Memory is bounded by a chunk in `chunks`, `to_duckdb` and `head`; the other
    forms hold what they give. Each call reads up to the present moment.
    """

    def __init__(self, source: DataSource, kind: Kind, subjects: list[str], terms: RowTerms):
        self._source, self._kind, self._subjects, self._terms = source, kind, subjects, terms
        if terms.gaps not in get_args(Gaps):
            raise ReadError(f"gaps={terms.gaps!r} is unknown; it should be one of {', '.join(map(repr, get_args(Gaps)))}")
        if terms.decimals not in get_args(Decimals):
            allowed = ", ".join(map(repr, get_args(Decimals)))
            raise ReadError(f"decimals={terms.decimals!r} is unknown; it should be one of {allowed}")
        if terms.start_ns is not None and terms.end_ns is not None and terms.start_ns >= terms.end_ns:
            raise ReadError(f"the start {iso(terms.start_ns)} is not before the end {iso(terms.end_ns)}: nothing lies between")

    @property
    def topics(self) -> list[str]:
        """The topics that are read, `kind.subject`."""
        return [topic(self._kind, one) for one in self._subjects]

    @property
    def columns(self) -> list[str]:
        """The names of the columns of every form but `to_numpy`."""
        return list(self._schema().names)

    def __repr__(self) -> str:
        named = ", ".join(self.topics[:5]) + (f" and {len(self.topics) - 5} more" if len(self.topics) > 5 else "")
        begin, end = (iso(ns) if ns is not None else None for ns in (self._terms.start_ns, self._terms.end_ns))
        return (
            f"{named or self._kind.name}, from {begin or 'the beginning'} to {end or 'now'}\n"
            f"columns: {', '.join(self.columns)}\n"
            "nothing is read yet: .head(), .to_pandas(), .to_polars(), .to_arrow(), .to_numpy(), .to_duckdb(), .chunks(), "
            ".coverage"
        )

    def chunks(self, rows: int = CHUNK_ROWS) -> "Iterator[pa.Table]":
        """Reads Arrow tables of at most `rows` rows (the last one shorter), in order; a thread reads ahead.

        Warns or raises as `gaps` says before the first one.
        """
        library("pyarrow", "reading tables")
        from tickmesh.research.chunks import of_size, read_ahead

        if rows < 1:
            raise ReadError(f"chunks of {rows} rows are impossible; allowed are 1 or more")
        ledgers = self._ledgers(self._terms.gaps)
        return read_ahead(of_size(self._tables(ledgers), rows))

    def _tables(self, ledgers: dict[str, np.ndarray]) -> "Iterator[pa.Table]":
        from tickmesh.research.chunks import merged

        until, _ = self._source.now()
        types: list[Any] = []
        streams = [self._tables_of(subject, ledgers.get(subject), until, types) for subject in self._subjects]
        if self._terms.merge and len(streams) > 1:
            yield from merged(streams)
            return
        for stream in streams:
            yield from stream

    def _tables_of(self, subject: str, ledger: np.ndarray | None, until: int, types: list[Any]) -> "Iterator[pa.Table]":
        """The tables of one subject. `types`: of the columns of all subjects, once the first table is there."""
        import pyarrow as pa

        for rows, exponents, exported in self._parts(subject, until, scaled=True):
            columns = self._columns(subject, exponents)
            own = columns.schema()
            if not types:
                types += own.types
            if types != own.types:
                raise ReadError(
                    f"{topic(self._kind, subject)}: exact decimals of several instruments, or of several definitions of one, "
                    "have no common type; take decimals='float' or 'mantissa', or ask for less"
                )
            if exported is not None and (exported.schema.names, exported.schema.types) == (own.names, own.types):
                table = exported
            else:
                table = columns.table(rows, own)
            if self._terms.gaps == "mask" and ledger is not None:
                marked = with_stretch(rows, ledger)["stretch"]
                table = table.append_column(pa.field("stretch", pa.int32(), nullable=False), pa.array(marked))
            yield table

    def _parts(self, subject: str, until: int, scaled: bool) -> Iterator[RowPart]:
        return self._source.parts(self._kind, subject, self._terms.start_ns, self._terms.end_ns, until, scaled)

    def _columns(self, subject: str, exponents: tuple[int, int]) -> "ExportColumns":
        from tickmesh.storage.query.arrow import ExportColumns

        return ExportColumns(self._kind, subject, exponents, self._terms.decimals)

    def _schema(self) -> "pa.Schema":
        pa = library("pyarrow", "reading tables")
        schema = self._columns("", (0, 0)).schema()
        if self._terms.gaps == "mask" and self._kind in COVERED:
            schema = schema.append(pa.field("stretch", pa.int32(), nullable=False))
        return schema

    def to_arrow(self) -> "pa.Table":
        """Reads everything as one Arrow table."""
        pa = library("pyarrow", "reading tables")
        tables = list(self.chunks())
        return pa.concat_tables(tables) if tables else self._schema().empty_table()

    def to_polars(self) -> "polars.DataFrame":
        """Reads everything as a polars frame, in chunks as they were read (`rechunk()` makes one of them)."""
        frame: polars.DataFrame = library("polars", "a polars frame").from_arrow(self.to_arrow(), rechunk=False)
        return frame

    def to_pandas(self) -> "pandas.DataFrame":
        """Reads everything as a pandas frame; `attrs["coverage"]` is the ledger. Times mean UTC."""
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        if self._kind in COVERED and self._terms.gaps != "ignore":
            frame.attrs["coverage"] = self.coverage
        return frame

    def join_asof(
        self, right: "Selection", columns: Sequence[str] = (), prefix: str = "", across: bool = False
    ) -> "JoinedRows":
        """Each row with the last one of `right` that was heard before it, by seq: it cannot look ahead (research/joining.py).

        `db.trades("BTCUSDT").join_asof(db.quotes("BTCUSDT"), ["bid_price", "ask_price"]).to_pandas()`; columns of `right` have
        its kind before their names (`quote_bid_price`), or `prefix`.
        """
        from tickmesh.research.joining import JoinedRows

        return JoinedRows(self, right, columns, prefix, across)

    def to_numpy(self) -> np.ndarray:
        """Reads everything as it is stored: mantissas, codes, 0 for an unknown time; dtype `row_dtype(kind)`.

        As `tickmesh.storage.query.reader.arrays`; of several subjects with one more field before, `subject`.
        """
        ledgers = self._ledgers(self._terms.gaps)
        until, _ = self._source.now()
        several = len(self._subjects) > 1
        parts = []
        for subject in self._subjects:
            for rows, *_ in self._parts(subject, until, scaled=False):
                marked = with_stretch(rows, ledgers[subject]) if self._terms.gaps == "mask" and subject in ledgers else rows
                parts.append(_with_subject(marked, subject) if several else marked)
        out = joined(parts, parts[0].dtype if parts else row_dtype(self._kind)).view(Rows)
        if several and self._terms.merge:
            out = out[np.argsort(out["seq"], kind="stable")].view(Rows)
        out.coverage = np.concatenate(list(ledgers.values())) if ledgers else np.zeros(0, COVERAGE)
        return out

    def to_duckdb(self, connection: "duckdb.DuckDBPyConnection", name: str = "") -> str:
        """Reads everything into a table of a DuckDB connection, chunk by chunk; gives the table's name.

        `name`: else the kind's, like `trade`. A table of that name is replaced.
        """
        pa = library("pyarrow", "reading tables")
        chunks = self.chunks()
        first = next(chunks, None)
        schema = self._schema() if first is None else first.schema

        def batches() -> Iterator[Any]:
            for table in [first] if first is not None else []:
                yield from table.to_batches()
            for table in chunks:
                yield from table.cast(schema).to_batches()

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        named = name or self._kind.name
        connection.register("_tickmesh_rows", reader)
        quoted = named.replace('"', '""')
        connection.execute(f'create or replace temp table "{quoted}" as select * from _tickmesh_rows').fetchall()
        connection.unregister("_tickmesh_rows")
        return named

    @property
    def coverage(self) -> list[dict[str, Any]]:
        """What is known of the intervals that the span touches: instrument, kind, state, ids, times, evidence, reason."""
        ledgers = self._ledgers("ignore", read=True)
        return [{"instrument": subject, **one} for subject, rows in ledgers.items() for one in described(rows)]

    def _ledgers(self, gaps: Gaps, read: bool = False) -> dict[str, np.ndarray]:
        """The ledger of each subject; warns or raises where it states a lack, and where the span is beyond what is recorded."""
        self.check_span(gaps)
        if self._kind not in COVERED or (gaps == "ignore" and not read):
            return {}
        found = {}
        for subject in self._subjects:
            rows = found[subject] = self._source.ledger(self._kind, subject, self._terms.start_ns, self._terms.end_ns)
            lost = lacking(rows)
            if len(lost) and gaps == "raise":
                raise CoverageError(sentence(self._kind, subject, lost), lost)
            if len(lost) and gaps == "warn":
                warnings.warn(sentence(self._kind, subject, lost), CoverageWarning, stacklevel=outside())
        return found

    def check_span(self, gaps: Gaps = "warn") -> None:
        """Warns, or raises as `gaps` says, where the span that is asked for reaches beyond what is recorded."""
        if gaps == "ignore" or (self._terms.start_ns is None and self._terms.end_ns is None):
            return
        found = self._source.recorded(self._kind, self._subjects or ["*"])
        together: list[tuple[RecordedSpan, list[str]]] = []  # those that begin together are of one sentence
        for subject, span in sorted(found.items(), key=lambda one: one[1].begin_ns):
            if not together or span.begin_ns > together[-1][0].begin_ns + SLACK_NS:
                together.append((span, []))
            together[-1][1].append(topic(self._kind, subject))
        for span, names in together:
            check_span(names, span, self._terms.start_ns, self._terms.end_ns, gaps)

    def __len__(self) -> int:
        terms = self._terms
        return sum(self._source.count(self._kind, subject, terms.start_ns, terms.end_ns) for subject in self._subjects)

    def __bool__(self) -> bool:
        """Always true: a selection that is empty is known only when it is read; ask `len`."""
        return True

    def head(self, rows: int = 5) -> "pandas.DataFrame":
        """Reads the first rows as a pandas frame."""
        return self._first(rows).to_pandas()

    def _first(self, rows: int) -> "pa.Table":
        from tickmesh.research.chunks import of_size

        tables = of_size(self._tables(self._ledgers(self._terms.gaps)), max(rows, 1))
        first = next(tables, None)
        return self._schema().empty_table() if first is None else first

    def tail(self, rows: int = 5) -> "pandas.DataFrame":
        """Reads the newest rows, of several subjects in order of seq, as a pandas frame: without reading what is before."""
        self.check_span(self._terms.gaps)
        _, newest_ns = self._source.now()
        end_ns = min(newest_ns + 1, self._terms.end_ns if self._terms.end_ns is not None else newest_ns + 1)
        begin_ns = max(self._source.begin_ns(), self._terms.start_ns or 0)
        back_ns = TAIL_NS
        while True:
            start_ns = max(end_ns - back_ns, begin_ns)
            gaps: Gaps = "mask" if self._terms.gaps == "mask" else "ignore"
            terms = self._terms._replace(start_ns=start_ns, end_ns=max(end_ns, start_ns + 1), gaps=gaps, merge=True)
            found = type(self)(self._source, self._kind, self._subjects, terms).to_arrow()
            if found.num_rows >= rows or start_ns <= begin_ns:
                frame: pandas.DataFrame = found.slice(max(found.num_rows - rows, 0)).to_pandas()
                return frame
            back_ns *= LONGER


def _with_subject(rows: np.ndarray, subject: str) -> np.ndarray:
    out = np.zeros(len(rows), np.dtype([("subject", f"S{SUBJECT_BYTES}"), *rows.dtype.descr]))
    out["subject"] = subject.encode()
    for name in rows.dtype.names or ():
        out[name] = rows[name]
    return out
