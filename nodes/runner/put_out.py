"""Guests that the sequencer's process has put out for good: each a file in run/put_out, for who would wait for one to be ready.

What it says is true of the process `pid` that wrote it: the next sequencer tries the guest again.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.files import write_file


class PutOut(NamedTuple):
    """A guest that was put out: `why`, and a hash of the files that it had loaded, "" where that is not known."""

    why: str
    sources: str


def record(run_dir: Path, name: str, why: str, sources: str = "") -> None:
    """Writes that this process has put out a guest, which is not ready any more. On a full disk there is no file.

    `sources`: of one that has not been ready.
    """
    ready = run_dir / "ready" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sources = json.loads(ready.read_bytes()).get("sources", sources)
    ready.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _file(run_dir, name).parent.mkdir(exist_ok=True)
        write_file(_file(run_dir, name), json.dumps({"pid": os.getpid(), "why": why, "sources": sources}).encode())


def forget(run_dir: Path, name: str) -> None:
    """Removes what is written of a guest: it begins."""
    _file(run_dir, name).unlink(missing_ok=True)


def read(run_dir: Path, name: str, pid: int) -> PutOut | None:
    """What the living sequencer `pid` has written of a guest; None where it has not put that one out."""
    try:
        found = json.loads(_file(run_dir, name).read_bytes())
        return PutOut(str(found["why"]), str(found["sources"])) if pid and found["pid"] == pid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(run_dir: Path, name: str) -> Path:
    return run_dir / "put_out" / f"{name}.json"
