"""One connection of a line, with what is said on it and when it is to be replaced."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.feed.pacing import Conversation
from tickmesh.nodes.feed.streams import Key, Source
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.websocket import Connection


class Patience:
    """When the next try for one instrument may be made."""

    def __init__(self, backoff_s: tuple[float, float], not_before: float = 0.0):
        self.backoff = Backoff(backoff_s)
        self.not_before = not_before  # monotonic seconds


class LineConnection:
    """`source`: None until the first frame or the end of the handshake. `at_once`: streams for which it is made.

    `due_s`: monotonic time at which it is to be replaced. `flowed`, `warned`: what has been seen to, the first at `flowed_s`.
    """

    def __init__(self, at_once: Iterable[Key]):
        self.at_once = frozenset(at_once)
        self.source: Source | None = None
        self.connection: Connection | None = None
        self.conversation: Conversation | None = None
        self.due_s = 0.0
        self.flowed = False
        self.flowed_s = 0.0
        self.warned = False
        self.patience: dict[str, Patience] = {}  # with books that wait for a snapshot on the stream
        self._talk: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        return self.connection is not None and self.connection.closed.done()

    @property
    def closed(self) -> asyncio.Future[str]:
        assert self.connection is not None
        return self.connection.closed

    def talk(self, conversation: Conversation, own: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        """`own` runs it, and sees what it raises."""
        self.conversation = conversation
        self._talk = own(conversation.run())

    def send(self, texts: Iterable[str]) -> None:
        """At the venue's pace."""
        assert self.conversation is not None
        self.conversation.send(texts)

    def stop_sending(self) -> None:
        """Ends the conversation: no further subscription is sent on this connection."""
        if self._talk is not None:
            self._talk.cancel()

    def expect_books(self, instruments: Iterable[Instrument], backoff_s: tuple[float, float], not_before: float) -> None:
        """The subscription itself brings them; only from `not_before` on they are asked for again."""
        self.patience = {instrument.subject: Patience(backoff_s, not_before) for instrument in instruments}

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume()
