"""`mesh backup`: a whole, restorable copy of a mesh, while it runs or not; what has not changed is not copied again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import Config, ConfigError, find_root, load
from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.outbox_room import used_in
from tickmesh.bus.schema import SCHEMA_VERSION
from tickmesh.bus.space import is_full, refusal
from tickmesh.tools.backing_up.backups import (
    FORMAT,
    INDEX,
    UNFINISHED,
    BackupIndex,
    chosen,
    differing,
    list_backups,
    name_of_time,
    read_index,
)
from tickmesh.tools.backing_up.mesh_files import DATA, files_of
from tickmesh.tools.backing_up.source_files import SourceCopy, sources_of
from tickmesh.tools.backing_up.unfinished import UnfinishedBackup
from tickmesh.tools.progress import Shown, progress
from tickmesh.tools.started_with import in_force
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, out, version_text
from tickmesh.tools.verify import verify_stored

MIB = 1 << 20
DIFFERENCES_SHOWN = 5


def backup(to: Path, secrets: bool = False) -> JsonObject:
    """Makes a backup of this folder's mesh in a folder of its own below `to`; gives what `--json` prints. Raises Failure.

    `secrets`: keys and tokens as well. Killed at any moment, it has harmed nothing, and the next one goes on.
    """
    root = find_root()
    config, wrong = in_force(root)
    if config is None:
        raise wrong or ConfigError("mesh.toml cannot be read")
    folder = _checked(to, config)
    try:
        with _alone(folder), progress("MiB backed up") as shown:
            return _make(config, folder, secrets, shown)
    except OSError as error:
        if is_full(error):
            raise Failure(
                f"{folder} takes no more: {refusal(error, folder)}. What is written stays, the next backup goes on"
            ) from None
        raise Failure(f"{error.filename or folder} cannot be backed up: {error.strerror}") from None


def _make(config: Config, folder: Path, secrets: bool, shown: Shown) -> JsonObject:
    begun_ns = machine_wall_ns()
    total = sum(used_in(config.root / config.data / name) for name in sources_of(config)) // MIB
    staging = UnfinishedBackup(folder, lambda done: shown(done // MIB, max(total, done // MIB)))
    left_out: dict[str, str] = {}
    sources = {}
    for name in sources_of(config):
        own = Config(msgspec.structs.replace(config.mesh, source=name), config.root)
        sources[name] = SourceCopy(own, staging).take(left_out)
    for file in files_of(config, secrets, left_out):
        with contextlib.suppress(FileNotFoundError):  # a log that was rotated
            staging.keep(file.path, file.name)
    taken_ns = machine_wall_ns()
    software = version_text().partition(",")[0]
    source = config.source
    index = BackupIndex(FORMAT, software, SCHEMA_VERSION, taken_ns, source, secrets, sources, left_out, staging.files)
    done = staging.finish(index, name_of_time(taken_ns))
    return {
        "backup": str(done),
        "sources": msgspec.to_builtins(sources),
        "files": len(staging.files),
        "bytes": index.bytes,
        "copied_files": staging.copied,
        "copied_bytes": staging.copied_bytes,
        "linked_files": staging.linked,
        "resumed_files": staging.resumed,
        "left_out": left_out,
        "seconds": round((machine_wall_ns() - begun_ns) / 1e9, 1),
    }


def _checked(to: Path, config: Config) -> Path:
    """The folder of backups, made where it is not. Raises Failure where it lies in what is to be backed up, or is a backup."""
    folder = to.resolve()
    for part in (config.root / config.data, config.models_dir, config.run_dir):
        if folder.is_relative_to(part.resolve()):
            raise Failure(f"{to} lies in {part}, which is backed up; take a folder outside of it, best on another disk")
    if folder == config.root.resolve():
        raise Failure(f"{to} is the mesh's own folder; take another one, best on another disk")
    if (folder / INDEX).exists() or (folder / "mesh.toml").exists():
        raise Failure(f"{to} is a backup, or a mesh; name a folder in which backups are to lie side by side")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(f"{to} cannot be made: {refusal(error, folder)}") from None
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps two backups into one folder apart. Raises Failure where another one is at work."""
    try:
        lock = FileLock.acquired(folder / ".lock")
    except FileLocked:
        raise Failure(f"another `mesh backup` writes into {folder}; wait for it") from None
    with lock:
        yield


