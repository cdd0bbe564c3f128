"""Every call that changes a file under one folder: counted and named, and stopped or made to fail where a test wants it.

A call is named by its *site*: the function of the product that makes it, what it does, and to which kind of file. So a test
can ask for "the third time that LogWriter.append writes to N.seg", whatever else happened before.
"""

import builtins
import errno
import fcntl
import io
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.places import PROJECT

PROJECT_TEXT = str(PROJECT)
PRODUCT = tuple(f"{PROJECT}/tickmesh/{package}/" for package in ("bus", "storage", "nodes", "research", "tools"))
THIN = "/bus/log_files.py"  # what stands there is called by name: who calls it says which step it is


class Fate(Enum):
    """What becomes of a watched call."""

    before = "killed before it"
    inside = "killed with half of its bytes written"
    after = "killed after it"
    short = "writes half of its bytes and says so"
    full = "fails: no space left"
    broken = "fails: input/output error"


ERRORS = {Fate.full: errno.ENOSPC, Fate.broken: errno.EIO}
KILLS = (Fate.before, Fate.inside, Fate.after)


class Call(NamedTuple):
    """One watched call. `site`: who does what to which kind of file; `nth` counts from 1 at each site."""

    op: str
    path: str
    site: str
    nth: int


class Step(NamedTuple):
    """A call in a run, and what shall happen to it; `lasting`: to so many calls from there on, whatever they are."""

    site: str
    nth: int
    fate: Fate
    lasting: int = 1


def kind_of(path: str) -> str:
    """A file's name without its numbers: `N.seg`, `owner.new`, `.N-N.h5.tmp`."""
    name = re.sub(r"\.\d+\.(tmp|merge)$", r".\1", os.path.basename(path))  # of the process that makes it
    return re.sub(r"\d{8,}", "N", name)


