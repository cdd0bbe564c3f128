"""`mesh restore`: makes a mesh of a backup, in an empty folder; `mesh up` goes on from there as after a power cut."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import Config, load
from tickmesh.bus.files import make_folders, sync_folder, write_file
from tickmesh.bus.outbox_room import outboxes
from tickmesh.bus.space import free_of, is_full, refusal
from tickmesh.tools import laying
from tickmesh.tools.backing_up.backups import BLOCK, BackupIndex, StoredFile, chosen, read_index
from tickmesh.tools.backing_up.mesh_files import DATA, MODELS
from tickmesh.tools.progress import Shown, progress
from tickmesh.tools.terminal import Failure, JsonObject, out

MARK = ".restoring"  # in the folder while it is no mesh yet: which backup is being restored
IGNORED = {MARK, "lost+found"}
MIB = 1 << 20
KEEP_FREE = 64 * MIB


class RestoredFile(NamedTuple):
    """Where a file of the backup goes, and what it is to be."""

    path: Path
    name: str
    stored: StoredFile


def restore(place: Path, to: Path, name: str = "") -> JsonObject:
    """Restores a backup (`place`, or in it `name`, else the newest) into the folder `to`; gives what `--json` prints.

    Nothing there is written over. Each file is compared with its SHA-256 while it is copied. mesh.toml comes last, so that
    a folder is a mesh only when everything is there; interrupted, the same call goes on. Raises Failure.
    """
    backup = chosen(place, name)
    index = read_index(backup)
    root = laying.made(to)
    _check_empty(root, backup)
    config = load(backup, {"run": "run"}, chosen=False)
    config = Config(config.mesh, root)
    places = [_place_of(config, file, stored) for file, stored in index.files.items()]
    _check_free(config, index, resumed=(root / MARK).exists())
    try:
        write_file(root / MARK, f"{backup.name}\n".encode())
        with progress("MiB restored") as shown:
            _copy_all(backup, places, shown, index.bytes)
        laid = laying.lay(root)
        (root / MARK).unlink()
        sync_folder(root)
    except OSError as error:
        if is_full(error):
            raise Failure(f"{root} takes no more: {refusal(error, root)}. The same command goes on then") from None
        raise Failure(f"{error.filename or root} cannot be written: {error.strerror}") from None
    return {
        "restored": str(root), "backup": str(backup), "source": index.source, "files": len(places), "bytes": index.bytes,
        "sources": {source: one.last_seq for source, one in index.sources.items()}, "laid": laid, "left_out": index.left_out,
    }  # fmt: skip


def _check_empty(root: Path, backup: Path) -> None:
    """Raises Failure where something is in the folder, but for what an interrupted restore of the same backup has left."""
    there = set(os.listdir(root)) - IGNORED
    with contextlib.suppress(OSError):
        begun = (root / MARK).read_text().strip()
        if begun == backup.name:
            return
        raise Failure(f"in {root} the restore of {begun} was begun; go on with that (--backup {begun}), or empty the folder")
    if there:
        raise Failure(f"{root} is not empty ({', '.join(sorted(there)[:3])} …): restore into a new folder, --to FOLDER")


def _place_of(config: Config, name: str, stored: StoredFile) -> RestoredFile:
    """Where mesh.toml wants this file: data and models may lie elsewhere. Raises Failure for a name that leads elsewhere."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise Failure(f"the backup names {name!r}, which is no file of a mesh: it was changed by somebody")
    top, _, rest = name.partition("/")
    if rest and top == DATA:
        return RestoredFile(config.root / config.data / rest, name, stored)
    if rest and top == MODELS:
        return RestoredFile(config.models_dir / rest, name, stored)
    return RestoredFile(config.root / name, name, stored)


def _check_free(config: Config, index: BackupIndex, resumed: bool) -> None:
    """Raises Failure where there is data of such a source already, outboxes of a mesh that was here, or too little room."""
    for source in index.sources:
        own = Config(config.mesh.__class__(source=source, data=config.data, log=config.log), config.root)
        if own.source_dir.exists() and not resumed:
            raise Failure(
                f"mesh.toml of the backup has data = {config.data!r}, and {own.source_dir} is there already; move it away, or "
                "restore where it is not"
            )
        if left := outboxes(own):
            raise Failure(
                f"a mesh that was in this folder has left outboxes ({', '.join(left[:3])} …) in {own.outbox_dir}, which do not "
                "belong to this log; is it down? Then remove them"
            )
    free = free_of(config.root / config.data)
    if not resumed and free.bytes < index.bytes + KEEP_FREE:
        raise Failure(f"{index.bytes} bytes are to be restored, and {free} are free at {config.root / config.data}")


def _copy_all(backup: Path, places: list[RestoredFile], shown: Shown, total: int) -> None:
    done = 0
    for place in sorted(places, key=lambda one: one.name == "mesh.toml"):
        make_folders(place.path.parent, 0o700)
        _copy(backup / place.name, place)
        done += place.stored.size
        shown(done // MIB, total // MIB)
    for folder in {place.path.parent for place in places}:
        sync_folder(folder)


def _copy(source: Path, place: RestoredFile) -> None:
    """Copies a file of the backup. Raises Failure where it is not what was backed up."""
    with contextlib.suppress(FileNotFoundError):
        there = place.path.stat()  # an interrupted restore has written it; a file has its name when it is whole
        if (there.st_size, there.st_mtime_ns) == (place.stored.size, place.stored.modified_ns):
            return
    fresh = place.path.with_name(f".{place.path.name}.new")
    digest = hashlib.sha256()
    with open(source, "rb") as reading, open(fresh, "wb") as file:
        while block := reading.read(BLOCK):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != place.stored.sha256:
        fresh.unlink()
        raise Failure(f"{source} has other bytes than were backed up: its SHA-256 differs. Restore another backup")
    os.chmod(fresh, place.stored.mode)
    os.utime(fresh, ns=(place.stored.modified_ns, place.stored.modified_ns))
    os.replace(fresh, place.path)


def show(result: JsonObject) -> None:
    """Prints for a person what was restored, and what to do next."""
    size = f"{result['files']} files, {result['bytes'] / MIB:.1f} MiB"
    out.print(f"{result['restored']} is the mesh of {Path(result['backup']).name}: {size}.", markup=False)
    for name, last in result["sources"].items():
        out.print(f"Source {name}: up to seq {last}.", markup=False)
    for path, why in result["left_out"].items():
        out.print(f"Not in the backup: {path} ({why})", markup=False)
    out.print(
        "Next, in that folder: `mesh doctor`, `mesh verify`, `mesh up`. Never while the mesh it was taken of still trades."
    )
