"""Whether this folder's mesh runs, whose turn it is to change that, and what a process of it said last."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.space import refusal
from tickmesh.nodes.__main__ import UsageError, parse
from tickmesh.nodes.process_table import name_of
from tickmesh.nodes.sentinel.supervisord import REQUEST_S_MAX, Away, ProcessInfo, ShuttingDown, Silent, Supervisord
from tickmesh.nodes.supervision.presence import processes_of
from tickmesh.tools.terminal import Failure

SHUTDOWN_S = 60.0
PATIENCE_S = 10.0  # supervisord answers in milliseconds; on a machine that does much else, in seconds
LOG_TAIL = 16384  # bytes in which the last line is looked for


@contextlib.contextmanager
def alone(root: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Keeps commands that start or change a mesh apart: each waits for the one before it, at most so long. Raises Failure."""
    path = root / "run" / "up.lock"
    try:
        lock = FileLock(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {refusal(error, path)}") from None
    with lock:
        if timeout_s is None:
            lock.acquire()
        elif not _within(timeout_s, lock.try_acquire):
            raise Failure(
                f"another `mesh up` or `mesh reload` of this folder has been at work for {timeout_s:g} s: wait for it"
            )
        yield


def _within(timeout_s: float, holds: Callable[[], bool]) -> bool:
    """Whether it holds within so many seconds; returns as soon as it does."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def running_processes(root: Path, timeout_s: float = SHUTDOWN_S) -> Sequence[ProcessInfo] | None:
    """Asks supervisord for its processes; None where there is none. Waits for one that is on its way out.

    Raises Failure for one that is there and does not answer within PATIENCE_S, or `timeout_s` if that is less.
    """
    begun = time.monotonic()
    patience_s = min(timeout_s, PATIENCE_S)
    while True:
        waited_s = time.monotonic() - begun
        client = Supervisord(root / "run", min(REQUEST_S_MAX, patience_s))
        try:
            return client.processes()
        except Silent as silent:
            if waited_s >= patience_s:
                raise Failure(silent_words(root, silent)) from None
            time.sleep(0.05)
        except Away:
            return None
        except ShuttingDown:
            if waited_s >= timeout_s:
                raise Failure(f"the mesh has been shutting down for {timeout_s:g} s; see run/supervisord.log") from None
            time.sleep(0.1)
        finally:
            client.close()


def silent_words(root: Path, silent: Silent) -> str:
    """What a person has to know of a supervisord that does not answer: what it does, what lives, and how to end it."""
    alive = len(living(root))
    what = f"{alive} processes of the mesh live and go on" if alive else "no process of the mesh lives"
    return f"{silent}. {what[0].upper()}{what[1:]}; nothing was changed. `mesh down --force` ends all of it, in order"


def await_end_of_others(root: Path, timeout_s: float) -> None:
    """Returns when no process of this folder's mesh lives: for a folder without supervisord. Raises Failure."""
    if not _within(timeout_s, lambda: not living(root)):
        left = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(living(root).items()))
        raise Failure(f"supervisord is gone, and these of its processes live on: {left}; `mesh down` ends them")


def living(root: Path) -> dict[str, int]:
    """Name → pid of the processes of this folder's mesh that live, whatever supervisord does."""
    found = {}
    for pid, words in processes_of(root).items():
        with contextlib.suppress(UsageError):
            found[name_of(*parse(words)[0])] = pid
    return found


def ready_ns(root: Path, name: str, pid: int) -> int:
    """Since when the life `pid` of a process has done its job, in the mesh's time; 0 if it does not yet."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        ready = json.loads((root / "run" / "ready" / f"{name}.json").read_bytes())
        return int(ready["ready_ns"]) if ready["pid"] == pid else 0
    return 0


def ready_pid(root: Path, name: str) -> int:
    """The pid of a process that has said it does its job, or whose successor has; 0 where none has yet."""
    try:
        return int(json.loads((root / "run" / "ready" / f"{name}.json").read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return 0


def ready_sources(root: Path, name: str) -> str:
    """The hash of the files of a model that runs, as it has loaded them; "" where none is known."""
    try:
        return str(json.loads((root / "run" / "ready" / f"{name}.json").read_bytes()).get("sources", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def last_line(root: Path, name: str) -> str:
    """What a process wrote last for its operator; "nothing" where it has not written anything."""
    try:
        with open(root / "run" / "logs" / f"{name}.log", "rb") as log:
            log.seek(-min(LOG_TAIL, log.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "nothing"
    return lines[-1] if lines else "nothing"


def check_still_there(root: Path, client: Supervisord) -> None:
    """Raises Failure where supervisord answers no more: it was started a moment ago."""
    try:
        client.processes()
    except Silent as silent:
        raise Failure(silent_words(root, silent)) from None
    except (Away, ShuttingDown):
        raise Failure("supervisord has ended again; see run/supervisord.log") from None
