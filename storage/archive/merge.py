"""One archive file made of others, in bounded memory and straight to disk: what seals a day, and what rebuilds one.

The sources are looked at twice: first for what each column's values have in common, then to write them. What comes out
depends on the events alone, not on how they were cut into sources.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tickmesh.bus.files import make_folders, sync_folder
from tickmesh.bus.schema import DESCRIPTION, SCHEMA_HASH, SCHEMA_VERSION, Kind
from tickmesh.bus.space import refusal
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.file import (
    FORMAT,
    HDF5_VERSIONS,
    SOFTWARE,
    ArchiveError,
    ArchiveFile,
    ArchiveFull,
    follow,
    sum_of,
    write_book,
)
from tickmesh.storage.bars import pyramid
from tickmesh.storage.coverage.intervals import merge as union
from tickmesh.storage.coverage.ledger import GROUP, CoverageLedger, read_ledger, write_ledger
from tickmesh.storage.hdf5.columns import Table, to_bytes
from tickmesh.storage.hdf5.encoding import TableWriter, WindowColumns

HOUR_NS = 3_600_000_000_000
KEPT_BYTES_MAX = 64 << 20  # of columns in memory
ASIDE = ".merge"  # end of the name of a file that is being made
Stop = Callable[[], bool]
Choose = Callable[[Table], Table]


class Interrupted(Exception):
    """Raised when the work was asked to stop; nothing is left of it, and it is done again later."""


class Spool(io.RawIOBase):
    """The file that HDF5 writes into. A disk's error is kept for `check`: HDF5 does not survive one in the middle of its work.

    HDF5 also asks for its place, which RawIOBase finds by `seek`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.error: OSError | None = None
        try:
            self.file = open(path, "w+b", buffering=0)  # noqa: SIM115  closed by `merge`, after HDF5
        except OSError as error:
            raise self._full(error) from None

    def _full(self, error: OSError) -> ArchiveFull:
        return ArchiveFull(
            f"{self.path.parent} takes no archive file: {refusal(error, self.path.parent)}. "
            "Nothing is lost: what was to be merged stays as it is, and it is tried again"
        )

    def check(self) -> None:
        """Raises ArchiveFull when a write has failed."""
        if self.error is not None:
            raise self._full(self.error)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the place in the file, as `io` does."""
        return self.file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Reads into `buffer`; returns how many bytes."""
        return self.file.readinto(buffer) or 0

    def write(self, data: Any) -> int:
        """Writes all of `data`, or keeps the error for `check`; returns the size of `data` either way, as HDF5 expects."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += self.file.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cuts or grows the file to `size`; an error is kept for `check`."""
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.error = error
            return size or 0

    def flush(self) -> None:
        """Does nothing: the file is not buffered."""

    def finish(self) -> None:
        """Syncs the file to the disk and makes it read-only."""
        self.check()
        try:
            os.fchmod(self.file.fileno(), 0o444)
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self._full(error) from None


def merge(
    sources: list[Path],
    target: Path,
    attributes: dict[str, Any],
    *,
    kinds: Iterable[Kind] = tuple(Kind),
    choose: Choose | None = None,
    images: bool = True,
    derive: bool = True,
    book: ArchivedBook | None = None,
    cut: bool = False,
    stop: Stop = lambda: False,
) -> dict[str, int]:
    """Writes the file `target` with the events of `sources`, which follow one another; returns the number of events by kind.

    `kinds`, `choose`: only these, and of each table only what `choose` gives. `images`: the book at the start and at the first
    change of every hour; else `book`, that after the last event, if given. `cut`: a file as
    tickmesh.storage.archive.file.build makes it, its
    `book` that before the first event. The sources are checked before they are believed,
    and what was written is read back before it gets its name. Raises ArchiveError for a damaged source, ArchiveFull,
    Interrupted; then no file is left.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}{ASIDE}")
    try:
        make_folders(target.parent)
        spool = Spool(aside)
        try:
            return _merge(_Work(sources, frozenset(kinds), choose, stop), spool, target, attributes, images, derive, book, cut)
        finally:
            spool.file.close()
    except OSError as error:
        raise ArchiveFull(f"{target.parent} takes no archive file: {refusal(error, target.parent)}") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def merge_cut(pieces: list[Path], target: Path, attributes: dict[str, Any], stop: Stop = lambda: False) -> int:
    """Writes one folder's file of a cut too large for memory, from its pieces; returns its bytes. Raises as `merge`."""
    book = None
    for piece in pieces:  # one without depth has none; before the first depth event it is an empty one
        with ArchiveFile(piece) as segment:
            book = book or segment.book()
    merge(pieces, target, attributes, images=False, derive=False, book=book, cut=True, stop=stop)
    return target.stat().st_size


