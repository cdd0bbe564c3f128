"""Whether this folder's mesh runs, whose turn it is to change that, and what a process of it said last."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.space import refusal
from tickmesh.nodes.sentinel.supervisord import Away, ProcessInfo, ShuttingDown, Supervisord
from tickmesh.tools.terminal import Failure

SHUTDOWN_S = 60.0


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


def ready_pid(root: Path, name: str) -> int:
    """The pid of a process that has said it does its job, or whose successor has; 0 where none has yet."""
    try:
        return int(json.loads((root / "run" / "ready" / f"{name}.json").read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return 0


def last_line(root: Path, name: str) -> str:
    """What a process wrote last for its operator; "nothing" where it has not written anything."""
    log = root / "run" / "logs" / f"{name}.log"
    lines = log.read_text(errors="replace").strip().splitlines()[-1:] if log.is_file() else []
    return lines[0] if lines else "nothing"


def check_still_there(client: Supervisord) -> None:
    """Raises Failure where supervisord answers no more: it was started a moment ago."""
    try:
        client.processes()
    except (Away, ShuttingDown):
        raise Failure("supervisord has ended again; see run/supervisord.log") from None
