"""What a person commands, into the log: published as the producer `operator`, for the moment that it takes.

An outbox has one writer, so two commands at a time wait for one another. What is published is in the outbox's file: it is taken
in even if this program is killed, or the sequencer is away for a while.
"""

import contextlib
import time

from tickmesh.bus import clock
from tickmesh.bus.config import Config
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import OPERATOR
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.sockets import OutboxFull, Producer
from tickmesh.bus.space import refusal
from tickmesh.bus.wire import encode
from tickmesh.nodes.orders.commands import Command, content_of
from tickmesh.tools.running import living
from tickmesh.tools.terminal import Failure

LOCK_S = 10.0  # for another command to end
LOGGED_S = 10.0  # for the sequencer to take it; it does in milliseconds
AWAY_S = 1.0  # a sequencer that is started anew is back within this
LOOK_S = 0.05


def publish_command(config: Config, command: Command, logged_s: float = LOGGED_S) -> int:
    """Publishes a command and waits until it is in the log; gives its seq. Raises Failure with why it is not there."""
    path = config.run_dir / "operator.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {refusal(error, path)}") from None
    with lock:
        deadline = time.monotonic() + LOCK_S
        while not lock.try_acquire():
            if time.monotonic() > deadline:
                raise Failure(f"another command has been at work for {LOCK_S:g} s; nothing was done. Try again")
            time.sleep(LOOK_S)
        try:
            return _published(config, command, logged_s)
        except (LogError, OutboxFull) as error:
            raise Failure(f"the command could not be published: {error}") from None


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
            if now_s > deadline or (now_s > deadline - logged_s + AWAY_S and "sequencer" not in living(config.root)):
                raise Failure(f"the command is in the outbox, and {_why_not(config)}; it holds as soon as it is in the log")
            time.sleep(LOOK_S)


def _why_not(config: Config) -> str:
    if "sequencer" not in living(config.root):
        return "no sequencer runs that could take it into the log: `mesh up` starts it"
    return "the sequencer has not taken it yet: see run/logs/sequencer.log"
