"""Who cannot write, said where there is no room to write: a small file of each process in run/blocked, made beforehand.

A full disk takes no alert, and often no line of a log file. A file that is there already can be written over in place, in the
blocks that it has; so each process makes its own when it starts, and `mesh status` reads them all.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.clock import machine_wall_ns

FILE_BYTES = 1024  # of each; a longer sentence is cut
WHY_CHARACTERS = 700


class Blocked(NamedTuple):
    """A process that cannot write: since when (`wall_ns`, the machine's clock) and why, a sentence."""

    node: str
    pid: int
    wall_ns: int
    why: str


class BlockedFile:
    """The file of one process. It says nothing until `write`, and nothing again from `clear` on. Raises nothing."""

    def __init__(self, run_dir: Path, node: str):
        self.node = node
        self._fd = -1
        with contextlib.suppress(OSError):
            (run_dir / "blocked").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(run_dir / "blocked" / node, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.clear()

    def write(self, why: str) -> None:
        """Writes that this process cannot write, since now."""
        self._overwrite(json.dumps({"pid": os.getpid(), "wall_ns": machine_wall_ns(), "why": why[:WHY_CHARACTERS]}))

    def clear(self) -> None:
        """Writes that it can."""
        self._overwrite("")

    def _overwrite(self, text: str) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, text.encode()[:FILE_BYTES].ljust(FILE_BYTES), 0)

    def close(self) -> None:
        """Closes the file; what it says stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_blocked(run_dir: Path) -> list[Blocked]:
    """Reads who cannot write now, by name. What is half written is left out: the next look sees it."""
    found = []
    for path in sorted((run_dir / "blocked").glob("*")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if text := path.read_bytes().strip():
                said = json.loads(text)
                found.append(Blocked(path.name, said["pid"], said["wall_ns"], said["why"]))
    return found
