"""What a folder of backups holds: one folder for each, with its files as they lay in the mesh, and `backup.json`.

A backup is there when it has its name; `.unfinished` is one that is being made, or was killed. Files that are in several
backups are one file with several names (hard links): each folder is whole by itself, and an old one may be removed.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tickmesh.bus.schema import SCHEMA_VERSION
from tickmesh.tools.terminal import Failure

FORMAT = 1
INDEX = "backup.json"
UNFINISHED = ".unfinished"
BLOCK = 1 << 20


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a backup. `changed_ns`: when the mesh's file was changed last (ctime), 0 where that is not known surely."""

    size: int
    mode: int
    modified_ns: int
    changed_ns: int
    sha256: str


class StoredSource(msgspec.Struct, frozen=True):
    """What a backup has of a source of data: the log's first identity ("" without a log), and how far log and archive go."""

    log_id: str
    first_seq: int
    last_seq: int
    archived_seq: int


class BackupIndex(msgspec.Struct, frozen=True):
    """The content of backup.json: everything that is in the backup, by its name below it, and what was left out and why."""

    format: int
    software: str
    schema_version: int
    taken_ns: int  # wall clock at the moment of which it is
    source: str  # that mesh.toml or `mesh up` had chosen
    secrets: bool
    sources: dict[str, StoredSource]
    left_out: dict[str, str]
    files: dict[str, StoredFile]

    @property
    def bytes(self) -> int:
        """All files together; those that several backups share count in each."""
        return sum(one.size for one in self.files.values())


def name_of_time(wall_ns: int) -> str:
    """The name of a backup that was taken at this time: `2026-01-31T12.00.00.000Z`; in order of names is in order of time."""
    at = datetime.fromtimestamp(wall_ns // 10**9, UTC)
    return f"{at:%Y-%m-%dT%H.%M.%S}.{wall_ns // 10**6 % 1000:03d}Z"


def list_backups(folder: Path) -> list[Path]:
    """The backups in a folder, oldest first. Raises Failure where it cannot be read."""
    try:
        return sorted(path.parent for path in folder.glob(f"*/{INDEX}") if path.parent.name != UNFINISHED)
    except OSError as error:
        raise Failure(f"{folder} cannot be read: {error.strerror}") from None


def read_index(backup: Path) -> BackupIndex:
    """What a backup holds. Raises Failure where that cannot be read, or was made by a newer program."""
    path = backup / INDEX
    try:
        raw = path.read_bytes()
        numbers = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        made_by = int(bytes(numbers["format"])), int(bytes(numbers["schema_version"]))
        if made_by[0] > FORMAT or made_by[1] > SCHEMA_VERSION:
            raise Failure(
                f"{backup} has format {made_by[0]} and schema version {made_by[1]}; this program knows up to {FORMAT} and "
                f"{SCHEMA_VERSION}. Use the newer program"
            )
        return msgspec.json.decode(raw, type=BackupIndex)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}; is {backup} a backup?") from None
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise Failure(f"{path} cannot be read: {error}; use another backup") from None


def chosen(place: Path, name: str = "") -> Path:
    """The backup that a person names: `place` itself, or of those in it `name`, or the newest. Raises Failure."""
    if not place.is_dir():
        raise Failure(f"{place} is no folder; name a folder of backups, or a backup in it")
    if (place / INDEX).is_file() and not name:
        return place
    found = list_backups(place)
    if not found:
        raise Failure(f"there is no backup in {place}; `mesh backup {place}` makes one")
    for path in found:
        if path.name == name:
            return path
    if name:
        raise Failure(f"there is no backup {name!r} in {place}; there: {', '.join(path.name for path in found)}")
    return found[-1]


def hash_file(path: Path, on_read: Callable[[int], object] = lambda _: None) -> str:
    """The SHA-256 of a file; `on_read` is called with the bytes of each part. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            on_read(len(block))
    return digest.hexdigest()


def differing(backup: Path, index: BackupIndex, on_read: Callable[[int], object]) -> list[str]:
    """The files of a backup that are not as they were written, each with what was found, by size and SHA-256."""
    found = []
    for name, stored in index.files.items():
        path = backup / name
        try:
            size = os.stat(path).st_size
            if size != stored.size:
                found.append(f"{name} has {size} bytes, not {stored.size}")
            elif hash_file(path, on_read) != stored.sha256:
                found.append(f"{name} has other bytes than were written: its SHA-256 differs")
        except OSError as error:
            found.append(f"{name} cannot be read: {error.strerror}")
    return found
