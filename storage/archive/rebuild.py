"""Makes a sealed day again, from the log where that still has it, else from the archive's own events, and compares.

It goes the whole way: events, cuts, book images, seal; what comes out must have the checksums of what is there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import Batch
from tickmesh.storage.archive.catalog import File, list_files
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter, Opening
from tickmesh.storage.coverage.position import BEGINNING

CUT_EVENTS = 200_000
BATCH_EVENTS = 500


class RebuiltFile(NamedTuple):
    """One folder's file of a day: its checksum in the archive, and of the file made anew ("" where there is none).

    Both are of events of today's schema, of which the file may be an older one's.
    """

    folder: str
    was: str
    now: str

    @property
    def same(self) -> bool:
        """Whether both checksums are there and equal."""
        return self.was == self.now != ""


def rebuild_day(
    archive: Path, log: Path, day: str, into: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[str, list[RebuiltFile]]:
    """Seals `day` anew in the empty folder `into`; gives ("log" or "archive", a row a folder). `progress`: events done, of all.

    Raises ArchiveError for a day that is not sealed or was pruned, and for damage.
    """
    reader = ArchiveReader(archive)
    files = {f.folder: f for f in reader.files if f.day == day and f.part == "day"}
    if not files or any(one.day == day for one in reader.mark.pruned):
        sealed = sorted({f.day for f in reader.files if f.part == "day"} - {one.day for one in reader.mark.pruned})
        known = f"{sealed[0]} to {sealed[-1]}" if sealed else "none yet"
        raise ArchiveError(f"{day} is no sealed day of {archive} that is still there; those are: {known}")
    first, last = next(iter(files.values())).span
    logged = LogReader(log)
    held = bool(logged.first) and logged.first <= first and logged.durable >= last
    batches = logged.batches(first - 1, last) if held else _batches(reader, first, last)
    writer = ArchiveWriter(into)
    try:
        writer.begin_at(first, {folder: _opening(reader.files, folder, first) for folder in files})
        writer.archive(_with_progress(batches, first, last, progress), last, CUT_EVENTS, reader.log_id)
        Sealer(writer).seal(day)
    finally:
        writer.close()
    made = {f.folder: f for f in list_files(into) if f.part == "day"}
    rows = [RebuiltFile(folder, _sum(files.get(folder)), _sum(made.get(folder))) for folder in sorted(files | made)]
    return "log" if held else "archive", rows


def _opening(files: list[File], folder: str, first: int) -> Opening:
    """What is known at the end of the folder's file before."""
    before = [f for f in files if f.folder == folder and f.last < first]
    if not before:
        return Opening()
    with ArchiveFile(before[-1].path) as segment:
        ledger = segment.ledger()
        return Opening(segment.book_after(), segment.exponents, BEGINNING if ledger is None else ledger.after)


def _batches(reader: ArchiveReader, first: int, last: int) -> Iterator[Batch]:
    raws: list[bytes] = []
    for event in reader.events(first - 1, last):
        raws.append(bytes(event.raw))
        if len(raws) == BATCH_EVENTS or event.seq == last:
            yield Batch(event.seq - len(raws) + 1, event.seq, memoryview(b"".join(raws)))
            raws = []


def _with_progress(batches: Iterator[Batch], first: int, last: int, progress: Callable[[int, int], None]) -> Iterator[Batch]:
    """The same batches; after each, `progress` is called with the events done, of all from `first` to `last`."""
    for batch in batches:
        yield batch
        progress(min(batch.last, last) - first + 1, last - first + 1)


def _sum(file: File | None) -> str:
    if file is None:
        return ""
    with ArchiveFile(file.path) as segment:
        return segment.content_sha256()
