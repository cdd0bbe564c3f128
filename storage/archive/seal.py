"""Seals days: all cuts of a UTC day become one file for each folder, a function of the log alone.

The order makes a crash harmless: every file of the day and of its overlays is on disk under its name, read back and synced,
before the manifest says `sealed_seq`; only then the cuts are removed. What a crash leaves is finished at the next attempt.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from tickmesh.bus import clock
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.catalog import DAY_NS, OVERLAY, File, day_of, day_start_ns, list_files
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, names_of
from tickmesh.storage.archive.merge import Choose, Interrupted, Stop, merge
from tickmesh.storage.archive.writer import ArchiveWriter, remove
from tickmesh.storage.hdf5.columns import Table

__all__ = ["Interrupted", "Sealer", "day_sha256"]


class Sealer:
    """Seals the days of an archive, oldest first. `overlays`: files of strayed trades that it has made."""

    def __init__(self, archive: ArchiveWriter, seal_after_s: float = 0.0):
        self.archive = archive
        self.after_ns = int(seal_after_s * 1e9)
        self.sealed_days = 0
        self.overlays = 0

    def due(self, now_ns: int | None = None) -> str | None:
        """The oldest unsealed day that is wholly archived (a later day has begun there) and whose time to seal has come."""
        days = {file.day for file in self.archive.visible() if file.part == "cut"}
        if len(days) < 2:
            return None
        day = min(days)
        over = day_start_ns(day) + DAY_NS + self.after_ns
        return day if (clock.now_ns() if now_ns is None else now_ns) >= over else None

    def seal(self, day: str, stop: Stop = lambda: False) -> None:
        """Merges a day's cuts into a file for each folder. Raises ArchiveFull (try again), Interrupted, ArchiveError (bad cut).

        The cuts stay until everything else is on disk, so nothing is lost by any of them.
        """
        cuts: dict[str, list[File]] = defaultdict(list)
        for file in self.archive.visible():
            if file.part == "cut" and file.day == day:
                cuts[file.folder].append(file)
        spans = sorted({file.span for files in cuts.values() for file in files})
        first, last = self._check(day, spans)
        name = f"{first:020d}-{last:020d}.day.h5"
        targets = {folder: self.archive.folder / folder / day / name for folder in sorted(cuts)}
        events = 0
        for folder, target in targets.items():
            if target.exists():
                events += _whole(target)
            else:
                events += self._seal(cuts[folder], target, (first, last), names_of(targets.values(), self.archive.folder), stop)
        if events != last - first + 1:
            remove(targets.values())
            raise ArchiveError(
                f"the cuts of {day} in {self.archive.folder} hold {events} events; seq {first} to {last} are "
                f"{last - first + 1}. A file is missing; restore it from a copy. The day stays as it is"
            )
        for folder, target in targets.items():  # only now: an overlay that is there is believed to be whole
            self._overlay(target, folder, day, stop)
        with self.archive.lock:
            self.archive.publish(sealed_seq=last)
            self.sealed_days += 1
            remove(file.path for files in cuts.values() for file in files)

    def _check(self, day: str, spans: list[tuple[int, int]]) -> tuple[int, int]:
        expected = self.archive.sealed_seq + 1
        for first, last in spans:
            if first != expected:
                raise ArchiveError(
                    f"{self.archive.folder} has no cut with seq {expected} to {first - 1}, so {day} cannot be sealed; "
                    "restore the files from a copy"
                )
            expected = last + 1
        if not spans:
            raise ArchiveError(f"{self.archive.folder} has no cut of {day}; there is nothing to seal")
        return spans[0][0], spans[-1][1]

    def _seal(self, files: list[File], target: Path, span: tuple[int, int], names: str, stop: Stop) -> int:
        files = sorted(files)
        with ArchiveFile(files[-1].path) as newest:
            log_id = newest.attributes["log_id"]
        attributes = {
            "part": "day", "folder": files[0].folder, "day": files[0].day, "files": names, "log_id": log_id,
            "first_seq": np.uint64(span[0]), "last_seq": np.uint64(span[1]),
        }  # fmt: skip
        return sum(merge([file.path for file in files], target, attributes, stop=stop).values())

    def _overlay(self, target: Path, folder: str, day: str, stop: Stop) -> None:
        """Trades of other days by venue time go beside those days as well: an immutable file for each pair of days."""
        for other in strayed_days(target, day):
            name = target.name.replace(".day.h5", ".h5")
            overlay = self.archive.folder / folder / other / OVERLAY / name
            if overlay.exists():
                continue
            with ArchiveFile(target) as segment:
                same = {key: segment.attributes[key] for key in ("log_id", "first_seq", "last_seq", "folder")}
            attributes = {**same, "part": OVERLAY, "day": other, "sequenced_day": day}
            merge(
                [target], overlay, attributes, kinds=(Kind.trade,), choose=of_day(other), images=False, derive=False, stop=stop
            )
            self.overlays += 1


def trade_ns(table: Table) -> np.ndarray:
    """The venue time of every trade of a table; where the venue gave none, the time at which it was sequenced."""
    times = table.records["venue_ns"]
    return np.where(times != 0, times, np.repeat(table.headers["seq_ns"], table.headers["count"]))


def strayed_days(path: Path, day: str) -> list[str]:
    """The days other than `day` that trades of a file belong to by venue time."""
    found: set[int] = set()
    with ArchiveFile(path) as segment:
        if Kind.trade not in segment.kinds:
            return []
        reader = segment.reader(Kind.trade)
        for start in range(0, reader.records, 1 << 20):
            times = reader.record_column("venue_ns", start, min(start + (1 << 20), reader.records))
            found |= set(np.unique(times[times != 0] // DAY_NS).tolist())
    return sorted(name for number in found if (name := day_of(number * DAY_NS)) != day)


def of_day(day: str) -> Choose:
    """Makes a function that chooses from a table the events with a trade of that day by venue time."""
    start = day_start_ns(day)

    def choose(table: Table) -> Table:
        times = trade_ns(table)
        counts = table.headers["count"].astype("i8")
        owner = np.repeat(np.arange(len(counts)), counts)
        keep = np.zeros(len(counts), bool)
        keep[owner[(times >= start) & (times < start + DAY_NS)]] = True
        return Table(table.headers[keep], table.records[np.repeat(keep, counts)])

    return choose


def _whole(path: Path) -> int:
    """Events of a file that an interrupted seal has left; it has its name, so it is whole, and is checked all the same."""
    with ArchiveFile(path) as segment:
        segment.check()
        return sum(segment.reader(kind).events for kind in segment.kinds)


def day_sha256(folder: Path, day: str) -> str:
    """The checksum of a sealed day over all folders: what an export notes, and what a prune compares.

    Over the lines "folder content_sha256" of its day files in order. Raises ArchiveError when there is no such day.
    """
    from tickmesh.storage.archive.file import sum_of

    sums = {}
    for file in list_files(folder):
        if file.day == day and file.part == "day":
            with ArchiveFile(file.path) as segment:
                sums[file.folder] = str(segment.attributes["content_sha256"])
    if not sums:
        raise ArchiveGone(f"{folder} has no sealed day {day}")
    return sum_of(sums)
