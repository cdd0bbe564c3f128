"""Removes the market data of sealed days that `mesh export` has completely, when the user said so and the disk is low.

`exported.json` in the archive's folder says what is exported: {day: {"folder": where, "content_sha256": day_sha256 of then}}.
Of a pruned day stays everything but trades, quotes, depth and raw frames: the `rest` files, with coverage, bars, gaps,
definitions, orders and fills, and the book at the day's end. They are on disk before the manifest says `pruned`, and only
then the day goes.
"""

import json
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.catalog import PRUNED_KINDS, File, Pruned
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, place
from tickmesh.storage.archive.merge import Stop, merge
from tickmesh.storage.archive.seal import day_sha256
from tickmesh.storage.archive.writer import ArchiveWriter, remove

EXPORTED = "exported.json"


class Exported(NamedTuple):
    """Where a day was exported to, and the checksum of the day that was exported."""

    folder: str
    content_sha256: str


def read_exported(folder: Path) -> dict[str, Exported]:
    """Reads the exports that are noted, by day. Raises ArchiveError when the file cannot be read."""
    path = Path(folder) / EXPORTED
    try:
        tree = json.loads(path.read_bytes())
        return {day: Exported(str(one["folder"]), str(one["content_sha256"])) for day, one in tree.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(f"{path} cannot be read: {error!r}; nothing is pruned. Run `mesh export` again") from None


def mark_exported(folder: Path, day: str, target: Path) -> None:
    """Notes that all of a sealed day's trades, quotes and depth are in `target`. A day without a note is never pruned."""
    marks = read_exported(folder) | {day: Exported(str(target), day_sha256(folder, day))}
    tree = {name: one._asdict() for name, one in sorted(marks.items())}
    place(Path(folder) / EXPORTED, json.dumps(tree, indent=1).encode() + b"\n", 0o644)


def prunable(archive: ArchiveWriter) -> str | None:
    """The oldest sealed day that is there, exported, and unchanged since; None where there is none. Raises ArchiveError."""
    marks = read_exported(archive.folder)
    gone = {one.day for one in archive.mark.pruned}
    days = sorted({f.day for f in archive.visible() if f.part == "day"} - gone)
    for day in days:
        if day in marks and marks[day].content_sha256 == day_sha256(archive.folder, day):
            return day
    return None


def prune(archive: ArchiveWriter, day: str, stop: Stop = lambda: False) -> int:
    """Removes a sealed day's market data; returns the bytes that were freed.

    Raises ArchiveFull, ArchiveError, Interrupted: then the day is as it was.
    """
    files = [file for file in archive.visible() if file.day == day and file.part == "day"]
    chosen = [file for file in files if _has_market_data(file)]
    if not chosen:
        return 0
    before = sum(file.path.stat().st_size for file in chosen)
    kept = 0
    for file in chosen:
        rest = file.path.with_name(file.path.name.replace(".day.h5", ".rest.h5"))
        with ArchiveFile(file.path) as segment:
            same = {key: segment.attributes[key] for key in ("log_id", "first_seq", "last_seq", "folder", "day", "files")}
            book = segment.book_after()
        kinds = [kind for kind in Kind if kind not in PRUNED_KINDS]
        merge([file.path], rest, {**same, "part": "rest"}, kinds=kinds, images=False, book=book, stop=stop)
        kept += rest.stat().st_size
    with archive.lock:
        one = Pruned(day, files[0].first, files[0].last, tuple(sorted(file.folder for file in chosen)))
        archive.publish(pruned=(*archive.mark.pruned, one))
        remove(file.path for file in chosen)
    return before - kept


def _has_market_data(file: File) -> bool:
    with ArchiveFile(file.path) as segment:
        return bool(PRUNED_KINDS & set(segment.kinds))