class Watch:
    """Stands in front of the calls of `os` and `open` while it is installed.

    `step`: where to interfere (None: nowhere). `record(op, *what)`: called with every change after it was made.
    """

    def __init__(self, folder: Path, step: Step | None = None, record: Callable[..., None] | None = None):
        self.folder = os.path.realpath(folder)
        self.step = step
        self.record = record
        self.calls: list[Call] = []
        self.met = 0  # calls that had the fate of `step`
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._real: list[tuple[Any, str, Any]] = []
        self._depth = 0

    # -- installing

    def install(self) -> "Watch":
        """Puts itself in front of the calls."""
        patches: dict[tuple[Any, str], Callable] = {
            (os, "open"): self._os_open,
            (os, "write"): self._os_write,
            (os, "pwrite"): self._os_pwrite,
            (os, "ftruncate"): self._os_ftruncate,
            (os, "truncate"): self._os_truncate,
            (os, "rename"): self._renaming(os.rename),
            (os, "replace"): self._renaming(os.replace),
            (os, "link"): self._os_link,
            (os, "unlink"): self._unlinking(os.unlink),
            (os, "remove"): self._unlinking(os.remove),
            (os, "mkdir"): self._os_mkdir,
            (os, "rmdir"): self._os_rmdir,
            (os, "fsync"): self._syncing("fsync", os.fsync),
            (os, "fdatasync"): self._syncing("fdatasync", os.fdatasync),
            (os, "fchmod"): self._os_fchmod,
            (builtins, "open"): self._open,
            (io, "open"): self._open,
        }
        for (module, name), stand_in in patches.items():
            self._real.append((module, name, getattr(module, name)))
            setattr(module, name, stand_in)
        return self

    def wrap(self, owner: type, method: str, op: str) -> None:
        """Counts a method that changes files through C as one call; it can be stopped before and after, not inside."""
        real = getattr(owner, method)

        def stand_in(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self._do(op, "data.mdb", lambda: real(this, *args, **kwargs), site=f"{owner.__name__}.{method}: {op}")

        self._real.append((owner, method, real))
        setattr(owner, method, stand_in)

    def remove(self) -> None:
        """Puts the real calls back."""
        while self._real:
            setattr(*self._real.pop())

    def __enter__(self) -> "Watch":
        return self.install()

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- meeting a call

    def _path(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Absolute, if it is under the folder."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")
            except OSError:
                return None
        path = os.fsdecode(path)
        if dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        parent, name = os.path.split(os.path.abspath(path))
        path = os.path.join(os.path.realpath(parent), name)
        return path if path == self.folder or path.startswith(self.folder + os.sep) else None

    def _site(self, op: str, path: str) -> str:
        who = []
        frame = sys._getframe(2)
        while frame is not None and len(who) < 3:
            if frame.f_code.co_filename.startswith(PRODUCT) and not frame.f_code.co_filename.endswith(THIN):
                who.append(frame.f_code.co_qualname)
            frame = frame.f_back
        what = "folder" if op in ("mkdir", "rmdir") or os.path.isdir(path) else kind_of(path)
        return f"{' of '.join(who)}: {op} {what}"

    def _do(
        self,
        op: str,
        path: str,
        perform: Callable[[], Any],
        half: Callable[[], Any] | None = None,
        change: Callable[[Any], tuple] | None = None,
        site: str = "",
    ) -> Any:
        with self._lock:
            if self._depth:  # a stand-in that was called by another one
                return perform()
            self._depth += 1
            try:
                site = site or self._site(op, path)
                fate = None
                if not site.startswith(":"):  # that would be the test's own
                    self._counts[site] += 1
                    call = Call(op, os.path.relpath(path, self.folder), site, self._counts[site])
                    self.calls.append(call)
                    fate = self._fate(call)
                if fate is Fate.before:
                    _die()
                if fate in ERRORS:
                    raise OSError(ERRORS[fate], os.strerror(ERRORS[fate]), path)
                partly = half is not None and fate in (Fate.inside, Fate.short)
                result = half() if half is not None and partly else perform()
                if fate in (Fate.inside, Fate.after):
                    _die()
                if self.record is not None and change is not None:
                    self.record(*change(result))
                return result
            finally:
                self._depth -= 1

    def _fate(self, call: Call) -> Fate | None:
        step = self.step
        if step is None or self.met >= step.lasting:
            return None
        if self.met or (call.site, call.nth) == (step.site, step.nth):
            self.met += 1
            return step.fate
        return None

    # -- the stand-ins: each does what the real one does

    def _real_of(self, module: Any, name: str) -> Callable:
        return next(real for m, n, real in self._real if m is module and n == name)

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        real = self._real_of(os, "open")
        inside = self._path(path, dir_fd)
        exists = inside is not None and os.path.lexists(inside)
        if inside is None or not flags & (os.O_CREAT | os.O_TRUNC) or (exists and not flags & os.O_TRUNC):
            return real(path, flags, mode, dir_fd=dir_fd)
        return self._do("open", inside, lambda: real(path, flags, mode, dir_fd=dir_fd), None, _opened(inside, exists))

    def _os_write(self, fd: int, data: Any) -> int:
        real = self._real_of(os, "write")
        path = self._path(fd)
        if path is None:
            return real(fd, data)
        data = bytes(data)
        at = _position(fd)
        return self._do(
            "write", path, lambda: real(fd, data), lambda: real(fd, data[: len(data) // 2]),
            lambda done: ("write", _identity(fd), at, data[:done]),
        )  # fmt: skip

    def _os_pwrite(self, fd: int, data: Any, offset: int) -> int:
        real = self._real_of(os, "pwrite")
        path = self._path(fd)
        if path is None:
            return real(fd, data, offset)
        data = bytes(data)
        return self._do(
            "write", path, lambda: real(fd, data, offset), lambda: real(fd, data[: len(data) // 2], offset),
            lambda done: ("write", _identity(fd), offset, data[:done]),
        )  # fmt: skip

    def _os_ftruncate(self, fd: int, length: int) -> None:
        real = self._real_of(os, "ftruncate")
        path = self._path(fd)
        if path is None:
            return real(fd, length)
        return self._do("truncate", path, lambda: real(fd, length), None, lambda _: ("truncate", _identity(fd), length))

    def _os_truncate(self, path: Any, length: int) -> None:
        fd = os.open(path, os.O_RDWR)
        try:
            os.ftruncate(fd, length)
        finally:
            os.close(fd)

    def _renaming(self, real: Callable) -> Callable:
        def rename(src: Any, dst: Any, **more: Any) -> None:
            old, new = self._path(src), self._path(dst)
            if old is None or new is None:
                return real(src, dst, **more)
            return self._do("rename", new, lambda: real(src, dst, **more), None, lambda _: ("rename", old, new))

        return rename

    def _os_link(self, src: Any, dst: Any, **more: Any) -> None:
        real = self._real_of(os, "link")
        old, new = self._path(src), self._path(dst)
        if old is None or new is None:
            return real(src, dst, **more)
        return self._do("link", new, lambda: real(src, dst, **more), None, lambda _: ("link", old, new))

    def _unlinking(self, real: Callable) -> Callable:
        def unlink(path: Any, *, dir_fd: int | None = None) -> None:
            inside = self._path(path, dir_fd)
            if inside is None or not os.path.lexists(inside):
                return real(path, dir_fd=dir_fd)
            return self._do("unlink", inside, lambda: real(path, dir_fd=dir_fd), None, lambda _: ("unlink", inside))

        return unlink

    def _os_mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real = self._real_of(os, "mkdir")
        inside = self._path(path, dir_fd)
        if inside is None or os.path.lexists(inside) or not os.path.isdir(os.path.dirname(inside)):
            return real(path, mode, dir_fd=dir_fd)
        return self._do("mkdir", inside, lambda: real(path, mode, dir_fd=dir_fd), None, lambda _: ("mkdir", inside))

    def _os_rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        real = self._real_of(os, "rmdir")
        inside = self._path(path, dir_fd)
        if inside is None:
            return real(path, dir_fd=dir_fd)
        return self._do("rmdir", inside, lambda: real(path, dir_fd=dir_fd), None, lambda _: ("unlink", inside))

    def _syncing(self, op: str, real: Callable) -> Callable:
        def sync(fd: int) -> None:
            path = self._path(fd)
            if path is None:
                return real(fd)
            change = ("sync_folder", path) if os.path.isdir(path) else ("sync", _identity(fd))
            return self._do(op, path, lambda: None, None, lambda _: change)  # the machine's own power stays on

        return sync

    def _os_fchmod(self, fd: int, mode: int) -> None:
        real = self._real_of(os, "fchmod")
        path = self._path(fd)
        return real(fd, mode) if path is None else self._do("fchmod", path, lambda: real(fd, mode))

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, *more: Any, **named: Any):
        real = self._real_of(builtins, "open")
        inside = None if isinstance(file, int) else self._path(file)
        if inside is None or not set(mode) & set("wax+"):
            return real(file, mode, buffering, encoding, *more, **named)
        raw = _File(self, inside, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8")


class _File(io.FileIO):
    """A file opened for writing: its writes are calls like any other."""

    def __init__(self, watch: Watch, path: str, mode: str):
        self._watch, self._where = watch, path
        exists = os.path.lexists(path)
        if exists and "w" not in mode:
            super().__init__(path, mode)
        else:
            watch._do("open", path, lambda: super(_File, self).__init__(path, mode), None, _opened(path, exists))

    def write(self, data: Any) -> int:
        data = bytes(data)
        at = _position(self.fileno())
        real = super().write
        return self._watch._do(
            "write", self._where, lambda: real(data), lambda: real(data[: max(len(data) // 2, 1)]),
            lambda done: ("write", _identity(self.fileno()), at, data[:done]),
        )  # fmt: skip

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length


def _opened(path: str, exists: bool) -> Callable[[Any], tuple]:
    def change(fd: int | None) -> tuple:
        status = os.stat(path) if fd is None else os.fstat(fd)
        identity = (status.st_dev, status.st_ino)
        return ("truncate", identity, 0) if exists else ("create", path, identity)

    return change


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _position(fd: int) -> int:
    """Where the next write goes."""
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
        return os.fstat(fd).st_size
    return os.lseek(fd, 0, os.SEEK_CUR)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # a signal to oneself is delivered soon; nothing may happen before
