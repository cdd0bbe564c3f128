"""Has supervisord bring a dead process back at once, instead of within a second, and restarts what is alive but wrong.

Two of them run: one acts, under a lock; the other watches that one and takes its place. Both follow the log, so the budget
of restarts and the alerts raised already are known to either. It decides nothing about what should run (that is supervisord's,
and its operator's); while supervisord hangs, the one that acts starts in its place what dies. When both die, supervisord alone
brings everything back, more slowly. Nothing depends on a sentinel.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from tickmesh.bus import clock
from tickmesh.bus.config import Config
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.operator_log import log_alert, log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.space import free_of
from tickmesh.bus.wire import encode
from tickmesh.nodes.recorder.cutting import files_expected, interval_s
from tickmesh.nodes.sentinel.deaths import CrashLoops, RespawnBudget, came_to_an_end, left_alone
from tickmesh.nodes.sentinel.judge import Diagnosis, Judge, Process
from tickmesh.nodes.sentinel.kill_switch import KillSwitchKeeper
from tickmesh.nodes.sentinel.processes import ProcessWatch, age_ns, holds
from tickmesh.nodes.sentinel.restarts import HOUR_NS, Decision, Restarts, SentinelAlert
from tickmesh.nodes.sentinel.rules import rules_of
from tickmesh.nodes.sentinel.silence import Silence, StandInProcesses, commands_of
from tickmesh.nodes.sentinel.supervisord import (
    Away,
    ProcessInfo,
    ProcessRow,
    ProcessStates,
    ShuttingDown,
    Silent,
    Supervisord,
)
from tickmesh.storage.recent.lately import lately

READS = (Kind.health, Kind.run, Kind.cursor, Kind.line, Kind.watermark, Kind.clock, Kind.alert, Kind.command)
WRITES = (Kind.health, Kind.alert, Kind.command)

NAMES = ("sentinel-1", "sentinel-2")
ANSWER_S = 2.0  # supervisord answers in milliseconds; the dead are looked for again then
POLL_S = 0.5  # processes that operators have started or restarted are found within this
LOOK_S = 1.0  # between two judgements of the living
PROD_S = 0.001  # between two requests while a dead process is not yet back
PROD_S_MAX = 2.0  # supervisord brings it back itself after a second

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class Opinion:
    """What the log says of the living, and what was done about it before; both sentinels keep one."""

    def __init__(self, ctx: Context, raise_alert: Callable[[SentinelAlert], None]):
        self.ctx = ctx
        self.judge = Judge(ctx.config.sentinel, interval_s(ctx.config.recorder, files_expected(ctx.config)))
        self.restarts = Restarts(ctx.config.sentinel)
        self.rules = rules_of(ctx.config)
        self.kill_switch = KillSwitchKeeper(ctx, self.judge.vitals, raise_alert)
        self.known = False  # the alerts of the last hour: nothing is restarted before

    async def follow(self) -> None:
        """Reads the log until the node ends, after it has looked up the alerts of the last hour."""
        after = await asyncio.to_thread(self._remember)
        self.known = True
        self.restarts.take_over(clock.now_ns())
        async for events in self.ctx.subscribe(READS, after):
            self.judge.take(events)
            self.rules.take(events)
            self.restarts.read_alerts(events)
            for event in events:
                self.kill_switch.take(event)

    def _remember(self) -> int:
        last = LogReader(self.ctx.config.log_dir).last
        names = {*NAMES, *(path.stem for path in (self.ctx.config.run_dir / "ready").glob("*.json"))}
        known = lately(self.ctx.config, (Kind.alert, Kind.run), names, clock.now_ns() - HOUR_NS)
        wanted = [event for event in known if event.kind == Kind.run or event.subject in NAMES]
        self.restarts.read_alerts(wanted)
        self.rules.take(wanted)
        return last

    def of(self, infos: list[ProcessInfo]) -> list[Decision]:
        """What is to be done about the processes that supervisord says run."""
        running = [info for info in infos if info["state"] == ProcessStates.RUNNING and info["name"] != self.ctx.name]
        processes = [self._observe(info["name"], info["pid"]) for info in running]
        now_ns = clock.now_ns()
        verdicts = self.judge.look(now_ns, processes, self.log_end(), self._disk_full())
        working = frozenset(process.name for process in processes if self.judge.works(process))
        return self.restarts.decide(verdicts, processes, working, now_ns) if self.known else []

    def _observe(self, name: str, pid: int) -> Process:
        since_ns = clock.now_ns() - age_ns(pid)  # in the log's time, which everything is compared in
        memory_bytes, stopped = holds(pid)
        return Process(name, pid, since_ns, memory_bytes, stopped, ready_ns(self.ctx.config, name, pid))

    def log_end(self) -> tuple[str, int] | None:
        """Something that differs when the log's file has grown."""
        with contextlib.suppress(OSError, ValueError):
            newest = max(self.ctx.config.log_dir.glob("*.seg"))
            return newest.name, newest.stat().st_size
        return None

    def _disk_full(self) -> str:
        """What the log's disk lacks for one more segment; "" where nothing is short."""
        try:
            free = free_of(self.ctx.config.log_dir)
        except OSError:
            return ""
        return f"{free} are free" if free.bytes < self.ctx.config.log.segment_bytes or not free.inodes else ""


