"""The seam between the sequencer and the nodes it hosts: `OpenLog`, which they use, and `Guests`, which it uses."""

from collections.abc import Callable, Collection
from typing import Protocol


class OpenLog(Protocol):
    """The log in the process that writes it: where it ends, and how a hosted node appends to it."""

    @property
    def last(self) -> int:
        """The seq of the newest event."""

    @property
    def durable(self) -> int:
        """All up to this seq is on the disk."""

    @property
    def log_id(self) -> int: ...

    def attach(self, logged: Callable[[list[bytearray]], None], appended: Callable[[], None]) -> None:
        """From now on `logged(batch)` is called for every batch that is in the log, and `appended()` when an append is over."""

    def log_for(self, producer: str, epoch: int, number: int, events: list[bytearray]) -> bool:
        """Logs the stamped events of a producer of this process, the last of them its `number`. Calls what is attached.

        False: the log takes no more, and nothing of it was logged.
        """

    def arbitrate_for(self, producer: str, epoch: int, first: int, events: list[bytearray]) -> bool:
        """Arbitrates the stamped events of a line of this process, numbered from `first`, as if they had come over a socket:
        what goes into the log of it is logged, and `attached` called; what has to wait for others waits.

        False: the log takes no more, and nothing of it was taken. Events that were taken when the disk became full wait for
        room in this process alone, as what a line holds up does.
        """


class Guests(Protocol):
    """The nodes that the sequencer hosts. `outboxes`: names under which their own processes may have left one."""

    @property
    def outboxes(self) -> Collection[str]: ...

    def start(self, log: OpenLog) -> None:
        """Starts them in this process. All that their outboxes hold has to be in the log before."""

    async def end(self) -> None:
        """Returns when they have ended and publish nothing more; may be called again."""
