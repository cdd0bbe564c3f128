"""How a line publishes: in order and without loss, also while its outbox is full; then its sockets are not read."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from tickmesh.bus.operator_log import log_alert, log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import encode

FULL_LOOK_S = 0.02  # between two tries to publish what the full outbox did not take


class LinePublisher:
    """Publishes the events of one line; keeps in `waiting` those that a full outbox did not take, and tries again.

    `pause` is called when the outbox is full, so that at most what one read of each socket brought waits; `resume` when all
    that waited is published.
    """

    def __init__(self, ctx: Context, pause: Callable[[], None], resume: Callable[[], None]):
        self.ctx = ctx
        self.waiting: list[bytearray] = []
        self._pause = pause
        self._resume = resume
        self._full = False  # its log has it

    def publish(self, events: list[bytearray]) -> None:
        """Publishes the events, or keeps them until the outbox has room; raises nothing for a full one."""
        if self.waiting:
            self.waiting += events
            return
        try:
            self.ctx.publish(events)
            self.ctx.counters["events"] += len(events)
        except OutboxFull:
            if not self._full:
                log_line(
                    self.ctx.name, "warning", f"its outbox is full: {len(events)} events wait, and its sockets are not read"
                )
            self._full = True
            self.ctx.counters["outbox_full"] += 1
            self.waiting += events
            self._pause()
            asyncio.get_running_loop().call_later(FULL_LOOK_S, self._publish_again)

    def _publish_again(self) -> None:
        events, self.waiting = self.waiting, []
        self.publish(events)
        if not self.waiting:
            log_line(self.ctx.name, "info", "its outbox has room again: its sockets are read on")
            self._full = False
            self._resume()

    def refuse(self, refused: Iterable[tuple[str, bytes]]) -> None:
        """Publishes a refusal for each (reason, bytes that were not understood)."""
        for why, raw in refused:
            self.ctx.counters["refused_frames"] += 1
            self.ctx.refuse(self.ctx.name, why, raw)

    def raise_alert(self, level: str, what: str, target: str, why: str, action: str) -> None:
        """Publishes an alert of this line, and writes its line to the operator's log."""
        content = {"level": level, "what": what, "target": target, "why": why, "action": action}
        log_alert(self.ctx.name, content)
        self.publish([encode(Kind.alert, self.ctx.name, content)])

    def publish_last(self) -> None:
        """At the end of the process: tries once more to publish what waits."""
        if self.waiting:
            with contextlib.suppress(OutboxFull):
                self.ctx.publish(self.waiting)
