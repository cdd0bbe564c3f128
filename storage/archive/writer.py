"""Writes the archive: takes events after its watermark from the log, sorts them into one file a subject, and places them.

The order makes a crash harmless: every file of a cut is on disk under its name before the manifest says so.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.files import make_folders
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import Batch
from tickmesh.bus.space import refusal
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.catalog import (
    DAY_NS,
    MANIFEST,
    OVERLAY,
    File,
    Pruned,
    Watermark,
    day_of,
    list_files,
    manifest,
    read_watermark,
    visible,
)
from tickmesh.storage.archive.cut import Cut, CutCoverage, LogStretch, Part, table_of
from tickmesh.storage.archive.file import (
    TEMPORARY,
    ArchiveError,
    ArchiveFile,
    ArchiveFull,
    Content,
    build,
    follow,
    names_of,
    of_instrument,
    place,
)
from tickmesh.storage.archive.merge import ASIDE, Interrupted, Stop, merge_cut
from tickmesh.storage.coverage.ledger import CoverageLedger
from tickmesh.storage.coverage.position import BEGINNING, LedgerPosition
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.storage.hdf5.columns import Table

CUT_BYTES_MAX = 4 << 30  # of raw events in one cut
HELD_BYTES_MAX = 256 << 20  # of them in memory: beyond it the largest folders' are laid aside in pieces
STRETCH_BYTES = 4 << 20  # of the log that are looked at together
KEPT_SHARE = 4  # of what is held a quarter may stay in memory then
PIECE = ".piece"


class Opening(NamedTuple):
    """The state of an instrument before a cut: its book, its exponents, and how far its coverage is."""

    book: ArchivedBook | None = None
    exponents: tuple[int, int] | None = None
    ledger: LedgerPosition = BEGINNING


class ArchiveWriter:
    """Writes the archive, as its only writer (a file lock). Opening it removes what an interrupted cut left behind.

    `on_cut` is called with what a cut proves, once all its files and the manifest are on disk; in the thread that cuts.
    Raises ArchiveError when another process writes it, ArchiveFull when the folder takes no files.
    """

    def __init__(self, folder: Path, on_cut: Callable[[CutCoverage], None] | None = None):
        self.folder = Path(folder)
        self._on_cut = on_cut
        try:
            make_folders(self.folder)
            self._lock = FileLock.acquired(self.folder / "lock")
        except OSError as error:
            raise ArchiveFull(f"{self.folder} cannot be written: {refusal(error, self.folder)}") from None
        except FileLocked:
            raise ArchiveError(f"{self.folder} is written by another process; stop that one first") from None
        self.files = self.files_of_cut = 0  # in all, and of the last cut
        self.bytes = 0
        self.mark = Watermark(0, 0)
        self.settled = True  # whether the manifest is on disk under its name: before that no log segment may go
        self.lock = threading.RLock()  # days are sealed in another thread than the one that cuts
        self._books: dict[str, ArchivedBook] = {}
        self._exponents: dict[str, tuple[int, int]] = {}
        self._states: dict[str, LedgerPosition] = {}  # how far each instrument's coverage ledger is
        self._known: set[str] = set()  # folders whose last book, exponents and ledger have been looked up
        try:
            self._resume()
            self.removed = self._tidy()
            spans = [file.span for file in self.visible() if file.part == "cut"]
            self.files_of_cut = spans.count(spans[-1]) if spans else 0
        except ArchiveError:
            self._lock.close()
            raise

    @property
    def archived_seq(self) -> int:
        """The seq up to which every event is in the archive."""
        return self.mark.archived_seq

    @property
    def log_id(self) -> int:
        """The identity of the log that the last cut was made from."""
        return self.mark.log_id

    @property
    def sealed_seq(self) -> int:
        """The seq up to which every event is in the files of sealed days."""
        return self.mark.sealed_seq

    def visible(self) -> list[File]:
        """The files that readers see at this moment."""
        return visible(list_files(self.folder), self.mark)

    def publish(
        self,
        archived_seq: int | None = None,
        log_id: int | None = None,
        sealed_seq: int | None = None,
        pruned: tuple[Pruned, ...] | None = None,
        first_seq: int | None = None,
    ) -> None:
        """Writes a new manifest, by which readers go. Raises ArchiveFull; the manifest may have become visible then."""
        new = (archived_seq, log_id, sealed_seq, pruned, first_seq)
        with self.lock:
            changes: dict[str, Any] = {name: value for name, value in zip(Watermark._fields, new) if value is not None}
            mark = self.mark._replace(**changes)
            try:
                place(self.folder / MANIFEST, manifest(mark), 0o644)
            except ArchiveFull:
                before, self.mark = self.mark, read_watermark(self.folder)
                self.settled = self.settled and self.mark == before
                raise
            self.mark, self.settled = mark, True

    def _resume(self) -> None:
        """Believes only what is on disk: the manifest, and the files that it makes visible."""
        self.mark = read_watermark(self.folder)
        self._books, self._exponents, self._states, self._known = {}, {}, {}, set()

    def _tidy(self) -> int:
        """Removes what no reader sees. Returns how many files.

        Not the files of a day that was being sealed: they have their names, so they are whole, and the seal goes on with them.
        """
        files = list_files(self.folder)
        self._believe(files)
        seen = set(visible(files, self.mark))
        strays = [f.path for f in files if f not in seen and not self._waits(f)]
        strays += [p for end in (TEMPORARY, ASIDE) for p in self.folder.rglob(f".*{end}")]
        return remove(strays)

    def _believe(self, files: list[File]) -> None:
        """Raises ArchiveError when the manifest is older than the files, or missing beside them: nothing is removed then.

        Work that was interrupted leaves one cut beyond it, never more, and no day.
        """
        beyond = [f for f in files if f.last > self.mark.archived_seq]
        days = [f for f in beyond if f.part != "cut"]
        if days or len({f.span for f in beyond}) > 1:
            seen = f"holds files up to seq {max(f.last for f in beyond)}"
            raise ArchiveError(
                f"{self.folder} {seen}, but {MANIFEST} is missing or says {self.mark.archived_seq}: it is not theirs. "
                "Restore it from a copy, or move the folder away to begin anew; nothing was removed"
            )

    def _waits(self, file: File) -> bool:
        return file.part in ("day", OVERLAY) and self.mark.sealed_seq < file.first and file.last <= self.mark.archived_seq

    def archive_log(
        self, log: LogReader, upto: int, cut_events: int, cut_bytes: int = CUT_BYTES_MAX, stop: Stop = lambda: False
    ) -> int:
        """Archives all events of the log after the watermark up to `upto`, which is durable. Returns the new watermark.

        Cuts at UTC days, at `cut_events` events and at `cut_bytes` of them; HELD_BYTES_MAX are in memory. Raises ArchiveFull,
        Interrupted: what was cut before stays.
        """
        if upto > self.archived_seq:
            self.archive(log.batches(self.archived_seq, upto), upto, cut_events, log.log_id, cut_bytes, stop)
        return self.archived_seq

    def archive(
        self, batches: Iterable[Batch], upto: int, cut_events: int, log_id: int, cut_bytes: int = CUT_BYTES_MAX,
        stop: Stop = lambda: False,
    ) -> None:  # fmt: skip
        """Archives all events after the watermark up to `upto` from batches that hold them. Returns the new watermark."""
        cuts: list[Cut] = []
        try:
            self._archive(cuts, batches, upto, cut_events, log_id, cut_bytes, stop)
        except BaseException:
            with self.lock:
                self._resume()  # whatever was laid aside is read again from the log; the manifest may have become visible
            remove(piece for cut in cuts for pieces in cut.pieces.values() for piece in pieces)
            raise

    def _archive(
        self, cuts: list[Cut], batches: Iterable[Batch], upto: int, cut_events: int, log_id: int, cut_bytes: int, stop: Stop
    ) -> None:
        """`cuts` gets the one that is being made."""
        cut: Cut | None = None
        for stretch, at, stop_at in self._stretches(batches, upto, stop):
            while at < stop_at:
                if cut is None:
                    cuts[:] = [cut := Cut(stretch.first + at, stretch.day(at))]
                end = min(stop_at, cut.first + cut_events - stretch.first, stretch.fit(at, cut_bytes - cut.bytes))
                end = stretch.end_of_day(at, end if cut.bytes else max(end, at + 1), cut.day)
                if end <= at:
                    self._write(cut, log_id, stop)
                    cut = None
                    continue
                if stretch.fit(at, HELD_BYTES_MAX - cut.held) == at:
                    self._lay_aside(cut, cut.largest(HELD_BYTES_MAX // KEPT_SHARE), log_id)
                end = min(end, max(stretch.fit(at, HELD_BYTES_MAX - cut.held), at + 1))
                cut.add(stretch, at, end)
                at = end
        if cut is not None:
            self._write(cut, log_id, stop)

    def _stretches(self, batches: Iterable[Batch], upto: int, stop: Stop) -> Iterator[tuple[LogStretch, int, int]]:
        """Batches put together, and which of their events are to be archived: all after the watermark up to `upto`."""
        expected = self.archived_seq + 1
        for some in _put_together(batches, stop):
            stretch = LogStretch(some)
            at, end = max(expected - stretch.first, 0), min(len(stretch), upto + 1 - stretch.first)
            if at >= end:
                continue
            if (wrong := stretch.first_wrong(at, end, expected)) is not None:
                raise ArchiveError(f"seq {wrong[0]} was to be archived next, but the log gave {wrong[1]}; nothing was written")
            yield stretch, at, end
            expected = stretch.first + end

    def _lay_aside(self, cut: Cut, folders: list[str], log_id: int) -> None:
        """What the cut holds of these folders goes into hidden files: pieces of what will be one file each."""
        held = cut.folders()
        day = day_of(cut.day * DAY_NS)
        for folder in folders:
            pieces = cut.pieces.setdefault(folder, [])
            path = self.folder / folder / day / f".{cut.first:020d}.{len(pieces)}{PIECE}{TEMPORARY}"
            pieces.append(path)  # before it is there: it is removed whatever happens
            place(path, self._built(cut, folder, held[folder], _attributes(cut, folder, log_id, "[]")))
        cut.forget(set(folders))

    def _built(self, cut: Cut, folder: str, held: dict[Kind, list[Part]], attributes: dict[str, Any]) -> bytes:
        """A file of some of a folder's events; book and ledger are behind them then."""
        tables = {kind: table_of(parts) for kind, parts in held.items()}
        self._know(folder, tables)
        ledger = None
        if of_instrument(folder):
            ledger = CoverageLedger(*of_tables(tables, folder.replace("/", "."), self._states.get(folder, BEGINNING)))
            self._states[folder] = ledger.after
            cut.proven.setdefault(folder, []).append(ledger.rows)
        data = build(Content(tables, self._books.get(folder), self._exponents.get(folder), ledger), attributes)
        follow(self._books.get(folder), tables)
        return data

    def _write(self, cut: Cut, log_id: int, stop: Stop) -> None:
        """All files of a cut, then the manifest. What fails is undone by `archive`."""
        held = cut.folders()
        self._lay_aside(cut, [folder for folder in cut.pieces if folder in held], log_id)
        day = day_of(cut.day * DAY_NS)
        name = f"{cut.first:020d}-{cut.last:020d}.h5"
        paths = {folder: self.folder / folder / day / name for folder in sorted(held | cut.pieces)}
        names = names_of(paths.values(), self.folder)
        try:
            for folder, path in paths.items():
                attributes = _attributes(cut, folder, log_id, names)
                if folder in cut.pieces:
                    self.bytes += merge_cut(cut.pieces[folder], path, attributes, stop)
                else:
                    data = self._built(cut, folder, held[folder], attributes)
                    place(path, data)
                    self.bytes += len(data)
            self.publish(archived_seq=cut.last, log_id=log_id)
        except (ArchiveFull, Interrupted):
            with self.lock:
                self._resume()  # the manifest may or may not have become visible
            remove(path for path in paths.values() if cut.last > self.archived_seq)
            raise
        remove(piece for pieces in cut.pieces.values() for piece in pieces)
        self.files += len(paths)
        self.files_of_cut = len(paths)
        if self._on_cut is not None:
            self._on_cut(cut.coverage())

    def _know(self, folder: str, tables: dict[Kind, Table]) -> None:
        """ArchivedBook, exponents and ledger of an instrument, from its last file after a restart, and from new instrument
        records.
        """
        if folder not in self._known:
            self._known.add(folder)
            with self.lock:  # or the file might be sealed away while it is read
                newest = [f for f in self.visible() if f.folder == folder and f.part != OVERLAY][-1:]
                for file in newest:
                    with ArchiveFile(file.path) as segment:
                        if (exponents := segment.exponents) is not None:
                            self._exponents[folder] = exponents
                        if (book := segment.book_after()) is not None:
                            self._books[folder] = book
                        if (ledger := segment.ledger()) is not None:
                            self._states[folder] = ledger.after
        if Kind.instrument in tables:
            record = tables[Kind.instrument].records[-1]
            self._exponents[folder] = int(record["price_exponent"]), int(record["quantity_exponent"])
        if Kind.depth in tables:
            self._books.setdefault(folder, ArchivedBook())

    def begin_at(self, first: int, opening: dict[str, Opening]) -> None:
        """Makes an empty archive begin with seq `first`. `opening`: the state of instruments there, by folder."""
        if self.archived_seq:
            raise ArchiveError(f"{self.folder} holds seq 1 to {self.archived_seq} already; a rebuilt day needs an empty folder")
        self.publish(archived_seq=first - 1, sealed_seq=first - 1, first_seq=first)
        for folder, known in opening.items():
            self._known.add(folder)
            self._states[folder] = known.ledger
            if known.book is not None:
                self._books[folder] = known.book
            if known.exponents is not None:
                self._exponents[folder] = known.exponents

    def close(self) -> None:
        """Gives up the lock; nothing can be archived afterwards."""
        self._lock.close()


def _put_together(batches: Iterable[Batch], stop: Stop) -> Iterator[list[Batch]]:
    """Batches of some STRETCH_BYTES together. Raises Interrupted."""
    some: list[Batch] = []
    size = 0
    for batch in batches:
        if stop():
            raise Interrupted
        some.append(batch)
        size += len(batch.body)
        if size >= STRETCH_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _attributes(cut: Cut, folder: str, log_id: int, names: str) -> dict[str, Any]:
    return {
        "log_id": f"{log_id:016x}", "first_seq": np.uint64(cut.first), "last_seq": np.uint64(cut.last),
        "folder": folder, "day": day_of(cut.day * DAY_NS), "files": names,
    }  # fmt: skip


def remove(paths: Iterable[Path]) -> int:
    """Removes files; returns how many are gone. A folder that cannot be written is noticed when a file is placed."""
    gone = 0
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            gone += 1
    return gone
