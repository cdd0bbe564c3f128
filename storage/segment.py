"""One archive file: the events of one subject (or of all nodes) between two `seq`, immutable once it has its name."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import h5py
import numpy as np

from bus.log import LogError, sync_folder
from bus.schema import COVERAGE, DEPTH, DESCRIPTION, GAP, HEADER, SCHEMA_HASH, SCHEMA_VERSION, Kind
from bus.topics import TABLE, Lane
from storage.book import Book
from storage.columns import Table, get, put, read_table, to_bytes, write_table
from storage.intervals import BEGINNING, COVERED, State, of_tables

FORMAT = "tickmesh archive 1"
SOFTWARE = "tickmesh 0.1.0"
SYSTEM = "mesh/system"  # where the events go whose subject is a node
# HDF5 1.10 and later read it; the newest format would shut out tools of today.
HDF5_VERSIONS = ("v110", "v110")
TEMPORARY = ".tmp"


class ArchiveError(LogError):
    """A sentence for the operator; a LogError, so that the runner shows it as one."""


class ArchiveFull(ArchiveError):
    """The disk took no more, or the folder cannot be written; the log keeps everything, so it is tried again."""


class Ledger(NamedTuple):
    """What a file's events prove: COVERAGE rows, and how far the ledger is after them (storage/intervals.py)."""

    rows: np.ndarray
    after: State


class Content(NamedTuple):
    """What a file holds: a table for each kind, and the book before its first event (None where there is none)."""

    tables: dict[Kind, Table]
    book: Book | None
    exponents: tuple[int, int] | None
    ledger: Ledger | None = None


def folder_of(kind: int, subject: str) -> str:
    """`venue/instrument` of a market or order kind, relative to the archive; a node's events share one folder."""
    if TABLE[Kind(kind)].lane is Lane.system:
        return SYSTEM
    venue, _, instrument = subject.partition(".")
    return f"{_plain(venue)}/{_plain(instrument)}"


def _plain(name: str) -> str:
    """A file name that means `name` and nothing else: no slash, no leading dot, never empty."""
    plain = quote(name, safe="")
    return plain.replace(".", "%2E") if plain.startswith(".") else plain or "%00"


def build(content: Content, attributes: dict[str, Any]) -> bytes:
    """The whole file, made in memory: a full disk then meets one plain write, not HDF5 in the middle of its work.

    Raises ArchiveError when what it holds would not read back as the same bytes.
    """
    digest = hashlib.sha256()
    wanted = {}
    options = dict(driver="core", backing_store=False, libver=HDF5_VERSIONS, meta_block_size=512)
    with h5py.File("segment", "w", **options) as file:
        for kind in sorted(content.tables):
            group = file.create_group(kind.name)
            write_table(group, content.tables[kind])
            data, _ = to_bytes(content.tables[kind])
            digest.update(data)
            wanted[kind] = hashlib.sha256(data).digest()
        if content.book is not None:
            digest.update(_write_book(file.create_group("book"), content.book).tobytes())
        if content.ledger is not None:
            digest.update(_write_ledger(file.create_group("ledger"), content.ledger).tobytes())
        if content.exponents is not None:
            file.attrs["price_exponent"], file.attrs["quantity_exponent"] = content.exponents
        file.attrs.update(
            {
                "format": FORMAT,
                "software": SOFTWARE,
                "schema_version": SCHEMA_VERSION,
                "schema_hash": SCHEMA_HASH,
                "content_sha256": digest.hexdigest(),
                **attributes,
            }
        )
        file.create_dataset("schema", data=json.dumps(DESCRIPTION))  # an attribute holds 64 KiB at most
        for kind, seen in wanted.items():
            back, _ = to_bytes(read_table(file[kind.name], kind, DESCRIPTION))
            if hashlib.sha256(back).digest() != seen:
                raise ArchiveError(f"{kind.name} of {attributes} would not read back as it was; this is a bug, report it")
        file.flush()
        return file.id.get_file_image()


def _write_book(group: Any, book: Book) -> np.ndarray:
    levels = book.levels()
    group.attrs["valid"], group.attrs["last_update_id"] = book.valid, np.int64(book.last_update_id)
    for name in ("price_ticks", "quantity_lots", "side"):
        put(group, name, np.ascontiguousarray(levels[name]))
    return levels


def _write_ledger(group: Any, ledger: Ledger) -> np.ndarray:
    for name in COVERAGE.names or ():
        if ledger.rows[name].any():
            put(group, name, np.ascontiguousarray(ledger.rows[name]))
    group.attrs["rows"] = len(ledger.rows)
    for name, value in ledger.after._asdict().items():
        if value is not None:
            group.attrs[f"after_{name}"] = np.int64(value)
    return ledger.rows


