"""The mesh's time: it goes on with the machine's steady clock, follows the wall clock slowly, and never goes back.

The wall clock may be set, freeze or run fast (NTP, a resumed virtual machine, an operator). The sequencer's `MeshClock`
follows it: what is slightly off is slewed away, a wall clock that stays far ahead is stepped to, one that is far behind is only
slewed to. Beside the log it keeps a small file from which every process of this machine computes the same time (`now_ns`),
also one that starts later. The rules and their reasons: docs/decisions/time.md.

Nothing else in bus/, nodes/ or storage/ asks the machine for the wall clock, so a test or a sweep can falsify it for running
processes (bus/clock_faults.py); without TICKMESH_CLOCK_FAULTS in the environment that costs one look at the start.
"""

import contextlib
import mmap
import os
import struct
import time
import uuid
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.clock_faults import VARIABLE, FaultyClocks
from tickmesh.bus.files import boot_id

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
SLEW_DIVISOR = 100  # a slew changes the pace by at most one part in so many: durations in the log are right to 1 %
STEP_NS = 128 * MILLISECOND  # a wall clock that is further ahead is stepped to: where NTP steps too (RFC 5905, STEPT)
CONFIRM_NS = 1 * SECOND  # for so long, at every look, it has to be ahead before that
CONFIRM_LOOKS = 10  # and so often: a process that was stopped in between has looked only twice
SAID_NS = 10 * MILLISECOND  # a slew of less is not said
SLEWED_NS = 1 * MILLISECOND  # a slew is over when no more than this is left
SUSPEND_NS = 1 * SECOND  # a machine that slept for less has hardly slept
TIGHT_NS = 100_000  # two clocks that were read within so long were read at one moment
LOOK_NS = 1 * SECOND  # a follower looks so often whether there is a (new) file
NAME = "clock"  # of the file, in the log's folder
_FILE = struct.Struct("<8s16sqqqqI")  # magic, boot, elapsed_ns, time_ns, offset_ns, unpublished_ns, crc
_WHOLE = slice(_FILE.size)
_MAGIC = b"meshtime"
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # counts a suspend, which CLOCK_MONOTONIC does not


def machine_wall_ns() -> int:
    """The wall clock without injected faults: for the local exchange, which plays another machine, and for files' times."""
    return time.time_ns()


def machine_elapsed_ns() -> int:
    """Nanoseconds since the machine started, without injected faults."""
    return time.clock_gettime_ns(_STEADY)


def _sources(faults: str | None) -> tuple[Callable[[], int], Callable[[], int]]:
    if not faults:
        return time.time_ns, partial(time.clock_gettime_ns, _STEADY)  # it is asked several times an event: without a frame
    clocks = FaultyClocks(Path(faults), time.time_ns, machine_elapsed_ns)
    return clocks.wall_ns, clocks.elapsed_ns


# wall_ns: this machine's wall clock, which may jump. elapsed_ns: since the machine started, suspends included; never jumps.
wall_ns, elapsed_ns = _sources(os.environ.get(VARIABLE))


class Reading(NamedTuple):
    """One reading of the machine's clocks. `awake_ns`: as elapsed_ns, suspends left out."""

    elapsed_ns: int
    awake_ns: int
    wall_ns: int


def read() -> Reading:
    """Reads all three clocks at one moment; a process that was interrupted in between reads again."""
    for _ in range(4):
        before = time.monotonic_ns()
        reading = Reading(elapsed_ns(), before, wall_ns())
        if time.monotonic_ns() - before <= TIGHT_NS:
            break
    return reading


class ClockSegment(NamedTuple):
    """The mesh's time from one reading on: `time_ns` then, and the wall clock's `offset_ns` from it, which is slewed away."""

    elapsed_ns: int
    time_ns: int
    offset_ns: int

    def at(self, elapsed_ns: int) -> int:
        """The mesh's time at a moment of elapsed time: it never goes back, and stands still no longer than 2 ns."""
        since_ns, time_ns, offset_ns = self
        passed = elapsed_ns - since_ns
        if passed <= 0:
            return time_ns
        most = passed // SLEW_DIVISOR
        if offset_ns > most:
            offset_ns = most
        elif offset_ns < -most:
            offset_ns = -most
        return time_ns + passed + offset_ns


class Correction(NamedTuple):
    """A change of the mesh's time that the sequencer raises an alert about.

    clock_step: it went forward at once by `size_ns`. clock_slew: it begins to take `size_ns` away, the wall clock's
    offset from it. clock_slew_end: a slew is over, it has moved the time by `size_ns`. clock_suspend: the machine slept
    for `size_ns`, which the time includes: nothing was corrected.
    """

    what: str
    size_ns: int


