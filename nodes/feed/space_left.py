"""What a line leaves out for want of space on the disk, and when that changes."""

from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.space import Free, Room, Space, judge, short
from tickmesh.nodes.runner.disk_space import Alert

LEVELS = ("info", "warning", "critical")  # by Space, as what is left out
LEFT_OUT = ("everything is said", "raw frames are left out", "raw frames and depth are left out")


class SpaceLeft:
    """Judges one look after the other."""

    def __init__(self, place: str):
        self.place = place
        self.room = Room()

    @property
    def space(self) -> Space:
        """Of bytes alone: what is left out brings them back, never inodes; those are the recorder's to tell."""
        return self.room.bytes

    def look(self, free: Free, disk: DiskSettings) -> Alert | None:
        """What is to be said of a change; None where there is none."""
        before, self.room = self.room, judge(self.room, free, disk)
        if self.space == before.bytes:
            return None
        why = short(Room(self.space), free, disk) or f"{free} are free again"
        return Alert(LEVELS[self.space], "disk", self.place, why, LEFT_OUT[self.space])
