"""Of which time anything is recorded, and the one sentence about a request that reaches beyond it."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.catalog import DAY_NS, OVERLAY, File, day_start_ns
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, folder_of
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.query.coverage import iso, retry_if_moved

SLACK_NS = 5 * 10**9  # processes state their health every second, so a mesh that runs has newer events than this


class RecordedSpan(NamedTuple):
    """The times, ns, of the first and the last event that a place has; 0, 0: it has none."""

    place: Path
    begin_ns: int
    last_ns: int

    def with_venue_times(self, ledger: np.ndarray) -> "RecordedSpan":
        """Widens it by the venue's times of a ledger (COVERAGE rows): a replay is recorded long after its events."""
        begins, ends = (ledger[name][ledger[name] > 0] for name in ("begin_ns", "end_ns"))
        return self._replace(
            begin_ns=min([self.begin_ns, *begins.tolist()]), last_ns=max([self.last_ns, *begins.tolist(), *ends.tolist()])
        )

    def beyond(self, start_ns: int | None, end_ns: int | None) -> str:
        """The sentence about start ≤ t < end where something of it lies outside this span; "" where nothing does.

        No end, or one that is not yet past, means up to now, and no start from the first event on: nothing lies outside there.
        """
        begin_ns, last_ns = self.begin_ns - SLACK_NS, self.last_ns + SLACK_NS
        open_end = end_ns is None or end_ns > now_ns() - SLACK_NS
        before = start_ns is not None and start_ns < begin_ns
        after = not open_end and end_ns is not None and end_ns > last_ns
        nothing = (start_ns is not None and start_ns > last_ns) or (end_ns is not None and end_ns <= self.begin_ns)
        if not (before or after or nothing):
            return ""
        there = f"recorded is {iso(self.begin_ns)} to {iso(self.last_ns)}" if self.last_ns else "nothing is recorded there yet"
        asked = f"from {iso(start_ns) if start_ns else 'the beginning'} to {iso(end_ns) if end_ns else 'now'}"
        return f"{'nothing' if nothing else 'only a part'} of the time {asked} is recorded in {self.place}; {there}"


def recorded_spans(config: Config, kind: Kind, subjects: Iterable[str]) -> dict[str, RecordedSpan]:
    """Reads by subject the span of a mesh: from the first event of its instrument, or of all processes, to the newest of all.

    An instrument without newer events is quiet; that the mesh was there, its other events show.
    """
    folders = {subject: folder_of(kind, subject) for subject in subjects}
    found = retry_if_moved(config, lambda: _recorded(config, set(folders.values())))
    return {subject: found[folder] for subject, folder in folders.items()}


def _recorded(config: Config, folders: set[str]) -> dict[str, RecordedSpan]:
    archive, log = ArchiveReader(config.archive_dir), LogReader(config.log_dir)
    files = [file for file in archive.files if file.part != OVERLAY]
    begins: dict[str, int] = {}
    for file in files:
        if file.folder in folders and file.folder not in begins and (edges := _edges(file)):
            begins[file.folder] = edges[0]
    oldest = next(log.events(log.first - 1), None) if log.first and len(begins) < len(folders) else None
    logged_ns = oldest.seq_ns if oldest is not None else 0
    last = log.last
    if last > archive.archived_seq and (newest := next(log.events(last - 1), None)) is not None:
        last_ns = newest.seq_ns
    else:
        newest_seq = max((file.last for file in files), default=0)
        ends = [edges[1] for file in files if file.last == newest_seq and (edges := _edges(file))]
        last_ns = max(ends, default=0)
    return {folder: RecordedSpan(config.source_dir, begins.get(folder, logged_ns), last_ns) for folder in folders}


def _edges(file: File) -> tuple[int, int] | None:
    """The seq_ns of the first and the last event of a file, None where it has none; of one that cannot be read its day."""
    try:
        return _edges_in(file.path)
    except ArchiveError:  # whoever reads rows of it says so
        begin_ns = day_start_ns(file.day)
        return begin_ns, begin_ns + DAY_NS


@lru_cache(maxsize=4096)
def _edges_in(path: Path) -> tuple[int, int] | None:  # of a file that never changes
    firsts, lasts = [], []
    with ArchiveFile(path) as segment:
        for kind in segment.kinds:
            reader = segment.reader(kind)
            if reader.events:
                firsts.append(int(reader.header_column("seq_ns", 0, 1)[0]))
                lasts.append(int(reader.header_column("seq_ns", reader.events - 1, reader.events)[0]))
    return (min(firsts), max(lasts)) if firsts else None