class _Work:
    """The sources, and what is wanted of them."""

    def __init__(self, sources: list[Path], kinds: frozenset[Kind], choose: Choose | None, stop: Stop):
        self.sources, self.kinds, self.choose, self.stop = sources, kinds, choose, stop

    def segments(self) -> Iterator[ArchiveFile]:
        for path in self.sources:
            self.look()
            with ArchiveFile(path) as segment:
                yield segment

    def tables(self, segment: ArchiveFile) -> Iterator[tuple[Kind, Table]]:
        for tables in segment.windows([kind for kind in segment.kinds if kind in self.kinds]):
            self.look()
            for kind, table in tables.items():
                chosen = self.chosen(table)
                if len(chosen.headers):
                    yield kind, chosen

    def chosen(self, table: Table) -> Table:
        return table if self.choose is None else self.choose(table)

    def look(self) -> None:
        if self.stop():
            raise Interrupted


def _merge(
    work: _Work,
    spool: Spool,
    target: Path,
    attributes: dict[str, Any],
    images: bool,
    derive: bool,
    book: ArchivedBook | None,
    cut: bool,
) -> dict[str, int]:
    writers: dict[Kind, TableWriter] = {}
    digests: dict[Kind, Any] = {}
    books, kept = Images(), _Kept()
    ledgers: list[CoverageLedger | None] = []
    exponents = None

    def survey(kind: Kind, table: Table, data: bytearray) -> None:
        work.look()
        chosen = work.chosen(table) if kind in work.kinds else None
        if chosen is not None and len(chosen.headers):
            kept.add(kind, writers.setdefault(kind, TableWriter(kind)).survey(chosen))
            digests.setdefault(kind, hashlib.sha256()).update(data if chosen is table else to_bytes(chosen)[0])

    for segment in work.segments():
        segment.check(survey)
        exponents = segment.exponents or exponents
        if work.choose is None:
            ledgers.append(segment.ledger(ledgers[-1].after if ledgers and ledgers[-1] is not None else None))
        if images:
            books.look(segment, work.look)
    end = int(attributes["last_seq"]) + 1
    options = dict(driver="fileobj", fileobj=spool, libver=HDF5_VERSIONS, meta_block_size=4096)
    try:
        with h5py.File(os.fspath(spool.path), "w", **options) as file:
            sums = {}
            for kind in sorted(writers):
                writers[kind].begin(file.create_group(kind.name))
                sums[kind.name] = file[kind.name].attrs["content_sha256"] = digests[kind].hexdigest()
            for name, image, before in books.found(Kind.depth in writers) if images else [("book", book, end)]:
                if image is not None:
                    group = file.create_group(name)
                    if not cut:
                        group.attrs["before_seq"] = np.uint64(before)
                    data = write_book(group, image).tobytes()
                    sums[name] = group.attrs["content_sha256"] = hashlib.sha256(data).hexdigest()
            for kind, window in kept.windows:
                writers[kind].put(window)
                spool.check()
            for segment in work.segments() if kept.too_much else ():
                for kind, table in work.tables(segment):
                    writers[kind].write(table)
                    spool.check()
            for writer in writers.values():
                writer.close()
            ledger_of_day(file, ledgers)
            if derive:  # its `bars` may get a new version later: they are no part of the file's sum
                pyramid.derive(file, work.sources)
            if exponents is not None:
                file.attrs["price_exponent"], file.attrs["quantity_exponent"] = exponents
            more = {n: str(g.attrs["content_sha256"]) for n, g in file.items() if "content_sha256" in g.attrs}
            file.attrs.update(
                {
                    "format": FORMAT, "software": SOFTWARE, "schema_version": SCHEMA_VERSION, "schema_hash": SCHEMA_HASH,
                    "content_sha256": _sum_of_cut(file, work, book) if cut else sum_of(more | sums), **attributes,
                }
            )  # fmt: skip
            file.create_dataset("schema", data=json.dumps(DESCRIPTION))
    except (OSError, RuntimeError) as error:
        spool.check()
        raise ArchiveError(f"{target} could not be made: {error}; this is a bug, report it") from None
    spool.finish()
    with ArchiveFile(spool.path) as written:
        written.check()
    os.rename(spool.path, target)
    sync_folder(target.parent)
    return {kind.name: writer.events for kind, writer in writers.items()}


