"""Where data are read from: a mesh's folder or a copy of its data. What `Database` asks of each is a `DataSource`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import h5py
import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.fields import Form, row_looks
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.catalog import day_start_ns
from tickmesh.storage.archive.file import SYSTEM, ArchiveFile, folder_of, of_instrument, subject_of
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader, day_of
from tickmesh.storage.query import coverage, gaps, reader
from tickmesh.storage.query.known import known_subjects
from tickmesh.storage.query.map_rows import is_map
from tickmesh.storage.query.recorded import RecordedSpan, recorded_spans
from tickmesh.storage.query.row_parts import count_rows, row_parts

if TYPE_CHECKING:
    import pyarrow as pa

Exponents = tuple[int, int]
ACCOUNT = "account"  # the symbol of what an account holds
ALL = "*"


class RowPart(NamedTuple):
    """Rows of one topic in order of seq, dtype row_dtype(kind), with the exponents of price and quantity that they have.

    `exported`: the same rows as an export has them, from an export.
    """

    rows: np.ndarray
    exponents: Exponents
    exported: "pa.Table | None" = None


class TopicStock(NamedTuple):
    """What is stored of one topic. `bytes`: on disk, without the log's. `logged`: rows that are in the log only.

    `days`: UTC days with archive or export files of it, in order.
    """

    topic: str
    days: tuple[str, ...]
    rows: int
    bytes: int
    logged: int = 0


class DataSource(Protocol):
    """What a database reads from. All raise a LogError (ReadError, ArchiveError …) with a sentence."""

    place: Path

    def instruments(self) -> list[str]:
        """The `venue.symbol` of every instrument, sorted."""

    def subjects(self, kind: Kind) -> list[str]:
        """The subjects of a kind: instruments, accounts, or processes; sorted."""

    def now(self) -> tuple[int, int]:
        """(the newest seq, its seq_ns or a time after it); (0, 0) where nothing is."""

    def begin_ns(self) -> int:
        """A time before which nothing is, ns."""

    def recorded(self, kind: Kind, subjects: Iterable[str]) -> dict[str, RecordedSpan]:
        """The times between which anything is recorded, by subject: of its instrument, or of all processes."""

    def parts(
        self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, until: int, scaled: bool
    ) -> Iterator[RowPart]:
        """Reads rows with start ≤ seq_ns < end and seq ≤ `until` in bounded parts. `scaled`: exponents are needed."""

    def count(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> int:
        """Counts the rows that `parts` reads."""

    def ledger(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> np.ndarray:
        """Reads the coverage (COVERAGE rows) of a stream that a span touches."""

    def maps(self, kind: Kind, start_ns: int | None, end_ns: int | None, until: int) -> Iterator[Event]:
        """Reads the events of a kind whose records are maps, of all subjects."""

    def stock(self) -> list[TopicStock]:
        """What is stored, by topic."""


def with_exponents(kind: Kind) -> bool:
    """Whether rows of a kind have prices or quantities, so that an instrument's exponents are needed to show them."""
    return bool({look.form for look in row_looks(kind).values()} & {Form.price, Form.quantity})


