"""How a process's deaths are answered: at once, at supervisord's own pace, or not at all."""

from collections import deque
from dataclasses import dataclass, field

from supervisor.states import ProcessStates

from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.names import STEPS
from tickmesh.nodes.sentinel.restarts import SentinelAlert
from tickmesh.nodes.sentinel.supervisord import ProcessInfo

LIVED_S = 2  # one that dies sooner than this after it was ready has not lived
LOOP_DEATHS = 5  # lives of that kind within a minute
LOOP_S = 60.0
HOPELESS_DEATHS = 20  # in a row without once being ready: a step replays the log to there, and the same event kills it again


class RespawnBudget:
    """At most `limit` respawns per minute and process; 0: none."""

    def __init__(self, limit: int):
        self.limit = limit
        self._times: dict[str, deque[float]] = {}

    def allows(self, name: str, now: float) -> bool:
        if not self.limit:
            return False
        times = self._times.setdefault(name, deque(maxlen=self.limit))
        return len(times) < self.limit or now - times[0] > 60

    def spend(self, name: str, now: float) -> None:
        self._times.setdefault(name, deque(maxlen=self.limit)).append(now)


@dataclass
class _Record:
    short: deque[float] = field(default_factory=lambda: deque(maxlen=LOOP_DEATHS))  # when it died soon after its start
    never_ready: int = 0  # deaths in a row
    looping: bool = False


class CrashLoops:
    """Which processes die again and again right after they start. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def died(self, name: str, ready_for_s: float | None, now: float) -> tuple[list[SentinelAlert], bool]:
        """Counts a death; `ready_for_s`: how long it had been ready, None if it never was.

        Returns the alerts to be raised, and whether the process is to be stopped.
        """
        record = self._records.setdefault(name, _Record())
        if ready_for_s is not None and ready_for_s >= LIVED_S:
            del self._records[name]
            return [], False
        record.short.append(now)
        record.never_ready = record.never_ready + 1 if ready_for_s is None else 0
        alerts = []
        span_s = now - record.short[0]
        if not record.looping and len(record.short) == LOOP_DEATHS and span_s <= LOOP_S:
            record.looping = True
            why = f"it has died {LOOP_DEATHS} times within {span_s:.0f} s, each time before it had worked for {LIVED_S} s"
            alerts.append(_alert(name, "crash loop", why, "none: supervisord goes on trying, about once a second"))
        hopeless = record.never_ready >= HOPELESS_DEATHS and name.partition("-")[0] in STEPS
        if hopeless:
            why = f"it has died {record.never_ready} times in a row before it was ready: the same event of the log kills it"
            alerts.append(_alert(name, "stopped", why, f"stop; `supervisorctl start {name}` tries again"))
            del self._records[name]
        return alerts, hopeless

    def looping(self, name: str, now: float) -> bool:
        """Whether it is left to supervisord's pace: until it has not died for a while."""
        record = self._records.get(name)
        if record is None or not record.looping:
            return False
        if now - record.short[-1] > LOOP_S:
            del self._records[name]
            return False
        return True


def _alert(name: str, what: str, why: str, action: str) -> SentinelAlert:
    return {"level": "critical", "what": what, "target": name, "why": f"{why}; see run/logs/{name}.log", "action": action}


def came_to_an_end(info: ProcessInfo, ready_ns: int) -> bool:
    """Whether a process exited 0 after real work: somebody sent it SIGTERM behind supervisord's back.

    `ready_ns`: when it was last ready, in whatever life, by supervisord's wall clock; 0: never. supervisord leaves it
    so (0 is what a hosted program says, before it would be ready); it is brought back all the same.
    """
    return bool(info["state"] == ProcessStates.EXITED and info["exitstatus"] == 0 and ready_ns >= info["start"] * 10**9)


def left_alone(info: ProcessInfo, ready_ns: int) -> bool:
    """Whether a process that does not run is meant not to: stopped by an operator or for good, or it had nothing to do."""
    state = info["state"]
    if state == ProcessStates.EXITED and info["exitstatus"] == STOPPED_EXIT:
        return True
    if state == ProcessStates.EXITED:
        return info["exitstatus"] == 0 and not came_to_an_end(info, ready_ns)
    # BACKOFF and FATAL: it cannot even be started; supervisord tries again at its own pace.
    return state in (ProcessStates.STOPPING, ProcessStates.STOPPED, ProcessStates.BACKOFF, ProcessStates.FATAL)