def listed(folder: Path) -> JsonObject:
    """The backups in a folder, oldest first, as `--json` prints them. Raises Failure."""
    if not folder.is_dir():
        raise Failure(f"{folder} is no folder")
    backups = []
    for path in list_backups(folder):
        index = read_index(path)
        backups.append(
            {
                "name": path.name, "taken_ns": index.taken_ns, "software": index.software, "source": index.source,
                "sources": msgspec.to_builtins(index.sources), "files": len(index.files), "bytes": index.bytes,
                "secrets": index.secrets, "left_out": index.left_out,
            }
        )  # fmt: skip
    return {"folder": str(folder.resolve()), "backups": backups, "unfinished": (folder / UNFINISHED).is_dir()}


def verified(place: Path, name: str = "") -> JsonObject:
    """Judges a backup: every file by its size and SHA-256, then each source by the judge of `mesh verify`. Raises Failure."""
    backup_folder = chosen(place, name)
    index = read_index(backup_folder)
    with progress("MiB read") as shown:
        done = 0

        def on_read(size: int) -> None:
            nonlocal done
            done += size
            shown(done // MIB, index.bytes // MIB)

        wrong = differing(backup_folder, index, on_read)
    judged = {}
    for source, stored in index.sources.items():
        if not wrong and (stored.log_id or stored.archived_seq):
            judged[source] = verify_stored(load(backup_folder, {"data": DATA, "run": "run", "source": source}))
            if (last := judged[source]["last_seq"]) != stored.last_seq:
                wrong.append(f"{DATA}/{source}/log ends with {last}, not with {stored.last_seq}")
    return {
        "ok": not wrong and all(one["ok"] for one in judged.values()),
        "backup": str(backup_folder),
        "files": len(index.files),
        "bytes": index.bytes,
        "differing": wrong,
        "judged": judged,
    }


def show(result: JsonObject) -> None:
    """Prints for a person what was backed up."""
    copied = f"{result['copied_files']} copied ({result['copied_bytes'] / MIB:.1f} MiB)"
    counts = f"{result['files']} files, {result['bytes'] / MIB:.1f} MiB: {copied}, {result['linked_files']} unchanged"
    resumed = f", {result['resumed_files']} from one that was interrupted" if result["resumed_files"] else ""
    out.print(f"{result['backup']} after {result['seconds']} s.", markup=False)
    out.print(f"{counts}{resumed}.", markup=False)
    for name, one in result["sources"].items():
        out.print(f"Source {name}: up to seq {one['last_seq']}, archived up to {one['archived_seq']}.", markup=False)
    for path, why in result["left_out"].items():
        out.print(f"Left out: {path} ({why})", markup=False)


def show_list(result: JsonObject) -> None:
    """Prints for a person which backups there are."""
    if result["backups"]:
        shown = TerminalTable("backup", "sources, up to seq", "files", "MiB", "secrets")
        for one in result["backups"]:
            sources = ", ".join(f"{name} {source['last_seq']}" for name, source in one["sources"].items())
            size = f"{one['bytes'] / MIB:.1f}"
            shown.add_row(one["name"], sources, str(one["files"]), size, "yes" if one["secrets"] else "no")
        out.print(shown)
    else:
        out.print(f"There is no backup in {result['folder']}.", markup=False)
    if result["unfinished"]:
        out.print("One was begun and is not finished; the next `mesh backup` goes on with it.")


def show_verified(result: JsonObject) -> None:
    """Prints the verdict on a backup for a person."""
    out.print(f"{result['backup']}: {result['files']} files, {result['bytes'] / MIB:.1f} MiB", markup=False)
    for sentence in result["differing"][:DIFFERENCES_SHOWN]:
        out.print(f"  ! {sentence}", markup=False)
    if len(result["differing"]) > DIFFERENCES_SHOWN:
        out.print(f"  ! and {len(result['differing']) - DIFFERENCES_SHOWN} more")
    for source, one in result["judged"].items():
        out.print(f"Source {source}: seq {one['first_seq']} to {one['last_seq']}, {one['verdict']}", markup=False)
        for sentence in one["sentences"]:
            out.print(f"  ! {sentence}", markup=False)
    out.print("ok: it can be restored." if result["ok"] else "NOT ok: restore another one.")
