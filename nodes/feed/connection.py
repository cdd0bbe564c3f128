"""One connection of a line, with what is to be sent on it and when it is to be replaced."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.feed.pacing import PacedSender
from tickmesh.nodes.feed.streams import Key, Source
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.websocket import Connection


class NextTry:
    """When the next try for one instrument may be made: from `not_before_s` on; `backoff` has the wait after it."""

    def __init__(self, backoff_s: tuple[float, float], not_before_s: float = 0.0):
        self.backoff = Backoff(backoff_s)
        self.not_before_s = not_before_s  # monotonic


class LineConnection:
    """A websocket of a line, with what the line knows of it. `stale`: streams that are silent on the one that it replaces.

    `websocket`: None while it is being opened. `source`: what it has brought; None until the first message or the end of the
    handshake. `flowed`: it was noticed, at `flowed_at_s`, that the venue sends. `shutdown_noted`: likewise, that it will close.
    `renew_at_s`: when a planned renewal replaces it. Times are monotonic.
    """

    def __init__(self, stale: Iterable[Key]):
        self.stale = frozenset(stale)
        self.source: Source | None = None
        self.websocket: Connection | None = None
        self.sender: PacedSender | None = None
        self.renew_at_s = 0.0
        self.flowed = False
        self.flowed_at_s = 0.0
        self.shutdown_noted = False
        self.resubscriptions: dict[str, NextTry] = {}  # by subject, of books that wait for a snapshot on the stream
        self._sending: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether the websocket has ended."""
        return self.websocket is not None and self.websocket.closed.done()

    @property
    def closed(self) -> asyncio.Future[str]:
        """Becomes the reason, a sentence, when the websocket ends."""
        assert self.websocket is not None
        return self.websocket.closed

    def start_sending(self, sender: PacedSender, own: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        """From now on `send` sends by `sender`, which `own` runs as a task whose faults it sees."""
        self.sender = sender
        self._sending = own(sender.run())

    def send(self, texts: Iterable[str]) -> None:
        """Queues text messages to be sent at the venue's pace."""
        assert self.sender is not None
        self.sender.send(texts)

    def stop_sending(self) -> None:
        """Drops what is queued: no further message is sent on this connection."""
        if self._sending is not None:
            self._sending.cancel()

    def expect_books(self, instruments: Iterable[Instrument], backoff_s: tuple[float, float], not_before_s: float) -> None:
        """Takes notice that the subscription brings these books: they are subscribed anew from `not_before_s` on only."""
        self.resubscriptions |= {instrument.subject: NextTry(backoff_s, not_before_s) for instrument in instruments}

    def pause(self) -> None:
        """Reads no more from the socket until `resume`."""
        if self.websocket is not None:
            self.websocket.pause()

    def resume(self) -> None:
        """Reads from the socket again."""
        if self.websocket is not None:
            self.websocket.resume()
