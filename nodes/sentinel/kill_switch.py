"""What the sentinel that acts does for the kill switch: the file becomes a command, a loss becomes the file, and orders that
nobody else cancels it has cancelled by a process of its own (nodes/session/emergency.py)."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tickmesh.bus import clock
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.orders.commands import KillSwitch, content_of, read_command
from tickmesh.nodes.sentinel.kill_watch import KillWatch
from tickmesh.nodes.sentinel.latch import Latch, watched
from tickmesh.nodes.sentinel.restarts import SentinelAlert
from tickmesh.nodes.sentinel.vitals import Vitals

CANCELLER = "tickmesh.nodes.session.emergency"
WHAT = "emergency cancel"
TARGET = "session"


class KillSwitchKeeper:
    """Keeps the kill switch of one mesh: `take` events of the log, `look` every round; `end` with the sentinel.

    `raise_alert` publishes an alert, and logs its line.
    """

    def __init__(self, ctx: Context, vitals: Vitals, raise_alert: Callable[[SentinelAlert], None]):
        risk = ctx.config.risk
        self._ctx = ctx
        self._vitals = vitals
        self._raise_alert = raise_alert
        self._path = ctx.config.run_dir / KILL_SWITCH_FILE
        self._watch = KillWatch(risk.session_patience_ms * 1_000_000)
        self._latch = Latch(risk.lost_latch_s, risk.lost_pause_s, watched(ctx.config))
        self._patience_ms = risk.session_patience_ms
        self._latched = ""  # why this one has thrown the switch; in memory too, for a disk that takes no file
        self._process: subprocess.Popen[bytes] | None = None
        self._alerted = 0  # the episode of which an alert was raised, by its beginning
        ctx.counters.setdefault("emergency_cancels", 0)

    def take(self, event: Event) -> None:
        """Takes in an event of the log."""
        self._watch.read_time(event.seq_ns)
        if event.kind == Kind.health and event.producer == "executor":
            self._watch.read_health(event.map(), event.seq_ns)
        elif event.kind == Kind.command:
            with contextlib.suppress(ValueError):
                command = read_command(event.map())
                if isinstance(command, KillSwitch):
                    self._watch.read_command(command.on, event.seq_ns)
                    self._latched = self._latched if command.on else ""

    def look(self, log_end: object, meant_down: Collection[str] = ()) -> None:
        """Does what is due. `log_end`: differs when the log's file has grown; `meant_down`: whom an operator has stopped."""
        if self._ctx.config.mode == "capture":
            return
        now_ns = clock.now_ns()
        if why := self._latch.look(now_ns, (self._vitals.last_seq, log_end), self._signs(), self._vitals.log_ns, meant_down):
            self.throw(why)
        is_there = self._path.exists() or bool(self._latched)
        if self._watch.publishes(is_there, now_ns):
            self._publish()
        self._reap()
        if self._watch.cancels(is_there, now_ns) and self._process is None:
            self._start()
        elif not self._watch.since_ns and self._process is not None:
            log_line(self._ctx.name, "warning", "the kill switch is lifted: the emergency cancel that is at work ends")
            self.end()

    def throw(self, why: str) -> None:
        """Throws the switch by its file, once; a loss that has been lifted by a person and goes on throws it again."""
        if self._path.exists() or self._latched:
            return
        self._latched = why
        action = "every order is cancelled; when the cause is gone, `mesh kill-switch off` lifts it"
        self._raise_alert({"level": "critical", "what": "latched", "target": "kill switch", "why": why, "action": action})
        try:
            self._path.write_text(f"{why}\n")
        except OSError as error:
            log_line(self._ctx.name, "critical", f"{self._path} cannot be written: {error.strerror}; it is remembered")

    def end(self) -> None:
        """Ends an emergency cancel that is at work: whoever acts next begins another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _signs(self) -> Mapping[str, int]:
        return {name: max(life.sign_ns, self._vitals.resumed_ns) for name, life in self._vitals.lives.items()}

    def _publish(self) -> None:
        why = self._latched or _first_line(self._path.read_text(errors="replace") if self._path.exists() else "")
        why = why or f"{self._path.name} is there, in the run folder"
        log_line(self._ctx.name, "warning", f"{self._path} is there: the kill switch is on")
        with contextlib.suppress(OutboxFull):
            content = content_of(KillSwitch(True, self._ctx.name, why))
            self._ctx.publish([encode(Kind.command, self._ctx.name, content)])

    def _start(self) -> None:
        if self._alerted != self._watch.since_ns:
            why = f"the kill switch has been on for {self._patience_ms} ms, and nobody says that no order is open"
            self._alert("critical", why, "orders of this mesh are cancelled at the venue by a connection of its own")
        self._ctx.counters["emergency_cancels"] += 1
        root = self._ctx.config.root
        self._process = subprocess.Popen(
            [sys.executable, "-m", CANCELLER], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    def _reap(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        said, _ = self._process.communicate()
        self._process = None
        outcome: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            outcome = json.loads(said)
        cancelled, left = int(outcome.get("cancelled", 0)), int(outcome.get("left", -1))
        first, self._alerted = self._alerted != self._watch.since_ns, self._watch.since_ns
        if left:
            still = f"{left} are still open" if left > 0 else "what is open is not known"
            why = f"{cancelled} orders were cancelled at the venue, and {still}: {outcome.get('why') or 'it died'}"
            self._alert("critical", why, "it is tried again; cancel by hand at the venue")
        elif first or cancelled:
            why = f"the venue shows no order of this mesh open; {cancelled} were cancelled"
            self._alert("info", why, "the session reports them when it reconciles")

    def _alert(self, level: str, why: str, action: str) -> None:
        self._raise_alert({"level": level, "what": WHAT, "target": TARGET, "why": why, "action": action})


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()
