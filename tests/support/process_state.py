"""What a process has one of, and what works in it may leave to the next: handlers, hooks, the clock, where code is kept."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

from tests.support.found_models import folders_kept
from tickmesh.bus import clock

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGVTALRM)


@contextlib.contextmanager
def process_kept() -> Iterator[None]:
    """Surrounds whatever works for a mesh in this process; after it the process is as it was, but for what is imported."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    log = logging.getLogger()
    lines, level, warns = list(log.handlers), log.level, logging._warnings_showwarning
    followed, code = clock._process.path, _kernels()
    with folders_kept():
        try:
            yield
        finally:
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)
            sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
            for one in [one for one in log.handlers if one not in lines and not type(one).__module__.startswith("_pytest")]:
                log.removeHandler(one)
            log.setLevel(level)
            logging.captureWarnings(warns is not None)
            _follow(followed)
            if (settings := sys.modules.get("numba.core.config")) is not None:
                vars(settings)["CACHE_DIR"] = code


def _kernels() -> str:
    """Where numba keeps what it compiles from now on."""
    settings = sys.modules.get("numba.core.config")
    return os.environ.get("NUMBA_CACHE_DIR", "") if settings is None else vars(settings)["CACHE_DIR"]


def _follow(path) -> None:
    """Follows the mesh's clock at a path again, or none, where another is followed now."""
    if clock._process.path == path:
        return
    if path is None:
        vars(clock._process).update(vars(clock.Follower()))
    else:
        clock.follow(path.parent)