def place(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Writes `data` aside, syncs it, gives it its name, syncs the folder. Raises ArchiveFull; then nothing is left."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        make_folders(path.parent)
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise ArchiveFull(
            f"{path.parent} takes no archive file: {error.strerror or error}; free space or make it writable. "
            "Nothing is lost: the log keeps everything until it is archived, and it is tried again"
        ) from None


def make_folders(folder: Path) -> None:
    """`mkdir -p` that survives a power cut: the entry of each new folder is synced."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o755)
        sync_folder(folder.parent)


class Segment:
    """An archive file, open for reading; use it as a context manager. Raises ArchiveError with a sentence."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read as HDF5: {error}; restore it from a copy or rebuild it") from None
        try:
            self.attributes = dict(self.file.attrs)
            if self.attributes.get("format") != FORMAT:
                raise ArchiveError(f"{path} has format {self.attributes.get('format')!r}; this program reads {FORMAT!r}")
            if self.attributes["schema_version"] > SCHEMA_VERSION:
                raise ArchiveError(
                    f"{path} was written with schema version {self.attributes['schema_version']}; this program knows up "
                    f"to {SCHEMA_VERSION}. Use the newer program"
                )
            self.description = json.loads(self.file["schema"][()])
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            self.file.close()
            raise self._damaged(error) from None
        except ArchiveError:
            self.file.close()
            raise

    def __enter__(self) -> "Segment":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _damaged(self, error: Exception) -> ArchiveError:
        return ArchiveError(f"{self.path} is damaged: {error}; restore it from a copy or rebuild it from the log")

    @property
    def kinds(self) -> list[Kind]:
        return [kind for kind in Kind if kind.name in self.file]

    def subjects(self) -> list[str]:
        """Whose events are in the file."""
        names = {name for kind in self.kinds for name in self.file[kind.name]["events/subjects"][:].tolist()}
        return sorted(name.rstrip(b"\0").decode() for name in names)

    def table(self, kind: Kind) -> Table:
        """All events of a kind. Raises ArchiveError when the file is damaged."""
        try:
            return read_table(self.file[kind.name], kind, self.description)
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    def book(self) -> Book | None:
        """The book before the first event, or None in a file without depth."""
        if "book" not in self.file:
            return None
        try:
            group = self.file["book"]
            levels = np.zeros(len(group["side"]), DEPTH)
            for name in ("price_ticks", "quantity_lots", "side"):
                levels[name] = get(group, name, len(levels), DEPTH[name])
            book = Book()
            book.load(bool(group.attrs["valid"]), int(group.attrs["last_update_id"]), levels)
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None
        return book

    def ledger(self, before: State | None = None) -> Ledger | None:
        """What the file's events prove; None where nodes have their events.

        A file that was written without it is computed, from `before` (the state of the file before), or from its book image.
        """
        if self.attributes["folder"] == SYSTEM:
            return None
        if "ledger" not in self.file:
            return self._computed(before)
        try:
            group = self.file["ledger"]
            rows = np.zeros(int(group.attrs["rows"]), COVERAGE)
            for name in COVERAGE.names or ():
                rows[name] = get(group, name, len(rows), COVERAGE[name])
            after: dict[str, Any] = {
                name: int(group.attrs[f"after_{name}"]) for name in State._fields if f"after_{name}" in group.attrs
            }
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None
        return Ledger(rows, BEGINNING._replace(**after))

    def _computed(self, before: State | None) -> Ledger:
        if before is None:
            book = self.book()
            before = BEGINNING
            if book is not None and (book.valid or book.last_update_id):
                before = State(depth_id=book.last_update_id, book=book.valid)
        tables = {kind: self.table(kind) for kind in (*COVERED, Kind.gap) if kind in self.kinds}
        return Ledger(*of_tables(tables, self.attributes["folder"].replace("/", "."), before))

    @property
    def exponents(self) -> tuple[int, int] | None:
        """(price_exponent, quantity_exponent), or None where no instrument record was known."""
        if "price_exponent" not in self.attributes:
            return None
        return int(self.attributes["price_exponent"]), int(self.attributes["quantity_exponent"])

    def book_after(self) -> Book | None:
        """The book after the last event: the one that the next segment opens with."""
        book = self.book()
        follow(book, {kind: self.table(kind) for kind in (Kind.depth, Kind.gap) if kind in self.kinds})
        return book

    def check(self) -> None:
        """Decodes everything and compares with the checksum. Raises ArchiveError."""
        digest = hashlib.sha256()
        for kind in self.kinds:
            digest.update(to_bytes(self.table(kind))[0])
        book = self.book()
        if book is not None:
            digest.update(book.levels().tobytes())
        ledger = self.ledger() if "ledger" in self.file else None
        if ledger is not None:
            digest.update(ledger.rows.tobytes())
        if digest.hexdigest() != self.attributes.get("content_sha256"):
            raise self._damaged(ValueError("its content does not match content_sha256"))


def follow(book: Book | None, tables: dict[Kind, Table]) -> None:
    """Brings `book` to the end of a segment's tables."""
    if book is not None:
        none = Table(np.zeros(0, HEADER), np.zeros(0, GAP))
        depth = tables.get(Kind.depth, Table(np.zeros(0, HEADER), np.zeros(0, DEPTH)))
        book.follow(*depth, *tables.get(Kind.gap, none))


def names_of(paths: Iterable[Path], root: Path) -> str:
    """JSON list of paths relative to the archive."""
    return json.dumps(sorted(str(path.relative_to(root)) for path in paths))
