"""An instrument's depth events as arrays, from the nearest image of the archive on: archive, then log, up to this moment.

A chunk is bounded by its levels, so memory does not grow with the period that is read.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DEPTH, GAP, Flag, Kind
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, folder_of
from tickmesh.storage.archive.reader import ArchiveReader, File
from tickmesh.storage.books.arrays import EVENT, check_prices
from tickmesh.storage.hdf5.columns import TableReader, from_bytes
from tickmesh.storage.query import reader
from tickmesh.storage.query.known import check_known
from tickmesh.storage.query.times import ReadError

EVENTS_MAX = 1 << 16  # events of a chunk
LEVELS_MAX = 1 << 20  # and levels: 24 MiB; one event may have more
LOGGED_BYTES = 16 << 20  # of a chunk that comes from the log
COLUMNS = ("seq", "seq_ns", "last_id", "venue_ns", "flags")  # an event's in the archive that EVENT has too


class BookEvents(NamedTuple):
    """Consecutive events of one book. `events`: (n,) EVENT; `levels`: (m,) DEPTH, to which they point.

    One whose seq_ns is 0 is no event but an image: the whole book as the archive holds it, after the event `seq`.
    """

    events: np.ndarray
    levels: np.ndarray


def book_events(
    config: Config, subject: str, start_ns: int | None = None, start_seq: int | None = None, end_ns: int | None = None
) -> Iterator[BookEvents]:
    """Reads what the book of `subject` needs to be known from a moment on: an image from before it, then every event.

    From the log's first event where no start is given. Ends with the chunk that reaches `end_ns` (seq_ns). Raises ReadError for
    an instrument of which nothing is known, ArchiveError for damage; warns (PrunedWarning) of days without their depth.
    """
    archive = ArchiveReader(config.archive_dir)
    folder = folder_of(Kind.depth, subject)
    position, chunk = _opening(archive, folder, start_ns, start_seq)
    if chunk is not None:
        yield _checked(chunk, subject)
    known = chunk is not None
    for chunk in _onward(config, archive, folder, subject, position):
        known = True
        yield _checked(chunk, subject)
        if end_ns is not None and int(chunk.events["seq_ns"][-1]) >= end_ns:
            return
    if not known:
        check_known(config, Kind.depth, subject)


def _checked(chunk: BookEvents, subject: str) -> BookEvents:
    try:
        check_prices(chunk.levels)
        return chunk
    except ValueError as error:
        raise ReadError(f"{subject}: {error}. Read its rows with reader.arrays instead") from None


def _opening(archive: ArchiveReader, folder: str, start_ns: int | None, start_seq: int | None) -> tuple[int, BookEvents | None]:
    """(seq after which events have to be applied, the nearest image before a moment); (0, None) where there is none."""
    if start_ns is None and start_seq is None:
        return 0, None
    while True:
        try:
            for file in reversed(archive.files):
                if file.folder == folder and (found := _image(file, start_ns, start_seq)) is not None:
                    return found
            return 0, None
        except ArchiveGone:
            if not archive.moved():
                raise


def _image(file: File, start_ns: int | None, start_seq: int | None) -> tuple[int, BookEvents] | None:
    """A file's nearest image that is not after the moment, and the seq after which it is the book; None where there is none."""
    if file.part not in ("cut", "day") or (start_seq is not None and start_seq < file.first):
        return None
    if start_ns is not None and file.day > day_of(start_ns):
        return None
    with ArchiveFile(file.path) as segment:
        if Kind.depth not in segment.kinds:
            return None
        bound = file.last if start_seq is None else start_seq
        if start_ns is not None:
            if int(segment.reader(Kind.depth).column("seq_ns", 0, 1)[0]) > start_ns:
                return None
            bound = min(_first_seq(segment, kind, start_ns) for kind in (Kind.depth, Kind.gap))
        before = [(seq, name) for seq, name in segment.images() if seq <= bound]
        if not before:
            return None
        seq, name = before[-1]
        book = segment.book(name)
        after = max(seq, file.first) - 1
        return after, image_event(book or ArchivedBook(), after)


def _first_seq(segment: ArchiveFile, kind: Kind, start_ns: int) -> int:
    """The seq of a file's first event of a kind with seq_ns ≥ start_ns; of the file's last event where there is none."""
    last = int(segment.attributes["last_seq"])
    if kind not in segment.kinds:
        return last
    table = segment.reader(kind)
    row = table.first_row("seq_ns", start_ns)
    return int(table.column("seq", row, row + 1)[0]) if row < table.events else last


def image_event(book: ArchivedBook, seq: int) -> BookEvents:
    """Builds the row, with seq_ns 0, that makes any book the one that `book` is after the event `seq`."""
    events, levels = np.zeros(1, EVENT), book.levels()
    events["seq"], events["last_id"], events["count"] = seq, book.last_update_id, len(levels)
    events["flags"] = Flag.SNAPSHOT
    if not book.valid:
        events["kind"] = Kind.gap
    return BookEvents(events, levels)


