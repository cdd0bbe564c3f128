"""The processes of this machine as a sentinel sees them: when one dies, and what it holds."""

import asyncio
import os
import time
from collections.abc import Callable

import psutil

from tickmesh.bus.clock import machine_elapsed_ns

SECOND = 10**9


class ProcessWatch:
    """Which processes live, which have died, and when: pidfds in the event loop."""

    def __init__(self, on_death: Callable[[], None]):
        self.on_death = on_death
        self.pids: dict[str, int] = {}
        self.died: dict[str, tuple[int, float]] = {}  # name → pid, when
        self._fds: dict[str, int] = {}

    def see(self, name: str, pid: int) -> None:
        """Watches `name` under `pid` from now on."""
        if self.pids.get(name) == pid:
            return
        self.forget(name)
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return  # died and reaped since it was read; the next reading shows it
        self.pids[name] = pid
        self._fds[name] = fd
        asyncio.get_running_loop().add_reader(fd, self._death, name, pid)

    def forget(self, name: str) -> None:
        self.pids.pop(name, None)
        fd = self._fds.pop(name, None)
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def keep(self, names: set[str]) -> None:
        """Forgets all but these: a process that supervisord does not have any more is not to come back."""
        for name in (self.pids.keys() | self.died.keys()) - names:
            self.forget(name)
            self.died.pop(name, None)

    def _death(self, name: str, pid: int) -> None:
        self.forget(name)
        self.died[name] = (pid, time.monotonic())
        self.on_death()

    def close(self) -> None:
        for name in list(self._fds):
            self.forget(name)


def age_ns(pid: int) -> int:
    """How long ago a process began, whatever was done to the wall clock since; 0 for one that has ended.

    supervisord and psutil reckon with the wall clock; the kernel says the ticks from the machine's start (proc(5), stat, 22).
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0
    return max(machine_elapsed_ns() - ticks * SECOND // os.sysconf("SC_CLK_TCK"), 0)


def holds(pid: int) -> tuple[int, bool]:
    """(bytes of memory of its own, whether a signal has stopped it); (0, False) for one that has ended.

    Resident memory without mapped files: those pages (the recent store's, the archive's) the kernel takes back by itself.
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            memory = process.memory_info()
            return memory.rss - memory.shared, process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return 0, False
