"""Ends hosted sessions before the venue is stopped, so that their orders are cancelled while it is there.

A session in the sequencer's process has no place of its own in supervisord's order: that process ends after the local exchange,
and has to, for what feeds and exchange say last is still logged.
"""

import os
import signal
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from tickmesh.bus.file_lock import FileLock

END_TRADING = signal.SIGUSR1  # to the sequencer's process: the sessions and the executor that it hosts end, all else goes on
BEFORE = ("sentinel-", "executor")  # beginnings of the names of processes that are stopped before
PATIENCE_S = 6.0  # a session ends within 5 s
HOST = "sequencer"


class HostedSessions:
    """The sessions that the sequencer hosts, as supervisord sees a group of processes.

    Which there are is told by the locks that sessions hold (`run/session.lock`, `run/session-VENUE.lock`).
    """

    def __init__(self, supervisord: Any):
        self._supervisord = supervisord
        self._locks = Path(supervisord.options.pidfile).parent
        self._deadline_s = 0.0  # monotonic; 0: they have not been asked to end

    def stop_all(self) -> None:
        """Asks them to end, once."""
        if self._deadline_s:
            return
        self._deadline_s = time.monotonic() + PATIENCE_S
        if self._left() and (pid := self._pids().get(HOST)):
            os.kill(pid, END_TRADING)

    def get_unstopped_processes(self) -> list[str]:
        """Gives the sessions that have not ended; none once they have had their time."""
        return self._left() if time.monotonic() < self._deadline_s else []

    def _left(self) -> list[str]:
        return hosted_sessions(self._locks, self._pids())

    def _pids(self) -> dict[str, int]:
        groups = self._supervisord.process_groups.values()
        return {name: one.pid for group in groups for name, one in group.processes.items() if one.pid}


def hosted_sessions(run_dir: Path, alone: Container[str]) -> list[str]:
    """The names of the sessions that the sequencer hosts and that have not ended; `alone`: names of processes that live."""
    if HOST not in alone:
        return []
    return [path.stem for path in sorted(run_dir.glob("session*.lock")) if path.stem not in alone and _is_held(path)]


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, create=False) as lock:
            return not lock.try_acquire()
    except OSError:
        return False
