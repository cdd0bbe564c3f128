"""Follows the log's file at its own pace: for nodes that nobody waits for, which need not be woken by every event."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator

from tickmesh.bus.config import Config
from tickmesh.bus.log import Tail, events_of
from tickmesh.bus.segments import read_durable_mark
from tickmesh.bus.wire import Event

READ_BYTES = 1 << 20


class LogFollower:
    """Gives every event of some kinds with seq > `after`, once and in order, from the log's file alone.

    `seq`: everything of these kinds up to here has been handed out. `head`: up to here it was due at the last read, at least.
    `durable_seq` and `log_id` are of one moment after it. `is_behind`: there is more than was read at once.
    """

    def __init__(self, config: Config, kinds: Collection[int], after: int = 0):
        self._folder = config.log_dir
        self._kinds = frozenset(int(kind) for kind in kinds)
        self._tail = Tail(config.log_dir, after)
        self.seq = self.head = after
        self.durable_seq = self.log_id = 0
        self.is_behind = False

    def read(self) -> list[Event]:
        """Gives the next events, of about 1 MiB of the log at most; [] where it has no more of these kinds now.

        Raises LogReleased, LogCorrupt.
        """
        out: list[Event] = []
        self.is_behind = False
        while not out and (batches := self._tail.read(READ_BYTES)):
            for batch in batches:
                out += events_of(batch, self._kinds, self.seq)
                self.seq = max(self.seq, batch.last)
            self.is_behind = sum(len(batch.body) for batch in batches) > READ_BYTES // 2
        mark = read_durable_mark(self._folder)  # after the events: a log that begins anew is marked before anything is in it
        if mark.log_id:
            self.durable_seq, self.log_id = mark
        self.head = max(self.seq, self.durable_seq)
        return out

    def backlog(self) -> Iterator[list[Event]]:
        """Gives everything of these kinds that is in the log now, in order."""
        while events := self.read():
            yield events

    def close(self) -> None:
        """Closes the log's file."""
        self._tail.close()


class UnhurriedSubscription:
    """An `EventSubscription` of a node that nobody waits for: it reads the log every `every_s`, and hears no ring.

    However many events come, it is woken so often; an event is given out at most `every_s` after it was logged, and what the
    node needs at once it reads with `backlog()`, at any time. `every_s` may be changed; `wake()` lets it read at once.
    """

    catch_ups = caught_up = 0  # it misses nothing: there is nothing that it hears

    def __init__(self, follower: LogFollower, stop: asyncio.Event, every_s: float):
        self._follower = follower
        self._stop = stop
        self._woken = asyncio.Event()
        self._asked: float | None = None  # when it last read for the node (monotonic seconds); None: the node waits
        self.every_s = every_s

    @property
    def seq(self) -> int:
        """All events of these kinds up to this seq have been given out."""
        return self._follower.seq

    @property
    def durable_seq(self) -> int:
        """The log was on disk up to this seq when it was last read."""
        return self._follower.durable_seq

    @property
    def log_id(self) -> int:
        """The log's identity then; 0 before the first read."""
        return self._follower.log_id

    @property
    def lag(self) -> int:
        """How many events of the log there were at the last read that have not been given out; 0 if none."""
        return max(self._follower.head - self._follower.seq, 0)

    @property
    def deaf_s(self) -> float:
        """For how long the node has been busy with what it was given."""
        return time.monotonic() - self._asked if self._asked is not None else 0.0

    def backlog(self) -> Iterable[list[Event]]:
        """What is in the log now and has not been given out; `async for` goes on from there."""
        return self._follower.backlog()

    def wake(self) -> None:
        """Has the log read at once, if it is waited for the next time."""
        self._woken.set()

    async def follow(self, handle: Callable[[list[Event]], None]) -> None:
        """Calls `handle` with each list of events as it is read."""
        async for events in self:
            handle(events)

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        loop = asyncio.get_running_loop()
        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(lambda _: self._woken.set())
        try:
            while not self._stop.is_set():
                self._asked = time.monotonic()
                self._woken.clear()
                if events := self._follower.read():
                    yield events
                if self._follower.is_behind:
                    await asyncio.sleep(0)  # while more and more comes, the heartbeat has its turn as well
                    continue
                self._asked = None
                timer = loop.call_later(self.every_s, self._woken.set)
                await self._woken.wait()
                timer.cancel()
        finally:
            self._asked = None
            stopped.cancel()
            self._follower.close()
