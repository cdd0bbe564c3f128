"""What is judged of a machine, from its facts alone. One finding more is one more function in CHECKS."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.outbox_room import OTHERS, OWN, SEGMENT_BYTES_MIN, SHARE
from tickmesh.nodes.process_table import processes
from tickmesh.tools.diagnosis.check import FAIL, OK, WARN, Check, check, size_text
from tickmesh.tools.diagnosis.machine import UNLIMITED, Machine

PYTHON_MIN = (3, 11)
DRIFT_MS_MAX = 5.0  # within a fifth of a second: it was set, or runs wrongly
ERROR_MS_MAX = 100.0  # of a clock that is kept
PROCESS_BYTES = 120 << 20  # resident, of a node with numba and numpy
THREADS_EACH = 16  # ZeroMQ, numba, LMDB, asyncio's own
FILES_EACH = 64  # of supervisord and of every process: two pipes, sockets, segments, locks
FILES_MIN = 1024  # the usual limit of Linux; supervisord asks for 256
SWAP_PART = 10  # of memory, one part in so many in the swap is much
FREE_PART = 20  # of the tmpfs, less than one part in so many free is little
LOAD_EACH = 2.0  # of every processor, waiting processes


class Needs(NamedTuple):
    """What a mesh needs of its machine: how many processes, and how many of them have an outbox in RAM."""

    processes: int
    producers: int


ANY = Needs(12, OTHERS + 4)  # the default mesh, where there is no mesh.toml


def needs_of(config: Config) -> Needs:
    """What the mesh of these settings needs. Raises ConfigError for names that cannot be."""
    return Needs(len(processes(config)), OTHERS + config.lines_and_models)


def python(machine: Machine, _needs: Needs) -> Iterator[Check]:
    """Python's version, and the system."""
    version = ".".join(map(str, machine.python))
    grade = OK if machine.python >= PYTHON_MIN else FAIL
    do = "install a newer one, then `make clean venv PYTHON=/path/to/python`"
    yield check("python", grade, f"Python {version}", "3.11 or newer", do)
    if machine.system != "Linux":
        yield Check("system", FAIL, machine.system, "Linux", "pidfd, flock and /dev/shm are Linux's: run it there")


def clock(machine: Machine, _needs: Needs) -> Iterator[Check]:
    """Whether anybody keeps the clock right, and whether it moves against the steady one at this moment."""
    do = "start chrony or systemd-timesyncd on the host (`timedatectl set-ntp true`): venue times and ours are compared"
    if machine.synced is None:
        yield Check("clock.ntp", WARN, "the kernel does not tell whether NTP keeps the clock", "kept by NTP or PTP", do)
    elif not machine.synced:
        yield Check("clock.ntp", WARN, "nobody keeps the clock: the kernel calls it unsynchronised", "kept by NTP or PTP", do)
    else:
        grade = OK if machine.error_ms <= ERROR_MS_MAX else WARN
        seen = f"kept, to {machine.error_ms:.1f} ms at most"
        yield check("clock.ntp", grade, seen, f"within {ERROR_MS_MAX:g} ms", "see to it (`chronyc tracking`)")
    moved = abs(machine.drift_ms)
    do = "find out who sets it (two time services at once, a virtual machine's tools): the log goes on with the steady clock"
    grade = OK if moved <= DRIFT_MS_MAX else WARN
    seen = f"the wall clock moved {machine.drift_ms:+.2f} ms against the steady one within a fifth of a second"
    yield check("clock.pace", grade, seen, f"{DRIFT_MS_MAX:g} ms", do)


def memory(machine: Machine, needs: Needs) -> Iterator[Check]:
    """Memory for all processes, the bound of a container, the swap."""
    wanted = needs.processes * PROCESS_BYTES
    room = min(machine.memory_available, machine.memory_limit or UNLIMITED)
    bound = f", and the container may use {size_text(machine.memory_limit)}" if machine.memory_limit else ""
    seen = f"{size_text(machine.memory_available)} of {size_text(machine.memory_total)} available{bound}"
    grade = OK if room >= wanted else WARN if room >= wanted // 3 else FAIL
    do = "end what needs it, give the machine more, or host steps in the sequencer's process (`host` in mesh.toml)"
    yield check("memory", grade, seen, f"{size_text(wanted)} for {needs.processes} processes", do)
    grade = OK if machine.swap_used * SWAP_PART <= machine.memory_total else WARN
    do = "what lies there is milliseconds away: more memory, or `swapoff -a`"
    yield check("memory.swap", grade, f"{size_text(machine.swap_used)} in the swap", f"a {SWAP_PART}th of memory", do)


