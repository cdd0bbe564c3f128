"""The archive: a folder of immutable HDF5 files, and a manifest that says up to which `seq` they are complete.

A *cut* writes the events of one range of `seq` of one UTC day, one file a subject; a *sealed* day is one file a subject.
What of them a reader sees is decided by `watermark.json` (storage/archive/catalog.py). Writers: storage/archive/writer.py,
seal.py, prune.py.
"""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.archive import absent
from tickmesh.storage.archive.catalog import (
    DAY_NS,
    MANIFEST,
    OVERLAY,
    PRUNED_KINDS,
    File,
    Watermark,
    day_of,
    list_files,
    manifest,
    read_watermark,
    visible,
)
from tickmesh.storage.archive.eras import NONE, era_of, eras_in
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, folder_of
from tickmesh.storage.archive.rows import (
    By,
    check_order,
    in_id_order,
    joined,
    row_dtype,
    rows_of,
    segment_count,
    segment_parts,
    segment_rows,
)
from tickmesh.storage.hdf5.columns import Table, TableReader, to_bytes, windows

__all__ = [
    "DAY_NS", "MANIFEST", "ArchiveError", "ArchiveReader", "File", "PrunedWarning", "Watermark", "day_of", "list_files",
    "manifest", "read_watermark", "row_dtype", "rows_of",
]  # fmt: skip

Result = TypeVar("Result")


class Found(NamedTuple):
    """Rows (dtype row_dtype), and the era of each row (int64)."""

    rows: np.ndarray
    eras: np.ndarray


class PrunedWarning(UserWarning):
    """Warns that a request touches a day that was removed after its export."""


