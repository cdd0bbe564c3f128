"""Whether this folder's mesh runs, whose turn it is to change that, and what a process of it said last."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.space import refusal
from tickmesh.nodes.__main__ import UsageError, parse
from tickmesh.nodes.process_table import name_of
from tickmesh.nodes.sentinel.supervisord import Away, ProcessInfo, ShuttingDown, Supervisord
from tickmesh.nodes.supervision.presence import processes_of
from tickmesh.tools.terminal import Failure

SHUTDOWN_S = 60.0
LOG_TAIL = 16384  # bytes in which the last line is looked for


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keeps commands that start or change a mesh apart: each waits for the one before it."""
    path = root / "run" / "up.lock"
    try:
        lock = FileLock(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {refusal(error, path)}") from None
    with lock:
        lock.acquire()
        yield


def running_processes(root: Path) -> Sequence[ProcessInfo] | None:
    """Asks supervisord for its processes; None when it does not run. Waits for one that is on its way out."""
    deadline = time.monotonic() + SHUTDOWN_S
    while time.monotonic() < deadline:
        client = Supervisord(root / "run")
        try:
            return client.processes()
        except Away:
            return None
        except ShuttingDown:
            time.sleep(0.1)
        finally:
            client.close()
    raise Failure("the mesh has been shutting down for a minute; see run/supervisord.log")


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


def last_line(root: Path, name: str) -> str:
    """What a process wrote last for its operator; "nothing" where it has not written anything."""
    try:
        with open(root / "run" / "logs" / f"{name}.log", "rb") as log:
            log.seek(-min(LOG_TAIL, log.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "nothing"
    return lines[-1] if lines else "nothing"


def check_still_there(client: Supervisord) -> None:
    """Raises Failure where supervisord answers no more: it was started a moment ago."""
    try:
        client.processes()
    except (Away, ShuttingDown):
        raise Failure("supervisord has ended again; see run/supervisord.log") from None
