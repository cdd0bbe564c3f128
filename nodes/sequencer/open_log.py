"""The log as nodes in the sequencer's process use it: `OpenLog` of nodes/runner/guests.py, over the sequencer."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tickmesh.bus.intake import Cursor, Received
from tickmesh.nodes.sequencer.cursors import LogPosition


class LogEnd(Protocol):
    """Where a log ends (bus/log_writer.py)."""

    last: int
    durable: int
    log_id: int


class OpenSequencer(Protocol):
    """What is used here of the sequencer (node.py). `waiting`: batches that a full disk does not take."""

    position: LogPosition
    waiting: deque[list[bytearray]]
    closed: bool
    logged: list[Callable[[list[bytearray]], None]]
    appended: list[Callable[[], None]]

    @property
    def log(self) -> LogEnd: ...

    def append(self, out: list[bytearray]) -> None: ...

    def sequence(self, taken: list[Received]) -> None: ...


class SequencerLog:
    """What guests append goes past outbox, socket and intake; their cursors move as if it had not."""

    def __init__(self, sequencer: OpenSequencer):
        self._sequencer = sequencer

    @property
    def last(self) -> int:
        """The seq of the newest event in the log."""
        return self._sequencer.log.last

    @property
    def durable(self) -> int:
        """The seq up to which the log is on disk."""
        return self._sequencer.log.durable

    @property
    def log_id(self) -> int:
        """The log's present identity."""
        return self._sequencer.log.log_id

    def attach(self, logged: Callable[[list[bytearray]], None], appended: Callable[[], None]) -> None:
        """Registers a host's callbacks: `logged` gets every batch, `appended` is called after it (see OpenLog)."""
        self._sequencer.logged.append(logged)
        self._sequencer.appended.append(appended)

    def log_for(self, producer: str, epoch: int, number: int, events: list[bytearray]) -> bool:
        """Logs events of a hosted producer, past its outbox; False where they have to wait (see OpenLog)."""
        sequencer = self._sequencer
        if sequencer.waiting or sequencer.closed:
            return False
        cursor = self._cursor(producer)
        before, at = (cursor.epoch, cursor.number), sequencer.log.last
        cursor.epoch, cursor.number = epoch, number
        sequencer.append(events)
        if sequencer.waiting and sequencer.log.last == at:
            sequencer.waiting.clear()  # only these: it was empty before
            cursor.epoch, cursor.number = before
            return False
        return True

    def arbitrate_for(self, producer: str, epoch: int, first: int, events: list[bytearray]) -> bool:
        """Arbitrates and logs events of a hosted line; False where none of them was taken (see OpenLog)."""
        sequencer = self._sequencer
        if sequencer.waiting or sequencer.closed:
            return False
        cursor = self._cursor(producer)
        cursor.epoch, cursor.number = epoch, first + len(events) - 1
        sequencer.sequence([Received(producer, epoch, first + at, event) for at, event in enumerate(events)])
        return True

    def _cursor(self, producer: str) -> Cursor:
        cursors = self._sequencer.position.cursors
        known = cursors.get(producer)
        if known is None:
            known = cursors[producer] = Cursor()
        return known
