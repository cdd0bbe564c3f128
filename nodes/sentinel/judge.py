"""What is alive but wrong, judged from the log: events in, verdicts out.

Time is that of the log (`seq_ns`), so a reader that is behind judges what it reads as it was. Where the log itself is silent
the caller's clock counts, from look to look: a caller that was stopped or suspended begins to wait anew, and so does every
deadline after the log has stood still.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.sentinel.vitals import PAUSE_NS, RECORDER, SECOND, SEQUENCER, Life, LineShare, Vitals, is_feed

START_S = 120.0  # a process that is not ready by then is told of; one that waits for its venue helps no one by a restart
SEQUENCER_START_S = 30.0  # and the sequencer, which nothing has to wait for, begins again
STALE_SIGNS = 3  # reports in which a sibling has brought something, before a feed that has not is stale
MEMORY_LOOKS = 3  # in a row over the bound
WATERMARK_GRACE = 9  # minutes (or intervals of cuts, if less) after one was due, and the recorder is stuck
WORK_LEAST = 0.25  # share of sentinel.lag_events that a reader works off in lag_s, unless it is crippled


@dataclass(frozen=True)
class Process:
    """One that supervisord says runs, since `since_ns`.

    `memory_bytes`: without mapped files; `stopped`: by SIGSTOP; `ready_ns`: since when it works, in this life; 0: not yet.
    """

    name: str
    pid: int
    since_ns: int
    memory_bytes: int = 0
    stopped: bool = False
    ready_ns: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with one process. `curable`: by a restart; `often`: at every relapse, else once per hour."""

    target: str
    what: str
    why: str
    level: str = "warning"
    curable: bool = True
    often: bool = True


