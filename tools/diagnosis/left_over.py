"""What dead processes have left in a mesh's folder: pid files, sockets, readiness, files under temporary names."""

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tickmesh.bus.files import process_start, process_stat
from tickmesh.tools.diagnosis.check import OK, WARN, Check
from tickmesh.tools.diagnosis.folder import MeshFolder

OLD_S = 60.0  # a file under a temporary name is renamed within milliseconds; a day's sealing, within a minute
TEMPORARY = ("*.new", "*.tmp", ".*.tmp")
SHOWN = 3
HARMLESS = "harmless: `mesh up` replaces it"


def left_over(folder: MeshFolder) -> Iterator[Check]:
    """Gives what is left over of whom; one finding that nothing is, where nothing is."""
    found = [one for look in (_pid_file, _ready, _exchange, _sockets, _temporary) for one in look(folder)]
    yield from found or [Check("left_over", OK, "nothing of dead processes lies about", "nothing")]


def _is_dead(pid: object) -> bool:
    return isinstance(pid, int) and (not (state := process_stat(pid)) or state[0] == "Z")


def _pid_file(folder: MeshFolder) -> Iterator[Check]:
    path = folder.run / "supervisord.pid"
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return
    if _is_dead(pid):
        yield Check("left_over.pid_file", WARN, f"{path} names process {pid}, which is dead", "none without it", HARMLESS)


def _ready(folder: MeshFolder) -> Iterator[Check]:
    dead = [path.stem for path in sorted((folder.run / "ready").glob("*.json")) if _is_dead(_field(path, "pid"))]
    if dead and not folder.is_up:  # of a mesh that is up one may be on its way back
        seen = f"{folder.run / 'ready'} has {', '.join(dead)}, which are dead: they were killed"
        yield Check("left_over.ready", WARN, seen, "what lives", HARMLESS)


def _exchange(folder: MeshFolder) -> Iterator[Check]:
    path = folder.run / "exchange.json"
    pid = _field(path, "pid")
    if not folder.is_up and isinstance(pid, int) and process_start(pid) != _field(path, "started"):
        seen = f"{path} names an exchange (process {pid}) that is dead"
        yield Check("left_over.exchange", WARN, seen, "none without it", HARMLESS)


def _sockets(folder: MeshFolder) -> Iterator[Check]:
    """Sockets that nobody listens at; of ZeroMQ's as long as nothing of the mesh lives."""
    places = [folder.run / "supervisor.sock"]
    if not folder.is_up:
        places += sorted((folder.run / "sockets").glob("*"))
    dead = [path.name for path in places if _is_deaf(path)]
    if dead:
        yield Check(
            "left_over.socket", WARN, f"nobody listens at {', '.join(dead)} in {folder.run}", "none without a process", HARMLESS
        )


def _is_deaf(path: Path) -> bool:
    """Whether a path is a socket that refuses."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
    except OSError:
        return False
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(0.2)
            probe.connect(f"/proc/self/fd/{folder}/{path.name}")  # a path is limited to 107 bytes
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    finally:
        os.close(folder)
    return False


def _temporary(folder: MeshFolder) -> Iterator[Check]:
    now = time.time()
    found = []
    for place in (folder.run, *(() if folder.config is None else (folder.config.source_dir,))):
        for pattern in TEMPORARY:
            for path in place.rglob(pattern):
                try:
                    is_old = now - path.stat().st_mtime > OLD_S or not folder.is_up
                except OSError:
                    continue
                if is_old and path.is_file():
                    found.append(str(path.relative_to(folder.root)))
    if found:
        shown = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
        do = "what writes them makes them anew; remove them where no command of tickmesh runs"
        yield Check("left_over.temporary", WARN, f"written under a temporary name and never finished: {shown}", "none", do)


def _field(path: Path, name: str) -> object:
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return tree.get(name) if isinstance(tree, dict) else None
