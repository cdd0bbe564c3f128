"""LMDB environments, each opened once in a process and shared by all who use it there, as LMDB demands."""

import os
import threading
from pathlib import Path

import lmdb

from tickmesh.bus.segments import LogError

TABLES = (b"blocks", b"times", b"latest", b"topics", b"meta")


class RecentError(LogError):
    """A fault of the recent store: a sentence for the person who asked; a LogError, so that the runner shows it as one."""


class Environment:
    """One LMDB environment of this process. LMDB forbids opening one twice, so all readers and the writer here share it."""

    def __init__(self, path: Path, writer: bool, bytes_max: int):
        self.writer = writer
        self.users = 1
        try:
            self.env = lmdb.open(
                str(path), map_size=bytes_max, max_dbs=len(TABLES), readonly=not writer, create=writer, subdir=True,
                sync=False, metasync=False, writemap=False, max_readers=256, readahead=False, mode=0o600,
            )  # fmt: skip
        except lmdb.Error as error:
            raise RecentError(f"{path} cannot be opened as a recent store: {error}") from None
        self.inode = os.stat(path / "data.mdb").st_ino
        try:
            self.tables = {name: self.env.open_db(name, create=writer) for name in TABLES}
        except lmdb.Error as error:
            self.env.close()
            raise RecentError(f"{path} is no whole recent store yet: {error}; the recorder builds it") from None


_opened: dict[str, Environment] = {}  # of this process, by path
_lock = threading.RLock()  # held while one is read, too: a fork in the middle of a transaction would end the parent's


def _forked() -> None:
    """In a child: what it inherited is its parent's. It is let go of, and whoever reads opens one of his own."""
    global _lock
    inherited = list(_opened.values())
    _opened.clear()
    _lock = threading.RLock()
    for environment in inherited:
        environment.env.close()


def reading() -> threading.RLock:
    """The lock that is to be held while an environment is read."""
    return _lock


os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_forked)


def open_environment(path: Path, writer: bool, bytes_max: int = 0) -> Environment:
    """Opens, or shares, the environment of `path`; a reader takes the writer's map size. Raises RecentError."""
    key = os.path.realpath(path)
    with _lock:
        there = _opened.get(key)
        if there is not None and (there.writer or not writer) and _current(path, there):
            there.users += 1
            return there
        if there is not None and there.writer and _current(path, there):
            raise RecentError(f"{path} is open for writing in this process already")
        if not writer and not (path / "data.mdb").is_file():
            raise RecentError(f"there is no recent store in {path}; the recorder makes it when the mesh runs")
        if there is not None:
            there.env.close()
            del _opened[key]
        fresh = _opened[key] = Environment(path, writer, bytes_max)
        fresh.users += there.users if there is not None else 0
        return fresh


def _current(path: Path, environment: Environment) -> bool:
    """False when the environment was removed, or removed and made anew, since it was opened."""
    try:
        return os.stat(path / "data.mdb").st_ino == environment.inode
    except OSError:
        return False


def present_environment(path: Path) -> Environment:
    """The environment that is at `path` now: the one that its user has, or one made anew meanwhile. Raises RecentError."""
    with _lock:
        there = _opened.get(os.path.realpath(path))
        if there is not None and _current(path, there):
            return there
        fresh = open_environment(path, False)
        fresh.users -= there is not None  # it took over this reader's own place
        return fresh


def close_environment(path: Path) -> None:
    """Gives an environment back; its last user closes it."""
    key = os.path.realpath(path)
    with _lock:
        there = _opened.get(key)
        if there is not None:
            there.users -= 1
            if there.users == 0:
                there.env.close()
                del _opened[key]
