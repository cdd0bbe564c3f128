"""Whether a mesh's supervisord is there, told by the lock that it holds and by its pid: whether or not it answers.

supervisord takes the lock when it loads nodes/supervision/groups.py, before anything is started; the kernel lets go of it when
supervisord has ended, however that came about. One whose supervisor.conf is written by hand may have no lock: it is told by its
pid file.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.files import process_stat

LOCK = "supervisord.lock"
PID_FILE = "supervisord.pid"
LOCK_S = 2.0  # somebody who looks whether the lock is free holds it for a moment
STATES = {  # of /proc/<pid>/stat, as a person reads them; proc(5)
    "T": "it is stopped by a signal (SIGSTOP, or a suspended machine): `kill -CONT {pid}` lets it go on",
    "t": "a debugger holds it: let it go on there",
    "D": "it waits for a disk or another device",
}
BUSY = "it runs, and is busy with something else or hangs"


class Presence(NamedTuple):
    """A supervisord that is there. `pid`: 0 where it cannot be told; `mesh`: the identity of this life, "" of one without."""

    pid: int
    mesh: str

    @property
    def doing(self) -> str:
        """What it does, by the kernel, and how it goes on: a sentence's part."""
        return STATES.get(_state(self.pid), BUSY).format(pid=self.pid)

    def children(self) -> list[int]:
        """The pids of the processes that it has started and that live."""
        return [pid for pid in _pids() if process_stat(pid)[1:2] == [str(self.pid)]]


class SupervisordLock:
    """Held by supervisord itself. Its file says who that is: mesh and, as soon as it is a daemon, pid."""

    def __init__(self, run_dir: Path):
        """Takes the lock. Raises ValueError, which supervisord prints, where another one of this folder has it."""
        self.mesh = secrets.token_hex(8)
        self._lock = FileLock(run_dir / LOCK)
        deadline = time.monotonic() + LOCK_S
        while not self._lock.try_acquire():
            if time.monotonic() > deadline:
                pid = _read(self._lock.path).get("pid") or "unknown"
                raise ValueError(f"another supervisord of this folder lives (pid {pid}), and holds run/{LOCK}")
            time.sleep(0.02)
        self.write(0)

    def write(self, pid: int) -> None:
        """Writes who holds it; a full disk costs no more than that."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock.fd, 0)
            os.pwrite(self._lock.fd, json.dumps({"mesh": self.mesh, "pid": pid}).encode(), 0)


def find(run_dir: Path) -> Presence | None:
    """The supervisord of this folder, whatever it does; None where there is none."""
    path = run_dir / LOCK
    if _is_held(path):
        written = _read(path)
        pid = written.get("pid")
        pid = pid if isinstance(pid, int) else 0
        return Presence(pid if _has_open(pid, path) else _holder(path), str(written.get("mesh", "")))
    with contextlib.suppress(OSError, ValueError):
        pid = int((run_dir / PID_FILE).read_text())
        if _is_supervisord_of(pid, run_dir.parent):
            return Presence(pid, "")
    return None


def processes_of(root: Path) -> dict[int, list[str]]:
    """pid → words after `-m tickmesh.nodes` of every process of this folder's mesh that lives: also where supervisord does not
    answer, or is gone. What somebody runs by hand is none of them."""
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError, ValueError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"tickmesh.nodes" not in words or not os.path.samefile(f"/proc/{pid}/cwd", root) or _state(pid) == "Z":
                continue
            if b"SUPERVISOR_ENABLED=" in Path(f"/proc/{pid}/environ").read_bytes():
                found[pid] = [word.decode(errors="replace") for word in words[words.index(b"tickmesh.nodes") + 1 :] if word]
    return found


def _is_held(path: Path) -> bool:
    try:
        lock = FileLock(path, create=False)
    except OSError:
        return False
    with lock:
        return not lock.try_acquire()


def _read(path: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        written = json.loads(path.read_bytes())
        return written if isinstance(written, dict) else {}
    return {}


def _holder(path: Path) -> int:
    return next((pid for pid in _pids() if _has_open(pid, path)), 0)


def _pids() -> Iterator[int]:
    mine = os.getuid()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) != os.getpid() and os.stat(f"/proc/{name}").st_uid == mine:
                yield int(name)


def _has_open(pid: int, path: Path) -> bool:
    if pid in (0, os.getpid()):
        return False
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                    return True
    return False


def _is_supervisord_of(pid: int, root: Path) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"supervisord" in words and os.path.samefile(f"/proc/{pid}/cwd", root) and _state(pid) != "Z"
    return False


def _state(pid: int) -> str:
    return next(iter(process_stat(pid)), "")
