"""A process of the mesh that notes what may delay it: `python -m bench.timed_node FILE NODE [INSTANCE]`.

It runs as `python -m tickmesh.nodes NODE [INSTANCE]` does, and at its end writes {what: [[begun, ended], …]} to FILE (JSON), ns
of the wall clock, as bench/watched_exchange.py has it. What: collections of garbage by generation, syncs of files, commits of
the recent store, and appends to the log or an outbox.
"""

import functools
import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickmesh.bus.log_writer import LogWriter
from tickmesh.nodes.__main__ import main
from tickmesh.storage.recent.store import RecentWriter

GC, SYNC, APPEND, COMMIT = "gc", "sync", "append", "commit"
spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
_begun: list[int] = []


def _note_collection(phase: str, about: dict[str, int]) -> None:
    if phase == "start":
        _begun.append(time.time_ns())
    elif _begun:
        spans[f"{GC} {about['generation']}"].append((_begun.pop(), time.time_ns()))


def timed(what: str, call: Callable) -> Callable:
    """The same call, which notes when it began and ended."""

    @functools.wraps(call)
    def noted(*given: Any, **named: Any) -> Any:
        begun = time.time_ns()
        try:
            return call(*given, **named)
        finally:
            spans[what].append((begun, time.time_ns()))

    return noted


def watch() -> None:
    """Has all of it noted in this process, from now on."""
    gc.callbacks.append(_note_collection)
    os.fdatasync, os.fsync = timed(SYNC, os.fdatasync), timed(SYNC, os.fsync)
    setattr(LogWriter, "append", timed(APPEND, LogWriter.append))  # noqa: B010 - a type checker allows no other way
    setattr(RecentWriter, "commit", timed(COMMIT, RecentWriter.commit))  # noqa: B010


if __name__ == "__main__":
    watch()
    code = main(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(spans))
    sys.exit(code)
