"""Days of the archive as an export for another program takes them: which are over, their rows, book and definition."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DEPTH, Kind
from tickmesh.bus.topic_names import chooser
from tickmesh.storage.archive.catalog import day_start_ns
from tickmesh.storage.archive.file import SYSTEM, ArchiveFile, subject_of
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.query import reader
from tickmesh.tools.terminal import Failure, JsonObject


def days_to_write(
    archive: ArchiveReader,
    topics: list[str],
    span: tuple[int | None, int | None],
    partial: bool,
    kinds: Sequence[Kind],
) -> list[tuple[str, str]]:
    """(instrument, day) of every day that is to be written; the last one of the archive is not over."""
    last = max((file.day for file in archive.files), default="")
    found = {(subject_of(file.folder), file.day) for file in archive.files if file.folder != SYSTEM}
    names = {f"{kind.name}.{subject}" for kind in kinds for subject, _ in found if subject.count(".")}
    chosen = chooser(topics, names)
    wanted = {name.partition(".")[2] for name in names if not topics or chosen(name)}
    start_ns, end_ns = span
    return sorted(
        (subject, day)
        for subject, day in found
        if subject in wanted
        and (day < last or partial)
        and (start_ns is None or day_start_ns(day) + DAY_NS > start_ns)
        and (end_ns is None or day_start_ns(day) < end_ns)
    )


def rows_of_day(config: Config, kind: Kind, subject: str, day: str) -> np.ndarray:
    """The rows of one kind on a UTC day, as `reader.arrays` has them; none where there is none of it."""
    start_ns = day_start_ns(day)
    try:
        return reader.arrays(config, f"{kind.name}.{subject}", start_ns, start_ns + DAY_NS, gaps="ignore")
    except reader.ReadError:
        return np.zeros(0, row_dtype(kind))  # there is none of this kind


def definition_of_day(config: Config, subject: str, day: str) -> tuple[int, int, int, int]:
    """(exponents of price and quantity, tick and lot size as mantissas, 0 for not known) in force on a day. Raises Failure."""
    known = reader.definitions(config, subject, day_start_ns(day), day_start_ns(day) + DAY_NS)
    if len({one[1:] for one in known}) > 1:
        raise Failure(f"{subject} has exponents {known[0][1:]} and {known[1][1:]} on {day}: one array has room for one")
    try:
        rows = reader.arrays(config, f"instrument.{subject}", None, day_start_ns(day) + DAY_NS, gaps="ignore")
    except reader.ReadError:
        rows = np.zeros(0, row_dtype(Kind.instrument))  # it was never defined
    price, quantity = known[0][1:]
    return (price, quantity, int(rows["tick_size"][-1]), int(rows["lot_size"][-1])) if len(rows) else (price, quantity, 0, 0)


def book_before(path: Path) -> np.ndarray:
    """The levels of the book before the first event of a file; none where no book is known there."""
    with ArchiveFile(path) as file:
        book = file.book()
    levels: np.ndarray = book.levels() if book is not None and book.valid else np.zeros(0, DEPTH)
    return levels


def read_manifest(path: Path) -> dict[str, JsonObject]:
    """What an export has finished; nothing where it was not begun. Raises Failure for what cannot be read."""
    try:
        found: dict[str, JsonObject] = json.loads(path.read_bytes())
        return found
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Failure(f"{path} cannot be read: {error}; remove it to begin anew, or export into another folder") from None
