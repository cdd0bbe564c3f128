"""What lies in the archive's folder, and what of it a reader may see: the manifest decides, never the file names alone.

Four parts: `cut` (some minutes), `day` (all of a day's cuts in one file), `rest` (what a pruned day keeps) and `overlay`
(trades of one day that were sequenced on another, beside the day they belong to).
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.file import ArchiveError

DAY_NS = 86_400 * 1_000_000_000
MANIFEST = "watermark.json"
NAME = re.compile(r"(\d{20})-(\d{20})(?:\.(day|rest))?\.h5")
PRUNED_KINDS = frozenset({Kind.trade, Kind.quote, Kind.depth, Kind.raw})  # what an export has, and frames
OVERLAY = "overlay"  # name of the folder in a day's folder


class Pruned(NamedTuple):
    """A day whose market data was removed on purpose after its export: in these folders only `rest` files are left."""

    day: str
    first: int
    last: int
    folders: tuple[str, ...]


class Watermark(NamedTuple):
    """How far the archive goes: every event with seq ≤ `archived_seq` is in the files; up to `sealed_seq` in sealed days.

    `log_id`: of the log they were taken from. `first_seq`: where it begins; a day that was made again stands alone.
    """

    archived_seq: int
    log_id: int
    sealed_seq: int = 0
    pruned: tuple[Pruned, ...] = ()
    first_seq: int = 1


class File(NamedTuple):
    """One archive file, by what its name and folder state."""

    first: int
    last: int
    path: Path
    folder: str  # venue/instrument
    day: str
    part: str  # cut, day, rest, overlay

    @property
    def span(self) -> tuple[int, int]:
        """The first and last seq of its events."""
        return self.first, self.last


def read_watermark(folder: Path) -> Watermark:
    """The watermark of an archive's manifest; (0, 0) where there is none. Raises ArchiveError when it cannot be read."""
    path = Path(folder) / MANIFEST
    try:
        tree = json.loads(path.read_bytes())
        pruned = tuple(
            Pruned(day, int(one["first_seq"]), int(one["last_seq"]), tuple(one["folders"]))
            for day, one in tree.get("pruned", {}).items()
        )
        numbers = int(tree["archived_seq"]), int(tree["log_id"], 16), int(tree.get("sealed_seq", 0))
        return Watermark(*numbers, pruned, int(tree.get("first_seq", 1)))
    except FileNotFoundError:
        return Watermark(0, 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(
            f'{path} cannot be read: {error!r}; it should be like {{"archived_seq": 1, "log_id": "00ff", "sealed_seq": 0}}'
        ) from None


def manifest(mark: Watermark) -> bytes:
    """Encodes watermark.json."""
    tree: dict[str, Any] = {"archived_seq": mark.archived_seq, "log_id": f"{mark.log_id:016x}", "sealed_seq": mark.sealed_seq}
    if mark.first_seq != 1:
        tree["first_seq"] = mark.first_seq
    if mark.pruned:
        tree["pruned"] = {
            one.day: {"first_seq": one.first, "last_seq": one.last, "folders": sorted(one.folders)} for one in mark.pruned
        }
    return json.dumps(tree).encode() + b"\n"


def day_of(seq_ns: int) -> str:
    """The UTC day of a time, as YYYY-MM-DD."""
    return str(np.datetime64(seq_ns // DAY_NS, "D"))


def day_start_ns(day: str) -> int:
    """The time at which a UTC day begins, ns."""
    return int(np.datetime64(day, "D").astype("i8")) * DAY_NS


def list_files(folder: Path) -> list[File]:
    """Lists every archive file, visible to readers or not, in order of `seq`."""
    found: list[File] = []
    for first in _folders(os.fspath(folder)):
        for second in _folders(first.path):
            name = f"{first.name}/{second.name}"
            for day in _folders(second.path):
                found += _files(day.path, name, day.name)
    return sorted(found)


def _files(path: str, folder: str, day: str, part: str = "") -> Iterator[File]:
    with os.scandir(path) as entries:
        for entry in entries:
            if match := NAME.fullmatch(entry.name):
                yield File(int(match[1]), int(match[2]), Path(entry.path), folder, day, part or match[3] or "cut")
            elif entry.name == OVERLAY and not part:
                yield from _files(entry.path, folder, day, OVERLAY)


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=True)]
    except FileNotFoundError:
        return []


def visible(files: list[File], mark: Watermark) -> list[File]:
    """The files that a reader sees: each event in exactly one, whatever a seal or a prune has left half done."""
    gone = {(one.first, one.last, folder) for one in mark.pruned for folder in one.folders}
    out = []
    for file in files:
        pruned = (*file.span, file.folder) in gone
        if file.part == "cut":
            seen = mark.sealed_seq < file.first and file.last <= mark.archived_seq
        elif file.part == "day":
            seen = file.last <= mark.sealed_seq and not pruned
        else:
            seen = file.last <= mark.sealed_seq and (pruned if file.part == "rest" else True)
        if seen:
            out.append(file)
    return out
