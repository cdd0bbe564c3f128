"""What belongs to an archive and is not in its folder: a reader is refused, for what is left would look whole.

Two signs: ranges of seq up to the watermark that no file has, and names that the other files of a cut or day list.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tickmesh.storage.archive.catalog import DAY_NS, MANIFEST, File, Watermark, day_of, day_start_ns
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile

LAST_DAY = "9999"
CUTS_KNOWN_MAX = 4096  # cuts and days whose file names are kept in memory


class Absent(NamedTuple):
    """A range of seq that no file has. Its events are of the days `begin` to `end`, "" and LAST_DAY where that is open."""

    first: int
    last: int
    begin: str
    end: str
    part: str  # cut or day


def absent_spans(files: Iterable[File], mark: Watermark) -> list[Absent]:
    """The ranges of seq from the archive's first to its watermark that neither a visible file has nor a prune explains."""
    held = {(file.first, file.last, file.day) for file in files} | {(one.first, one.last, one.day) for one in mark.pruned}
    found: list[Absent] = []
    expected, before = mark.first_seq, ""
    for first, last, day in [*sorted(held), (mark.archived_seq + 1, mark.archived_seq, LAST_DAY)]:
        sealed = (expected, min(first - 1, mark.sealed_seq))
        cut = (max(expected, mark.sealed_seq + 1), first - 1)
        if sealed[0] <= sealed[1]:  # whole days, so neither of the days beside them
            found.append(Absent(*sealed, _moved(before, 1), _moved(day, -1), "day"))
        if cut[0] <= cut[1]:
            found.append(Absent(*cut, before if expected > mark.sealed_seq + 1 else _moved(before, 1), day, "cut"))
        expected, before = max(expected, last + 1), day
    return found


def _moved(day: str, by: int) -> str:
    """The day `by` days later; what is open stays open."""
    return day if day in ("", LAST_DAY) else day_of(day_start_ns(day) + by * DAY_NS)


def require(
    archive: Path, files: list[File], mark: Watermark, folder: str | None, days: tuple[str, str], all_cuts: bool = False
) -> None:
    """Raises ArchiveError, naming it, when a file is not there that may hold events of a folder (None: of any) and days.

    `all_cuts`: cuts of later days count too; a trade that came late may lie in one. ArchiveGone when a file went just now.
    """

    def asked(part: str, begin: str, end: str) -> bool:
        return days[0] <= end and (begin <= days[1] or (all_cuts and part == "cut"))

    for one in absent_spans(files, mark):
        if asked(one.part, one.begin, one.end):
            raise ArchiveError(
                f"{archive} has no file with seq {one.first} to {one.last}{_between(one)}, although {MANIFEST} says it holds "
                f"everything up to {mark.archived_seq}; restore the files from a copy"
            )
    beside: dict[tuple[int, int], list[File]] = {}
    for file in files:
        if asked(file.part, file.day, file.day):
            beside.setdefault(file.span, []).append(file)
    for cut in beside.values():
        require_beside(archive, cut, None if folder is None else {folder})


def require_beside(archive: Path, files: list[File], folders: set[str] | None) -> None:
    """Raises ArchiveError, naming it, when a file of `folders` (None: of any) lacks among `files`, those of one cut or day."""
    there = {file.folder for file in files}
    if folders is not None and folders <= there:
        return
    for name in _names_beside(files[0].path):
        owner = name.rsplit("/", 2)[0]
        if owner not in there and (folders is None or owner in folders):
            first, last = files[0].span
            raise ArchiveError(
                f"{archive / name} is not there, with events of seq {first} to {last} of {files[0].day}: the files beside it "
                "name it; restore it from a copy"
            )


def _between(one: Absent) -> str:
    if one.begin == one.end:
        return f" of {one.begin}"
    words = [f"from {one.begin}"] if one.begin else []
    return "".join(f" {word}" for word in words + ([f"up to {one.end}"] if one.end != LAST_DAY else []))


def _names_beside(path: Path) -> tuple[str, ...]:
    """The names of all files of a file's cut or day, relative to the archive's folder."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return _read_names(path, 0, 0)  # says what a reader says of a file that has gone
    return _read_names(path, stat.st_ino, stat.st_mtime_ns)


@lru_cache(CUTS_KNOWN_MAX)
def _read_names(path: Path, _inode: int, _mtime_ns: int) -> tuple[str, ...]:
    with ArchiveFile(path) as segment:
        return tuple(json.loads(segment.attributes["files"]))
