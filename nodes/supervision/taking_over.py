"""A child of supervisord goes on as a program whose code is loaded: all that execve would have left it, and nothing else.

supervisord has closed its descriptors there, and set group, user, folder and umask. What is left of it in memory is never
freed: an object that still thinks it has descriptor 7 must not close somebody else's.
"""

import atexit
import ctypes
import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

MALLOC = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # number of each for mallopt(3)
TAKEN_UP = (*MALLOC, "PYTHONUNBUFFERED")  # of an environment; an interpreter, and the C library, read them as they begin
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)  # by supervisord
PR_SET_NAME = 15  # of prctl(2)
STARTED = b"SUPERVISOR_ENABLED=1"  # what others look for in /proc/<pid>/environ: supervisord has started it
_kept: list[object] = []


def _areas() -> tuple[int, int, int, int]:
    """Where the kernel finds this process's command line and environment for /proc: beginning and end of each; proc(5)."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end, env_begin, env_end = (int(word) for word in stat[45:49])
    return begin, end, env_begin, env_end


def why_not(argv: list[str]) -> str:
    """Why this process cannot bear that command line; "" where it can."""
    begin, end, env_begin, env_end = _areas()
    if sum(len(os.fsencode(word)) + 1 for word in argv) > end - begin:
        return f"its command line is longer than supervisord's, of {end - begin} bytes"
    return "" if len(STARTED) < env_end - env_begin else "supervisord's environment is empty"


def go_on(argv: list[str], environment: Mapping[str, str], words_from: int) -> NoReturn:
    """Runs the nodes' main with the words of `argv` from there on, as a process that has just begun; ends this process."""
    gc.freeze()
    code = 1
    try:
        _take_over(argv, environment)
        from tickmesh.nodes.__main__ import main

        sys.argv = [str(sys.modules["tickmesh.nodes.__main__"].__file__), *argv[words_from:]]
        sys.modules["__main__"] = sys.modules["tickmesh.nodes.__main__"]
        code = main(argv[words_from:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does with what nobody has caught
        sys.excepthook(*sys.exc_info())
    finally:
        _end(code)


def _take_over(argv: list[str], environment: Mapping[str, str]) -> None:
    """Signals, environment, names, search path and standard streams as after execve."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()  # first: the C library's own variables lie where the names are written
    os.environ.update(environment)
    time.tzset()
    _write_names(argv, environment)
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    _kept.extend((sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115 - it stays open
    sys.stdout = sys.__stdout__ = _stream(1, unbuffered, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, True, "backslashreplace")  # type: ignore[misc]
    for name, parameter in MALLOC.items():
        if value := environment.get(name, ""):
            ctypes.CDLL(None).mallopt(parameter, int(value))


def _stream(fd: int, unbuffered: bool, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    buffer = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, errors=errors, write_through=unbuffered)


def _write_names(argv: list[str], environment: Mapping[str, str]) -> None:
    """Has `ps` and /proc show what they would show after execve; of a long environment the beginning."""
    begin, end, env_begin, env_end = _areas()
    _write(begin, end, [os.fsencode(word) for word in argv])
    others = (os.fsencode(f"{name}={value}") for name, value in environment.items())
    _write(env_begin, env_end, [STARTED, *(entry for entry in others if entry != STARTED)])
    ctypes.CDLL(None).prctl(PR_SET_NAME, os.path.basename(os.fsencode(argv[0])))


def _write(begin: int, end: int, words: list[bytes]) -> None:
    """Writes words with their ends, as many as there is room for, and zeros after them."""
    text = b""
    for word in words:
        if len(text) + len(word) + 1 > end - begin:
            break
        text += word + b"\0"
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def _end(code: int) -> NoReturn:
    """Ends as an interpreter does, but for taking objects apart: those of supervisord would close descriptors."""
    try:
        getattr(threading, "_shutdown")()  # noqa: B009 - no line of types declares it; multiprocessing calls it so
        getattr(atexit, "_run_exitfuncs")()  # noqa: B009
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)