class MeshClock:
    """Computes the mesh's time from readings. `begin`: see `first_segment`; `owed_ns`: corrections made before it."""

    def __init__(self, begin: ClockSegment, reading: Reading, owed_ns: int = 0):
        self.segment = begin
        self.begun = begin._replace(time_ns=begin.time_ns - owed_ns)
        self.corrected_ns = owed_ns  # by how much the time has been moved against the elapsed time since it began
        self.steps = self.slews = self.suspends = 0
        self._asleep_ns = reading.elapsed_ns - reading.awake_ns
        self._ahead: tuple[int, int] | None = None  # since which elapsed_ns the wall clock is far ahead, and seen how often
        self._slew_from: int | None = None  # `corrected_ns` when the slew that was said began

    def at(self, elapsed_ns: int) -> int:
        """The mesh's time at a moment of elapsed time."""
        return self.segment.at(elapsed_ns)

    def look(self, reading: Reading) -> list[Correction]:
        """Follows the wall clock of a reading; gives corrections to raise alerts about. Called every few milliseconds."""
        said = self._slept(reading)
        now_ns = self.at(reading.elapsed_ns)
        offset_ns = reading.wall_ns - now_ns
        if offset_ns <= STEP_NS:
            self._ahead = None
        elif self._confirmed(reading.elapsed_ns):
            self._ahead = None
            now_ns, step_ns, offset_ns = reading.wall_ns, offset_ns, 0
            self.steps += 1
            said.append(Correction("clock_step", step_ns))
        passed_ns = max(reading.elapsed_ns, self.segment.elapsed_ns) - self.begun.elapsed_ns
        self.corrected_ns = now_ns - self.begun.time_ns - passed_ns
        self.segment = ClockSegment(max(reading.elapsed_ns, self.segment.elapsed_ns), now_ns, offset_ns)
        return said + self._slewed(offset_ns, bool(said) and said[-1].what == "clock_step")

    def _slept(self, reading: Reading) -> list[Correction]:
        asleep_ns = reading.elapsed_ns - reading.awake_ns
        slept_ns, self._asleep_ns = asleep_ns - self._asleep_ns, asleep_ns
        if slept_ns < SUSPEND_NS:
            return []
        self.suspends += 1
        return [Correction("clock_suspend", slept_ns)]

    def _confirmed(self, elapsed_ns: int) -> bool:
        """One odd reading is no reason to go where there is no way back from."""
        since_ns, looks = self._ahead or (elapsed_ns, 0)
        self._ahead = (since_ns, looks + 1)
        return elapsed_ns - since_ns >= CONFIRM_NS and looks + 1 >= CONFIRM_LOOKS

    def _slewed(self, offset_ns: int, stepped: bool) -> list[Correction]:
        if self._slew_from is None:
            if abs(offset_ns) < SAID_NS or self._ahead is not None:  # or it will be a step
                return []
            self._slew_from = self.corrected_ns
            self.slews += 1
            return [Correction("clock_slew", offset_ns)]
        if abs(offset_ns) > SLEWED_NS:
            return []
        moved_ns, self._slew_from = self.corrected_ns - self._slew_from, None
        return [] if stepped else [Correction("clock_slew_end", moved_ns)]


def first_segment(reading: Reading, kept: ClockSegment | None, floor_ns: int) -> ClockSegment:
    """The segment that a clock begins with when the sequencer starts, from the one `kept` on file and the log's last time.

    `kept`: of the sequencer before it, since the machine started: its time has gone on meanwhile, exactly.
    Without one: the wall clock. In no case below `floor_ns`, the last time that was given to anything.
    """
    time_ns = reading.wall_ns if kept is None else kept.at(reading.elapsed_ns)
    return ClockSegment(reading.elapsed_ns, max(time_ns, floor_ns + 1), 0)


def boot_bytes() -> bytes:
    """16 bytes that name this boot: they differ after a reboot."""
    with contextlib.suppress(ValueError):
        return uuid.UUID(boot_id()).bytes
    return bytes(16)


