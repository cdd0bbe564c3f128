"""Files that grow while they are read, as they all were at one moment: as a SIGKILL of everything would have left them.

Every file is opened and its size taken, then all are looked at once more. Where nothing is another one the second time, all
sizes held between the two looks, for these files only grow, or are replaced under their name. What is written later is cut off.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tickmesh.tools.terminal import Failure

TRIES = 20_000  # a look takes some microseconds a file; a local exchange writes a hundred times a second


class HeldFile(NamedTuple):
    """An open file and its state at the moment: whatever becomes of its name, these bytes can be read."""

    path: Path
    fd: int
    stat: os.stat_result


class Moment:
    """The files of a moment, held open until `close`."""

    def __init__(self, held: list[HeldFile]):
        self.held = held

    def close(self) -> None:
        """Closes the files."""
        for one in self.held:
            os.close(one.fd)
        self.held = []

    def __enter__(self) -> "Moment":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold(listed: Callable[[], Iterable[Path]]) -> Moment:
    """Opens the files that `listed` gives, as they all are at one moment. Raises Failure where they never stand still.

    `listed` is asked again at each look: a file that comes or goes meanwhile makes it another moment.
    """
    for _ in range(TRIES):
        paths = sorted(listed())
        moment = Moment([])
        try:
            for path in paths:
                fd = os.open(path, os.O_RDONLY)
                moment.held.append(HeldFile(path, fd, os.fstat(fd)))
            if sorted(listed()) == paths and all(map(_is_unchanged, moment.held)):
                return moment
        except FileNotFoundError:
            pass
        except BaseException:
            moment.close()
            raise
        moment.close()
    raise Failure(f"in {TRIES} looks the files were never at rest; a backup of a mesh that does less, or is down, is possible")


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _is_unchanged(one: HeldFile) -> bool:
    with suppress(FileNotFoundError):
        now = os.stat(one.path)
        return _identity(now) == _identity(one.stat)
    return False
