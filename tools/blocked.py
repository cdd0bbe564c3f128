"""Who cannot write, for `mesh status`: by the files that processes write over in place, since a full disk takes no alert."""

from tickmesh.bus.blocked import read_blocked
from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import Config
from tickmesh.tools.terminal import JsonObject


def blocked(config: Config) -> list[JsonObject]:
    """The processes that cannot write now: node, pid, since_s (seconds), why (a sentence)."""
    now_ns = machine_wall_ns()
    return [
        {"node": one.node, "pid": one.pid, "since_s": round((now_ns - one.wall_ns) / 1e9, 1), "why": one.why}
        for one in read_blocked(config.run_dir)
    ]