def pack(segment: ClockSegment, boot: bytes, unpublished_ns: int = 0) -> bytes:
    """Encodes the clock's file. `unpublished_ns`: corrections up to the segment that are in no event of the log yet."""
    head = _FILE.pack(_MAGIC, boot, *segment, unpublished_ns, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little")


def unpack(raw: bytes) -> tuple[bytes, ClockSegment, int] | None:
    """Decodes the clock's file: (boot, segment, unpublished_ns); None for other bytes, and for a file that is half written."""
    if len(raw) != _FILE.size or zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little") or raw[:8] != _MAGIC:
        return None
    _, boot, elapsed, time_ns, offset_ns, unpublished_ns, _ = _FILE.unpack(raw)
    return boot, ClockSegment(elapsed, time_ns, offset_ns), unpublished_ns


class ClockWriter:
    """The sequencer's MeshClock on this machine's clocks, written beside the log at every look: others follow it."""

    def __init__(self, folder: Path, least_ns: int, steady: bool = True):
        """`least_ns`: of the last event in the log. Raises OSError when the file cannot be made.

        `steady` False: the larger of the wall clock and the last time, as it was once (config.Log.steady_clock)."""
        self._steady = steady
        self._boot = boot_bytes()
        self._fd = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        known = unpack(os.pread(self._fd, _FILE.size, 0))
        reading = read()
        kept, owed_ns = None, 0
        if known is not None:
            boot, segment, unpublished_ns = known
            least_ns = max(least_ns, segment.time_ns)
            if boot == self._boot and segment.elapsed_ns <= reading.elapsed_ns:
                kept = segment  # it went on while nobody was there to say so
                owed_ns = unpublished_ns + kept.at(reading.elapsed_ns) - kept.time_ns - (reading.elapsed_ns - kept.elapsed_ns)
        self.clock = MeshClock(first_segment(reading, kept, least_ns), reading, owed_ns)
        self._published_ns = 0  # of the clock's corrections: what is in the log
        self._last_ns = least_ns
        self._write()

    def now_ns(self) -> int:
        """The mesh's time at this moment."""
        if not self._steady:
            self._last_ns = max(wall_ns(), self._last_ns)
            return self._last_ns
        return self.clock.at(elapsed_ns())

    @property
    def offset_ns(self) -> int:
        """The wall clock's distance from the mesh's time, at the last look."""
        return self.clock.segment.offset_ns

    def look(self) -> list[Correction]:
        """Reads the clocks, follows the wall clock and writes the file; gives corrections to raise alerts about."""
        if not self._steady:
            return []
        said = self.clock.look(read())
        self._write()
        return said

    @property
    def unpublished_ns(self) -> int:
        """By how much the time has been corrected that no event of the log states yet."""
        return self.clock.corrected_ns - self._published_ns

    def published(self, corrected_ns: int) -> None:
        """Takes notice that `corrected_ns` of the correction stand in the log; a later sequencer publishes the rest."""
        self._published_ns += corrected_ns
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: those who follow go on from what they know
            os.pwrite(self._fd, pack(self.clock.segment, self._boot, self.unpublished_ns), 0)

    def close(self) -> None:
        """Closes the clock's file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Follower:
    """The mesh's time in any other process, from the sequencer's file; without one, the wall clock. It only rises."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._boot = b""
        self._map: mmap.mmap | None = None
        self._inode = 0
        self._raw = b""
        self._segment: ClockSegment | None = None
        self._look_ns = 0
        self._last = (0, 0)  # what was given last, and at which elapsed_ns

    def follow(self, folder: Path) -> None:
        """Takes the mesh's time from the log in `folder` from now on."""
        path = folder / NAME
        if path != self.path:
            self._forget()
            self.path, self._boot = path, boot_bytes()
            self._last = (0, 0)

    def now_ns(self) -> int:
        """The mesh's time, always above what was given before."""
        elapsed = elapsed_ns()
        if elapsed >= self._look_ns:
            self._open(elapsed)
        mapped = self._map
        if mapped is not None and (raw := mapped[_WHOLE]) != self._raw:
            self._take(raw, elapsed)
        segment = self._segment
        now = wall_ns() if segment is None else segment.at(elapsed)
        last, before = self._last
        passed = elapsed - before
        least = last + passed - passed // SLEW_DIVISOR
        if least <= last:
            least = last + 1
        if now < least:
            now = least
        self._last = now, elapsed
        return now

    def _take(self, raw: bytes, elapsed: int) -> None:
        known = unpack(raw)
        if known is None:
            return  # half written: what is known holds
        self._raw = raw
        boot, segment, _ = known
        if boot == self._boot:
            self._segment = segment
        elif segment.time_ns > self._last[0]:  # before a reboot: time is not below that, more is not known
            self._last = (segment.time_ns, elapsed)

    def _open(self, elapsed: int) -> None:
        """Maps the file, if there is one that is not mapped yet."""
        self._look_ns = elapsed + LOOK_NS
        if self.path is None:
            return
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode and status.st_size >= _FILE.size:
                    self._forget()
                    self._map = mmap.mmap(file.fileno(), _FILE.size, prot=mmap.PROT_READ)
                    self._inode = status.st_ino
        except OSError:
            pass  # none yet; or it was moved away, with its log: the time that it gave goes on

    def _forget(self) -> None:
        if self._map is not None:
            self._map.close()
        self._map, self._inode, self._raw, self._segment, self._look_ns = None, 0, b"", None, 0


_process = Follower()  # a process is of one mesh
follow = _process.follow
now_ns = _process.now_ns
