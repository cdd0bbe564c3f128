"""`mesh run`: the mesh in the foreground. This process becomes supervisord: PID 1 of a container, or a service of systemd."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from tickmesh.bus.config import find_root
from tickmesh.tools import laying, sources
from tickmesh.tools.running import alone, await_end_of_others, running_processes
from tickmesh.tools.start import CONF
from tickmesh.tools.terminal import Failure
from tickmesh.tools.up import make_run_folders, prepare

PATIENCE_S = 60.0  # for another command, or for processes of a mesh that is ending


def run(live: bool, confirm: str, announce: Callable[[str], None]) -> NoReturn:
    """Checks what `mesh up` checks and becomes supervisord in the foreground, which reaps orphans and ends in order on SIGTERM.

    Raises Failure where that cannot be, or the mesh is up.
    """
    root = find_root()
    make_run_folders(root)
    with alone(root, PATIENCE_S):
        if running_processes(root) is not None:
            raise Failure("the mesh is up already; `mesh down` first, or leave it to its supervisord")
        laying.lay(root)
        config = sources.use_configured(root)
        laying.refresh(config, announce)
        await_end_of_others(root, PATIENCE_S)
        prepare(config, live, confirm, announce)
        os.chdir(root)
        os.umask(0o077)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", CONF])