def shared_memory(machine: Machine, needs: Needs) -> Iterator[Check]:
    """The tmpfs for outboxes against what these need."""
    least = SHARE * OWN * needs.producers * SEGMENT_BYTES_MIN
    allowed = f"{size_text(least)} for {needs.producers} outboxes"
    if machine.shm_total < 0:
        do = "mount a tmpfs there, or name another one by TICKMESH_TMPFS: outboxes lie on disk until then, and are slower"
        yield Check("shm", WARN, "there is no tmpfs for outboxes", allowed, do)
        return
    total, free = machine.shm_total, machine.shm_free
    seen = "a tmpfs without a bound" if total >= UNLIMITED else f"{size_text(free)} of {size_text(total)} free"
    if total < least:
        do = "give it more (`--shm-size` of a container, `mount -o remount,size=1G`): outboxes go on on disk where it is full"
        yield Check("shm", WARN, seen, allowed, do)
    elif free < max(total // FREE_PART, least // SHARE) and total < UNLIMITED:
        do = "see who fills it (`du -sh /dev/shm/*`): outboxes go on on disk, and are slower"
        yield Check("shm", WARN, seen, f"{size_text(max(total // FREE_PART, least // SHARE))} free", do)
    else:
        yield Check("shm", OK, seen, allowed)


def limits(machine: Machine, needs: Needs) -> Iterator[Check]:
    """Open files, processes, core dumps."""
    least = max(FILES_MIN, FILES_EACH * (needs.processes + 1))
    grade = OK if machine.open_files >= least else FAIL if machine.open_files < 256 else WARN
    do = f"`ulimit -n {least}` before `mesh up`, or LimitNOFILE= of a systemd unit"
    yield check("limits.open_files", grade, _number(machine.open_files), f"{least} or more", do)
    threads = needs.processes * THREADS_EACH
    left = machine.processes - machine.threads
    grade = OK if left >= threads else WARN
    seen = f"{_number(machine.processes)} processes and threads, of which {machine.threads} are used"
    do = "`ulimit -u` before `mesh up`, TasksMax= of a systemd unit, or --pids-limit of a container"
    yield check("limits.processes", grade, seen, f"{threads} to spare", do)
    grade = OK if machine.core_bytes == 0 else WARN
    seen = "no core dumps" if grade == OK else f"a process that crashes leaves up to {_number(machine.core_bytes)} bytes of it"
    do = "a core file has keys of accounts in it, and takes room: `ulimit -c 0` before `mesh up`"
    yield check("limits.core_dumps", grade, seen, "none", do)


def processors(machine: Machine, _needs: Needs) -> Iterator[Check]:
    """How many processors, how fast they may go, how busy they are."""
    count = min(machine.cpus, machine.cpu_limit or machine.cpus)
    seen = f"{machine.cpus} processors" + (
        f", of which the container may use {machine.cpu_limit:g}" if machine.cpu_limit else ""
    )
    do = "fewer make every hop wait for another process: host steps in the sequencer's process (`host` in mesh.toml)"
    yield check("cpu.count", OK if count >= 2 else WARN, seen, "2 or more", do)
    slow = [one for one in machine.governors if one not in ("performance", "schedutil")]
    seen = ", ".join(machine.governors) or "no governor (a virtual machine, or fixed)"
    do = "a processor that idles slowly answers late: `cpupower frequency-set -g performance`"
    yield check("cpu.governor", WARN if slow else OK, seen, "performance or schedutil", do)
    grade = OK if machine.load <= LOAD_EACH * count else WARN
    yield check(
        "cpu.load", grade, f"{machine.load:.1f} processes ran or waited in the last minute", f"{LOAD_EACH * count:g}",
        "end what competes (`top`), or expect latency of tens of milliseconds",
    )  # fmt: skip


def _number(limit: int) -> str:
    return "unlimited" if limit >= UNLIMITED else str(limit)


CHECKS: tuple[Callable[[Machine, Needs], Iterator[Check]], ...] = (
    python, clock, memory, shared_memory, limits, processors,
)  # fmt: skip


def judged(machine: Machine, needs: Needs) -> list[Check]:
    """All findings about a machine."""
    return [one for look in CHECKS for one in look(machine, needs)]
