"""Processes begin as copies of supervisord, which has loaded the nodes' code: they share its memory, and begin sooner.

supervisord forks for every process, and the child then has the program take its place (execve). Here it goes on as that program
instead, where it would be the same to the last: this interpreter, the code as it was when it was loaded, an environment that a
running interpreter can still take up. In every other case it is execve, as ever. docs/decisions/preloading.md
"""

import gc
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tickmesh.bus.names import MESH
from tickmesh.nodes.supervision import taking_over

PROGRAM = ["-m", "tickmesh.nodes"]
# What a node loads after its module, beside it; "": every node. What is missing here is loaded by each process for itself.
LATER: Mapping[str, tuple[str, ...]] = {
    "": ("tickmesh.nodes.__main__", "uvloop", "encodings.ascii", "encodings.idna"),
    "backfill": ("tickmesh.nodes.net.http_client",),
    "executor": ("tickmesh.nodes.runner.alone",),
    "feed": ("tickmesh.nodes.net.http_client", "llvmlite.binding"),
    "gateway": ("pydantic.v1",),
    "model": ("tickmesh.nodes.runner.alone", "tickmesh.nodes.models.loading", "numpy.ma", "numba"),
    "recorder": ("numpy.ma", "lmdb._envid"),
    "sequencer": ("tickmesh.nodes.runner.hosted_steps", "tickmesh.nodes.runner.hosting", "tickmesh.nodes.runner.put_out"),
    "session": ("tickmesh.nodes.net.http_client",),
}  # fmt: skip
# An interpreter, the C library and libraries read these as they begin; a process that needs others than we had begins anew.
READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "LC_", "LANG", "TICKMESH_")
OF_EACH = frozenset({MESH, "TICKMESH_GROUP", "TICKMESH_SETTINGS"})  # and these are read when they are needed
# Of the environment that supervisor.conf gives to all processes, these can be taken up by supervisord itself, before it loads.
TAKEN_UP = ("OMP_", "OPENBLAS_", "MKL_", "NUMBA_", *taking_over.TAKEN_UP)


class LoadedCode(NamedTuple):
    """What this process had when it loaded the nodes' code: files as (path, size, time), environment, user, search path."""

    files: tuple[tuple[bytes, int, int], ...]
    packages: Mapping[str, str]  # top-level name → its file or folder
    environment: Mapping[str, str]
    uid: int

    def changed(self) -> str:
        """A file of this code that is another now, or gone; "" for none."""
        for path, size, time_ns in self.files:
            try:
                now = os.stat(path)
            except OSError:
                return os.fsdecode(path)
            if (now.st_size, now.st_mtime_ns) != (size, time_ns):
                return os.fsdecode(path)
        return ""

    def shadowed(self, folder: str) -> str:
        """What in `folder` an interpreter that begins there would load in place of this code; "" for nothing."""
        for entry in os.scandir(folder):
            known = self.packages.get(entry.name.partition(".")[0])
            if known is None or not (entry.is_dir() or entry.name.endswith((".py", ".so"))):
                continue
            if not os.path.exists(known) or not os.path.samefile(entry.path, known):
                return entry.path
        return ""


_loaded: list[LoadedCode] = []  # once in the life of this process, also where supervisord begins anew in it (SIGHUP)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that an interpreter takes up as it begins, and not later."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START) and name not in OF_EACH}


def take_up(environment: Mapping[str, str]) -> None:
    """Puts what libraries read as they are loaded into this process's environment: to be called before anything is loaded.

    `environment`: what supervisord gives to all its processes beside its own.
    """
    os.environ.update({name: value for name, value in environment.items() if name.startswith(TAKEN_UP)})


