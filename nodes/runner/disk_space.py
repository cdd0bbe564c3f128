"""What is said of the disk's free space, and when: a state and its changes, no I/O."""

from typing import NamedTuple

from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.space import Free, Room, Space, judge, short

LEVELS = {Space.enough: "info", Space.low: "warning", Space.critical: "critical"}
KEPT = {
    Space.enough: "everything is kept",
    Space.low: "raw frames are no longer kept",
    Space.critical: "raw frames and depth are no longer kept",
}


class Alert(NamedTuple):
    """Fields of an `alert` event (docs/messages.md)."""

    level: str
    what: str
    target: str
    why: str
    action: str


class DiskWatch:
    """Judges one look after the other; a state is told when it begins and when it ends."""

    def __init__(self, disk: DiskSettings, place: str):
        self.disk, self.place = disk, place
        self.room = Room()

    def look(self, free: Free) -> Alert | None:
        """What is to be said of a change; None where there is none."""
        before, self.room = self.room, judge(self.room, free, self.disk)
        if self.room == before:
            return None
        if self.room.worst is Space.enough:
            return Alert("info", "disk", self.place, f"{free} are free again", KEPT[Space.enough])
        pruning = ""
        if self.room.bytes:
            pruned = self.disk.prune == "exported"
            pruning = "; exported days are pruned" if pruned else "; nothing is pruned (disk.prune = never)"
        why = short(self.room, free, self.disk)
        return Alert(LEVELS[self.room.worst], "disk", self.place, why, KEPT[self.room.bytes] + pruning)
