"""Whether this machine can give the processes that a tick passes what `[latency]` asks for them."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from tickmesh.bus.config import ConfigError
from tickmesh.nodes.process_table import hot_path
from tickmesh.nodes.runner.cores import cores_of
from tickmesh.nodes.runner.placing import NO_RIGHT
from tickmesh.tools.before_start import check_cores
from tickmesh.tools.diagnosis.check import FAIL, OK, WARN, Check
from tickmesh.tools.diagnosis.folder import MeshFolder

CAP_SYS_NICE = 23  # of capabilities(7)


def latency(folder: MeshFolder) -> Iterator[Check]:
    """Whether the cores of `[latency] pin` are there, enough for who never sleeps, and realtime allowed to this user."""
    if folder.config is None:
        return
    config, there = folder.config, os.sched_getaffinity(0)
    wanted = config.latency
    try:
        hot = hot_path(config)
        check_cores(config)
    except ConfigError as error:
        yield Check("latency.pin", FAIL, str(error), "cores that are there", "mend it in mesh.toml")
        return
    if wanted.pin:
        cores = frozenset[int]().union(*(cores_of(name, hot, wanted.pin, there) for name in hot))
        seen = f"{len(hot)} processes on cores {', '.join(map(str, sorted(cores)))} alone"
        yield Check("latency.pin", OK, seen, "cores that are there")
    if wanted.spin_us and len(hot) >= len(there):
        seen = f"{len(hot)} processes look for events for {wanted.spin_us} µs before they sleep, on {len(there)} cores"
        do = "more cores, fewer processes (`host` in mesh.toml), or latency.spin_us = 0: they take the cores from one another"
        yield Check("latency.spin_us", WARN, seen, "a core for each, and one for all else", do)
    if wanted.realtime and not may_go_first():
        yield Check("latency.realtime", WARN, "this user may not use SCHED_FIFO", "the right to it", NO_RIGHT)


def may_go_first() -> bool:
    """Whether who calls may use SCHED_FIFO: by its limits, or as a capability."""
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0 or bool(capabilities >> CAP_SYS_NICE & 1)
