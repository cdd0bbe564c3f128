"""Features of the library (docs/features.md) over what was recorded: the functions that models call, over columns."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind
from tickmesh.nodes.model import selecting
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.file import folder_of
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.span import ROW, SubjectColumns
from tickmesh.storage.query import reader
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.gaps import check_recorded
from tickmesh.storage.query.known import check_known
from tickmesh.storage.query.times import ReadError, Time, span_ns

if TYPE_CHECKING:
    import pandas

ROWS = 1 << 13  # of one call: rows and what they point to stay in the processor's cache
SAMPLES = 1 << 14  # of one chunk
SAMPLES_MAX = 20_000_000  # of one frame
FOREVER_NS = (1 << 63) - 1
_GAP_RULE = np.array([GapState.open, GapState.unrecoverable, Kind.trade], "i8")  # as nodes/model/columns.py has it
_NOTHING = {kind: np.zeros(1, DTYPES[kind]) for kind in (Kind.quote, Kind.trade, Kind.depth, Kind.gap)}


class FeatureChunk(NamedTuple):
    """Consecutive samples. `samples`: (n,) SAMPLE of nodes/models/features/sampling.py; `values`: (n, features) float64."""

    samples: np.ndarray
    values: np.ndarray


class FeatureRun:
    """What a run over one instrument needs and keeps: the state, the samples that no chunk has yet."""

    def __init__(
        self, config: Config, names: Sequence[str], parameters: Mapping[str, float], every_ns: int, begin_ns: int, end_ns: int
    ):
        from tickmesh.nodes.models import loading

        use_cache(config)
        from tickmesh.nodes.models.features import sampling, table

        try:
            wanted = table.wanted_of(names)
        except ValueError as error:
            raise ReadError(str(error)) from None
        if not names:
            raise ReadError(f"no feature was asked for; there are {', '.join(table.NAMES)}")
        if len(set(names)) < len(names):
            raise ReadError(f"{', '.join(names)}: each feature once")
        self.kinds = (*table.kinds_of(names), Kind.gap, Kind.instrument)
        in_table = [name for name in table.NAMES if name in names]
        self._order = [in_table.index(name) for name in names]
        try:
            self._parameters = loading.chosen(table.PARAMETERS, parameters, "the feature library")
        except ConfigError as error:
            raise ReadError(str(error)) from None
        self._wanted = wanted
        # with room for a book whatever is asked for: one type of state is one compilation
        self._state, self.units = np.zeros(1, table.state_dtype(table.NAMES)), np.full(2, np.nan)
        self._pace = np.zeros(1, sampling.PACE)
        self._pace["every_ns"], self._pace["begin_ns"], self._pace["end_ns"] = every_ns, begin_ns, end_ns
        self._samples, self._values = np.zeros(SAMPLES, sampling.SAMPLE), np.zeros((SAMPLES, len(names)))
        self._count, self._sample_rows = 0, sampling.sample_rows
        self._use = np.zeros(max(Kind) + 1, "u1")
        for kind in self.kinds:
            self._use[kind] = {Kind.gap: selecting.GAP, Kind.instrument: selecting.DEFINITION}.get(kind, selecting.RECORDS)
        self._rows, self._seqs, self._breaks = np.zeros(ROWS, ROW), np.zeros(ROWS, "u8"), np.zeros((ROWS, 2), "i8")

    def define(self, price_exponent: int, quantity_exponent: int) -> None:
        """Sets the units from a definition."""
        self.units[:] = float(f"1e{price_exponent}"), float(f"1e{quantity_exponent}")

    def take(self, columns: SubjectColumns) -> Iterator[FeatureChunk]:
        """Takes the instrument's columns of a span; gives the chunks that are full."""
        gaps = columns.records.get(Kind.gap, _NOTHING[Kind.gap])
        for begin in range(0, len(columns.rows), ROWS):
            count, definitions = selecting.select(
                columns.rows[begin : begin + ROWS], columns.seqs[begin : begin + ROWS], self._use, int(Flag.OFF_BOOK), gaps,
                _GAP_RULE, self._rows, self._seqs, self._breaks,
            )  # fmt: skip
            done = 0
            for before, definition in self._breaks[:definitions].tolist():
                yield from self._call(columns, done, before)
                row = columns.records[Kind.instrument][definition]
                self.define(int(row["price_exponent"]), int(row["quantity_exponent"]))
                done = before
            yield from self._call(columns, done, count)

    def _call(self, columns: SubjectColumns, first: int, last: int) -> Iterator[FeatureChunk]:
        quotes, trades, levels = (columns.records.get(kind, _NOTHING[kind]) for kind in (Kind.quote, Kind.trade, Kind.depth))
        while first < last:
            first, self._count = self._sample_rows(
                self._state, self._parameters, self.units, self._rows, self._seqs, first, last, quotes, trades, levels,
                self._wanted, self._pace, self._samples, self._values, self._count,
            )  # fmt: skip
            if first < last:
                yield self.rest()

    def rest(self) -> FeatureChunk:
        """The samples that no chunk has yet."""
        count, self._count = self._count, 0
        return FeatureChunk(self._samples[:count].copy(), self._values[:count][:, self._order])


