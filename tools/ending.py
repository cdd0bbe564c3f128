"""The end of a mesh whose supervisord does not answer, or is gone: by signals, in the order in which it would stop."""

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from tickmesh.nodes.process_table import NODES, NodeRow
from tickmesh.nodes.supervision.presence import Presence
from tickmesh.nodes.supervision.sessions import END_TRADING, HOST, PATIENCE_S, hosted_sessions
from tickmesh.tools.running import living
from tickmesh.tools.terminal import Failure

IN_ORDER = "in order"
BY_FORCE = "by force, since supervisord did not answer"
LEFT_OVER = "supervisord was gone, and what had lived on was ended"
NOT_THERE = "it was not running"
KILL_S = 10.0  # a process that has not ended so long after SIGKILL waits for a device
LOOK_S = 0.05
SESSION = NODES["session"]


def watch(pids: list[int]) -> dict[int, int]:
    """pid → pidfd of those that live; for `await_ends`, and to be closed."""
    fds = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fds[pid] = os.pidfd_open(pid)
    return fds


def await_ends(fds: dict[int, int], deadline: float) -> None:
    """Returns when all of these processes have ended. Raises Failure with one that has not by then (monotonic seconds)."""
    for pid, fd in fds.items():
        if not _has_ended(fd, deadline):
            raise Failure(f"process {pid} has not ended; see run/logs")


def end_by_force(root: Path, presence: Presence, deadline: float) -> str:
    """Ends a supervisord that does not answer and all of its processes; says how.

    It is stopped first, so that it brings nothing back, and killed when its processes have ended: each by SIGTERM, in the order
    of a shutdown, and by SIGKILL where that does not help within the time that its row of the table has for it.
    """
    if not presence.pid:
        raise Failure("a supervisord holds run/supervisord.lock, and its pid cannot be told; is it another user's?")
    _signal(presence.pid, signal.SIGSTOP)
    _end_in_order(root, living(root), deadline)
    fds = watch([presence.pid])
    _signal(presence.pid, signal.SIGKILL)
    try:
        await_ends(fds, max(deadline, time.monotonic() + KILL_S))
    finally:
        for fd in fds.values():
            os.close(fd)
    return BY_FORCE


def end_what_is_left(root: Path, deadline: float) -> str:
    """Ends the processes of a mesh whose supervisord is gone; says how."""
    left = living(root)
    _end_in_order(root, left, deadline)
    return LEFT_OVER if left else NOT_THERE


def _end_in_order(root: Path, pids: dict[str, int], deadline: float) -> None:
    """Ends processes one after the other, and the sessions that the sequencer hosts where one alone would end."""
    in_order = sorted(pids.items(), key=lambda one: -_row(one[0]).priority)
    for name, pid in in_order:
        if _row(name).priority >= SESSION.priority:
            _end(pid, _row(name).stopwaitsecs, deadline)
    _end_hosted_sessions(root, pids, deadline)
    for name, pid in in_order:
        if _row(name).priority < SESSION.priority:
            _end(pid, _row(name).stopwaitsecs, deadline)


def _end_hosted_sessions(root: Path, pids: dict[str, int], deadline: float) -> None:
    """Has hosted sessions cancel their orders and end, while the venue is there; waits as long as that may take."""
    if not hosted_sessions(root / "run", pids):
        return
    _signal(pids[HOST], END_TRADING)
    _signal(pids[HOST], signal.SIGCONT)
    patience = min(deadline, time.monotonic() + PATIENCE_S)
    while time.monotonic() < patience and hosted_sessions(root / "run", living(root)):
        time.sleep(LOOK_S)


def _end(pid: int, wait_s: float, deadline: float) -> None:
    """Ends a process by SIGTERM, and by SIGKILL where that does not help in time."""
    for fd in watch([pid]).values():
        try:
            _signal(pid, signal.SIGTERM)
            _signal(pid, signal.SIGCONT)  # one that was stopped itself
            if not _has_ended(fd, min(deadline, time.monotonic() + wait_s)):
                _signal(pid, signal.SIGKILL)
                await_ends({pid: fd}, time.monotonic() + KILL_S)
        finally:
            os.close(fd)


def _row(name: str) -> NodeRow:
    return NODES[name.partition("-")[0]]


def _has_ended(fd: int, deadline: float) -> bool:
    ready, _, _ = select.select([fd], [], [], max(deadline - time.monotonic(), 0))
    return bool(ready)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
