"""Publishing what a session learned: nothing of the venue is lost when the outbox is full."""

from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import kind_of
from tickmesh.nodes.session.requests import OrderRequests


class SessionPublisher:
    """Publishes events in order; keeps those that the outbox does not take, and lets the venue's sockets wait meanwhile."""

    def __init__(self, ctx: Context, requests: OrderRequests):
        self._ctx = ctx
        self._requests = requests
        self._count = ctx.counters
        self._kept: list[bytearray] = []

    @property
    def behind(self) -> bool:
        """Whether events wait that the outbox did not take; no order is sent meanwhile."""
        return bool(self._kept)

    def publish(self, events: list[bytearray]) -> None:
        """Publishes what is kept and then `events`, or keeps all of them; with [] it tries again."""
        if not events and not self._kept:
            return
        events = self._kept + events
        self._kept = []
        try:
            self._ctx.publish(events)
        except OutboxFull:
            self._count["outbox_full"] += 1
            self._kept = events
            for socket in self._requests.sockets:
                socket.pause()
            return
        self._count["fills"] += sum(kind_of(event) == Kind.fill for event in events)
        for socket in self._requests.sockets:
            socket.resume()

    def publish_or_drop(self, event: bytearray) -> bool:
        """Publishes one event, which is on file when this returns True; False, and nothing done, where the outbox is full."""
        try:
            self._ctx.publish([event])
        except OutboxFull:
            self._count["outbox_full"] += 1
            return False
        return True