class ArchiveReader:
    """Reads the archive up to its watermark at the moment of opening (`refresh` moves on)."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.refresh()

    def refresh(self) -> None:
        """Reads manifest and file names anew, as of one moment: a seal in between would hide both the day and its cuts."""
        mark = read_watermark(self.folder)
        while True:
            files = list_files(self.folder)
            again = read_watermark(self.folder)
            if again[2:] == mark[2:]:
                break
            mark = again
        self.mark = mark
        self.archived_seq = mark.archived_seq
        self.log_id = mark.log_id
        seen = visible(files, mark)
        self.files = [f for f in seen if f.part != OVERLAY]
        self.overlays = [f for f in seen if f.part == OVERLAY]

    def moved(self) -> bool:
        """Whether a file that is gone has been sealed or pruned meanwhile; the list is a new one then.

        It goes up to the new `archived_seq`: a day that was half archived when it was listed is one file now.
        """
        before = self.mark
        self.refresh()
        for pruned in set(self.mark.pruned) - set(before.pruned):
            self._warn(pruned.day)
        return self.mark[2:] != before[2:]

    def _retried(self, work: Callable[[], Result]) -> Result:
        """`work`, done again when files were sealed away under it."""
        while True:
            try:
                return work()
            except ArchiveGone:
                if not self.moved():
                    raise

    def require(self, folder: str | None, days: tuple[str, str] = ("", absent.LAST_DAY), all_cuts: bool = False) -> None:
        """Raises ArchiveError when a file of a folder (None: of any) and days is not there: what is left would look whole.

        `all_cuts`: cuts of later days count too. Raises ArchiveGone when one was sealed away just now.
        """
        absent.require(self.folder, self.files, self.mark, folder, days, all_cuts)

    def cuts(self, after: int = 0, until: int | None = None, folders: set[str] | None = None) -> Iterator[list[File]]:
        """Gives the files of one cut or day after the other. Raises ArchiveError when one of them is not there."""
        last = min(self.archived_seq, until if until is not None else self.archived_seq)
        chosen = [f for f in self.files if f.last > after and f.first <= last]
        position = 0
        expected = max(after + 1, self.mark.first_seq)
        while position < len(chosen):
            first, end = chosen[position].first, chosen[position].last
            cut = []
            while position < len(chosen) and chosen[position].first == first:
                cut.append(chosen[position])
                position += 1
            self._bridge(expected, first - 1)
            expected = end + 1
            absent.require_beside(self.folder, cut, folders)
            yield [f for f in cut if folders is None or f.folder in folders]
        self._bridge(expected, last)

    def _bridge(self, first: int, last: int) -> None:
        """Raises ArchiveError when the seq between are not accounted for by pruned days."""
        for pruned in sorted(self.mark.pruned, key=lambda one: one.first):
            if pruned.first <= first <= pruned.last:
                first = pruned.last + 1
        if first <= last:
            raise ArchiveError(
                f"{self.folder} has no file with seq {first} to {last}, although {MANIFEST} says it holds everything up to "
                f"{self.archived_seq}; restore the files from a copy"
            )

    def events(
        self,
        after: int = 0,
        until: int | None = None,
        kinds: Iterable[Kind] | None = None,
        subject: str | None = None,
    ) -> Iterator[Event]:
        """Reads events with after < seq ≤ until in order, the same bytes as in the log; one cut or part of a day is in memory.

        Raises ArchiveError for a damaged file, and for one that is not there. Over a pruned day it warns, and gives what that
        day has kept.
        """
        wanted = frozenset(Kind) if kinds is None else frozenset(kinds)
        folders = None if subject is None else {folder_of(kind, subject) for kind in wanted}
        whole = subject is None and kinds is None
        self.warn_of_pruned(wanted, after, until)
        position = after
        while True:
            try:
                for files in self.cuts(position, until, folders):
                    for event in self._events(files, wanted, subject, position, until, whole):
                        position = event.seq
                        yield event
                return
            except ArchiveGone:
                if not self.moved():
                    raise

    def warn_of_pruned(self, kinds: Iterable[Kind], after: int, until: int | None) -> None:
        """Warns (PrunedWarning) of days between these seqs that have no events of the kinds any more."""
        for pruned in self.mark.pruned:
            if PRUNED_KINDS & set(kinds) and pruned.last > after and (until is None or pruned.first <= until):
                self._warn(pruned.day, 4)

    def _events(
        self, files: list[File], wanted: frozenset[Kind], subject: str | None, after: int, until: int | None, whole: bool
    ) -> Iterator[Event]:
        """Of one cut or one day."""
        with contextlib.ExitStack() as stack:
            readers: dict[tuple[int, Kind], TableReader] = {}
            segments = [stack.enter_context(ArchiveFile(file.path)) for file in files]
            for index, segment in enumerate(segments):
                for kind in segment.kinds:
                    if kind in wanted:
                        readers[index, kind] = segment.reader(kind)
            if whole:
                self.check_whole(files, sum(reader.events for reader in readers.values()))
            try:
                for tables in windows(readers, after, until, files[0].part == "cut" if files else True):
                    yield from in_order(list(tables.values()), subject)
            except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
                for segment in segments:
                    segment.check()  # says which one it is
                raise ArchiveError(f"{self.folder} cannot be read: {error!r}") from None

    def check_whole(self, files: list[File], events: int) -> None:
        """Raises ArchiveGone where the files of one cut or day, which hold `events` events, are not all that belong to it."""
        span = files[0].span
        if events == span[1] - span[0] + 1 or any((one.first, one.last) == span for one in self.mark.pruned):
            return
        missing = ", ".join(self._missing(files)) or "unknown which"
        raise ArchiveGone(
            f"the files {files[0].path.name} hold {events} events; {span[1] - span[0] + 1} belong there. "
            f"One is missing: {missing}; restore it from a copy"
        )

    def _missing(self, files: list[File]) -> list[str]:
        with ArchiveFile(files[0].path) as segment:
            return [name for name in json.loads(segment.attributes["files"]) if not (self.folder / name).exists()]

    def by_venue(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> tuple[Found, int]:
        """Reads rows by venue time, in no order: (rows with the era of each, the era with which the archive ends)."""
        folder, days = self._asked(kind, subject, start_ns, end_ns)
        return self._retried(
            lambda: (self._by_venue(kind, subject, folder, start_ns, end_ns, days), self.era_after(kind, subject))
        )

    def columns(
        self, kind: Kind, subject: str, start_ns: int | None = None, end_ns: int | None = None, by: By = "seq"
    ) -> np.ndarray:
        """Reads one row for each record with start_ns ≤ seq_ns < end_ns, in order; dtype `row_dtype(kind)`.

        `by` "venue" (trades): with start_ns ≤ venue_ns < end_ns, era by era in order of trade_id, each once: repaired trades
        are where they belong, whenever they came. Warns (PrunedWarning) where a day of them has been pruned.
        """
        check_order(kind, by)
        folder, days = self._asked(kind, subject, start_ns, end_ns)
        if by == "venue":
            found = self._retried(lambda: self._by_venue(kind, subject, folder, start_ns, end_ns, days))
            return in_id_order(found.rows, found.eras)

        def gather() -> list[np.ndarray]:
            self.require(folder, days)
            parts = []
            for file in self.files:
                if file.folder == folder and days[0] <= file.day <= days[1]:
                    with ArchiveFile(file.path) as segment:
                        if kind in segment.kinds:
                            parts.append(segment_rows(segment, kind, subject, start_ns, end_ns, by))
            return parts

        parts = self._retried(gather)
        return joined(parts, row_dtype(kind))

    def parts(self, kind: Kind, subject: str, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[np.ndarray]:
        """Reads the rows of `columns`, in order of seq, some at a time: memory is bounded by a part, not by the span.

        Files that are sealed or pruned meanwhile are listed anew: `archived_seq` may be higher at the end than it was.
        """
        folder, days = self._asked(kind, subject, start_ns, end_ns)
        after = 0
        while True:
            try:
                self.require(folder, days)
                for file in self.files:
                    if file.folder == folder and days[0] <= file.day <= days[1] and file.last > after:
                        with ArchiveFile(file.path) as segment:
                            if kind in segment.kinds:
                                for part in segment_parts(segment, kind, subject, start_ns, end_ns, after):
                                    if len(part):
                                        yield part
                                        after = int(part["seq"][-1])
                return
            except ArchiveGone:
                if not self.moved():
                    raise

    def count(self, kind: Kind, subject: str, start_ns: int | None = None, end_ns: int | None = None) -> int:
        """Counts the rows that `columns` would read, mostly without reading them."""
        folder, days = self._asked(kind, subject, start_ns, end_ns)

        def counted() -> int:
            self.require(folder, days)
            rows = 0
            for file in self.files:
                if file.folder == folder and days[0] <= file.day <= days[1]:
                    with ArchiveFile(file.path) as segment:
                        rows += segment_count(segment, kind, subject, start_ns, end_ns) if kind in segment.kinds else 0
            return rows

        return self._retried(counted)

    def _asked(self, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> tuple[str, tuple[str, str]]:
        """Folder and days of a request; warns of those that were pruned."""
        folder = folder_of(kind, subject)
        days = (day_of(start_ns) if start_ns is not None else "", day_of(end_ns) if end_ns is not None else "9999")
        for pruned in self.mark.pruned:
            if kind in PRUNED_KINDS and folder in pruned.folders and days[0] <= pruned.day <= days[1]:
                self._warn(pruned.day, 5)
        return folder, days

    def _by_venue(
        self, kind: Kind, subject: str, folder: str, start_ns: int | None, end_ns: int | None, days: tuple[str, str]
    ) -> Found:
        """In no order."""
        self.require(folder, days, all_cuts=True)
        chosen = [f for f in (*self.files, *self.overlays) if f.folder == folder and days[0] <= f.day <= days[1]]
        # Of cuts the stray trades have no overlay yet.
        chosen += [f for f in self.files if f.folder == folder and f.part == "cut" and f not in chosen]
        parts, eras = [np.zeros(0, row_dtype(kind))], [NONE[:0]]
        for file in chosen:
            with ArchiveFile(file.path) as segment:
                if kind in segment.kinds:
                    parts.append(segment_rows(segment, kind, subject, start_ns, end_ns, "venue"))
                    eras.append(era_of(self.eras(file, kind), parts[-1]["seq"]))
        return Found(np.concatenate(parts), np.concatenate(eras))

    def eras(self, file: File, kind: Kind) -> np.ndarray:
        """The eras of a file's events of one kind; an overlay has those of the day that it was made of."""
        if file.part == OVERLAY:
            whole = [f for f in self.files if f.folder == file.folder and f.span == file.span]
            return self.eras(whole[0], kind) if whole else NONE
        with ArchiveFile(file.path) as segment:
            ledger = segment.ledger()
            return NONE if ledger is None else eras_in(ledger.rows, kind)

    def era_after(self, kind: Kind, subject: str) -> int:
        """The era of one stream with which the archive ends."""
        for file in reversed(self.files):
            if file.folder == folder_of(kind, subject):
                with ArchiveFile(file.path) as segment:
                    ledger = segment.ledger()
                    if ledger is not None and (ledger.rows["stream"] == kind).any():
                        return int(eras_in(ledger.rows, kind)[-1])
        return 0

    def _warn(self, day: str, stacklevel: int = 3) -> None:
        warnings.warn(
            f"trades, quotes and depth of {day} were removed from {self.folder} after their export; read them there",
            PrunedWarning, stacklevel=stacklevel,
        )  # fmt: skip

    def exponents(self, subject: str, before: str = "9999") -> tuple[int, int] | None:
        """(price_exponent, quantity_exponent) by an instrument's newest file that has them; of days before `before`."""

        def newest() -> tuple[int, int] | None:
            for file in reversed(self.files):
                if file.folder == folder_of(Kind.trade, subject) and file.day < before:
                    with ArchiveFile(file.path) as segment:
                        if segment.exponents is not None:
                            return segment.exponents
            return None

        return self._retried(newest)

    def check(self) -> list[str]:
        """Reads every file and every event once; gives a sentence for each fault, [] when all is well."""
        wrong = []
        for file in (*self.files, *self.overlays):
            try:
                with ArchiveFile(file.path) as segment:
                    segment.check()
            except ArchiveError as error:
                wrong.append(str(error))
        if not wrong:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", PrunedWarning)
                    wrong += self._check_order()
            except ArchiveError as error:
                wrong.append(str(error))
        return wrong

    def _check_order(self) -> list[str]:
        """A sentence on the first event that does not follow the one before; over a pruned day some are left out."""
        before = 0
        spans = [(one.first, one.last) for one in self.mark.pruned]
        for event in self.events():
            gone = any(first - 1 <= before and event.seq <= last + 1 for first, last in spans)
            if event.seq != before + 1 and not (gone and event.seq > before):
                return [f"seq {event.seq} follows {before} in {self.folder}"]
            before = event.seq
        return []


def in_order(tables: list[Table], subject: str | None = None) -> Iterator[Event]:
    """The tables' events by seq, of one subject or all."""
    buffers: list[memoryview] = []
    seqs: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for table in tables:
        data, starts = to_bytes(table)
        keep = np.ones(len(starts), bool)
        if subject is not None:
            keep = table.headers["subject"] == subject.encode()
        places.append(np.stack([np.full(keep.sum(), len(buffers)), starts[keep]]))
        seqs.append(table.headers["seq"][keep])
        buffers.append(memoryview(data).toreadonly())
    order = np.argsort(np.concatenate(seqs), kind="stable")
    which, start = np.concatenate(places, axis=1)[:, order].tolist()
    for buffer, offset in zip(which, start):
        yield Event(buffers[buffer], offset)
