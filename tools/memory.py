"""How much memory a process takes: a page that n of them share as an n-th of each, so that a sum is what they take together."""

import contextlib
from pathlib import Path
from typing import NamedTuple

KIB = 1024


class ProcessMemory(NamedTuple):
    """`bytes` in RAM. `measure`: "pss", a page that n processes have counts as an n-th; "rss", it counts whole in each."""

    bytes: int
    measure: str


def memory_of(pid: int, proc: Path = Path("/proc")) -> ProcessMemory | None:
    """The memory of a process; "rss" where the kernel shows no shares of it, None where the process is gone or somebody else's.

    `proc`: where the kernel shows processes, proc(5).
    """
    for file, field, measure in (("smaps_rollup", "Pss:", "pss"), ("status", "VmRSS:", "rss")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = (proc / str(pid) / file).read_text()
            return ProcessMemory(int(text.partition(f"\n{field}")[2].split()[0]) * KIB, measure)
    return None
