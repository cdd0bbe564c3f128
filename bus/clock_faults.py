"""A wall clock that lies, for processes under test: the machine's own clock is left alone.

Processes that have TICKMESH_CLOCK_FAULTS in their environment read the file that it names, and see the clocks that it says.
Whoever tests them writes it: `ClockFaults(path).step(-3600 * SECOND)`. Without the file, the clocks are right.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

VARIABLE = "TICKMESH_CLOCK_FAULTS"


@dataclass(frozen=True)
class ClockFault:
    """Wall clock = the true one + `offset_ns` + `drift_ppm` of the time since `since_ns`, or `frozen_ns` while that is set.

    `asleep_ns` is added to wall clock and elapsed time: so much of it the machine was suspended. `since_ns` is elapsed time.
    """

    offset_ns: int = 0
    drift_ppm: float = 0.0
    since_ns: int = 0
    frozen_ns: int = 0
    asleep_ns: int = 0

    def wall_ns(self, true_wall_ns: int, true_elapsed_ns: int) -> int:
        """The faulty wall clock's time, of the true wall clock and the true elapsed time."""
        if self.frozen_ns:
            return self.frozen_ns
        drifted = int((true_elapsed_ns - self.since_ns) * self.drift_ppm / 1e6) if self.drift_ppm else 0
        return true_wall_ns + self.offset_ns + drifted + self.asleep_ns


class FaultyClocks:
    """The clocks of a process under test: the true clocks `wall_ns` and `elapsed_ns`, with the fault that a file holds."""

    def __init__(self, path: Path, wall_ns: Callable[[], int], elapsed_ns: Callable[[], int]):
        self._path = path
        self._wall_ns, self._elapsed_ns = wall_ns, elapsed_ns
        self._seen = (0, 0)
        self._fault = ClockFault()

    def wall_ns(self) -> int:
        """The wall clock's time, with the fault."""
        return self._now().wall_ns(self._wall_ns(), self._elapsed_ns())

    def elapsed_ns(self) -> int:
        """The elapsed time, with the fault."""
        return self._elapsed_ns() + self._now().asleep_ns

    def _now(self) -> ClockFault:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return self._fault
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._fault = read_fault(self._path)
            self._seen = seen
        return self._fault


def read_fault(path: Path) -> ClockFault:
    """Reads the fault that a file holds; no fault where there is no file."""
    try:
        return ClockFault(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return ClockFault()


class ClockFaults:
    """Changes the clocks of every process that reads `path`, from one moment to the next. Faults add up."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that processes need from their start, to read this file."""
        return {VARIABLE: str(self.path)}

    def step(self, ns: int) -> None:
        """Sets the wall clock forward, or (negative) back. A frozen one runs again."""
        self._rebase(ns, drift_ppm=self._fault.drift_ppm)

    def drift(self, ppm: float) -> None:
        """Makes the wall clock run fast by so much (negative: slow) from now on."""
        self._rebase(0, drift_ppm=ppm)

    def freeze(self) -> None:
        """Makes the wall clock stand still from now on."""
        self._write(replace(self._fault, frozen_ns=self.wall_ns()))

    def suspend(self, ns: int) -> None:
        """Lets the machine seem to have slept for so long: wall clock and elapsed time went on, monotonic deadlines did not."""
        fault = self._fault
        frozen_ns = fault.frozen_ns + ns if fault.frozen_ns else 0
        self._write(replace(fault, asleep_ns=fault.asleep_ns + ns, frozen_ns=frozen_ns))

    def heal(self) -> None:
        """Makes the wall clock right again, at once, and at its true pace."""
        fault = self._fault  # elapsed time does not go back
        self._write(ClockFault(offset_ns=-fault.asleep_ns, asleep_ns=fault.asleep_ns))

    def wall_ns(self) -> int:
        """The time of the processes' wall clock now."""
        return self._fault.wall_ns(time.time_ns(), self._elapsed_ns())

    @property
    def _fault(self) -> ClockFault:
        return read_fault(self.path)

    @staticmethod
    def _elapsed_ns() -> int:
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def _rebase(self, ns: int, drift_ppm: float) -> None:
        fault, true_ns, elapsed_ns = self._fault, time.time_ns(), self._elapsed_ns()
        offset_ns = fault.wall_ns(true_ns, elapsed_ns) - true_ns - fault.asleep_ns + ns
        self._write(ClockFault(offset_ns, drift_ppm, elapsed_ns, 0, fault.asleep_ns))

    def _write(self, fault: ClockFault) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps(asdict(fault)))
        os.rename(fresh, self.path)
