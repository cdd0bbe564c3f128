"""Ids for a stream to which its venue gives none."""


class RisingIds:
    """A counter of ids that rise within a line: the receive time in µs, but always above the last one.

    They mean nothing on another line. They go on rising after a restart, without anything being remembered: receive times are
    of the mesh's time, which does not go back when the wall clock does (bus/clock.py).
    """

    def __init__(self) -> None:
        self.last = 0

    def take(self, recv_ns: int, count: int = 1) -> int:
        """Gives the first of `count` new ids in a row for something received at `recv_ns`."""
        first = max(self.last + 1, recv_ns // 1000)
        self.last = first + count - 1
        return first
