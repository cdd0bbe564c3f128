"""One archive file: the events of one subject (or of all nodes) between two `seq`, immutable once it has its name."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import h5py
import numpy as np

from tickmesh.bus.evolution import dtype_of, header_of, recast
from tickmesh.bus.files import make_folders, sync_folder
from tickmesh.bus.schema import DEPTH, DESCRIPTION, DTYPES, GAP, HEADER, SCHEMA_HASH, SCHEMA_VERSION, Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import refusal
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.coverage.intervals import COVERED
from tickmesh.storage.coverage.intervals import merge as union
from tickmesh.storage.coverage.ledger import GROUP, CoverageLedger, read_ledger, write_ledger
from tickmesh.storage.coverage.position import BEGINNING, LedgerPosition
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.storage.hdf5.columns import Table, TableReader, read_table, to_bytes, windows
from tickmesh.storage.hdf5.encoding import write_table
from tickmesh.storage.hdf5.packing import get, put

FORMAT = "tickmesh archive 1"
SOFTWARE = "tickmesh 0.1.0"
SYSTEM = "mesh/system"  # where the events go whose subject is a node
OF_AN_INSTRUMENT = (Kind.coverage, Kind.line)  # system kinds that are said of an instrument: they lie with it
# HDF5 1.10 and later read it; the newest format would shut out tools of today.
HDF5_VERSIONS = ("v110", "v110")
TEMPORARY = ".tmp"
Seen = Callable[[Kind, Table, bytearray], None]  # is handed events of a kind as they are read, and their bytes


class ArchiveError(LogError):
    """A fault of the archive: a sentence for the operator. It is a LogError, so that the runner shows it as one."""


class ArchiveGone(ArchiveError):
    """A file that was listed is not there: sealed or pruned meanwhile, or missing."""


class ArchiveFull(ArchiveError):
    """The disk took no more, or the folder cannot be written; the log keeps everything, so it is tried again."""


class Content(NamedTuple):
    """The content of a file: a table for each kind, and the book before its first event (None where there is none)."""

    tables: dict[Kind, Table]
    book: ArchivedBook | None
    exponents: tuple[int, int] | None
    ledger: CoverageLedger | None = None


def folder_of(kind: int, subject: str) -> str:
    """The archive folder of an event: `venue/instrument`, `raw/<line>` for frames, or the one that all others share."""
    if kind == Kind.raw:
        return f"raw/{_plain(subject)}"
    if TABLE[Kind(kind)].lane is Lane.system and kind not in OF_AN_INSTRUMENT:
        return SYSTEM
    venue, _, instrument = subject.partition(".")
    return f"{_plain(venue)}/{_plain(instrument)}"


def subject_of(folder: str) -> str:
    """The `venue.instrument` of an instrument's folder."""
    return ".".join("" if part == "%00" else unquote(part) for part in folder.split("/", 1))


def of_instrument(folder: str) -> bool:
    """Whether a folder of the archive holds an instrument's events, and so has a ledger; else it holds those of nodes."""
    return folder != SYSTEM and not folder.startswith(f"{Kind.raw.name}/")


def _plain(name: str) -> str:
    """A file name that means `name` and nothing else: no slash, no leading dot, never empty."""
    plain = quote(name, safe="")
    return plain.replace(".", "%2E") if plain.startswith(".") else plain or "%00"


def build(content: Content, attributes: dict[str, Any]) -> bytes:
    """Builds a whole file in memory: a full disk then meets one plain write, not HDF5 in the middle of its work.

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
            digest.update(write_book(file.create_group("book"), content.book).tobytes())
        if content.ledger is not None:
            write_ledger(file, content.ledger)
            digest.update(content.ledger.rows.tobytes())
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
        image: bytes = file.id.get_file_image()
        return image


def write_book(group: Any, book: ArchivedBook) -> np.ndarray:
    """Writes an image of the book into a group; returns its rows, dtype schema.DEPTH."""
    levels = book.levels()
    group.attrs["valid"], group.attrs["last_update_id"] = book.valid, np.int64(book.last_update_id)
    for name in ("price_ticks", "quantity_lots", "side"):
        put(group, name, np.ascontiguousarray(levels[name]))
    return levels


def place(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Writes `data` under another name, syncs it, renames it, syncs the folder. Raises ArchiveFull; then nothing is left."""
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
            f"{path.parent} takes no archive file: {refusal(error, path.parent)}. "
            "Nothing is lost: the log keeps everything until it is archived, and it is tried again"
        ) from None