class Sentinel:
    """What the two sentinels do: the one that has the lock for all processes, the other for that one."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.counters = ctx.counters
        for name in ("respawns", "beyond_budget", "restarts", "supervisord_away", "takeovers", "leader"):
            self.counters.setdefault(name, 0)
        self.counters.setdefault("respawn_ms_last", 0.0)
        self.counters.setdefault("respawn_ms_max", 0.0)
        self.wake = asyncio.Event()
        self.budget = RespawnBudget(ctx.config.sentinel.respawns_per_minute)
        self.watch = ProcessWatch(self.wake.set if self.budget.limit else lambda: None)
        self.loops = CrashLoops()
        self.opinion = Opinion(ctx, self.raise_alert)
        self.supervisord = Supervisord(ctx.config.root / "run", ANSWER_S)
        self.silence = Silence()
        self.stand_ins = StandInProcesses(ctx.config.root, ctx.name)
        self.table: list[ProcessRow] = []  # as supervisord said it last
        self.ran: set[str] = set()  # what ran when it answered last, but this one
        self.stopped: set[str] = set()  # by an operator, as supervisord said last
        self.thread = ThreadPoolExecutor(1)
        self.lock = FileLock(ctx.config.run_dir / "sentinel.lock")
        self.infos: list[ProcessInfo] | None = None  # what supervisord said last

    def close(self) -> None:
        self.watch.close()
        self.opinion.kill_switch.end()
        self.thread.shutdown(wait=False)
        self.supervisord.close()
        self.lock.close()

    async def ask(self, call: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer | None:
        """A blocking request, away from the loop. None when supervisord is away or ending."""
        began = time.monotonic()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)
        except Silent as silent:
            self.counters["supervisord_away"] += 1
            if alert := self.silence.failed(str(silent), began, time.monotonic()):
                self.raise_alert(alert)
        except Away:
            self.counters["supervisord_away"] += 1
        except ShuttingDown:
            pass
        else:
            if alert := self.silence.answered(time.monotonic()):
                self.raise_alert(alert)
            return answer
        return None

    async def pause(self, seconds: float) -> None:
        """Waits for `seconds`, or until a watched process dies or the node ends."""
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            pass
        self.wake.clear()

    # -- one of two

    def try_lock(self) -> bool:
        if not self.lock.try_acquire():
            return False
        self.beat()
        return True

    def beat(self) -> None:
        """The one that acts says so in the lock's file: pid, and when."""
        os.pwrite(self.lock.fd, f"{os.getpid():<10}{time.monotonic_ns():<20}".encode(), 0)

    async def stand_by(self) -> None:
        """Returns once this is the sentinel that acts."""
        first = True
        beat, patience = b"", 0.0
        while not self.ctx.stop.is_set():
            if self.try_lock():
                self.counters["takeovers"] += not first
                self.counters["leader"] = 1
                log_line(self.ctx.name, "info", "acts: it has the lock" + ("" if first else ", which the other one had"))
                self.watch.forget("leader")
                self.opinion.restarts.take_over(clock.now_ns())
                return
            if first:
                log_line(self.ctx.name, "info", "stands by: the other one acts")
            first = False
            seen = os.pread(self.lock.fd, 30, 0)
            patience = patience + POLL_S if seen == beat else 0.0  # rounds, not time: this one may have been stopped itself
            beat = seen
            if (leader := seen[:10].strip()).isdigit():
                self.watch.see("leader", int(leader))
                if patience >= self.ctx.config.sentinel.heartbeat_s:
                    await self.replace(int(leader), patience)
                    patience = 0.0
            await self.pause(POLL_S)
        self.watch.close()

    async def replace(self, pid: int, silent_s: float) -> None:
        """Ends a sentinel that has the lock and does not act."""
        for info in await self.ask(self.supervisord.processes) or ():
            if info["pid"] == pid and info["state"] == ProcessStates.RUNNING and self.opinion.known:
                leader = Process(info["name"], pid, clock.now_ns() - age_ns(pid))
                why = f"it has the lock and has not acted for {silent_s:.0f} s"
                verdict = Diagnosis(leader.name, "heartbeat missing", why)
                for decision in self.opinion.restarts.decide([verdict], [leader], frozenset(), clock.now_ns()):
                    await self.carry_out(decision)

    # -- the dead

    async def round(self) -> bool:
        """One look at all processes; True while one of them has to come back at once."""
        self.infos = await self.ask(self.supervisord.processes)
        if self.infos is None:
            self.watch.died.clear()
            if self.silence.lasts:
                self.stand_ins.start_missing(commands_of(self.table, self.ran), time.monotonic())
            return False
        await self.stand_ins.end()
        ran = {info["name"] for info in self.infos if info["pid"] and info["name"] != self.ctx.name}
        if ran - {row["name"] for row in self.table}:
            self.table = await self.ask(lambda: self.supervisord.table() or self.table) or self.table
        self.ran = ran
        now = time.monotonic()
        waiting = False
        self.watch.keep({info["name"] for info in self.infos})
        for info in self.infos:
            waiting |= await self.look(info, now)
        return waiting

    async def look(self, info: ProcessInfo, now: float) -> bool:
        """Watches the process, counts it back, or (True) says that it is not back yet."""
        name: str = info["name"]
        pid: int = info["pid"]
        dead_pid, since = self.watch.died.get(name, (0, now))
        if pid and pid != dead_pid:
            if dead_pid:
                del self.watch.died[name]
                log_line(self.ctx.name, "info", f"{name} had died and is back after {(now - since) * 1000:.0f} ms, pid {pid}")
                if self.budget.limit:
                    self.count(name, now, (now - since) * 1000)
                await self.judge_death(name, dead_pid, now)
            elif (before := self.watch.pids.get(name, pid)) != pid:  # it died and came back between two looks
                await self.judge_death(name, before, now)
            self.watch.see(name, pid)
            return False
        worked_ns = worked_wall_ns(self.ctx.config, name)
        if left_alone(info, worked_ns):
            self.watch.died.pop(name, None)
            return False
        if not self.budget.allows(name, now) or self.loops.looping(name, now) or now - since > PROD_S_MAX:
            if self.watch.died.pop(name, None):
                self.counters["beyond_budget"] += 1
                await self.judge_death(name, dead_pid, now)
            return False
        if came_to_an_end(info, worked_ns):
            await self.ask(self.supervisord.start, name)
        self.watch.died.setdefault(name, (pid or -1, now))
        return True

    def count(self, name: str, now: float, respawn_ms: float) -> None:
        self.budget.spend(name, now)
        self.counters["respawns"] += 1
        self.counters["respawn_ms_last"] = round(respawn_ms, 3)
        self.counters["respawn_ms_max"] = max(self.counters["respawn_ms_max"], round(respawn_ms, 3))

    async def judge_death(self, name: str, pid: int, now: float) -> None:
        """Whether it dies in a loop: told once; a step that cannot get past an event is stopped."""
        since_ns = ready_ns(self.ctx.config, name, pid)
        alerts, hopeless = self.loops.died(name, (clock.now_ns() - since_ns) / 1e9 if since_ns else None, now)
        for alert in alerts:
            self.raise_alert(alert)
        if hopeless:
            await self.ask(self.supervisord.stop, name)
            if name == "executor":
                self.opinion.kill_switch.throw(f"the executor was stopped: {alerts[-1]['why']}")

    # -- the living

    async def examine(self) -> None:
        """Restarts what is alive but wrong, and says so."""
        if self.infos is not None:
            for decision in self.opinion.of(self.infos):
                await self.carry_out(decision)
            for alert in self.opinion.restarts.cleared():
                self.raise_alert(alert)
        if self.opinion.known:  # rules are of what the log has, whatever supervisord answers
            for alert in self.opinion.rules.look():
                self.raise_alert(alert)

    async def carry_out(self, decision: Decision) -> None:
        """Said first: an alert whose restart did not happen costs a restart of the budget, and never the other way round."""
        self.raise_alert(decision.alert)
        if decision.restart and await self.ask(self.supervisord.kill, decision.target):
            self.counters["restarts"] += 1

    def raise_alert(self, alert: SentinelAlert) -> None:
        """Publishes an alert; its line in the operator's log is there also while the mesh's log stands still."""
        log_alert(self.ctx.name, alert)
        with contextlib.suppress(OutboxFull):
            self.ctx.publish([encode(Kind.alert, self.ctx.name, dict(alert))])

    def keep_kill_switch(self) -> None:
        """Whatever supervisord answers, or does not."""
        if self.infos is not None:
            self.stopped = {info["name"] for info in self.infos if info["state"] == ProcessStates.STOPPED}
        self.opinion.kill_switch.look(self.opinion.log_end(), self.stopped)

    async def act(self) -> None:
        examined = 0.0
        while not self.ctx.stop.is_set():
            waiting = await self.round()
            self.beat()
            self.keep_kill_switch()
            if waiting:
                await asyncio.sleep(PROD_S)
                continue
            if time.monotonic() - examined >= LOOK_S:
                examined = time.monotonic()
                await self.examine()
            await self.pause(POLL_S)


