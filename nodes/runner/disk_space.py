"""The disk's free space as a state with alerts of its changes: one machine for the recorder and the feeds. No I/O."""

from collections.abc import Mapping
from typing import NamedTuple

from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.space import Free, Room, Space, judge, short

LEVELS = {Space.enough: "info", Space.low: "warning", Space.critical: "critical"}
KEPT = {
    Space.enough: "everything is kept",
    Space.low: "raw frames are no longer kept",
    Space.critical: "raw frames and depth are no longer kept",
}
LEFT_OUT = {
    Space.enough: "everything is said",
    Space.low: "raw frames are left out",
    Space.critical: "raw frames and depth are left out",
}


class Alert(NamedTuple):
    """Fields of an `alert` event (docs/messages.md)."""

    level: str
    what: str
    target: str
    why: str
    action: str


class DiskWatch:
    """Judges one look at the free space after the other; gives an alert when the judgement changes.

    `actions`: what is done about each state of bytes; `minds_inodes`: whether inodes are judged as well.
    """

    def __init__(self, place: str, actions: Mapping[Space, str], *, minds_inodes: bool):
        self.place, self.actions, self.minds_inodes = place, actions, minds_inodes
        self.room = Room()

    def look(self, free: Free, disk: DiskSettings) -> Alert | None:
        """The alert about a change, by the marks of `disk`; None where there is none."""
        before, room = self.room, judge(self.room, free, disk)
        self.room = room if self.minds_inodes else Room(room.bytes)
        if self.room == before:
            return None
        why = short(self.room, free, disk) or f"{free} are free again"
        return Alert(LEVELS[self.room.worst], "disk", self.place, why, self.actions[self.room.bytes])


def recorder_watch(place: str, disk: DiskSettings) -> DiskWatch:
    """The recorder's: of bytes and inodes, and says whether it prunes."""
    pruning = "exported days are pruned" if disk.prune == "exported" else "nothing is pruned (disk.prune = never)"
    short_of_bytes = {space: f"{KEPT[space]}; {pruning}" for space in (Space.low, Space.critical)}
    return DiskWatch(place, KEPT | short_of_bytes, minds_inodes=True)


def feed_watch(place: str) -> DiskWatch:
    """A feed's: of bytes alone, for leaving something out brings bytes back and never inodes."""
    return DiskWatch(place, LEFT_OUT, minds_inodes=False)
