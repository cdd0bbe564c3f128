"""Where compiled kernels are kept: a folder named by everything that the machine code depends on.

Numba's own cache looks at the file of the function alone, so a changed callee in another file goes unseen and the old
result is served. Here another source, version or processor is another folder, and no stale code can be loaded.
"""

import contextlib
import hashlib
import os
import platform
import shutil
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.kernel_cache import go_on_without_room
from tickmesh.bus.schema import SCHEMA_HASH, Flag, Kind
from tickmesh.nodes import models

KEEP_FOLDERS = 4  # of other sources or versions: going back and forth between two branches costs no compilation


def sources_hash() -> str:
    """A hash, 16 hex digits, over every model's file, in order of name, and the numbers they take from the schema."""
    digest = hashlib.sha256()
    for path in sorted((path for folder in models.__path__ for path in Path(folder).glob("*.py")), key=lambda one: one.name):
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    frozen = [(member.name, int(member)) for enum in (Kind, Flag) for member in enum]
    digest.update(f"{SCHEMA_HASH} {frozen}".encode())
    return digest.hexdigest()[:16]


def folder_name() -> str:
    """The name of the folder for machine code of these sources, versions and this processor. Imports numba: about 0.4 s."""
    import llvmlite
    import numba
    from llvmlite import binding

    machine = f"{platform.machine()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    versions = f"numba {numba.__version__} llvmlite {llvmlite.__version__} python {platform.python_version()}"
    return hashlib.sha256(f"{sources_hash()} {versions} {machine}".encode()).hexdigest()[:16]


def use(config: Config) -> Path:
    """Points numba at this code's folder, below NUMBA_CACHE_DIR if that is set, else below the mesh's run folder.

    To be called before a kernel module is imported: a function's place in the cache is chosen when it is decorated.
    """
    import numba

    base = Path(os.environ.get("NUMBA_CACHE_DIR") or config.run_dir / "kernels").resolve()
    folder = base / folder_name()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.utime(folder)
    go_on_without_room()
    vars(numba.config)["CACHE_DIR"] = str(folder)  # as numba itself sets it: its settings are globals that no line declares
    prune(base, folder)
    return folder


def prune(base: Path, used: Path) -> None:
    """Removes cache folders in `base` but `used` and the last used few. Processes that still run have their code in memory."""

    def last_use(path: Path) -> float:
        with contextlib.suppress(OSError):  # another process may prune at the same time
            return path.stat().st_mtime
        return 0.0

    is_ours = [path for path in base.glob("?" * len(used.name)) if path.is_dir() and path != used]
    for path in sorted(is_ours, key=last_use, reverse=True)[KEEP_FOLDERS:]:
        shutil.rmtree(path, ignore_errors=True)