def feature_chunks(
    config: Config, subject: str, names: Sequence[str], start: Time = None, end: Time = None, every: Every | None = None,
    parameters: Mapping[str, float] | None = None, warm: Every | None = None,
) -> Iterator[FeatureChunk]:  # fmt: skip
    """Computes features of `subject` in parts of bounded size, for moments with start ≤ t < end: see Database.features.

    Raises ReadError for names, parameters or times that cannot be, and for an instrument of which nothing is known.
    """
    begin_ns, until_ns = span_ns(start, end)
    end_ns = FOREVER_NS if until_ns is None else until_ns
    every_ns = 0 if every is None else nanoseconds(every)
    run = FeatureRun(config, names, parameters or {}, every_ns, begin_ns or 0, end_ns)
    after = 0
    if warm is not None:
        if begin_ns is None:
            raise ReadError("warm says how long before the start to begin; there is no start")
        after = _after(config, subject, begin_ns - nanoseconds(warm))
        if after:  # what was in force there; a log that is read from its first event defines by itself
            run.define(*[row for row in reader.definitions(config, subject) if row[0] <= after][-1][1:])
    found = False
    for span in reading.spans(config, run.kinds, after=after, subject=subject):
        for columns in span.subjects:
            if columns.subject == subject and len(columns.rows):
                found = True
                yield from run.take(columns)
                if columns.rows["seq_ns"][-1] >= end_ns:
                    yield run.rest()
                    return
    if not found:
        check_known(config, Kind.quote, subject)
    yield run.rest()


def feature_frame(
    config: Config, subject: str, names: Sequence[str], start: Time, end: Time, every: Every | None,
    parameters: Mapping[str, float] | None, warm: Every | None,
) -> "pandas.DataFrame":  # fmt: skip
    """Makes one frame of all chunks: index `time` (UTC), `seq`, `seq_ns`, then a column for each feature."""
    import pandas

    check_recorded(config, Kind.quote, subject, span_ns(start, end))
    parts, total = [], 0
    for chunk in feature_chunks(config, subject, names, start, end, every, parameters, warm):
        parts.append(chunk)
        total += len(chunk.samples)
        if total > SAMPLES_MAX:
            raise ReadError(f"more than {SAMPLES_MAX} rows; take a longer `every` or a shorter span, or feature_chunks")
    samples, values = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    columns = {"seq": samples["seq"], "seq_ns": samples["seq_ns"].astype("M8[ns]")}
    columns |= {name: values[:, i] for i, name in enumerate(names)}
    frame = pandas.DataFrame(columns, index=pandas.DatetimeIndex(samples["at_ns"], name="time", tz="UTC"))
    frame.attrs = {"instrument": subject}
    return frame


def _after(config: Config, subject: str, start_ns: int) -> int:
    """The last seq of the archive's days of an instrument before the day of `start_ns`; 0 where there is none."""
    folder, day = folder_of(Kind.trade, subject), day_of(start_ns)
    files = ArchiveReader(config.archive_dir).files
    return max((file.last for file in files if file.folder == folder and file.day < day), default=0)


def use_cache(config: Config) -> None:
    """Keeps the machine code in the mesh's folder, as that of models; where it cannot be written, numba finds a place.

    To be called before anything of nodes/models/features is imported."""
    from tickmesh.nodes.models import cache

    here = Path(cache.__file__).parent / "features" / "sampling.py"
    try:
        cache.use(config, here)
    except OSError:
        return
