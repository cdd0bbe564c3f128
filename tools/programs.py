"""`mesh` and `tap` as they are installed: what they import takes a while, and a Ctrl-C meanwhile is a clean end, too."""

import os
import signal
from importlib import import_module
from types import FrameType

INTERRUPTED = 130  # exit code of a program that a Ctrl-C has ended


def mesh() -> None:
    """The program `mesh`."""
    _run("tickmesh.tools.cli")


def tap() -> None:
    """The program `tap`."""
    _run("tickmesh.tools.tap")


def _run(module: str) -> None:
    if (before := signal.getsignal(signal.SIGINT)) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
    program = import_module(module)
    signal.signal(signal.SIGINT, before)
    program.main()


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)  # nothing has been begun yet; an exception could be lost in the middle of an import
