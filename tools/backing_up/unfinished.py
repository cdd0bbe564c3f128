"""The folder in which a backup is made: each file is in it whole or not at all, and the backup has its name only in the end.

What is killed is found by the next one: its files are not written again. What the last backup has, unchanged by size and time
of change, is a further name of the same file.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.files import sync_folder, write_file
from tickmesh.tools.backing_up.backups import (
    BLOCK,
    INDEX,
    UNFINISHED,
    BackupIndex,
    StoredFile,
    hash_file,
    list_backups,
    read_index,
)
from tickmesh.tools.terminal import Failure

SURE_NS = 2 * 10**9  # a change so shortly before a look may be followed by another one that has the same time


class UnfinishedBackup:
    """A backup that is being made in `folder`/.unfinished.

    Counts what became of files: `copied`, `resumed` (an interrupted backup had written them), `linked` (the last one has them),
    and `copied_bytes`. `on_bytes` is called with the bytes of the backup so far.
    """

    def __init__(self, folder: Path, on_bytes: Callable[[int], object]):
        self.folder = folder
        self.path = folder / UNFINISHED
        self.files: dict[str, StoredFile] = {}
        self.copied = self.resumed = self.linked = self.copied_bytes = 0
        self._on_bytes, self._done = on_bytes, 0
        earlier = list_backups(folder)
        self._last = earlier[-1] if earlier else None
        self.before = read_index(self._last) if self._last is not None else None
        self.path.mkdir(mode=0o700, exist_ok=True)

    def keep(self, source: Path, name: str) -> None:
        """Takes a file as it is now: all of it, whatever becomes of its name meanwhile. Raises FileNotFoundError, Failure."""
        fd = os.open(source, os.O_RDONLY)
        try:
            self.keep_open(fd, os.fstat(fd), name)
        finally:
            os.close(fd)

    def keep_open(self, fd: int, stat: os.stat_result, name: str) -> None:
        """Takes the first `stat.st_size` bytes of an open file. Raises Failure for one that has become shorter."""
        changed_ns = stat.st_ctime_ns if machine_wall_ns() - stat.st_ctime_ns > SURE_NS else 0
        state = StoredFile(stat.st_size, stat.st_mode & 0o777, stat.st_mtime_ns, changed_ns, "")
        if self._has(name, state):
            return
        if not self._link(name, state) and not self._resume(name, state):
            digest = self._copy(fd, stat.st_size, name, state)
            self.files[name] = msgspec.structs.replace(state, sha256=digest)
            self.copied += 1
            self.copied_bytes += stat.st_size
        self._done += stat.st_size
        self._on_bytes(self._done)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Writes a file of the backup that no file of the mesh is equal to."""
        fresh = self._place(name)
        with open(fresh, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, mode)
        modified_ns = fresh.stat().st_mtime_ns
        os.replace(fresh, self.path / name)
        self.files[name] = StoredFile(len(data), mode, modified_ns, 0, hashlib.sha256(data).hexdigest())
        self.copied += 1
        self.copied_bytes += len(data)

    def drop_others(self, prefix: str, names: set[str]) -> None:
        """Leaves out what begins with `prefix` and is none of `names`: it was taken, and the mesh has replaced it since."""
        for name in [name for name in self.files if name.startswith(prefix) and name not in names]:
            del self.files[name]

    def finish(self, index: BackupIndex, name: str) -> Path:
        """Removes what is none of the backup's, syncs all of it, and gives it its name; its folder. Raises Failure."""
        for folder, _, names in os.walk(self.path, topdown=False):
            inside = os.path.relpath(folder, self.path)
            for one in names:
                if os.path.normpath(f"{inside}/{one}") not in self.files:
                    os.unlink(f"{folder}/{one}")
            if os.listdir(folder) or folder == str(self.path):
                sync_folder(Path(folder))
            else:
                os.rmdir(folder)
        write_file(self.path / INDEX, msgspec.json.encode(index))
        done = self.folder / name
        if done.exists():
            raise Failure(f"{done} is there already: the clock stands still or went back")
        os.rename(self.path, done)
        sync_folder(self.folder)
        return done

    def _has(self, name: str, state: StoredFile) -> bool:
        """Whether a round before this one has taken the same file already."""
        mine = self.files.get(name)
        return mine is not None and state.changed_ns != 0 and msgspec.structs.replace(mine, sha256="") == state

    def _link(self, name: str, state: StoredFile) -> bool:
        """Whether the last backup has the file unchanged, and a further name of it could be made."""
        stored = self.before.files.get(name) if self.before is not None else None
        if self._last is None or stored is None or not state.changed_ns:
            return False
        if msgspec.structs.replace(stored, sha256="") != state:
            return False
        place = self._place(name)
        try:
            os.link(self._last / name, place)
            os.replace(place, self.path / name)
            place.unlink(missing_ok=True)  # rename(2) does nothing where both are names of one file
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False  # a file system without hard links, or a file that somebody has removed: it is copied
        self.files[name] = stored
        self.linked += 1
        return True

    def _resume(self, name: str, state: StoredFile) -> bool:
        """Whether an interrupted backup has written the file whole, and it has not changed since."""
        path = self.path / name
        try:
            there = path.stat()
        except OSError:
            return False
        same = (there.st_size, there.st_mtime_ns) == (state.size, state.modified_ns)
        if not state.changed_ns or not same or there.st_nlink > 1:
            return False
        self.files[name] = msgspec.structs.replace(state, sha256=hash_file(path))
        self.resumed += 1
        return True

    def _copy(self, fd: int, size: int, name: str, state: StoredFile) -> str:
        fresh = self._place(name)
        digest, done = hashlib.sha256(), 0
        with open(fresh, "wb") as file:
            while done < size:
                block = os.pread(fd, min(BLOCK, size - done), done)
                if not block:
                    raise Failure(f"{name} was made shorter while it was read: {done} bytes of {size}; begin again")
                file.write(block)
                digest.update(block)
                done += len(block)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, state.mode)
        os.utime(fresh, ns=(state.modified_ns, state.modified_ns))
        os.replace(fresh, self.path / name)
        return digest.hexdigest()

    def _place(self, name: str) -> Path:
        """Where a file is written before it has its name."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        return fresh