def _onward(config: Config, archive: ArchiveReader, folder: str, subject: str, position: int) -> Iterator[BookEvents]:
    """Every event after `position`, from the archive as far as it goes and then from the log."""
    archive.warn_of_pruned((Kind.depth,), position, None)
    while True:
        try:
            for files in archive.cuts(position, None, {folder}):
                for file in files:
                    for chunk in _of_file(file, position):
                        position = max(position, int(chunk.events["seq"][-1]))
                        yield chunk
            position = max(position, archive.archived_seq)
            break
        except ArchiveGone:
            if not archive.moved():
                raise
    yield from _logged(config, subject, position)


def _of_file(file: File, after: int) -> Iterator[BookEvents]:
    with ArchiveFile(file.path) as segment:
        try:
            if file.part == "rest":  # of a pruned day only the book at its end is left
                book = segment.book()
                if book is not None:
                    yield image_event(book, file.last)
                return
            gaps = _gaps(segment, after)
            if Kind.depth in segment.kinds:
                yield from _with_gaps(segment.reader(Kind.depth), gaps, after)
            elif len(gaps):
                yield BookEvents(gaps, np.zeros(0, DEPTH))
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            segment.check()
            raise ArchiveError(f"{file.path} cannot be read: {error!r}") from None


def _gaps(segment: ArchiveFile, after: int) -> np.ndarray:
    """A file's gaps of depth with seq > `after`, EVENT."""
    if Kind.gap not in segment.kinds:
        return np.zeros(0, EVENT)
    headers, records = segment.table(Kind.gap)
    return _gap_events(headers[headers["seq"] > after], records[np.repeat(headers["seq"], headers["count"]) > after])


def _gap_events(headers: np.ndarray, records: np.ndarray) -> np.ndarray:
    """The EVENT rows of those gap events that are about depth. `headers`: HEADER; `records`: GAP."""
    assert records.dtype == GAP
    of_depth = np.zeros(len(headers) + 1, "i8")
    of_depth[1:] = np.cumsum(headers["count"], dtype="i8")
    total = np.concatenate([[0], np.cumsum(records["stream"] == Kind.depth)])
    own = headers[total[of_depth[1:]] > total[of_depth[:-1]]]
    out = np.zeros(len(own), EVENT)
    out["seq"], out["seq_ns"], out["kind"] = own["seq"], own["seq_ns"], Kind.gap
    return out


def _with_gaps(depth: TableReader, gaps: np.ndarray, after: int) -> Iterator[BookEvents]:
    """A file's depth events with seq > `after` and its gaps, in order, a bounded chunk after the other."""
    row = depth.first_row("seq", after + 1) if after else 0
    record = depth.record_range(row, row)[0]
    while row < depth.events:
        stop = min(row + EVENTS_MAX, depth.events)
        counts = depth.column("count", row, stop).astype("i8")
        ends = np.cumsum(counts)
        stop = row + max(1, int(np.searchsorted(ends, LEVELS_MAX, "right")))
        counts, ends = counts[: stop - row], ends[: stop - row]
        events = np.zeros(stop - row, EVENT)
        for name in COLUMNS:
            events[name] = depth.column(name, row, stop)
        events["kind"], events["count"], events["first"] = Kind.depth, counts, ends - counts
        levels = np.zeros(int(ends[-1]), DEPTH)
        for name in ("price_ticks", "quantity_lots", "side"):
            levels[name] = depth.record_column(name, record, record + len(levels))
        row, record = stop, record + len(levels)
        now = len(gaps) if row == depth.events else int(np.searchsorted(gaps["seq"], events["seq"][-1]))
        yield BookEvents(_in_order(events, gaps[:now]), levels)
        gaps = gaps[now:]
    if len(gaps):
        yield BookEvents(gaps, np.zeros(0, DEPTH))


def _in_order(events: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    both = np.concatenate([events, gaps])
    return both[np.argsort(both["seq"], kind="stable")] if len(gaps) else events


def _logged(config: Config, subject: str, position: int) -> Iterator[BookEvents]:
    raws: dict[int, list[bytes]] = {Kind.depth: [], Kind.gap: []}
    waiting = 0
    for event in reader.events(config, position, kinds=(Kind.depth, Kind.gap), subject=subject):
        raws[event.kind].append(bytes(event.raw))
        waiting += len(event.raw)
        if waiting >= LOGGED_BYTES:
            yield _of_raws(raws)
            raws, waiting = {Kind.depth: [], Kind.gap: []}, 0
    if waiting and len((chunk := _of_raws(raws)).events):
        yield chunk


def _of_raws(raws: dict[int, list[bytes]]) -> BookEvents:
    tables = {
        kind: from_bytes(Kind(kind), b"".join(own), np.array([len(raw) for raw in own], "i8")) for kind, own in raws.items()
    }
    headers, levels = tables[Kind.depth]
    events = np.zeros(len(headers), EVENT)
    for name in COLUMNS:
        events[name] = headers[name]
    events["kind"], events["count"] = Kind.depth, headers["count"]
    events["first"] = np.cumsum(events["count"]) - events["count"]
    return BookEvents(_in_order(events, _gap_events(*tables[Kind.gap])), levels)
