"""What the sentinels do while supervisord is there and does not answer: say so, and stand in for it.

A process that dies meanwhile is started by the sentinel that acts, as its own child. That is safe because there is one of each:
whoever comes second, this one or supervisord's, does not get the lock of its outbox and ends. When supervisord answers again,
the sentinel ends what it has started, and supervisord brings back its own. They die with the sentinel, too.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.sentinel.restarts import SentinelAlert
from tickmesh.nodes.supervision.presence import processes_of

SILENT_S = 5.0  # it answers in milliseconds; a machine that does much else needs longer
AGAIN_S = 1.0  # between two starts of one process, as supervisord does it
END_S = 15.0  # a stand-in that has not ended so long after SIGTERM is killed
TARGET, WHAT = "supervisord", "supervisord silent"


class Silence:
    """Since when supervisord has not answered; times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._raised = False

    @property
    def lasts(self) -> bool:
        """Whether it has lasted long enough to be told of, and to be stood in for."""
        return self._raised

    def failed(self, why: str, began: float, now: float) -> SentinelAlert | None:
        """Takes a question, asked at `began`, that was not answered, `why`: a sentence; gives the alert to raise, once."""
        if self._since is None:
            self._since = began
        if self._raised or now - self._since < SILENT_S:
            return None
        self._raised = True
        action = "what dies meanwhile is started by this sentinel; `mesh status` says how to go on"
        return {"level": "critical", "what": WHAT, "target": TARGET, "why": why, "action": action}

    def answered(self, now: float) -> SentinelAlert | None:
        """Takes an answer; gives the alert that the silence is over, where it was told of."""
        since, raised, self._since, self._raised = self._since, self._raised, None, False
        if since is None or not raised:
            return None
        why = f"it answers again after {now - since:.0f} s"
        return {"level": "info", "what": WHAT, "target": TARGET, "why": why, "action": "it goes on"}


class StandInProcesses:
    """The processes that a sentinel runs in supervisord's place, by name."""

    def __init__(self, root: Path, sentinel: str):
        self._root, self._sentinel = root, sentinel
        self._started: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}

    def start_missing(self, commands: dict[str, str], now: float) -> list[str]:
        """Starts what of these (name → command) has no living process; gives their names."""
        living = {"-".join(words) for words in processes_of(self._root).values()}
        started = []
        for name, command in commands.items():
            before, process = self._started.get(name, (0.0, None))
            if name in living or (process is not None and (process.poll() is None or now - before < AGAIN_S)):
                continue
            self._started[name] = now, self._start(name, command)
            started.append(name)
        return started

    def _start(self, name: str, command: str) -> "subprocess.Popen[bytes]":
        log_line(self._sentinel, "warning", f"starts {name} in supervisord's place, which does not answer")
        with open(self._root / "run" / "logs" / f"{name}.log", "ab") as log:
            return subprocess.Popen(command.split(), cwd=self._root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def end(self) -> None:
        """Ends all of them."""
        living = [(name, process) for name, (_, process) in self._started.items() if process.poll() is None]
        for _, process in living:
            process.terminate()
        for name, process in living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, END_S)
            if process.poll() is None:
                process.kill()
            log_line(self._sentinel, "info", f"ended {name}, which supervisord brings back now")
        self._started.clear()


def commands_of(rows: Iterable[dict[str, object]], running: Iterable[str]) -> dict[str, str]:
    """Name → command of those of supervisord's table (`getTable`) that ran when it answered last."""
    wanted = set(running)
    return {str(row["name"]): str(row["command"]) for row in rows if row["name"] in wanted}
