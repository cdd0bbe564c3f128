"""What a person commands, into the log: published as the producer `operator`, for the moment that it takes.

An outbox has one writer, so two commands at a time wait for one another. What is published is in the outbox's file: it is taken
in even if this program is killed, or the sequencer is away for a while. Commands of the terminal and of the gateway come this
way.
"""

import contextlib
import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from tickmesh.bus import clock
from tickmesh.bus.config import Config
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import KILL_SWITCH_FILE, OPERATOR
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.sockets import OutboxFull, Producer
from tickmesh.bus.space import refusal
from tickmesh.bus.wire import encode
from tickmesh.nodes.orders.commands import Command, KillSwitch, content_of
from tickmesh.nodes.sentinel.kill_switch import CANCELLER
from tickmesh.nodes.supervision.presence import processes_of

LOCK_S = 10.0  # for another command to end
LOGGED_S = 10.0  # for the sequencer to take it; it does in milliseconds
EMERGENCY_LOGGED_S = 3.0  # the kill switch does not wait longer for a sequencer
AWAY_S = 1.0  # a sequencer that is started anew is back within this
LOOK_S = 0.05


class CommandFailure(Exception):
    """A command that is not in the log, or a kill switch that could not be set: a sentence says why, and what to do."""


class SwitchedKill(NamedTuple):
    """What throwing or lifting the kill switch did.

    `seq`: of its command, None where the log does not take it, and `not_logged` says why. `emergency`: what the process that
    cancels at the venue said, where no sentinel lives to start it.
    """

    seq: int | None
    command: KillSwitch
    not_logged: str = ""
    emergency: dict[str, Any] | None = None


def publish_command(config: Config, command: Command, logged_s: float = LOGGED_S) -> int:
    """Publishes a command and waits until it is in the log; gives its seq. Raises CommandFailure with why it is not there."""
    path = config.run_dir / "operator.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
    except OSError as error:
        raise CommandFailure(f"{path} cannot be written: {refusal(error, path)}") from None
    with lock:
        deadline = time.monotonic() + LOCK_S
        while not lock.try_acquire():
            if time.monotonic() > deadline:
                raise CommandFailure(f"another command has been at work for {LOCK_S:g} s; nothing was done. Try again")
            time.sleep(LOOK_S)
        try:
            return _published(config, command, logged_s)
        except (LogError, OutboxFull) as error:
            raise CommandFailure(f"the command could not be published: {error}") from None


def switch_kill(config: Config, on: bool, why: str) -> SwitchedKill:
    """Throws or lifts the kill switch: by its file and by a command.

    To throw it no log is needed: the sentinels act on the file, and where none lives this cancels what is open at the venue
    itself. Raises CommandFailure where neither file nor log can be written, and for a switch that cannot be lifted.
    """
    path = config.run_dir / KILL_SWITCH_FILE
    try:
        if on:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{why}\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailure(f"{path} cannot be {'written' if on else 'removed'}: {error.strerror}") from None
    command = KillSwitch(on, OPERATOR, why)
    try:
        return SwitchedKill(publish_command(config, command, EMERGENCY_LOGGED_S), command)
    except CommandFailure as failure:
        if not on:
            raise
        emergency = None if "sentinel" in _nodes_living(config) else _cancel(config)
        return SwitchedKill(None, command, str(failure), emergency)


def _cancel(config: Config) -> dict[str, Any]:
    """Cancels what is open at the venue, as a sentinel would have it done; gives what that says."""
    done = subprocess.run([sys.executable, "-m", CANCELLER], cwd=config.root, stdout=subprocess.PIPE, check=False)
    outcome: dict[str, Any] = json.loads(done.stdout or b'{"left": -1, "cancelled": 0, "why": "it died"}')
    return outcome


def _published(config: Config, command: Command, logged_s: float) -> int:
    clock.follow(config.log_dir)
    after = LogReader(config.log_dir).last
    with contextlib.closing(Producer(config, OPERATOR)) as producer:
        producer.publish([encode(Kind.command, OPERATOR, content_of(command))])
        epoch, number = producer.epoch, producer.number
        deadline = time.monotonic() + logged_s
        while True:
            for event in LogReader(config.log_dir).events(after):
                if event.producer == OPERATOR and (event.epoch, event.number) == (epoch, number):
                    return event.seq
                after = event.seq
            now_s = time.monotonic()
            if now_s > deadline or (now_s > deadline - logged_s + AWAY_S and "sequencer" not in _nodes_living(config)):
                raise CommandFailure(
                    f"the command is in the outbox, and {_why_not(config)}; it holds as soon as it is in the log"
                )
            time.sleep(LOOK_S)


def _nodes_living(config: Config) -> set[str]:
    """The nodes of which a process of this folder's mesh lives."""
    return {words[0] for words in processes_of(config.root).values() if words}


def _why_not(config: Config) -> str:
    if "sequencer" not in _nodes_living(config):
        return "no sequencer runs that could take it into the log: `mesh up` starts it"
    return "the sequencer has not taken it yet: see run/logs/sequencer.log"
