"""A step that does not come back from an event: ended by the kernel of the system, and the event found by its next lives.

Compiled code lets no other thread of Python run. So a timer of processor time ends the process (SIGVTALRM) unless it is set
again, which every list of events does; the time that a process is stopped or waits does not count. The next life knows by
run/stalls/<name> and gives its step one event at a time, noting which; it stalls there again, and the life after that has the
event. Nothing is done for an event as long as nothing stalls.
"""

import contextlib
import faulthandler
import mmap
import signal
import struct
import time
from pathlib import Path

STALL_S = 10.0  # of processor time, within one list of events
_AT = struct.Struct("<Q")


class StallWatch:
    """`suspect`: the life before this one stalled. `stalled_at`: the seq of the event at which two lives did; 0: not known."""

    def __init__(self, run_dir: Path, name: str):
        folder = run_dir / "stalls"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._dump, self._place = folder / name, folder / f"{name}.at"
        self.suspect = self._dump.exists() and self._dump.stat().st_size > 0
        self.stalled_at = 0
        if self.suspect and self._place.exists():
            (self.stalled_at,) = _AT.unpack(self._place.read_bytes())
        self._file = self._dump.open("w")
        self._map: mmap.mmap | None = None
        self._since = time.monotonic()

    def arm(self) -> bool:
        """Gives the process STALL_S of processor time from now on; False, so that it can stand in a condition."""
        signal.setitimer(signal.ITIMER_VIRTUAL, STALL_S)
        return False

    def begin(self) -> None:
        """From now on a process that does not come back writes where it is and ends."""
        faulthandler.register(signal.SIGVTALRM, self._file, all_threads=False, chain=True)
        self.arm()

    def note(self, seq: int) -> None:
        """Notes, for the next life, the event that the step is about to be given."""
        if self._map is None:
            self._place.write_bytes(_AT.pack(0))
            with self._place.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), _AT.size)
        _AT.pack_into(self._map, 0, seq)
        self.arm()

    def found(self) -> None:
        """Forgets the stall: the event is known, or it has not come again."""
        self._place.unlink(missing_ok=True)
        self._map = None

    def end(self) -> None:
        """Takes the timer away."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        with contextlib.suppress(ValueError, RuntimeError):
            faulthandler.unregister(signal.SIGVTALRM)
        self._file.close()
