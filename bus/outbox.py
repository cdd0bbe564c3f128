"""One producer's outbox: a log in RAM, or on disk where RAM has no room, that says where it is and when it takes no more."""

import time
from collections.abc import Sequence
from pathlib import Path

from tickmesh.bus.blocked import BlockedFile
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.operator_log import log_alert
from tickmesh.bus.outbox_room import OutboxRoom
from tickmesh.bus.segments import LogFull, used_bytes

LOOK_S = 0.5  # between two looks whether RAM has room again
AGAIN_S = 10.0  # an outbox that takes something now and then does not say each time that it took nothing


class Outbox:
    """Appends a producer's events, in the process that publishes them. Raises LogLocked, LogFull and other LogErrors.

    What becomes of it is said by alerts (`due_alert`); and while it takes nothing, when no alert can be published, in the
    operator's log and in run/blocked, which `mesh status` shows.
    """

    def __init__(self, config: Config, name: str):
        self.name = name
        self.folders = config.outbox(name)
        self.spills = 0  # how often it went on on disk
        self._bytes_max = config.log.outbox_bytes_max
        self._blocked = BlockedFile(config.run_dir, name)
        self._blocked_s = 0.0  # since when it takes nothing (monotonic); 0: it does
        self._logged_s = -AGAIN_S  # when that was said last, but for run/blocked
        self._is_logged = False
        self._room = room = OutboxRoom(config, name)
        self._log = LogWriter(self.folders, segment_bytes=room.segment_bytes, sync_ms=0, new_id=now_ns, places=room.places)
        self._seen: Path | None = None  # where its segment was at the last look
        self._in_place = True  # which is the place that it prefers
        self._looked_s = 0.0  # when RAM was looked at last, while it is on disk
        self._used = used_bytes(self.folders)

    @property
    def epoch(self) -> int:
        """Which life of the numbers this is: its log's identity."""
        return self._log.log_id

    @property
    def last(self) -> int:
        """The newest number; 0 for none."""
        return self._log.last

    def check_bound(self) -> None:
        """Raises LogFull when the outbox has reached log.outbox_bytes_max."""
        if self._used <= self._bytes_max:
            return
        self._used = used_bytes(self.folders)  # the sequencer releases what it has taken
        if self._used > self._bytes_max:
            raise self._refuse(
                f"{self.folders[0]} holds {self._used} bytes that the sequencer has not taken; "
                f"log.outbox_bytes_max allows {self._bytes_max}. Is the sequencer running?"
            )

    def append(self, first: int, events: Sequence[bytearray]) -> None:
        """Appends events numbered `first`, `first` + 1, …; all or none. Raises LogFull."""
        try:
            self._log.append(first, events)
        except LogFull as error:
            raise self._refuse(str(error)) from None
        self._used += sum(map(len, events))

    def _refuse(self, why: str) -> LogFull:
        """Says that nothing can be published, once, by ways that need no room; gives the exception."""
        if not self._blocked_s:
            self._blocked_s = time.monotonic()
            self._blocked.write(why)
            self._is_logged = self._blocked_s - self._logged_s > AGAIN_S
            if self._is_logged:
                self._logged_s = self._blocked_s
                said = self._alert("critical", f"cannot publish: {why}", "it tries again and again; what is published stays")
                log_alert(self.name, said)
        return LogFull(why)

    def due_alert(self) -> dict[str, str] | None:
        """After an append: the fields of an alert that is to be published now, if any; goes back to RAM where it can."""
        if self._blocked_s:
            lasted_s, self._blocked_s = time.monotonic() - self._blocked_s, 0.0
            self._blocked.clear()
            if not self._is_logged:
                return None
            why = f"published nothing for {lasted_s:.1f} s: its outbox took no more"
            return self._alert("warning", why, "it publishes again, and has kept what it had to publish")
        if self._log.place is self._seen and (self._in_place or not self._went_back()):
            return None
        self._seen = self._log.place
        before, self._in_place = self._in_place, self._seen == self.folders[0]
        if self._in_place == before:
            return None
        ram, disk = self.folders[0].parent, self.folders[-1]
        if self._in_place:
            return self._alert("info", f"{ram} has room again", "its outbox is in RAM again")
        self.spills += 1
        why = f"RAM has no room for its outbox: {self._log.moved_because or self._room.words()}"
        return self._alert("warning", why, f"it goes on in {disk}, and goes back by itself when there is room")

    def _went_back(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        try:
            return self._log.move()
        except LogFull:  # it goes on where it is
            return False

    def _alert(self, level: str, why: str, action: str) -> dict[str, str]:
        return {"level": level, "what": "outbox", "target": self.name, "why": why, "action": action}

    def close(self) -> None:
        """Closes the files; who closes an outbox is not blocked by it any more."""
        self._log.close()
        self._blocked.clear()
        self._blocked.close()
