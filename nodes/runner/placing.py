"""A process takes its cores and its priority, by `[latency]`, as it begins: the threads that it begins later have them too."""

import os

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.process_table import full_instance, hot_path, name_of
from tickmesh.nodes.runner.cores import cores_of

CORES = "TICKMESH_CORES"  # in the environment of what a process starts: those that it might have had itself
PRIORITY = 1  # of SCHED_FIFO's 1 to 99: before all ordinary processes, after the kernel's own
NO_RIGHT = (
    "[latency] realtime: this user may not use SCHED_FIFO, so it goes on with the usual priority; `ulimit -r 1` before "
    "`mesh up`, LimitRTPRIO=1 of a systemd unit, or CAP_SYS_NICE gives the right"
)


def place(config: Config, node: str, instance: str) -> None:
    """Binds this process to its cores and gives it its priority; nothing where `[latency]` asks for nothing.

    Raises ConfigError for a core that is not there. Without the right to a priority a warning says so.
    """
    latency = config.latency
    if not latency.pin and not latency.realtime:
        return
    name = name_of(node, full_instance(config, node, instance))
    hot = hot_path(config)
    if CORES in os.environ:
        allowed = frozenset(map(int, os.environ[CORES].split(",")))
    else:
        allowed = frozenset(os.sched_getaffinity(0))
        os.environ[CORES] = ",".join(map(str, sorted(allowed)))  # a sentinel starts others where supervisord is silent
    cores = cores_of(name, hot, latency.pin, allowed)
    if latency.pin:
        try:
            os.sched_setaffinity(0, cores)
        except OSError as error:
            raise ConfigError(f"latency.pin: {_listed(cores)} cannot be had: {error.strerror}") from None
        log_line(name_of(node, instance), "info", f"runs on {_listed(cores)} alone")
    if latency.realtime and name in hot:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except PermissionError:
            log_line(name_of(node, instance), "warning", NO_RIGHT)


def _listed(cores: frozenset[int]) -> str:
    return f"core{'s' * (len(cores) > 1)} {', '.join(map(str, sorted(cores)))}"