class _Kept:
    """The columns of the sources, as they were surveyed, if they are few: they need not be read once more then."""

    def __init__(self) -> None:
        self.windows: list[tuple[Kind, WindowColumns]] = []
        self.bytes, self.too_much = 0, False

    def add(self, kind: Kind, window: WindowColumns) -> None:
        self.bytes += sum(column.nbytes for columns in window for column in columns.values())
        self.too_much = self.bytes > KEPT_BYTES_MAX
        if self.too_much:
            self.windows.clear()
        else:
            self.windows.append((kind, window))


def _sum_of_cut(file: h5py.File, work: _Work, book: ArchivedBook | None) -> str:
    """Over everything in one, kind by kind: the sources are read once more for it."""
    digest = hashlib.sha256()
    for kind in Kind:
        if kind.name in file:
            for segment in work.segments():
                for tables in segment.windows((kind,)):
                    work.look()
                    digest.update(to_bytes(tables[kind])[0])
    if book is not None:
        digest.update(book.levels().tobytes())
    if (ledger := read_ledger(file)) is not None:
        digest.update(ledger.rows.tobytes())
    return digest.hexdigest()


class Images:
    """Collects the book images of a day: before its first event, and before the first change (or gap) of each hour with one."""

    def __init__(self) -> None:
        self.start: ArchivedBook | None = None
        self.hours: dict[int, tuple[ArchivedBook, int]] = {}
        self.looked = False

    def look(self, segment: ArchiveFile, breathe: Callable[[], None] = lambda: None) -> None:
        """Collects the images of the day's next segment; `breathe` is called now and then."""
        if not self.looked:
            self.start, self.looked = segment.book(), True
        book = segment.book()
        after = 0
        for hour, seq in self._first_of_hours(segment):
            book = book or ArchivedBook()
            for tables in segment.windows((Kind.depth, Kind.gap), after, seq - 1):
                breathe()
                follow(book, tables)
            image = ArchivedBook()
            image.load(book.valid, book.last_update_id, book.levels())
            self.hours[hour] = image, seq
            after = seq - 1

    def _first_of_hours(self, segment: ArchiveFile) -> list[tuple[int, int]]:
        """(hour since the epoch, seq of its first depth or gap event) of hours that have not been met."""
        found: dict[int, int] = {}
        for kind in (Kind.depth, Kind.gap):
            if kind.name not in segment.file:
                continue
            reader = segment.reader(kind)
            row = 0
            while row < reader.events:
                hour = int(reader.column("seq_ns", row, row + 1)[0]) // HOUR_NS
                seq = int(reader.column("seq", row, row + 1)[0])
                found[hour] = min(seq, found.get(hour, seq))
                row = reader.first_row("seq_ns", (hour + 1) * HOUR_NS, row)
        return sorted((hour, seq) for hour, seq in found.items() if hour not in self.hours)

    def found(self, depth: bool) -> list[tuple[str, ArchivedBook | None, int]]:
        """Lists the images: (name, book, seq of the event after it); none without depth. `depth`: whether changes came."""
        if self.start is None and not depth:
            return []
        out: list[tuple[str, ArchivedBook | None, int]] = [("book", self.start or ArchivedBook(), 0)]
        for hour, (image, seq) in sorted(self.hours.items()):
            out.append((f"books/{hour % 24:02d}", image, seq))
        return out


def ledger_of_day(file: h5py.File, ledgers: list[CoverageLedger | None]) -> None:
    """Writes the union of the sources' coverage into `file`: the same however the day was cut. None: they have no ledger."""
    whole = [ledger for ledger in ledgers if ledger is not None]
    if whole and len(whole) == len(ledgers):  # else they are nodes' events, or an overlay
        day = CoverageLedger(union([ledger.rows for ledger in whole]), whole[-1].after)
        write_ledger(file, day)
        file[GROUP].attrs["content_sha256"] = day.sha256