def ready_ns(config: Config, name: str, pid: int) -> int:
    """When this life of a process became ready, in the mesh's time; 0 if it has not.

    A node that is hosted works in another process: the one of its own name had nothing to do, and has never been ready.
    """
    ready = _ready(config, name)
    return int(ready["ready_ns"]) if ready.get("pid") == pid else 0


def worked_wall_ns(config: Config, name: str) -> int:
    """When its last life that was ready became it, by the wall clock, as supervisord says when it started it; 0: none was."""
    return int(_ready(config, name).get("wall_ns", 0))


def _ready(config: Config, name: str) -> dict[str, Any]:
    """What the process of that name wrote when it became ready; {} where it has not, or another process hosts it."""
    with contextlib.suppress(OSError, ValueError):
        ready: dict[str, Any] = json.loads((config.run_dir / f"ready/{name}.json").read_bytes())
        return {} if ready.get("hosted") else ready
    return {}


async def run(ctx: Context) -> None:
    sentinel = Sentinel(ctx)
    ending = ctx.own(ctx.stop.wait())
    ending.add_done_callback(lambda _: sentinel.wake.set())
    following = ctx.own(sentinel.opinion.follow(), "following")
    ctx.ready()
    try:
        await sentinel.stand_by()
        await sentinel.act()
    finally:
        ctx.stop.set()
        ending.cancel()
        try:
            await following
            await sentinel.stand_ins.end()
        finally:
            sentinel.close()
