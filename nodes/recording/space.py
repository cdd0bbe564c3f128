"""What is said of the disk's free space, and when: a state and its changes, no I/O."""

from enum import IntEnum
from typing import NamedTuple

from bus.config import Disk


class Space(IntEnum):
    """How much room there is; the marks are `disk.low_bytes` and `disk.critical_bytes`."""

    enough = 0
    low = 1
    critical = 2


LEVELS = {Space.enough: "info", Space.low: "warning", Space.critical: "critical"}


class Alert(NamedTuple):
    """Fields of an `alert` event (docs/messages.md)."""

    level: str
    what: str
    target: str
    why: str
    action: str


class Watch:
    """Judges one look after the other; a state is told when it begins and when it ends."""

    def __init__(self, disk: Disk, place: str):
        self.disk, self.place = disk, place
        self.space = Space.enough

    def look(self, free: int) -> Alert | None:
        """`free`: bytes. A state is left upwards only with a twentieth of room above its mark, so that it does not flap."""
        marks = {Space.low: self.disk.low_bytes, Space.critical: self.disk.critical_bytes}
        now = Space.enough
        for space, mark in marks.items():
            if free < mark + (mark // 20 if self.space >= space else 0):
                now = space
        if now == self.space:
            return None
        self.space = now
        mark = marks.get(now, self.disk.low_bytes)
        if now is Space.enough:
            return Alert("info", "disk", self.place, f"{free} bytes are free again", "everything is kept")
        kept = {Space.low: "raw frames are no longer kept", Space.critical: "raw frames and depth are no longer kept"}[now]
        pruning = "exported days are pruned" if self.disk.prune == "exported" else "nothing is pruned (disk.prune = never)"
        return Alert(LEVELS[now], "disk", self.place, f"{free} bytes are free, less than {mark}", f"{kept}; {pruning}")
