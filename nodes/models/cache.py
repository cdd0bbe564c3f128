"""Where compiled kernels are kept: a folder named by everything that the machine code depends on.

Numba's own cache looks at the file of the function alone, so a changed callee in another file goes unseen and the old
result is served. Here another source, version or processor is another folder, and no stale code can be loaded. What a kernel
is made of is its own file and those that it imports of nodes/models: a change of another model changes nothing here.
"""

import ast
import contextlib
import hashlib
import os
import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tickmesh.bus.clock import SECOND, machine_wall_ns
from tickmesh.bus.config import Config
from tickmesh.bus.kernel_cache import base_folder as base_folder
from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.bus.schema import SCHEMA_HASH, Flag, Kind
from tickmesh.nodes import models
from tickmesh.nodes.models import calls
from tickmesh.nodes.models.interface import FEATURE_OUT, OUT, ROW, SIGNALS_PER_ROW

KEEP_FOLDERS = 4  # of other sources or versions: going back and forth between two branches costs no compilation
IN_USE_S = 600.0  # so long after its last use a folder is left alone: another process may be compiling into it
PREFIX = "tickmesh.nodes.models"
NUMBERS = "interface.py"  # of this file only the numbers matter, and those are hashed as they are


def sources(file: Path) -> list[Path]:
    """The file of a kernel, those of nodes/models that it imports, through any number of them, and their weights; sorted."""
    found: set[Path] = set()
    folders = [Path(folder) for folder in models.__path__]
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path in found or path.name == NUMBERS or not path.is_file():
            continue
        found.add(path)
        if (frozen := path.with_name(f"{path.stem}.weights.npz")).is_file():  # of a learned model (weights.py)
            found.add(frozen)
        with contextlib.suppress(SyntaxError):  # who imports it says where
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(f"{PREFIX}."):
                    inner = node.module.removeprefix(PREFIX).lstrip(".")
                    names = [inner, *(f"{inner}.{alias.name}".lstrip(".") for alias in node.names)]
                    waiting += [_file(folder, name) for name in names if name for folder in folders]
                elif isinstance(node, ast.Import):
                    names = [one.name.removeprefix(f"{PREFIX}.") for one in node.names if one.name.startswith(f"{PREFIX}.")]
                    waiting += [_file(folder, name) for name in names for folder in folders]
    return sorted(found)


def _file(folder: Path, name: str) -> Path:
    """Where the module `name`, as below nodes.models, would lie in a folder."""
    return folder.joinpath(*name.split(".")).with_suffix(".py")


def sources_hash(file: Path) -> str:
    """A hash, 16 hex digits, over a kernel's sources, in order of name, and the numbers they take from schema and interface."""
    digest = hashlib.sha256()
    for path in sources(file):
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    frozen = [(member.name, int(member)) for enum in (Kind, Flag) for member in enum]
    digest.update(f"{SCHEMA_HASH} {frozen} {ROW.descr} {OUT.descr} {FEATURE_OUT.descr} {SIGNALS_PER_ROW}".encode())
    return digest.hexdigest()[:16]


def code_hash(file: Path, kernel: Callable[..., Any]) -> str:
    """A hash, 16 hex digits, of all that a loaded kernel computes with: its sources, the files of what it calls elsewhere, and
    the numbers that are frozen into it."""
    digest = hashlib.sha256(sources_hash(file).encode())
    own = set(sources(file))
    for name in calls.files(kernel):
        if Path(name) not in own:
            digest.update(Path(name).read_bytes())
    digest.update(repr(calls.frozen(kernel)).encode())
    return digest.hexdigest()[:16]


def forget_others(folder: Path, code: str) -> None:
    """Removes machine code from a kernel's folder that was made of other code than `code`: of a changed file elsewhere."""
    made_of = folder / "made-of"
    if made_of.is_file() and made_of.read_text() != code:
        for path in folder.rglob("*.nb[ic]"):
            path.unlink(missing_ok=True)
    made_of.write_text(code)


def versions() -> dict[str, str]:
    """What computes: the versions of numba and numpy, which a model's bits depend on."""
    return {"numba": metadata.version("numba"), "numpy": np.__version__}


def folder_name(file: Path) -> str:
    """The name of the folder for machine code of a kernel, these versions and this processor. Imports numba: about 0.4 s."""
    import llvmlite
    import numba
    from llvmlite import binding

    machine = f"{platform.machine()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    numbers = f"numba {numba.__version__} llvmlite {llvmlite.__version__} python {platform.python_version()} bounds checked"
    return f"{file.stem}-{hashlib.sha256(f'{sources_hash(file)} {numbers} {machine}'.encode()).hexdigest()[:16]}"


def use(config: Config, file: Path) -> Path:
    """Points numba at this kernel's folder, below `base_folder`.

    To be called before a kernel module is imported: a function's place in the cache is chosen when it is decorated.
    """
    import numba

    base = base_folder(config)
    folder = base / folder_name(file)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.utime(folder)
    go_on_without_room()
    vars(numba.config)["CACHE_DIR"] = str(folder)  # as numba itself sets it: its settings are globals that no line declares
    prune(base, folder)
    return folder


def prune(base: Path, used: Path) -> None:
    """Removes of a kernel's folders in `base` all but `used`, the last used few, and any that was used a moment ago.

    Processes that run have code in memory; one that begins may be writing its own.
    """

    def last_use(path: Path) -> float:
        with contextlib.suppress(OSError):  # another process may prune at the same time
            return path.stat().st_mtime
        return 0.0

    kernel = used.name.rpartition("-")[0]
    is_ours = [path for path in base.glob(f"{kernel}-{'?' * 16}") if path.is_dir() and path != used]
    for path in sorted(is_ours, key=last_use, reverse=True)[KEEP_FOLDERS:]:
        if machine_wall_ns() / SECOND - last_use(path) > IN_USE_S:
            shutil.rmtree(path, ignore_errors=True)
