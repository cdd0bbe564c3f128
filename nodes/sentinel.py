"""Watches every process and has supervisord bring a dead one back at once, instead of within a second.

Two of them run: one acts, under a lock; the other watches that one and takes its place. It decides nothing about
what should run (that is supervisord's, and its operator's): it sees a death at once and makes supervisord look.
When both die, supervisord alone brings everything back, more slowly. Nothing depends on a sentinel.
"""

import asyncio
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bus.process import Context
from bus.schema import Kind
from nodes.transport.supervisord import Away, ProcessStates, ShuttingDown, Supervisord

READS: tuple[Kind, ...] = ()
WRITES = (Kind.health,)

POLL_S = 0.5  # processes that operators have started or restarted are found within this
PROD_S = 0.001  # between two requests while a dead process is not yet back
PROD_S_MAX = 2.0  # supervisord brings it back itself after a second
RESPAWNS_PER_MINUTE = 30  # of one process; beyond it supervisord's own pace of a second is quick enough
LIVED_S = 2  # a process that exits 0 sooner than this had nothing to do


class Watch:
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

    def _death(self, name: str, pid: int) -> None:
        self.forget(name)
        self.died[name] = (pid, time.monotonic())
        self.on_death()

    def close(self) -> None:
        for name in list(self._fds):
            self.forget(name)


class Budget:
    """At most `limit` respawns per minute and process."""

    def __init__(self, limit: int = RESPAWNS_PER_MINUTE):
        self.limit = limit
        self._times: dict[str, deque[float]] = {}

    def allows(self, name: str, now: float) -> bool:
        times = self._times.setdefault(name, deque(maxlen=self.limit))
        return len(times) < self.limit or now - times[0] > 60

    def spend(self, name: str, now: float) -> None:
        self._times.setdefault(name, deque(maxlen=self.limit)).append(now)


def came_to_an_end(info: dict) -> bool:
    """Whether a process exited 0 after real work: somebody sent it SIGTERM behind supervisord's back.

    supervisord leaves it so (0 is what a hosted program says, at once); it is brought back all the same.
    """
    state, lived = info["state"], info["stop"] - info["start"]
    return state == ProcessStates.EXITED and info["exitstatus"] == 0 and lived >= LIVED_S


def left_alone(info: dict) -> bool:
    """Whether a process that does not run is meant not to: stopped by an operator, or it had nothing to do."""
    state = info["state"]
    if state == ProcessStates.EXITED:
        return info["exitstatus"] == 0 and not came_to_an_end(info)
    # BACKOFF and FATAL: it cannot even be started; supervisord tries again at its own pace.
    return state in (ProcessStates.STOPPING, ProcessStates.STOPPED, ProcessStates.BACKOFF, ProcessStates.FATAL)


class Sentinel:
    """What the two sentinels do: the one that has the lock for all processes, the other for that one."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.counters = ctx.counters
        for name in ("respawns", "beyond_budget", "supervisord_away", "takeovers", "leader"):
            self.counters.setdefault(name, 0)
        self.counters.setdefault("respawn_ms_last", 0.0)
        self.counters.setdefault("respawn_ms_max", 0.0)
        self.wake = asyncio.Event()
        self.watch = Watch(self.wake.set)
        self.budget = Budget()
        self.supervisord = Supervisord(ctx.config.root / "run")
        self.thread = ThreadPoolExecutor(1)
        self.lock = os.open(ctx.config.run_dir / "sentinel.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        self.watch.close()
        self.thread.shutdown(wait=False)
        self.supervisord.close()
        os.close(self.lock)

    async def ask(self, call: Callable, *arguments):
        """A blocking request, away from the loop. None when supervisord is away or ending."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)
        except Away:
            self.counters["supervisord_away"] += 1
        except ShuttingDown:
            pass
        return None

    async def pause(self, seconds: float) -> None:
        """Until a watched process dies, it is time to end, or so long."""
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            pass
        self.wake.clear()

    def try_lock(self) -> bool:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.pwrite(self.lock, f"{os.getpid():<10}".encode(), 0)
        return True

    async def stand_by(self) -> None:
        """Returns once this is the sentinel that acts."""
        first = True
        while not self.ctx.stop.is_set():
            if self.try_lock():
                self.counters["takeovers"] += not first
                self.counters["leader"] = 1
                self.watch.forget("leader")
                return
            first = False
            leader = os.pread(self.lock, 10, 0).strip()
            if leader.isdigit():
                self.watch.see("leader", int(leader))
            await self.pause(POLL_S)
        self.watch.close()

    async def round(self) -> bool:
        """One look at all processes; True while one of them has to come back at once."""
        infos = await self.ask(self.supervisord.processes)
        if infos is None:
            self.watch.died.clear()
            return False
        now = time.monotonic()
        waiting = False
        for info in infos:
            waiting |= await self.look(info, now)
        return waiting

    async def look(self, info: dict, now: float) -> bool:
        """Watches the process, counts it back, or (True) says that it is not back yet."""
        name, pid = info["name"], info["pid"]
        dead_pid, since = self.watch.died.get(name, (0, now))
        if pid and pid != dead_pid:
            if dead_pid:
                self.count(name, now, (now - since) * 1000)
            self.watch.see(name, pid)
            return False
        if left_alone(info):
            self.watch.died.pop(name, None)
            return False
        if not self.budget.allows(name, now) or now - since > PROD_S_MAX:
            if self.watch.died.pop(name, None):
                self.counters["beyond_budget"] += 1
            return False
        if came_to_an_end(info):
            await self.ask(self.supervisord.start, name)
        self.watch.died.setdefault(name, (pid or -1, now))
        return True

    def count(self, name: str, now: float, respawn_ms: float) -> None:
        del self.watch.died[name]
        self.budget.spend(name, now)
        self.counters["respawns"] += 1
        self.counters["respawn_ms_last"] = round(respawn_ms, 3)
        self.counters["respawn_ms_max"] = max(self.counters["respawn_ms_max"], round(respawn_ms, 3))

    async def act(self) -> None:
        while not self.ctx.stop.is_set():
            waiting = await self.round()
            if waiting:
                await asyncio.sleep(PROD_S)
            else:
                await self.pause(POLL_S)


async def run(ctx: Context) -> None:
    sentinel = Sentinel(ctx)
    ending = asyncio.create_task(ctx.stop.wait())
    ending.add_done_callback(lambda _: sentinel.wake.set())
    ctx.ready()
    try:
        await sentinel.stand_by()
        await sentinel.act()
    finally:
        ending.cancel()
        sentinel.close()
