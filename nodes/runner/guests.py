"""What the sequencer and the nodes in its process know of one another: `OpenLog` they use, and `Guests` it uses."""

from collections.abc import Callable
from typing import Protocol


class OpenLog(Protocol):
    """The log as the process that writes it has it."""

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
        """Logs what a producer of this process says: stamped events, the last of them its `number`. Calls what is attached.

        False: the log takes no more, and nothing of it was logged.
        """


class Guests(Protocol):
    """The nodes that the sequencer hosts."""

    def start(self, log: OpenLog) -> None:
        """All that their outboxes hold is in the log: they live in this process from now on."""

    async def end(self) -> None:
        """When it returns they say nothing more; may be called again."""
