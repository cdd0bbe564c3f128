"""The newest book of one instrument, moved on event by event in plain Python: for who asks now and then, and has no numba."""

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DEPTH, Flag, Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.file import ArchiveFile, ArchiveGone, folder_of
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.query import reader
from tickmesh.storage.query.known import check_known

BOOK_KINDS = (Kind.depth, Kind.gap)


class NewestBook:
    """A book as `reading.book_at` gives it for now. `seen`: every event up to this seq has been applied.

    `seq`, `seq_ns`, `venue_ns`: of the last event in it (0: not known, it is in the archive).
    """

    def __init__(self, subject: str, book: ArchivedBook, seen: int):
        self.subject, self.seen = subject, seen
        self.seq = self.seq_ns = self.venue_ns = 0
        self._book = book

    @property
    def valid(self) -> bool:
        """Whether there is a book: between a gap of depth and the next snapshot there is none."""
        return self._book.valid

    @property
    def last_update_id(self) -> int:
        """The venue's id of the last change in it."""
        return self._book.last_update_id

    def take(self, event: Event) -> None:
        """Applies an event of depth, or a gap, of this instrument, in order of seq; one that is in it already does nothing."""
        if event.seq <= self.seen or event.subject != self.subject:
            return
        self.seen = event.seq
        if event.kind == Kind.gap:
            if (event.records["stream"] == Kind.depth).any():
                self._book.broken(event.records)
                self.seq, self.seq_ns = event.seq, event.seq_ns
            return
        if event.flags & Flag.SNAPSHOT or (self.valid and event.last_id > self.last_update_id):
            self.seq, self.seq_ns, self.venue_ns = event.seq, event.seq_ns, event.venue_ns
        self._book.apply(event.flags, event.last_id, event.records)

    def sides(self, levels: int) -> tuple[np.ndarray, np.ndarray]:
        """The best `levels` of bids and of asks, best first: schema.DEPTH each."""
        rows = self._book.levels() if self.valid else np.zeros(0, DEPTH)
        return rows[rows["side"] == 1][:levels], rows[rows["side"] == -1][:levels]


def newest_book(config: Config, subject: str) -> NewestBook:
    """Builds the book of `subject` ("venue.symbol") after every event up to now: from the archive's last image, and the log.

    Raises ReadError for an instrument of which nothing is known, ArchiveError for damage.
    """
    archive = ArchiveReader(config.archive_dir)
    while True:
        try:
            found, seen = _archived(archive, subject), archive.archived_seq
            break
        except ArchiveGone:
            if not archive.moved():
                raise
    book = NewestBook(subject, found or ArchivedBook(), seen)
    known = found is not None
    for event in reader.events(config, seen, kinds=BOOK_KINDS, subject=subject):
        known = True
        book.take(event)
    if not known:
        check_known(config, Kind.depth, subject)
    return book


def _archived(archive: ArchiveReader, subject: str) -> ArchivedBook | None:
    """The book at the archive's end; None where it has no depth of it."""
    folder = folder_of(Kind.depth, subject)
    for file in reversed(archive.files):
        if file.folder == folder and file.part in ("cut", "day"):
            with ArchiveFile(file.path) as segment:
                if Kind.depth in segment.kinds and (book := segment.book_after()) is not None:
                    return book
    return None
