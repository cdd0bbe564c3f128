"""What is done about a verdict: a restart while the budget lasts, an alert in any case, once an episode.

What was done before is known from the `alert` events in the log alone, so the sentinel that takes over goes on with the same
budget, and one that comes back finds it there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.sentinel.judge import Diagnosis, Process
from tickmesh.nodes.sentinel.vitals import SECOND, is_feed, venue_of

HOUR_NS = 3600 * SECOND
RESTART = "restart"  # the `action` of an alert that tells of one
RELAPSE_NS = 60 * SECOND  # what has not been wrong for so long is a new episode when it comes again
LINE_PAUSE_NS = 5 * SECOND  # after a line's restart, before another of the same venue
LINE_WAIT_NS = 30 * SECOND  # at most, when the first one does not come back


class SentinelAlert(TypedDict):
    """Fields of an `alert` event of a sentinel (docs/messages.md); a verdict's has `pid` and `at_ns`."""

    level: str
    what: str
    target: str
    why: str
    action: str
    pid: NotRequired[int]
    at_ns: NotRequired[int]


@dataclass(frozen=True)
class Decision:
    """What is done about one process.

    `alert` is raised first, and then, if `restart`, the process `pid` is killed, so that supervisord starts it anew.
    """

    target: str
    pid: int
    restart: bool
    alert: SentinelAlert


@dataclass
class Restarts:
    """The restarts of the last hour, and for which episodes an alert was raised."""

    settings: SentinelSettings
    done: dict[str, dict[int, str]] = field(default_factory=dict)  # target → when (ns) → why, in a word
    raised: dict[tuple[str, str], int] = field(default_factory=dict)  # (target, what) → when it was last wrong
    _over: list[tuple[str, str]] = field(default_factory=list)

    def read_alerts(self, events: Iterable[Event]) -> None:
        """Takes over restarts and episodes from the alerts of any sentinel, in any order, this one's own too."""
        for event in events:
            if event.kind == Kind.alert:
                self._learn(event.map(), event.seq_ns)

    def take_over(self, now_ns: int) -> None:
        """From now on this one decides: an episode with an alert may still go on, and gets no second one."""
        self.raised = dict.fromkeys(self.raised, now_ns)

    def _learn(self, alert: Mapping[str, Any], seen_ns: int) -> None:
        if "at_ns" not in alert:  # not a verdict's: somebody else's alert
            return
        target, what = alert["target"], alert["what"]
        if alert["action"] == RESTART:
            self.done.setdefault(target, {})[alert["at_ns"]] = what
        else:
            self.raised[target, what] = max(seen_ns, self.raised.get((target, what), 0))

    def left(self, target: str, now_ns: int) -> int:
        """Restarts that the budget still allows."""
        return max(self.settings.restarts_per_hour - len(self._recent(target, now_ns)), 0)

    def _recent(self, target: str, now_ns: int) -> dict[int, str]:
        done = self.done.get(target, {})
        for at in [at for at in done if now_ns - at >= HOUR_NS]:
            del done[at]
        return done

    def decide(
        self, verdicts: Sequence[Diagnosis], processes: Sequence[Process], working: frozenset[str], now_ns: int
    ) -> list[Decision]:
        """At most one restart of each process. `working`: those that the log has heard of since their start."""
        out: list[Decision] = []
        pids = {process.name: process.pid for process in processes}
        for verdict in verdicts:
            if verdict.target not in pids or any(d.restart and d.target == verdict.target for d in out):
                continue
            refused = self._refusal(verdict, now_ns)
            if not refused and self._must_wait(verdict.target, pids, working, now_ns):
                continue
            if refused and (verdict.target, verdict.what) in self.raised:
                self.raised[verdict.target, verdict.what] = now_ns
                continue
            decision = self._decision(verdict, pids[verdict.target], refused, now_ns)
            self._learn(decision.alert, now_ns)
            out.append(decision)
        self._over += [key for key, at in self.raised.items() if now_ns - at >= RELAPSE_NS]
        self.raised = {key: at for key, at in self.raised.items() if now_ns - at < RELAPSE_NS}
        return out

    def cleared(self) -> list[SentinelAlert]:
        """The alerts that episodes are over, of those that `decide` has forgotten since this was called last."""
        over, self._over = self._over, []
        return [_cleared(target, what) for target, what in over]

    def _refusal(self, verdict: Diagnosis, now_ns: int) -> str:
        """Why there is no restart; empty if there is one."""
        if not verdict.curable:
            return "none: a restart would not help"
        recent = self._recent(verdict.target, now_ns)
        limit = self.settings.restarts_per_hour
        if len(recent) >= limit:
            if not limit:
                return "none: sentinel.restarts_per_hour is 0"
            until = datetime.fromtimestamp((min(recent) + HOUR_NS) // SECOND, UTC)
            return f"none: {limit} restarts in the last hour are all that the budget allows; the next from {until:%H:%M:%S} UTC"
        if not verdict.often and verdict.what in recent.values():
            return "none: it was restarted for this within the last hour"
        return ""

    def _must_wait(self, target: str, pids: dict[str, int], working: frozenset[str], now_ns: int) -> bool:
        """Never two lines of a venue at once: the other one has to be back first."""
        if not is_feed(target):
            return False
        for other in pids:
            if other == target or not is_feed(other) or venue_of(other) != venue_of(target):
                continue
            since_ns = now_ns - max(self.done.get(other, {0: ""}), default=0)
            if since_ns < LINE_PAUSE_NS or (since_ns < LINE_WAIT_NS and other not in working):
                return True
        return False

    def _decision(self, verdict: Diagnosis, pid: int, refused: str, now_ns: int) -> Decision:
        alert: SentinelAlert = {
            "level": "critical" if refused and verdict.curable and verdict.often else verdict.level,
            "what": verdict.what,
            "target": verdict.target,
            "why": verdict.why,
            "action": refused or RESTART,
            "pid": pid,
            "at_ns": now_ns,
        }
        return Decision(verdict.target, pid, not refused, alert)


def _cleared(target: str, what: str) -> SentinelAlert:
    why = f"it has not been so for {RELAPSE_NS // SECOND} s"
    return {"level": "info", "what": what, "target": target, "why": why, "action": "it is over"}