def load(nodes: Iterable[str]) -> None:
    """Imports the code of these nodes, once. Raises whatever the import of a module raises."""
    if _loaded:
        return
    at_start = read_at_start(os.environ)
    wanted = list(nodes)
    for node in wanted:
        importlib.import_module(f"tickmesh.nodes.{node}.node")
    for node in ("", *wanted):
        for name in LATER.get(node, ()):
            importlib.import_module(name)
    if "numba" in sys.modules:
        _warm_numba()
    gc.collect()
    _loaded.append(LoadedCode(_files(), _packages(), at_start, os.getuid()))
    gc.freeze()  # a collection in a child would write into every object, and so copy every page


def _warm_numba() -> None:
    """Has numba set up what it sets up with its first function: 25 MB, which each model would have for itself."""
    import numba

    from tickmesh.bus.kernel_cache import go_on_without_room

    go_on_without_room()
    jit: Any = numba.njit  # whose stub knows no function that is called at once
    jit(_one)(1)


def _one(number: int) -> int:
    return number


def _files() -> tuple[tuple[bytes, int, int], ...]:
    """The files of all loaded modules. Paths are new objects, side by side: to read them copies few pages of a child."""
    paths = {path for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}
    found = []
    for path in sorted(paths):
        if os.path.exists(path):
            now = os.stat(path)
            found.append((os.fsencode(path), now.st_size, now.st_mtime_ns))
    return tuple(found)


def _packages() -> dict[str, str]:
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if "." not in name and path:
            found[name] = str(Path(path).parent) if Path(path).name.startswith("__init__.") else path
    return found


def why_not(filename: str, argv: list[str], environment: Mapping[str, str]) -> str:
    """Why this process cannot go on as that program, a sentence's part; "" where it can. Reads the code's files."""
    if argv[1 : 1 + len(PROGRAM)] != PROGRAM:
        return "it is another program"
    if not _loaded:
        return "nothing is loaded"
    (loaded,) = _loaded
    if os.path.realpath(os.path.dirname(filename)) != os.path.realpath(os.path.dirname(sys.executable)):
        return f"{filename} is another interpreter than {sys.executable}"
    if os.getuid() != loaded.uid:
        return "it is another user"
    if read_at_start(environment) != loaded.environment:
        return "its environment has what an interpreter reads as it begins"
    if path := loaded.shadowed(os.getcwd()):
        return f"{path} comes before what is loaded"
    if path := loaded.changed():
        return f"{path} has changed since it was loaded"
    return taking_over.why_not(argv)


def execve(filename: str, argv: list[str], environment: Mapping[str, str]) -> NoReturn:
    """In place of os.execve, in a child of supervisord: goes on as that program, and ends with its exit code."""
    try:
        begins_anew = bool(why_not(filename, argv, environment))
    except OSError:  # a folder or /proc cannot be read
        begins_anew = True
    if begins_anew:
        os.execve(filename, argv, environment)
    taking_over.go_on(argv, environment, len(PROGRAM) + 1)


def nodes_of(supervisord: Any) -> list[str]:
    """The nodes among the programs of a supervisord's table."""
    from tickmesh.nodes.process_table import NODES  # supervisorctl, which loads this too, needs none of it

    found: dict[str, None] = {}
    for group in supervisord.options.process_group_configs:
        for process in group.process_configs:
            before, _, words = process.command.partition(f" {' '.join(PROGRAM)} ")
            found.update((word, None) for word in words.split() if word in NODES)  # those that a sequencer hosts, too
    return list(found)


def use(supervisord: Any) -> None:
    """Loads what the table's programs need, and has supervisord start them by it. Where something cannot be loaded, or loading
    has begun a thread, which no fork takes along, supervisord starts them as it always did."""
    options = supervisord.options
    take_up(options.configroot.supervisord.environment)
    if not (nodes := nodes_of(supervisord)):
        return
    try:
        load(nodes)
    except Exception as error:  # noqa: BLE001 - what keeps a node from being loaded its own process says, in its log
        sys.stderr.write(f"processes begin without shared memory: {type(error).__name__}: {error}\n")
        return
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        sys.stderr.write(f"processes begin without shared memory: what is loaded has begun {threads - 1} threads\n")
        return
    options.execve = execve