class ArchiveFile:
    """An archive file, open for reading; use it as a context manager. Raises ArchiveError with a sentence."""

    def __init__(self, path: Path):
        self.path = path
        self._readers: dict[Kind, TableReader] = {}
        try:
            self.file = h5py.File(path, "r", locking=False)
        except FileNotFoundError:
            raise ArchiveGone(f"{path} is not there; restore it from a copy") from None
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

    def __enter__(self) -> "ArchiveFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _damaged(self, error: Exception) -> ArchiveError:
        return ArchiveError(f"{self.path} is damaged: {error}; restore it from a copy or rebuild it from the log")

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that the file has events of."""
        names = set(self.file)
        return [kind for kind in Kind if kind.name in names]

    def subjects(self) -> list[str]:
        """The subjects of the events in the file."""
        names = {name for kind in self.kinds for name in self.file[kind.name]["events/subjects"][:].tolist()}
        return sorted(name.rstrip(b"\0").decode() for name in names)

    def table(self, kind: Kind) -> Table:
        """All events of a kind. Raises ArchiveError when the file is damaged."""
        try:
            return read_table(self.file[kind.name], kind, self.description)
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    def reader(self, kind: Kind) -> TableReader:
        """The reader of one kind's events, for parts and windows of them. Raises ArchiveError when the file is damaged."""
        try:
            if kind not in self._readers:
                self._readers[kind] = TableReader(self.file[kind.name], kind, self.description)
            return self._readers[kind].again()
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    def windows(self, kinds: Iterable[Kind], after: int = 0, until: int | None = None) -> Iterator[dict[Kind, Table]]:
        """Reads the events of some kinds with after < seq ≤ until, one span of `seq` after the other; a cut in one piece."""
        present = set(self.kinds)
        readers = {kind: self.reader(kind) for kind in kinds if kind in present}
        try:
            yield from windows(readers, after, until, self.part == "cut")
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    @property
    def part(self) -> str:
        """What part of the archive the file is: cut, day, rest or overlay (storage/archive/catalog.py)."""
        return str(self.attributes.get("part", "cut"))

    def book(self, name: str = "book") -> ArchivedBook | None:
        """Reads the book before the first event, or None in a file without depth. `name`: of another image, `books/13`."""
        if name not in self.file:
            return None
        try:
            group = self.file[name]
            levels = np.zeros(len(group["side"]), DEPTH)
            for column in ("price_ticks", "quantity_lots", "side"):
                levels[column] = get(group, column, len(levels), DEPTH[column])
            book = ArchivedBook()
            book.load(bool(group.attrs["valid"]), int(group.attrs["last_update_id"]), levels)
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None
        return book

    def images(self) -> list[tuple[int, str]]:
        """Every book image in order: (seq of the event before which it is the book, name)."""
        found = [(int(self.file["book"].attrs.get("before_seq", 0)), "book")] if "book" in self.file else []
        for hour in sorted(self.file.get("books", ())):
            found.append((int(self.file[f"books/{hour}"].attrs["before_seq"]), f"books/{hour}"))
        return found

    def ledger(self, before: LedgerPosition | None = None) -> CoverageLedger | None:
        """Reads the coverage that the file's events prove; None for a file of nodes' events, and for an overlay.

        A file that was written without it is computed, from `before` (the state of the file before), or from its book image.
        """
        if not of_instrument(self.attributes["folder"]) or self.part == "overlay":
            return None
        try:
            return read_ledger(self.file) or self._computed(before)
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    def _computed(self, before: LedgerPosition | None) -> CoverageLedger:
        state = before
        if state is None:
            book = self.book()
            begun = book is not None and (book.valid or book.last_update_id)
            state = LedgerPosition(depth_id=book.last_update_id, book=book.valid) if book is not None and begun else BEGINNING
        parts = []
        kinds = [kind for kind in (*COVERED, Kind.gap) if kind in self.kinds]
        for tables in self.windows(kinds):
            rows, state = of_tables(tables, self.attributes["folder"].replace("/", "."), state)
            parts.append(rows)
        return CoverageLedger(union(parts), state)

    @property
    def exponents(self) -> tuple[int, int] | None:
        """(price_exponent, quantity_exponent), or None where no instrument record was known."""
        if "price_exponent" not in self.attributes:
            return None
        return int(self.attributes["price_exponent"]), int(self.attributes["quantity_exponent"])

    def book_at(self, seq: int) -> ArchivedBook | None:
        """Computes the book before the event `seq` from the nearest image and the changes after it. None without depth."""
        nearest = [image for image in self.images() if image[0] <= seq]
        if not nearest:
            return None
        before, name = nearest[-1]
        book = self.book(name)
        for tables in self.windows((Kind.depth, Kind.gap), max(before - 1, 0), seq - 1):
            follow(book, tables)
        return book

    def book_after(self) -> ArchivedBook | None:
        """Computes the book after the last event: the one that the next segment opens with."""
        return self.book_at(1 << 62)

    def _as_written(self, kind: Kind, table: Table) -> Table:
        """With the headers and records that the file's own schema has: its checksum is of those."""
        header, dtype = header_of(self.description), dtype_of(self.description, kind)
        if (header, dtype) == (HEADER, DTYPES[kind]):
            return table
        headers = recast(table.headers, header)
        headers["size"] = headers.itemsize + headers["count"] * dtype.itemsize
        return Table(headers, table.records if dtype == DTYPES[kind] else recast(table.records, dtype))

    def content_sha256(self) -> str:
        """The checksum that a file of today's schema with the same content has; the file's own one where it is of that."""
        if self.description == DESCRIPTION:
            return str(self.attributes["content_sha256"])
        try:
            return self._sums(as_written=False)[0]
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise self._damaged(error) from None

    def check(self, seen: Seen | None = None) -> None:
        """Decodes everything and compares with the checksum; `seen` is handed it on the way. Raises ArchiveError."""
        found, sums = self._sums(as_written=True, seen=seen)
        if found != self.attributes.get("content_sha256"):
            wrong = [name for name, one in sums.items() if self.file[name].attrs.get("content_sha256", one) != one]
            where = f" ({', '.join(wrong)})" if wrong else ""
            raise self._damaged(ValueError(f"its content{where} does not match content_sha256"))

    def _sums(self, as_written: bool, seen: Seen | None = None) -> tuple[str, dict[str, str]]:
        """(checksum over everything, checksums of the parts), of the bytes of the file's own schema or of today's.

        A cut has the first one only, other files have it made of the others; a cut's kinds have no sums of their own.
        """
        digest = hashlib.sha256()
        sums = {}
        for kind in self.kinds:
            own = digest if self.part == "cut" else hashlib.sha256()
            for tables in self.windows((kind,)):
                written = self._as_written(kind, tables[kind]) if as_written else tables[kind]
                data, _ = to_bytes(written)
                own.update(data)
                if seen is not None:
                    seen(kind, tables[kind], data if written is tables[kind] else to_bytes(tables[kind])[0])
            if own is not digest:
                sums[kind.name] = own.hexdigest()
        for _, name in self.images():
            book = self.book(name)
            if book is not None:
                levels = book.levels().tobytes()
                digest.update(levels)
                sums[name] = hashlib.sha256(levels).hexdigest()
        ledger = self.ledger() if GROUP in self.file else None
        if ledger is not None:
            digest.update(ledger.rows.tobytes())
            sums[GROUP] = ledger.sha256
        for name, group in self.file.items():  # what is computed from the columns has its sum, but is not computed here
            if "content_sha256" in group.attrs:
                sums.setdefault(name, str(group.attrs["content_sha256"]))
        return digest.hexdigest() if self.part == "cut" else sum_of(sums), sums


def sum_of(sums: dict[str, str]) -> str:
    """The checksum of a file that is made of parts with checksums of their own, in the order of their names."""
    lines = "".join(f"{name} {sums[name]}\n" for name in sorted(sums))
    return hashlib.sha256(lines.encode()).hexdigest()


def follow(book: ArchivedBook | None, tables: dict[Kind, Table]) -> None:
    """Brings `book` to the end of a segment's tables."""
    if book is not None:
        none = Table(np.zeros(0, HEADER), np.zeros(0, GAP))
        depth = tables.get(Kind.depth, Table(np.zeros(0, HEADER), np.zeros(0, DEPTH)))
        book.follow(*depth, *tables.get(Kind.gap, none))


def names_of(paths: Iterable[Path], root: Path) -> str:
    """A JSON list of the paths, relative to `root`."""
    return json.dumps(sorted(str(path.relative_to(root)) for path in paths))
