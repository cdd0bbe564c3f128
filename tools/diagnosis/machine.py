"""Facts of the machine, looked up without root and within half a second: clock, memory, limits, processors, tmpfs."""

import contextlib
import ctypes
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

UNSYNCED = 0x40  # STA_UNSYNC of adjtimex(2)
TIME_ERROR = 5
WATCH_S = 0.2  # the two clocks are compared at both ends of it
UNLIMITED = 1 << 62


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), up to what is read of it."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    ]  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What a machine has, for this process.

    `synced`: whether the kernel's clock is kept by NTP or PTP, None where that cannot be known; `error_ms`: its bound then.
    `drift_ms`: by how much the wall clock moved against the steady one within WATCH_S. Bytes; `memory_limit`, `cpu_limit`: of
    the control group, 0: none. `open_files`, `processes`: soft limits; `threads`: that this user has. `governors`: of the
    processors, () where they have none. `shm_total`, `shm_free`: of the tmpfs for outboxes, -1 where there is none.
    """

    python: tuple[int, int, int]
    system: str
    synced: bool | None
    error_ms: float
    drift_ms: float
    memory_total: int
    memory_available: int
    memory_limit: int
    swap_used: int
    open_files: int
    processes: int
    threads: int
    core_bytes: int
    cpus: int
    cpu_limit: float
    load: float
    governors: tuple[str, ...]
    shm_total: int
    shm_free: int


def read_machine(tmpfs: Path) -> Machine:
    """Looks up the facts of this machine; takes WATCH_S and a little. `tmpfs`: where outboxes are to be."""
    wall, steady = time.time_ns(), time.monotonic_ns()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    synced, error_ms = _kept_clock()
    total, free = _room(tmpfs)
    time.sleep(max(WATCH_S - (time.monotonic_ns() - steady) / 1e9, 0))
    return Machine(
        python=sys.version_info[:3],
        system=platform.system(),
        synced=synced,
        error_ms=error_ms,
        drift_ms=((time.time_ns() - wall) - (time.monotonic_ns() - steady)) / 1e6,
        memory_total=memory.total,
        memory_available=memory.available,
        memory_limit=_memory_limit(),
        swap_used=swap.used,
        open_files=_limit(resource.RLIMIT_NOFILE),
        processes=_limit(resource.RLIMIT_NPROC),
        threads=_threads(),
        core_bytes=_limit(resource.RLIMIT_CORE),
        cpus=len(os.sched_getaffinity(0)),
        cpu_limit=_cpu_limit(),
        load=os.getloadavg()[0],
        governors=tuple(
            sorted({_text(path) for path in Path("/sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")})
        ),
        shm_total=total,
        shm_free=free,
    )


def _kept_clock() -> tuple[bool | None, float]:
    """(whether the kernel's clock is kept by somebody, its greatest error in ms). Asking changes nothing."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None, 0.0
    if state < 0:
        return None, 0.0  # a sandbox may forbid it
    return state != TIME_ERROR and not timex.status & UNSYNCED, timex.maxerror / 1e3


def _limit(which: int) -> int:
    soft, _ = resource.getrlimit(which)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def _threads() -> int:
    """How many threads this user's processes have, which is what its limit of processes counts."""
    mine, count = os.getuid(), 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == mine:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _room(folder: Path) -> tuple[int, int]:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return -1, -1
    if not disk.f_blocks:  # a tmpfs without a bound
        return UNLIMITED, UNLIMITED
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def _memory_limit() -> int:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _text(Path(path))
        if text.isdigit() and int(text) < 1 << 60:  # version 1 writes a very large number for none
            return int(text)
    return 0


def _cpu_limit() -> float:
    words = _text(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    folder = Path("/sys/fs/cgroup/cpu")
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else 0.0


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""