class Judge:
    """Judges processes by their events: `take` those, `look` now and then; the same events and looks give the same verdicts.

    `segment_s`: after how long the recorder cuts for age alone.
    """

    def __init__(self, settings: SentinelSettings, segment_s: float = 60.0):
        self.settings = settings
        self.segment_s = segment_s
        self.vitals = Vitals(settings)
        self.looked_ns = 0
        self.silent_ns = 0  # the first look at which nothing new had come, nor had the log's file changed
        self._seen: object = None

    def take(self, events: Iterable[Event]) -> None:
        """Takes in events of the log, in their order."""
        self.vitals.take(events)

    def look(self, now_ns: int, processes: Iterable[Process], log_end: object = None, disk_full: str = "") -> list[Diagnosis]:
        """What is wrong now. Called every second or so; `now_ns` is the caller's clock.

        `disk_full`: what the log's disk has left, where that is too little.

        `log_end`: something that differs when the log's file has grown, for a caller that may not have received it.
        """
        running = {process.name: process for process in processes}
        self._keep_time(now_ns, (self.vitals.last_seq, log_end))
        for name in [n for n, share in self.vitals.lines.items() if self._begun_later(running.get(n), share)]:
            del self.vitals.lines[name]  # what a line was before its restart is not held against it
        if (silent := self._silence(now_ns, running.get(SEQUENCER), disk_full)) is not None:
            return [silent, *self._memory(running)]
        if self.silent_ns and now_ns - self.silent_ns >= PAUSE_NS:
            return self._memory(running)  # nothing is known of the others before the log goes on
        out: list[Diagnosis] = []
        for name, process in running.items():
            if self.works(process):
                out += self._living(process, self.vitals.lives[name])
            else:
                out += self._starting(process, now_ns)
        return out + self._memory(running) + self._watermark(running)

    def _keep_time(self, now_ns: int, seen: object) -> None:
        paused = not 0 <= now_ns - self.looked_ns <= PAUSE_NS
        if seen != self._seen or paused:
            self.silent_ns = 0
        elif not self.silent_ns:
            self.silent_ns = self.looked_ns
        if paused:
            self.vitals.resumed_ns = max(self.vitals.resumed_ns, self.vitals.log_ns)
        self._seen = seen
        self.looked_ns = now_ns

    def works(self, process: Process) -> bool:
        """Whether the log has heard of this life of the process."""
        life = self.vitals.lives.get(process.name)
        return life is not None and life.pid == process.pid

    def _begun_later(self, process: Process | None, share: LineShare) -> bool:
        return process is not None and process.since_ns > share.since_ns > 0

    def _silence(self, now_ns: int, sequencer: Process | None, disk_full: str) -> Diagnosis | None:
        """A clock is said in every silence of 100 ms, so a log without any event is one whose writer hangs."""
        if sequencer is None or not self.silent_ns:
            return None
        silent_s = (now_ns - self.silent_ns) / SECOND
        in_its_start = sequencer.since_ns > self.vitals.log_ns
        bound_s = SEQUENCER_START_S if in_its_start else self.settings.heartbeat_s
        if silent_s < bound_s or (now_ns - sequencer.since_ns) / SECOND < bound_s:
            return None
        why = f"nothing has come into the log for {silent_s:.0f} s, not even a clock event; {bound_s:g} s are allowed"
        if disk_full:
            why = f"{why}. The log's disk is full ({disk_full}): make room, and it goes on by itself"
            return Diagnosis(SEQUENCER, "disk full", why, "critical", curable=False)
        return Diagnosis(SEQUENCER, "log still", why, "critical")

    def _starting(self, process: Process, now_ns: int) -> Iterator[Diagnosis]:
        """One that has not been heard of: it starts, or hung before anybody listened."""
        age_s = (now_ns - process.since_ns) / SECOND
        if process.ready_ns:  # a start may have taken long: silence counts from when it was over
            if process.name != SEQUENCER:  # whose word may stand behind all that it has to catch up with; see _silence
                yield from self._beating(process.name, max(self.vitals.begun_ns, process.since_ns, process.ready_ns))
            return
        if process.stopped and age_s >= self.settings.heartbeat_s:
            yield Diagnosis(process.name, "stopped", f"it was stopped by a signal in its start, {age_s:.0f} s ago")
        elif age_s >= START_S:
            why = f"started {age_s:.0f} s ago, it is not ready yet; its log in run/logs may say what it waits for"
            yield Diagnosis(process.name, "not ready", why, curable=False)

    def _living(self, process: Process, life: Life) -> Iterator[Diagnosis]:
        name, allowed_s = process.name, self.settings.lag_s
        yield from self._beating(name, life.sign_ns)
        if life.deaf_s >= allowed_s:
            why = f"it has not read the log for {life.deaf_s:.1f} s; sentinel.lag_s allows {allowed_s:g}"
            yield Diagnosis(name, "deaf", why)
        yield from self._lagging(name, life)
        if is_feed(name):
            yield from self._stale(name, life)
            yield from self._last(name)

    def _beating(self, name: str, sign_ns: int) -> Iterator[Diagnosis]:
        allowed_s = self.settings.heartbeat_s
        silent_s = (self.vitals.log_ns - max(sign_ns, self.vitals.resumed_ns)) / SECOND
        if silent_s >= allowed_s:
            why = f"no health event for {silent_s:.1f} s; sentinel.heartbeat_s allows {allowed_s:g}"
            yield Diagnosis(name, "heartbeat missing", why)

    def _lagging(self, name: str, life: Life) -> Iterator[Diagnosis]:
        grown_s = (self.vitals.log_ns - life.lag_since_ns) / SECOND if life.lag_since_ns else 0.0
        if grown_s < self.settings.lag_s:
            return
        read = life.position - life.lag_position
        why = (
            f"{life.lag} events behind the log and falling back for {grown_s:.0f} s, in which it read {read}; "
            f"sentinel.lag_events allows {self.settings.lag_events}"
        )
        if read < self.settings.lag_events * WORK_LEAST * grown_s / self.settings.lag_s:
            yield Diagnosis(name, "lag growing", why)
        else:  # it works as fast as it can: a restart would only throw it back further
            yield Diagnosis(name, "overloaded", why, curable=False)

    def _stale(self, name: str, life: Life) -> Iterator[Diagnosis]:
        if not life.overtaken_ns or life.overtaken_signs < STALE_SIGNS:
            return
        stale_s = (self.vitals.log_ns - life.overtaken_ns) / SECOND
        quiet_s = (self.vitals.log_ns - life.overtaken_last_ns) / SECOND
        if stale_s >= self.settings.stale_s and quiet_s < self.settings.stale_s / 2:
            allowed_s = self.settings.stale_s
            why = f"it has brought nothing for {stale_s:.0f} s, and another line has; sentinel.stale_s allows {allowed_s:g}"
            yield Diagnosis(name, "stream stale", why)

    def _last(self, name: str) -> Iterator[Diagnosis]:
        share = self.vitals.lines.get(name)
        if share is None or not share.duplicates:
            return
        last_s = (share.until_ns - share.since_ns) / SECOND
        if last_s >= self.settings.last_s:
            allowed_s = self.settings.last_s
            why = f"last with each of {share.duplicates} events for {last_s:.0f} s; sentinel.last_s allows {allowed_s:g}"
            yield Diagnosis(name, "always last", why, "info", often=False)

    def _memory(self, running: dict[str, Process]) -> list[Diagnosis]:
        out = []
        bound = self.settings.memory_bytes
        for process in running.values():
            if not self.works(process):
                continue
            life = self.vitals.lives[process.name]
            life.over_memory = life.over_memory + 1 if process.memory_bytes > bound else 0
            if life.over_memory >= MEMORY_LOOKS:
                why = f"it holds {process.memory_bytes >> 20} MiB; sentinel.memory_bytes allows {bound >> 20}"
                out.append(Diagnosis(process.name, "memory", why))
        return out

    def _watermark(self, running: dict[str, Process]) -> list[Diagnosis]:
        waiting = self.vitals.archive.waiting_ns
        recorder = running.get(RECORDER)
        if recorder is None or not waiting:
            return []
        still_s = (self.vitals.log_ns - max(waiting, recorder.since_ns)) / SECOND
        bound_s = self.segment_s + WATERMARK_GRACE * min(self.segment_s, 60.0)
        if still_s < bound_s:
            return []
        why = (
            f"the archive has ended at seq {self.vitals.archive.archived_seq} for {still_s:.0f} s, and the log has gone on to "
            f"{self.vitals.archive.durable_seq}; a cut is due after {self.segment_s:g} s, and {bound_s:g} s are allowed"
        )
        return [Diagnosis(RECORDER, "watermark still", why)]