class MeshSource:
    """Archive and log of a mesh, up to this moment, whether it runs or not; or a copied data folder."""

    def __init__(self, config: Config):
        self.config = config
        self.place = config.source_dir
        self._seen: set[tuple[Kind, str]] = set()  # of the log, up to _seen_seq
        self._seen_seq = 0

    def instruments(self) -> list[str]:
        """The `venue.symbol` of every instrument of mesh.toml, archive and log, sorted."""
        found = {one.subject for one in self.config.instruments} | set(self._archived())
        found |= {subject for kind, subject in self._logged() if of_instrument(folder_of(kind, subject))}
        return sorted(one for one in found if one.partition(".")[2] not in ("", ACCOUNT))

    def _archived(self) -> list[str]:
        files = ArchiveReader(self.config.archive_dir).files
        return [subject_of(folder) for folder in {file.folder for file in files} if of_instrument(folder)]

    def _logged(self) -> set[tuple[Kind, str]]:
        """The topics of the log; it is read on from where the last look ended."""
        archived = ArchiveReader(self.config.archive_dir).archived_seq
        for event in reader.events(self.config, max(self._seen_seq, archived)):
            self._seen.add((Kind(event.kind), event.subject))
            self._seen_seq = event.seq
        return self._seen

    def subjects(self, kind: Kind) -> list[str]:
        """The subjects of a kind: instruments, accounts, or processes; sorted."""
        if kind is Kind.balance:
            found = {one for one in self._archived() if one.partition(".")[2] == ACCOUNT}
            return sorted(found | {subject for own, subject in self._logged() if own is kind})
        if kind is Kind.command:  # of who gives them: a person, a process
            found = {one.rstrip(".") for one in self._archived() if not one.partition(".")[2]}
            return sorted(found | {subject for own, subject in self._logged() if own is kind})
        return self.instruments() if of_instrument(folder_of(kind, "a.b")) else known_subjects(self.config, kind)

    def now(self) -> tuple[int, int]:
        """(the newest seq, its seq_ns or a time after it); (0, 0) where nothing is."""
        archive = ArchiveReader(self.config.archive_dir)
        last = LogReader(self.config.log_dir).last
        if last >= archive.archived_seq and (newest := next(LogReader(self.config.log_dir).events(last - 1), None)):
            return newest.seq, newest.seq_ns
        days = sorted(file.day for file in archive.files)
        return archive.archived_seq, day_start_ns(days[-1]) + DAY_NS if days else 0

    def begin_ns(self) -> int:
        """A time before which nothing is, ns."""
        days = sorted(file.day for file in ArchiveReader(self.config.archive_dir).files)
        if days:
            return day_start_ns(days[0])
        first = next(LogReader(self.config.log_dir).events(LogReader(self.config.log_dir).first - 1), None)
        return first.seq_ns if first else 0

    def recorded(self, kind: Kind, subjects: Iterable[str]) -> dict[str, RecordedSpan]:
        """Reads the times between which anything is recorded, by subject: of its instrument, or of all processes."""
        return recorded_spans(self.config, kind, subjects)

    def parts(
        self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, until: int, scaled: bool
    ) -> Iterator[RowPart]:
        """Reads rows in bounded parts, each with one pair of exponents: a definition that changes begins another part."""
        known = [(0, 0, 0)]
        if scaled and with_exponents(kind):
            known = reader.definitions(self.config, subject, start_ns, end_ns)
        begins = np.array([seq for seq, *_ in known[1:]], "u8")
        for rows in row_parts(self.config, kind, subject, start_ns, end_ns, until):
            edges = [0, *np.searchsorted(rows["seq"], begins).tolist(), len(rows)]
            for number, (low, high) in enumerate(zip(edges, edges[1:])):
                if low < high:
                    yield RowPart(rows[low:high], known[number][1:])

    def count(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> int:
        """Counts the rows of a span, mostly without reading them."""
        return count_rows(self.config, kind, subject, start_ns, end_ns)

    def ledger(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> np.ndarray:
        """Reads the coverage (COVERAGE rows) of a stream that a span touches."""
        return gaps.touched(self.config, kind, subject, start_ns, end_ns)

    def maps(self, kind: Kind, start_ns: int | None, end_ns: int | None, until: int) -> Iterator[Event]:
        """Reads the events of a kind whose records are maps, of all subjects, with start ≤ seq_ns < end."""
        after = 0
        if start_ns is not None:
            archive = ArchiveReader(self.config.archive_dir)
            later = [file.first for file in archive.files if file.day >= day_of(start_ns)]
            in_log = LogReader(self.config.log_dir).seq_at(start_ns)
            after = min(later) - 1 if later else max(archive.archived_seq, in_log)
        for event in reader.events(self.config, after, until, (kind,)):
            if end_ns is not None and event.seq_ns >= end_ns:
                return
            if start_ns is None or event.seq_ns >= start_ns:
                yield event

    def stock(self) -> list[TopicStock]:
        """What is stored, by topic; topics of processes share their files, and stand as `health.*`."""
        return coverage.retry_if_moved(self.config, self._stock)

    def _stock(self) -> list[TopicStock]:
        archive = ArchiveReader(self.config.archive_dir)
        days: dict[str, set[str]] = defaultdict(set)
        rows: dict[str, int] = defaultdict(int)
        sizes: dict[str, int] = defaultdict(int)
        logged: dict[str, int] = defaultdict(int)
        for file in archive.files:
            with ArchiveFile(file.path) as segment:
                for kind in segment.kinds:
                    name = f"{kind.name}.{ALL if file.folder == SYSTEM else subject_of(file.folder)}"
                    group = segment.file[kind.name]
                    days[name].add(file.day)
                    rows[name] += int(group.attrs["events" if is_map(kind) else "records"])
                    sizes[name] += stored_bytes(group)
        for event in reader.events(self.config, archive.archived_seq):
            kind = Kind(event.kind)
            name = f"{kind.name}.{ALL if folder_of(kind, event.subject) == SYSTEM else event.subject}"
            logged[name] += 1 if is_map(kind) else event.count
        names = sorted({*days, *logged}, key=lambda one: (Kind[one.partition(".")[0]], one))
        return [TopicStock(one, tuple(sorted(days[one])), rows[one], sizes[one], logged[one]) for one in names]


def stored_bytes(group: h5py.Group) -> int:
    """The bytes on disk of all datasets below an HDF5 group."""
    sizes: list[int] = []
    group.visititems(lambda _, item: sizes.append(item.id.get_storage_size()) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)
